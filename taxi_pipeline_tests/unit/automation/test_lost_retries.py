"""Runs that Dagster gives up as it cannot launch them again: by its own code, without a daemon."""

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NoReturn, cast

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.workspace.context import IWorkspaceProcessContext
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import (
    consume_new_runs_for_automatic_reexecution,
)

from taxi_pipeline.automation.lost_retries import RELAUNCHES, lost_retries
from taxi_pipeline_tests.support.daemon import Daemon

MONTHS = dg.MonthlyPartitionsDefinition("2020-01", end_date="2022-01", fmt="%Y-%m")
MONTH = "2021-03"
OF_MONTH = {"dagster/partition": MONTH}
FAILS = "test/fails"
BACKFILL = "dagster/backfill"
YELLOW, GREEN = dg.AssetKey("yellow_raw"), dg.AssetKey("green_raw")
CHECK = dg.AssetCheckKey(YELLOW, "counts")


def asset(key: dg.AssetKey) -> dg.AssetsDefinition:
    @dg.asset(key=key, partitions_def=MONTHS)
    def made(context: dg.AssetExecutionContext) -> None:
        if FAILS in context.run.tags:
            raise dg.Failure("broken")

    return made


@cache
def code_location() -> dg.Definitions:
    yellow, green = asset(YELLOW), asset(GREEN)

    @dg.asset_check(asset=YELLOW, name=CHECK.name)
    def counts(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        if FAILS in context.run.tags:
            raise dg.Failure("broken")
        return dg.AssetCheckResult(passed=True)

    checks = dg.AssetSelection.checks(counts)
    jobs = [
        dg.define_asset_job("yellow_trips", [yellow]),
        dg.define_asset_job("green_trips", [green]),
        dg.define_asset_job("yellow_trips_checks", checks),
    ]
    return dg.Definitions(
        assets=[yellow, green], asset_checks=[counts], jobs=jobs, sensors=[lost_retries(jobs)]
    )


@pytest.fixture(scope="module")
def _own_instance() -> Iterator[dg.DagsterInstance]:
    retries = {"run_retries": {"enabled": True, "max_retries": 2}}
    with dg.instance_for_test(overrides=retries) as instance:
        yield instance


@pytest.fixture
def instance(_own_instance: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    """Return an instance that runs failed runs again."""
    yield _own_instance
    _own_instance.wipe()


@pytest.fixture
def daemon(instance: dg.DagsterInstance) -> Daemon:
    return Daemon(code_location(), instance, ["lost_retries"])


class CodeLocationAway:
    """What Dagster's daemon knows of the code location, at a moment at which it is away."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance

    def create_request_context(self) -> NoReturn:
        raise DagsterUserCodeUnreachableError("Could not reach user code server.")


def fail(
    instance: dg.DagsterInstance,
    job: str = "yellow_trips",
    tags: Mapping[str, str] | None = None,
    assets: list[dg.AssetKey] | None = None,
) -> str:
    """Run a job that fails, or assets of the catalog's; return the run's id."""
    definitions = code_location()
    definition = (
        definitions.resolve_implicit_global_asset_job_def()
        if assets
        else definitions.resolve_job_def(job)
    )
    done = definition.execute_in_process(
        instance=instance,
        tags={FAILS: "true", **OF_MONTH, **(tags or {})},
        raise_on_error=False,
        asset_selection=assets,
    )
    assert not done.success
    return done.run_id


def give_up(instance: dg.DagsterInstance, run: str) -> None:
    """Let Dagster try to launch a failed run again while the code location is away."""
    record = instance.get_run_record_by_id(run)
    assert record
    assert record.dagster_run.tags["dagster/will_retry"] == "true"
    context = cast("IWorkspaceProcessContext[Any]", CodeLocationAway(instance))
    logger = logging.getLogger("daemon")
    assert len([*consume_new_runs_for_automatic_reexecution(context, [record], logger)]) == 1


def requested(daemon: Daemon) -> list[dg.RunRequest]:
    return [*(daemon.tick()["lost_retries"].run_requests or ())]


def test_a_run_that_was_given_up_is_requested_again(
    instance: dg.DagsterInstance, daemon: Daemon
) -> None:
    tags = {"dagster/priority": "-10", "taxi/replace_raw": "true", "docker/container_id": "c0ffee"}
    run = fail(instance, tags=tags)
    assert requested(daemon) == []  # which Dagster is to launch again
    give_up(instance, run)
    (request,) = requested(daemon)
    assert (request.job_name, request.asset_selection) == ("yellow_trips", None)
    of_run = {FAILS: "true", "dagster/priority": "-10", "taxi/replace_raw": "true"}
    of_sensor = {"dagster/sensor_name": "lost_retries"}
    assert request.tags == {**OF_MONTH, **of_run, **of_sensor, RELAUNCHES: "1"}
    # two ticks that see the same run: Dagster launches a key once
    assert [again.run_key for again in requested(daemon)] == [request.run_key]


def test_what_the_request_asks_for_can_be_run(instance: dg.DagsterInstance, daemon: Daemon) -> None:
    give_up(instance, fail(instance))
    (request,) = requested(daemon)
    tags = {name: value for name, value in request.tags.items() if name != FAILS}
    job = code_location().resolve_job_def(request.job_name or "")
    assert job.execute_in_process(instance=instance, tags=tags).success
    (made,) = instance.fetch_materializations(YELLOW, limit=1).records
    assert made.partition_key == MONTH


@pytest.mark.parametrize(
    ("tags", "retried"),
    [
        pytest.param({"dagster/max_retries": "0"}, False, id="a run that has no tries left"),
        pytest.param({}, True, id="a run that is to be launched again"),
    ],
)
def test_what_dagster_decides_itself_is_left_alone(
    instance: dg.DagsterInstance, daemon: Daemon, tags: Mapping[str, str], retried: bool
) -> None:
    run = instance.get_run_by_id(fail(instance, tags=tags))
    assert run
    assert run.tags["dagster/will_retry"] == str(retried).lower()
    assert requested(daemon) == []


def test_a_run_that_was_made_and_not_launched_is_left_alone(
    instance: dg.DagsterInstance, daemon: Daemon
) -> None:
    run = fail(instance)
    give_up(instance, run)
    instance.add_run_tags(run, {"dagster/auto_retry_run_id": "made"})
    assert requested(daemon) == []


def test_a_month_that_is_being_run_is_left_alone(
    instance: dg.DagsterInstance, daemon: Daemon
) -> None:
    give_up(instance, fail(instance))
    instance.add_run(
        dg.DagsterRun("yellow_trips", status=dg.DagsterRunStatus.STARTED, tags=OF_MONTH)
    )
    assert requested(daemon) == []


def test_assets_of_several_tables_are_a_run_of_each(
    instance: dg.DagsterInstance, daemon: Daemon
) -> None:
    give_up(instance, fail(instance, assets=[YELLOW, GREEN]))
    requests = requested(daemon)
    assert [(one.job_name, one.asset_selection) for one in requests] == [
        ("green_trips", [GREEN]),
        ("yellow_trips", [YELLOW]),
    ]
    assert len({one.run_key for one in requests}) == 2


def test_a_job_of_checks_is_requested_whole(instance: dg.DagsterInstance, daemon: Daemon) -> None:
    give_up(instance, fail(instance, "yellow_trips_checks"))
    (request,) = requested(daemon)
    assert (request.job_name, request.asset_check_keys) == ("yellow_trips_checks", None)
    assert request.tags.items() >= OF_MONTH.items()


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (BulkActionStatus.REQUESTED, [{BACKFILL: "b"}]),
        (BulkActionStatus.COMPLETED_FAILED, [{}]),
        (BulkActionStatus.CANCELING, []),
        (BulkActionStatus.CANCELED, []),
    ],
)
def test_a_run_stays_in_its_backfill_while_that_goes_on(
    instance: dg.DagsterInstance,
    daemon: Daemon,
    status: BulkActionStatus,
    wanted: list[dict[str, str]],
) -> None:
    backfill = PartitionBackfill(
        "b", BulkActionStatus.REQUESTED, from_failure=False, tags={}, backfill_timestamp=0.0
    )
    instance.add_backfill(backfill)
    run = fail(instance, tags={BACKFILL: "b"})
    give_up(instance, run)
    instance.update_backfill(backfill._replace(status=status))
    kept = [
        {name: value for name, value in request.tags.items() if name == BACKFILL}
        for request in requested(daemon)
    ]
    assert kept == wanted


@pytest.mark.parametrize(
    ("before", "wanted"), [("2", ["3"]), ("3", []), ("many", [])], ids=lambda one: str(one)
)
def test_a_month_is_not_requested_for_ever(
    instance: dg.DagsterInstance, daemon: Daemon, before: str, wanted: list[str]
) -> None:
    give_up(instance, fail(instance, tags={RELAUNCHES: before}))
    assert [request.tags[RELAUNCHES] for request in requested(daemon)] == wanted


def test_what_is_given_up_between_two_ticks_is_seen_by_the_second(
    instance: dg.DagsterInstance, daemon: Daemon
) -> None:
    assert requested(daemon) == []
    give_up(instance, fail(instance))
    daemon.cursors["lost_retries"] = (daemon.cursors["lost_retries"] or "") + " damaged"
    assert len(requested(daemon)) == 1
