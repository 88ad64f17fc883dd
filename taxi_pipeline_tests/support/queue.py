"""Dagster's queue in this process: its webserver, and the daemon's parts, only when asked.

Storage, queue, code server and what is asked of the webserver are Dagster's own; runs are launched
by nobody, so that a test sees which ones would be.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.remote_representation.external import RemoteSchedule
from dagster._core.test_utils import MockedRunLauncher
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon
from dagster._daemon.types import DaemonHeartbeat
from dagster._scheduler.scheduler import launch_scheduled_runs
from dagster_webserver.app import create_app_from_workspace_process_context

from taxi_pipeline.local import stack

from .http import serving_application
from .instances import copy_tables

_LOG = logging.getLogger("daemon")
_DAEMONS = ("BACKFILL", "QUEUED_RUN_COORDINATOR")
_LAUNCHER = {"module": MockedRunLauncher.__module__, "class": MockedRunLauncher.__name__}
_QUEUED = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])


@dataclass(frozen=True)
class DagsterQueue:
    """The instance, and the workspace that webserver and daemon have; where the former answers."""

    instance: dg.DagsterInstance
    url: str
    _workspace: WorkspaceProcessContext

    def heartbeat(self, seconds_ago: float = 0) -> None:
        """Let the daemon have been heard of so long ago."""
        for daemon in _DAEMONS:
            beat = DaemonHeartbeat(time.time() - seconds_ago, daemon, "here", [])
            self.instance.add_daemon_heartbeat(beat)

    def submit_backfills(self) -> None:
        """Let the daemon look for backfills, and queue their runs."""
        assert not any(execute_backfill_iteration(self._workspace, _LOG))

    def tick(self, schedule: str) -> None:
        """Turn a schedule of every minute on, and let the daemon evaluate its next tick."""
        self.instance.start_schedule(self._schedule(schedule))
        next_minute = datetime.now(UTC) + timedelta(minutes=1)
        assert not any(launch_scheduled_runs(self._workspace, _LOG, next_minute, {}))

    def queued(self) -> Sequence[dg.DagsterRun]:
        """Return the runs in the queue, the newest first."""
        return self.instance.get_runs(_QUEUED)

    def dequeue(self) -> Sequence[dg.DagsterRun]:
        """Let the daemon look at the queue once; return the runs that it launches, in order."""
        launcher = self.instance.run_launcher
        assert isinstance(launcher, MockedRunLauncher)
        before = len(launcher.queue())  # type: ignore[no-untyped-call]
        with QueuedRunCoordinatorDaemon(interval_seconds=1) as daemon:
            list(daemon.run_iteration(self._workspace))
        launched: Sequence[dg.DagsterRun] = launcher.queue()[before:]  # type: ignore[no-untyped-call]
        return launched

    def clear(self) -> None:
        """Forget all runs, and end all backfills."""
        for run in self.instance.get_runs():
            self.instance.delete_run(run.run_id)
        for backfill in self.instance.get_backfills():
            self.instance.update_backfill(backfill._replace(status=BulkActionStatus.CANCELED))

    def _schedule(self, name: str) -> RemoteSchedule:
        (location,) = self._workspace.create_request_context().code_locations
        (repository,) = location.get_repositories().values()
        return repository.get_schedule(name)


@contextmanager
def dagster_queue(home: Path, settings: Mapping[str, Any]) -> Iterator[DagsterQueue]:
    """Serve the webserver on an instance in `home`: development's, with some settings besides."""
    copy_tables(home)
    text = Path(stack.__file__).with_name("dagster.yaml").read_text()
    config = {**yaml.safe_load(text), "run_launcher": _LAUNCHER, **settings}
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    target = ModuleTarget("taxi_pipeline.definitions", None, None, "taxi_pipeline")
    with ExitStack() as stack_:
        instance = stack_.enter_context(dg.DagsterInstance.from_config(str(home)))
        workspace = stack_.enter_context(WorkspaceProcessContext(instance, target))
        application = create_app_from_workspace_process_context(workspace)
        url = stack_.enter_context(serving_application(application))
        yield DagsterQueue(instance, url, workspace)
