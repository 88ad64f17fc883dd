"""Runs that fail and that Dagster gives up, by Dagster's own code; the sensor `lost_retries`."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, NoReturn, cast

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import (
    consume_new_runs_for_automatic_reexecution,
)
from dagster._daemon.auto_run_reexecution.event_log_consumer import (
    EventLogConsumerDaemon,
    _persist_cursors,
)

from taxi_pipeline.automation.lost_retries import lost_retries
from taxi_pipeline_tests.support.daemon import Daemon
from taxi_pipeline_tests.support.instances import sqlite_instance

MONTHS = dg.MonthlyPartitionsDefinition("2020-01", end_date="2022-01", fmt="%Y-%m")
MONTH = "2021-03"
OF_MONTH = {"dagster/partition": MONTH}
FAILS = "test/fails"  # the tag of a run that names what fails in it
BACKFILL = "dagster/backfill"
RAW, CLEANED = dg.AssetKey("yellow_raw"), dg.AssetKey("yellow_cleaned")
GREEN = dg.AssetKey("green_raw")
CHECK = dg.AssetCheckKey(RAW, "counts")


def _asset(key: dg.AssetKey, *deps: dg.AssetsDefinition) -> dg.AssetsDefinition:
    @dg.asset(key=key, deps=deps, partitions_def=MONTHS)
    def made(context: dg.AssetExecutionContext) -> None:
        if context.run.tags.get(FAILS) in {key.to_user_string(), "all"}:
            raise dg.Failure("broken")

    return made


@cache
def code_location(*, has_cleaned: bool = True) -> dg.Definitions:
    """Return two tables with their jobs; one has a check, which is made after its first asset."""
    raw, green = _asset(RAW), _asset(GREEN)
    yellow = [raw, _asset(CLEANED, raw)] if has_cleaned else [raw]

    @dg.asset_check(asset=RAW, name=CHECK.name)
    def counts(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        if context.run.tags.get(FAILS) == CHECK.name:
            raise dg.Failure("broken")
        return dg.AssetCheckResult(passed=True)

    jobs = [
        dg.define_asset_job("yellow_trips", yellow),
        dg.define_asset_job("green_trips", [green]),
        dg.define_asset_job("yellow_trips_checks", dg.AssetSelection.checks(counts)),
    ]
    return dg.Definitions(
        assets=[*yellow, green], asset_checks=[counts], jobs=jobs, sensors=[lost_retries(jobs)]
    )


@contextmanager
def retrying_instance() -> Iterator[dg.DagsterInstance]:
    """Yield an instance that runs failed runs again."""
    retries = {"run_retries": {"enabled": True, "max_retries": 2}}
    with sqlite_instance(retries) as instance:
        yield instance


def wipe(instance: dg.DagsterInstance) -> None:
    """Remove all runs of an instance, and what its daemon knows of their failures."""
    instance.wipe()
    _persist_cursors(instance, {dg.DagsterEventType.RUN_FAILURE: 0})


class _CodeLocationAway:
    """What Dagster's daemon knows of the code location, at a moment at which it is away."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def create_request_context(self) -> NoReturn:
        raise DagsterUserCodeUnreachableError("Could not reach user code server.")


def run(
    instance: dg.DagsterInstance,
    fails: str,
    job: str = "yellow_trips",
    tags: Mapping[str, str] | None = None,
    assets: list[dg.AssetKey] | None = None,
    config: Mapping[str, Any] | None = None,
) -> str:
    """Run a month's job, or assets of the catalog's; return the run's id."""
    definitions = code_location()
    definition = (
        definitions.resolve_implicit_global_asset_job_def()
        if assets
        else definitions.resolve_job_def(job)
    )
    done = definition.execute_in_process(
        instance=instance,
        run_config=config,
        tags={FAILS: fails, **OF_MONTH, **(tags or {})},
        raise_on_error=False,
        asset_selection=assets,
    )
    assert done.success is not bool(fails)
    return done.run_id


def give_up(instance: dg.DagsterInstance, run_id: str) -> None:
    """Let Dagster try to launch a failed run again while the code location is away."""
    record = instance.get_run_record_by_id(run_id)
    assert record
    assert record.dagster_run.tags["dagster/will_retry"] == "true"
    context = cast("IWorkspaceProcessContext[Any]", _CodeLocationAway(instance))
    logger = logging.getLogger("daemon")
    assert len([*consume_new_runs_for_automatic_reexecution(context, [record], logger)]) == 1


def lose(
    instance: dg.DagsterInstance,
    fails: str = "yellow_cleaned",
    job: str = "yellow_trips",
    tags: Mapping[str, str] | None = None,
    assets: list[dg.AssetKey] | None = None,
    config: Mapping[str, Any] | None = None,
) -> str:
    """Run what fails and is then given up; return the run's id."""
    give_up(instance, run_id := run(instance, fails, job, tags, assets, config))
    return run_id


def read_failures(instance: dg.DagsterInstance) -> None:
    """Let Dagster's daemon read the failures since it last did, while the code location is away."""
    context = cast("IWorkspaceProcessContext[Any]", _CodeLocationAway(instance))
    for _ in EventLogConsumerDaemon().run_iteration(context):
        pass


def requested(daemon: Daemon) -> list[dg.RunRequest]:
    """Return what the sensor requests."""
    return [*(daemon.tick()["lost_retries"].run_requests or ())]


def selected(daemon: Daemon) -> list[tuple[str | None, set[dg.AssetKey], set[dg.AssetCheckKey]]]:
    """Return the job, the assets and the checks of each run that the sensor requests."""
    return [
        (one.job_name, {*(one.asset_selection or ())}, {*(one.asset_check_keys or ())})
        for one in requested(daemon)
    ]


def backfill_of(status: BulkActionStatus) -> PartitionBackfill:
    """Return the backfill `b`, in a status."""
    return PartitionBackfill("b", status, from_failure=False, tags={}, backfill_timestamp=0.0)


def backfill_tags(daemon: Daemon) -> list[dict[str, str]]:
    """Return the backfill of each run that the sensor requests, as tags."""
    return [
        {name: value for name, value in request.tags.items() if name == BACKFILL}
        for request in requested(daemon)
    ]
