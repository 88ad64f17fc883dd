"""What Dagster's instance knows of the months, on one without a daemon."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
)

from taxi_pipeline.automation.facts import read_facts
from taxi_pipeline.automation.publisher_sensor import Cursor
from taxi_pipeline.definitions import defs
from taxi_pipeline.status import Facts
from taxi_pipeline.tlc.month import Month
from taxi_pipeline_tests.support.instances import sqlite_instance

JANUARY = ("yellow", Month(2021, 1))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """Return an instance with a storage for sensors."""
    with sqlite_instance() as instance:
        yield instance


def facts(instance: dg.DagsterInstance) -> Facts:
    return read_facts(instance, defs.get_repository_def().get_all_jobs())


def remember(
    instance: dg.DagsterInstance,
    sensor: str,
    cursor: str | None,
    status: InstigatorStatus = InstigatorStatus.RUNNING,
    location: str = "taxi_pipeline",
    ticked: datetime | None = None,
) -> None:
    """Leave a sensor's cursor as Dagster's daemon does."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "r")
    instance.add_instigator_state(
        InstigatorState(
            RemoteInstigatorOrigin(repository, sensor),
            InstigatorType.SENSOR,
            status,
            SensorInstigatorData(ticked.timestamp() if ticked else None, cursor=cursor),
        )
    )


def test_an_instance_that_has_seen_nothing_knows_nothing_and_says_so(
    instance: dg.DagsterInstance,
) -> None:
    with dg.DagsterInstance.ephemeral() as without_sensors:
        for found in (facts(instance), facts(without_sensors)):
            assert found == Facts(unknown=found.unknown)
            (sentence,) = found.unknown
            assert sentence.startswith("The sensor published_months has not asked the publisher")


def test_what_the_publisher_answered_is_the_sensors_to_know(instance: dg.DagsterInstance) -> None:
    cursor = Cursor(
        after="yellow/2010-12",
        rewritten={"yellow/2021-01": '"v1"', "red/2021-01": "", "yellow": "", "green/2021-13": ""},
        unpublished=["fhv/2026-09"],
    )
    remember(instance, "another", Cursor(unpublished=["fhv/2026-08"]).model_dump_json())
    remember(instance, "published_months", cursor.model_dump_json())
    assert facts(instance) == Facts(
        rewritten={JANUARY: '"v1"'}, unpublished={("fhv", Month(2026, 9))}
    )


def test_a_sensor_that_has_not_ticked_has_asked_nobody(instance: dg.DagsterInstance) -> None:
    remember(instance, "published_months", None)
    assert facts(instance).unknown


def late(month: str, unreachable: bool = False) -> str:
    return Cursor(unpublished=[f"fhv/{month}"], unreachable=unreachable).model_dump_json()


def test_a_sensor_that_is_stopped_or_reaches_nobody_says_so(instance: dg.DagsterInstance) -> None:
    ticked = datetime(2026, 2, 1, 12, 30, tzinfo=UTC)
    stopped = InstigatorStatus.STOPPED
    remember(instance, "published_months", late("2025-12", True), stopped, ticked=ticked)
    first, second = facts(instance).unknown
    assert first.startswith("The sensor published_months is stopped: ")
    assert "as it was at 2026-02-01 12:30 UTC" in first
    assert second.startswith("The publisher could not be asked when")


def test_a_sensor_that_has_not_ticked_for_a_day_says_so(instance: dg.DagsterInstance) -> None:
    ticked = datetime(2026, 2, 1, 12, 30, tzinfo=UTC)
    in_code = InstigatorStatus.DECLARED_IN_CODE
    remember(instance, "published_months", late("2025-12"), in_code, ticked=ticked)
    jobs = defs.get_repository_def().get_all_jobs()

    def unknown(hours: int) -> tuple[str, ...]:
        return read_facts(instance, jobs, lambda: ticked + timedelta(hours=hours)).unknown

    assert unknown(23) == ()
    (sentence,) = unknown(25)
    assert sentence.startswith("The sensor published_months has not asked the publisher for more")


def test_of_several_states_the_running_one_that_ticked_last_counts(
    instance: dg.DagsterInstance,
) -> None:
    now = datetime.now(UTC)
    stopped, running = InstigatorStatus.STOPPED, InstigatorStatus.RUNNING
    for location, status, month, hours in (
        ("renamed", running, "2026-07", 3),
        ("new", running, "2026-09", 2),
        ("old", stopped, "2026-08", 1),
        ("older", running, "2026-06", 4),
    ):
        ticked = now - timedelta(hours=hours)
        remember(instance, "published_months", late(month), status, location, ticked)
    assert facts(instance) == Facts(unpublished={("fhv", Month(2026, 9))})


def test_a_month_is_running_until_its_run_ends(
    instance: dg.DagsterInstance,
) -> None:
    for job, month in (
        ("yellow_trips", "2021-01"),
        ("yellow_trips", "no month"),
        ("daily_trips", "2021-02"),
    ):
        tags = {"dagster/partition": month}
        instance.add_run(dg.DagsterRun(job, tags=tags, status=dg.DagsterRunStatus.STARTED))
    made = {record.create_timestamp for record in instance.get_run_records()}
    running = facts(instance).running
    assert running.keys() == {JANUARY}
    assert running[JANUARY] == min(made)
    for run in instance.get_runs():
        instance.report_run_canceled(run)
    assert facts(instance).running == {}
