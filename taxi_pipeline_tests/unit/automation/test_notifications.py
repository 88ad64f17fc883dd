"""What people are told, of the runs of a small code location."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._daemon.monitoring.run_monitoring import check_run_timeout
from dagster_shared.error import SerializableErrorInfo

from taxi_pipeline.automation.notifications import notification_sensors
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline_tests.support.daemon import Daemon
from taxi_pipeline_tests.support.http import receiving

SENSORS = ["failed_runs", "finished_runs", "finished_backfills"]
UI = "https://dagster.example.org"
SECRET = "s3cr3t-t0k3n"
MONTHS = dg.MonthlyPartitionsDefinition("2021-01", fmt="%Y-%m")
BROKEN = ("2021-02", "2022-")  # the months that fail


@dg.asset(key="green_raw", partitions_def=MONTHS)
def green_trips(context: dg.AssetExecutionContext) -> None:
    if context.partition_key.startswith(BROKEN) and "dagster/mended" not in context.run.tags:
        raise ValueError("no such month\nand a second line")


@dg.asset_check(asset=green_trips)
def is_not_march(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    march = context.run.tags["dagster/partition"] == "2021-03"
    return dg.AssetCheckResult(passed=not march, description="It is March." if march else None)


@dg.asset(key="zones_raw")
def taxi_zones() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"downloaded": True, "dagster/row_count": 265})


def code_location(url: str) -> dg.Definitions:
    return dg.Definitions(
        assets=[green_trips, taxi_zones],
        asset_checks=[is_not_march],
        jobs=[dg.define_asset_job("green_trips", [green_trips])],
        sensors=notification_sensors(),
        resources={"notifier": Notifier(url=url)},
        executor=dg.in_process_executor,
    )


def run(daemon: Daemon, month: str, **tags: str) -> dg.ExecuteInProcessResult:
    job = daemon.definitions.resolve_job_def("green_trips")
    return job.execute_in_process(
        instance=daemon.instance,
        partition_key=month,
        tags={f"dagster/{key}": tag for key, tag in tags.items()},
        raise_on_error=False,
    )


def begun(daemon: Daemon) -> Daemon:
    daemon.tick()
    return daemon


@pytest.fixture(autouse=True)
def _dagster_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXI_DAGSTER_URL", UI)


type Told = tuple[Daemon, list[dict[str, str]]]


@pytest.fixture
def told(instance: dg.DagsterInstance) -> Iterator[Told]:
    """Return a daemon that has begun, and the messages that have arrived."""
    with receiving() as (url, received):
        yield begun(Daemon(code_location(url), instance, SENSORS)), received


def test_a_failed_run_is_told_once_by_the_first_line_of_its_error(told: Told) -> None:
    daemon, received = told
    failed = run(daemon, "2021-02")
    run(daemon, "2021-01")
    daemon.tick()
    daemon.tick()
    (message,) = received
    assert message["title"] == "green 2021-02 failed"
    assert message["message"].splitlines() == [
        "green 2021-02, step green_raw: ValueError: no such month",
        f"{UI}/runs/{failed.run_id}",
    ]


def test_only_the_last_of_a_runs_tries_is_a_message() -> None:
    settings = {"run_retries": {"enabled": True, "max_retries": 1}}
    with (
        dg.DagsterInstance.ephemeral(settings=settings) as instance,
        receiving() as (url, received),
    ):
        daemon = begun(Daemon(code_location(url), instance, SENSORS))
        retried = run(daemon, "2021-02")
        daemon.tick()
        assert received == []
        last = run(daemon, "2021-02", max_retries="0")
        daemon.tick()
    (message,) = received
    assert retried.run_id not in message["message"]
    assert message["message"].endswith(last.run_id)


def test_a_stuck_run_is_told_of_when_dagster_has_ended_it(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon, received = told
    instance = daemon.instance
    job = daemon.definitions.resolve_job_def("green_trips")
    stuck = instance.create_run_for_job(job, tags={"dagster/partition": "2021-03"})
    began = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "green_trips")
    instance.report_dagster_event(began, stuck.run_id, timestamp=time.time() - 61)
    monkeypatch.setattr(instance.run_launcher, "terminate", lambda run_id: bool(run_id))
    (record,) = instance.get_run_records(dg.RunsFilter(run_ids=[stuck.run_id]))
    # what the daemon's thread does with each run that goes on
    check_run_timeout(instance, record, logging.getLogger(), default_timeout_seconds=60)
    daemon.tick()
    (message,) = received
    assert message["title"] == "green 2021-03 failed"
    assert message["message"].splitlines() == [
        "green 2021-03: Exceeded maximum runtime of 60 seconds.",
        f"{UI}/runs/{stuck.run_id}",
    ]


@pytest.mark.parametrize(
    ("details", "said"),
    [
        (None, "The run worker was lost."),
        (JobFailureData(None, RunFailureReason.START_TIMEOUT), "The run worker was lost."),
        (JobFailureData(SerializableErrorInfo("a.b.Broken: gone\n", [], "Broken")), "Broken: gone"),
    ],
)
def test_a_run_that_never_came_to_its_steps_is_told_of(
    told: Told, details: JobFailureData | None, said: str
) -> None:
    daemon, received = told
    job = daemon.definitions.resolve_job_def("green_trips")
    lost = daemon.instance.create_run_for_job(job, tags={"dagster/partition": "2021-03"})
    daemon.instance.report_run_failed(lost, "The run worker was lost.\nIts pid was 7.", details)
    daemon.tick()
    (message,) = received
    assert message["title"] == "green 2021-03 failed"
    assert message["message"] == f"green 2021-03: {said}\n{UI}/runs/{lost.run_id}"


def test_a_message_about_what_has_no_month_names_none(told: Told) -> None:
    daemon, received = told
    everything = daemon.definitions.resolve_implicit_global_asset_job_def()
    for _ in range(2):
        assert everything.execute_in_process(
            instance=daemon.instance, asset_selection=[taxi_zones.key]
        ).success
    assert everything.execute_in_process(
        instance=daemon.instance,
        asset_selection=[green_trips.key],
        partition_key="2021-02",
        raise_on_error=False,
    ).job_def.name.startswith("__ASSET_JOB")
    daemon.tick()
    assert [message["title"] for message in received] == [
        "green 2021-02 failed",
        "taxi_zones published",
        "taxi_zones republished",
    ]
    assert received[1]["message"].splitlines()[0] == "Rows: raw 265"


def backfilled(
    daemon: Daemon,
    months: list[str],
    status: BulkActionStatus,
    end: float,
    error: SerializableErrorInfo | None = None,
    **of: Any,
) -> None:
    """Run the months as the backfill of green_trips, unless of another, that ends so."""
    backfill_id = f"b{end:.0f}"
    for month in months:
        run(daemon, month, backfill=backfill_id)
    daemon.instance.add_backfill(
        PartitionBackfill(
            backfill_id=backfill_id,
            status=status,
            from_failure=False,
            tags={},
            backfill_timestamp=end - 1.0,
            backfill_end_timestamp=float(end),
            error=error,
            **(of or {"asset_selection": [green_trips.key]}),
        )
    )


def test_a_backfill_is_one_message_for_all_its_runs(told: Told) -> None:
    daemon, received = told
    backfilled(daemon, ["2021-01", "2021-02", "2021-03"], BulkActionStatus.COMPLETED_FAILED, 10)
    daemon.tick()
    daemon.tick()
    (message,) = received
    assert message["title"] == "Backfill of green ended: 2 succeeded, 1 failed"
    assert message["message"].splitlines() == [
        "Assets: green_raw",
        "green 2021-02, step green_raw: ValueError: no such month",
        "1 check failed",
        f"{UI}/runs/b/b10",
    ]


def test_of_a_month_that_was_retried_the_last_run_counts(told: Told) -> None:
    daemon, received = told
    backfilled(daemon, ["2021-02"], BulkActionStatus.COMPLETED_SUCCESS, 10)
    run(daemon, "2021-02", backfill="b10", mended="yes")
    daemon.tick()
    (message,) = received
    assert message["title"] == "Backfill of green ended: 1 succeeded"


def test_a_backfill_that_went_well_is_told_of_too(told: Told) -> None:
    daemon, received = told
    backfilled(daemon, ["2021-01"], BulkActionStatus.COMPLETED_SUCCESS, 10)
    daemon.tick()
    (message,) = received
    assert message["title"] == "Backfill of green ended: 1 succeeded"
    assert message["message"] == f"Assets: green_raw\n{UI}/runs/b/b10"


def of_job(name: str) -> dict[str, Any]:
    location = GrpcServerCodeLocationOrigin("127.0.0.1", 1)
    repository = RemoteRepositoryOrigin(location, "__repository__")
    return {
        "partition_set_origin": repository.get_partition_set_origin(f"{name}_partition_set"),
        "partition_names": ["2021-01"],
    }


def test_a_backfill_of_a_job_is_told_by_the_jobs_name(told: Told) -> None:
    daemon, received = told
    backfilled(daemon, ["2021-01"], BulkActionStatus.COMPLETED_SUCCESS, 10, **of_job("green_trips"))
    daemon.tick()
    (message,) = received
    assert message["title"] == "Backfill of green ended: 1 succeeded"
    assert message["message"] == f"Job: green_trips\n{UI}/runs/b/b10"


def test_of_many_failures_ten_are_shown(told: Told) -> None:
    daemon, received = told
    months = [f"2022-{number:02}" for number in range(1, 13)]
    backfilled(daemon, months[::-1], BulkActionStatus.COMPLETED_FAILED, 10)
    daemon.tick()
    (message,) = received
    assert message["title"] == "Backfill of green ended: 12 failed"
    lines = message["message"].splitlines()
    assert [line.split(",")[0] for line in lines[1:11]] == [f"green {m}" for m in months[:10]]
    assert lines[11:] == ["and 2 more", f"{UI}/runs/b/b10"]


def test_backfills_that_were_canceled_or_broke_off_have_ended_too(told: Told) -> None:
    daemon, received = told
    backfilled(daemon, ["2021-01"], BulkActionStatus.CANCELED, 10)
    error = SerializableErrorInfo("KeyError: 'x'\n", [], "KeyError")
    backfilled(daemon, [], BulkActionStatus.FAILED, 11, error=error)
    daemon.tick()
    daemon.tick()
    canceled, broken = received
    assert canceled["title"] == "Backfill of green canceled: 1 succeeded"
    assert broken["title"] == "Backfill of green ended: no runs"
    assert broken["message"].splitlines()[1] == "KeyError: 'x'"


def test_backfills_that_end_together_are_told_of_one_by_one(told: Told) -> None:
    daemon, received = told
    backfilled(daemon, [], BulkActionStatus.COMPLETED_SUCCESS, 11)
    backfilled(daemon, [], BulkActionStatus.COMPLETED_SUCCESS, 10)
    for told_of in (1, 2, 2):
        daemon.tick()
        assert len(received) == told_of
    assert [message["message"].rpartition("/")[2] for message in received] == ["b10", "b11"]


def test_no_message_of_a_running_backfill_nor_of_another_code_location(
    told: Told,
) -> None:
    daemon, received = told
    backfilled(daemon, ["2021-02"], BulkActionStatus.REQUESTED, 10)
    elsewhere = [dg.AssetKey("other")]
    backfilled(daemon, [], BulkActionStatus.COMPLETED_SUCCESS, 11, asset_selection=elsewhere)
    backfilled(daemon, [], BulkActionStatus.COMPLETED_SUCCESS, 12, **of_job("other"))
    daemon.tick()
    assert received == []


def test_old_backfills_are_not_told_of_when_the_sensor_is_switched_on(
    instance: dg.DagsterInstance,
) -> None:
    with receiving() as (url, received):
        daemon = Daemon(code_location(url), instance, SENSORS)
        backfilled(daemon, [], BulkActionStatus.COMPLETED_SUCCESS, 10)
        daemon.tick()
        daemon.tick()
        backfilled(daemon, [], BulkActionStatus.COMPLETED_SUCCESS, 11)
        daemon.tick(just_started=True)
        assert received == []
        backfilled(daemon, [], BulkActionStatus.COMPLETED_SUCCESS, 12)
        daemon.tick()
    assert len(received) == 1


def test_without_a_url_the_sensors_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    for url, status in (
        ("", dg.DefaultSensorStatus.STOPPED),
        ("json://127.0.0.1", dg.DefaultSensorStatus.RUNNING),
    ):
        monkeypatch.setenv("TAXI_NOTIFY_URL", url)
        sensors = notification_sensors()
        assert [sensor.name for sensor in sensors] == SENSORS
        assert {sensor.default_status for sensor in sensors} == {status}


def test_a_wrong_address_of_dagster_is_named_before_it_costs_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TAXI_DAGSTER_URL", "dagster")
    with pytest.raises(PermanentError, match="TAXI_DAGSTER_URL: 'dagster'"):
        notification_sensors()


@pytest.mark.parametrize("url", [f"slac://{SECRET}/b/c", f"json://me:{SECRET}@127.0.0.1:9/"])
def test_a_message_that_no_service_takes_fails_the_tick_and_is_not_repeated(
    instance: dg.DagsterInstance, url: str
) -> None:
    daemon = begun(Daemon(code_location(url), instance, SENSORS))
    failed = run(daemon, "2021-02")
    (reaction,) = daemon.tick()["failed_runs"].dagster_run_reactions or ()
    assert reaction.dagster_run == failed.dagster_run
    error = str(reaction.error)
    assert "TAXI_NOTIFY_URL" in error
    assert SECRET not in error
    assert not daemon.tick()["failed_runs"].dagster_run_reactions  # Dagster moves on


def test_a_backfill_that_could_not_be_told_of_is_tried_again(
    instance: dg.DagsterInstance,
) -> None:
    with receiving(500) as (refusing, _), receiving() as (url, received):
        daemon = begun(Daemon(code_location(refusing), instance, SENSORS))
        backfilled(daemon, [], BulkActionStatus.COMPLETED_SUCCESS, 10)
        with pytest.raises(Exception, match="TAXI_NOTIFY_URL"):
            daemon.tick()
        daemon.definitions = code_location(url)
        daemon.tick()
        daemon.tick()
    assert len(received) == 1
