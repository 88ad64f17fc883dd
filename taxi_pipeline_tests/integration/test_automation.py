"""Automation with Dagster's own daemon and webserver, on a stack of its own."""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import dagster as dg
import pytest

from taxi_pipeline.automation.failures import failed_partitions
from taxi_pipeline.definitions import defs
from taxi_pipeline.local.stack import Settings, running
from taxi_pipeline.resources import environment
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.dagster_dev import TAXI, dagster_dev
from taxi_pipeline_tests.support.lake import put
from taxi_pipeline_tests.support.processes import until
from taxi_pipeline_tests.support.published import green_month
from taxi_pipeline_tests.support.results import CHECKS

from .test_arrivals import LATER

ALL = [f"{layer}/green_trips" for layer in ("raw", "cleaned", "bigquery", "postgres")]
FAILED = "green_trips 2021-01"


def retry_failed(*arguments: str) -> str:
    done = subprocess.run(
        [*TAXI, "retry-failed", *arguments], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def succeeded(instance: dg.DagsterInstance, tag: str, value: str) -> Sequence[dg.DagsterRun]:
    """Return the runs with this tag that have succeeded."""
    success = [dg.DagsterRunStatus.SUCCESS]
    return instance.get_runs(dg.RunsFilter(tags={f"dagster/{tag}": value}, statuses=success))


def done_by(instance: dg.DagsterInstance, run: dg.DagsterRun, event: dg.DagsterEventType) -> int:
    return len(instance.all_logs(run.run_id, of_type=event))


@contextmanager
def stack(publisher: Path, data: Path) -> Iterator[Platform]:
    """Start a stack whose publisher has that folder; yield the platform on it."""
    with (
        running(data, Settings(str(publisher), 0)) as variables,
        patch.dict(os.environ, variables),
        dg.DagsterInstance.get() as instance,
    ):
        yield Platform(environment.ready(), instance)


@pytest.mark.timeout(300)
def test_arrivals_are_taken_up_and_failed_months_run_again() -> None:
    with TemporaryDirectory(prefix="taxi-") as name:
        publisher, data = Path(name) / "published", Path(name) / "data"
        releases = publisher / "releases" / "green"
        releases.mkdir(parents=True)
        of = ("--publisher", str(publisher))
        # before Dagster starts, whose first tick then finds it
        with stack(publisher, data) as platform:
            assert not platform.run("green_trips", "2021-01").success
            arrived = green_month(Path(name), "2021-02")
            put(platform.resources.lake, f"raw/green/{arrived.name}", arrived)
            (raw,) = platform.resources.lake.find("raw/")
        with (
            dagster_dev(Path(name), "env", "TAXI_AUTOMATION=on", settings=of) as dev,
            stack(publisher, data) as platform,
            patch.dict(os.environ, {"TAXI_DAGSTER_URL": dev.url}),
        ):
            instance = platform.instance
            key = f"green/2021-02/{raw.generation}"
            (run,) = until(lambda: succeeded(instance, "run_key", key), 120)
            assert run.asset_selection == {*LATER}
            assert done_by(instance, run, dg.DagsterEventType.ASSET_MATERIALIZATION) == 3
            assert done_by(instance, run, dg.DagsterEventType.ASSET_CHECK_EVALUATION) == len(CHECKS)
            assert platform.entry("green", "2021-02").adds_up

            would = retry_failed("--dry-run")
            assert would == f"{FAILED}: would run {', '.join(ALL)}\n"
            assert retry_failed("--service", "yellow") == "No month has failed.\n"
            green_month(releases, "2021-01")
            launched = re.fullmatch(rf"{FAILED}: {dev.url}/runs/(\S+)\n", retry_failed())
            assert launched
            assert retry_failed() == "No month has failed.\n"  # it runs, or has succeeded
            (again,) = until(lambda: succeeded(instance, "partition", "2021-01"), 120)
            assert again.run_id == launched[1]
            assert done_by(instance, again, dg.DagsterEventType.ASSET_MATERIALIZATION) == 4
            assert done_by(instance, again, dg.DagsterEventType.ASSET_CHECK_EVALUATION) == len(
                CHECKS
            )
            jobs = defs.resolve_all_job_defs()
            assert failed_partitions(instance, jobs) == []
            assert platform.entry("green", "2021-01").adds_up
