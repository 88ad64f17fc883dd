"""The inventory of failed months and the reminder of them, on an instance without a daemon."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from taxi_pipeline.assets.tags import ACCEPT_FEWER_ROWS
from taxi_pipeline.automation.failures import failed_months, failed_partitions, run_again
from taxi_pipeline.definitions import build_definitions
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.lake.raw import REPLACE_RAW
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline_tests.support.http import receiving

MONTHS = dg.MonthlyPartitionsDefinition("2020-01", end_date="2022-01", fmt="%Y-%m")
NOON = datetime(2026, 11, 20, 17, tzinfo=UTC)
FAILS = "test/fails"


def asset(path: str, *deps: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """Return an asset of months that fails in a run whose tag names it."""

    @dg.asset(key=path.split("/"), deps=deps, partitions_def=MONTHS)
    def made(context: dg.AssetExecutionContext) -> None:
        if context.run.tags.get(FAILS) == path:
            raise dg.Failure("broken")

    return made


@dataclass
class Clock:
    now: datetime = NOON


CLOCK = Clock()


@cache
def code_location() -> dg.Definitions:
    """Return a job with months and three assets, one with one asset, and one without months."""
    raw = asset("raw/trips")
    cleaned = asset("cleaned/trips", raw)
    table = asset("table/trips", cleaned)
    daily = asset("table/daily", table)

    @dg.asset(key=["raw", "zones"])
    def zones() -> None:
        raise dg.Failure("broken")

    jobs = {"trips": [raw, cleaned, table], "daily": [daily], "zones": [zones]}
    return dg.Definitions(
        assets=[raw, cleaned, table, daily, zones],
        jobs=[dg.define_asset_job(name, group) for name, group in jobs.items()],
        sensors=[failed_months(lambda: CLOCK.now)],
        resources={"notifier": Notifier()},
    )


def run(
    instance: dg.DagsterInstance,
    job: str,
    month: str | None,
    fails: str = "",
    assets: list[dg.AssetKey] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    done = (
        code_location()
        .resolve_job_def(job)
        .execute_in_process(
            instance=instance,
            partition_key=month,
            tags={FAILS: fails, **(tags or {})},
            raise_on_error=False,
            asset_selection=assets,
        )
    )
    assert done.success is not bool(fails)


def found(instance: dg.DagsterInstance) -> list[tuple[str, list[str]]]:
    failed = failed_partitions(instance, code_location().resolve_all_job_defs())
    return [(str(one), [asset.to_user_string() for asset in one.assets]) for one in failed]


def tick(
    instance: dg.DagsterInstance, now: datetime, cursor: str | None = None, url: str = ""
) -> SensorExecutionData:
    CLOCK.now = now
    with dg.build_sensor_context(
        instance, cursor, definitions=code_location(), resources={"notifier": Notifier(url=url)}
    ) as context:
        return code_location().resolve_sensor_def("failed_months").evaluate_tick(context)


def test_what_failed_is_run_again_from_the_first_asset_that_failed(
    instance: dg.DagsterInstance,
) -> None:
    assert found(instance) == []
    run(instance, "trips", "2021-01", "raw/trips")
    run(instance, "trips", "2021-02", "table/trips")
    run(instance, "trips", "2020-03", "cleaned/trips")
    run(instance, "trips", "2021-04")
    run(instance, "daily", "2021-02", "table/daily")
    run(instance, "zones", None, "zones")
    later = ["cleaned/trips", "table/trips"]  # raw is in the lake, whoever put it there
    assert found(instance) == [
        ("daily 2021-02", ["table/daily"]),
        ("trips 2020-03", later),
        ("trips 2021-01", ["raw/trips", *later]),
        ("trips 2021-02", later),
    ]


def test_what_a_person_asked_the_failed_run_for_is_asked_for_again(
    instance: dg.DagsterInstance,
) -> None:
    asked = {REPLACE_RAW: "true", "team": "hers"}
    run(instance, "trips", "2021-01", "raw/trips", tags=asked)
    run(instance, "trips", "2021-02", "table/trips", tags={ACCEPT_FEWER_ROWS: "true"})
    run(instance, "trips", "2021-03", "table/trips")
    run(instance, "zones", None, "zones", tags=asked)
    failed = failed_partitions(instance, code_location().resolve_all_job_defs())
    assert [(one.key, one.tags) for one in failed] == [
        ("2021-01", {REPLACE_RAW: "true"}),
        ("2021-02", {ACCEPT_FEWER_ROWS: "true"}),
        ("2021-03", {}),
    ]
    run(instance, "trips", "2021-01", "cleaned/trips")  # of its last run alone
    (first, *_) = failed_partitions(instance, code_location().resolve_all_job_defs())
    assert (first.key, first.tags) == ("2021-01", {})


def test_a_month_that_succeeded_later_has_not_failed(instance: dg.DagsterInstance) -> None:
    run(instance, "trips", "2021-01", "cleaned/trips")
    run(instance, "trips", "2021-02", "cleaned/trips")
    run(instance, "trips", "2021-01")
    assert [failed for failed, _ in found(instance)] == ["trips 2021-02"]
    run(instance, "trips", "2021-01", "raw/trips")
    assert [failed for failed, _ in found(instance)] == ["trips 2021-01", "trips 2021-02"]


def test_what_was_made_of_anothers_object_since_raw_failed_needs_no_raw(
    instance: dg.DagsterInstance,
) -> None:
    later = [dg.AssetKey(["cleaned", "trips"]), dg.AssetKey(["table", "trips"])]
    run(instance, "trips", "2021-01", "raw/trips")
    run(instance, "trips", "2021-01", "table/trips", later)
    assert found(instance) == [("trips 2021-01", ["cleaned/trips", "table/trips"])]
    run(instance, "trips", "2021-01", "", later)
    assert found(instance) == []
    run(instance, "trips", "2021-01", "raw/trips")
    assert found(instance) == [("trips 2021-01", ["raw/trips", "cleaned/trips", "table/trips"])]


def test_a_month_that_is_run_again_has_not_failed_until_its_run_has(
    instance: dg.DagsterInstance,
) -> None:
    run(instance, "trips", "2021-01", "raw/trips")
    job = code_location().resolve_job_def("trips")
    again = instance.create_run_for_job(job, tags={"dagster/partition": "2021-01"})
    assert found(instance) == []
    instance.report_run_failed(again)
    assert [failed for failed, _ in found(instance)] == ["trips 2021-01"]


def test_people_are_reminded_once_a_day_from_8_in_new_york(instance: dg.DagsterInstance) -> None:
    run(instance, "trips", "2021-01", "raw/trips")
    run(instance, "daily", "2021-02", "table/daily")
    cursor = None
    reminded = []
    with receiving() as (url, received):
        for now in (
            datetime(2026, 10, 30, 11, 59, tzinfo=UTC),  # 7:59, in summer
            datetime(2026, 10, 30, 12, 0, tzinfo=UTC),
            datetime(2026, 10, 30, 12, 10, tzinfo=UTC),
            datetime(2026, 10, 31, 3, 59, tzinfo=UTC),  # still the 30th there
            datetime(2026, 10, 31, 4, 0, tzinfo=UTC),
            datetime(2026, 10, 31, 12, 0, tzinfo=UTC),
            datetime(2026, 11, 1, 12, 30, tzinfo=UTC),  # 7:30, in winter since 2:00
            datetime(2026, 11, 1, 13, 0, tzinfo=UTC),
            datetime(2026, 11, 2, 13, 0, tzinfo=UTC),
        ):
            before = len(received)
            cursor = tick(instance, now, cursor, url).cursor
            reminded.append(len(received) - before)
    assert reminded == [0, 1, 0, 0, 0, 1, 0, 1, 1]
    assert cursor == "2026-11-02"
    assert {message["title"] for message in received} == {"2 failed months"}
    assert received[0]["message"].splitlines() == [
        "daily: 2021-02",
        "trips: 2021-01",
        "Run them again when they can succeed: taxi retry-failed",
    ]


def test_every_tick_says_what_has_failed(instance: dg.DagsterInstance) -> None:
    run(instance, "trips", "2021-01", "raw/trips")
    early = datetime(2026, 11, 20, 5, tzinfo=UTC)
    with receiving() as (url, _):
        told = [
            tick(instance, NOON),
            tick(instance, early, None, url),
            tick(instance, NOON, None, url),
            tick(instance, NOON, "2026-11-20", url),
        ]
    assert [ticked.skip_message for ticked in told] == [
        f"1 failed month ({whom}). trips: 2021-01."
        for whom in (
            "nobody is told, since TAXI_NOTIFY_URL is not set",
            "people are told from 8:00 on, in New York",
            "people were told now",
            "people were told today",
        )
    ]
    assert [ticked.cursor for ticked in told] == [None, None, "2026-11-20", "2026-11-20"]


def test_nobody_is_told_where_nothing_failed(instance: dg.DagsterInstance) -> None:
    run(instance, "trips", "2021-01")
    with receiving() as (url, received):
        ticked = tick(instance, NOON, "2026-11-19", url)
    assert received == []
    assert ticked.skip_message == "No month has failed."
    assert ticked.cursor == "2026-11-19"


def test_a_reminder_that_could_not_be_sent_is_sent_at_the_next_tick(
    instance: dg.DagsterInstance,
) -> None:
    run(instance, "trips", "2021-01", "raw/trips")
    with receiving(500) as (url, _), pytest.raises(TransientError):
        tick(instance, NOON, None, url)
    with receiving() as (url, received):
        tick(instance, NOON, None, url)
    assert len(received) == 1


def test_a_long_list_is_cut(instance: dg.DagsterInstance) -> None:
    job = code_location().resolve_job_def("trips")
    for month in MONTHS.get_partition_keys():
        queued = instance.create_run_for_job(job, tags={"dagster/partition": month})
        instance.report_run_failed(queued)
    with receiving() as (url, received):
        tick(instance, NOON, None, url)
    listed = received[0]["message"].splitlines()[0]
    assert listed == f"trips: {', '.join(MONTHS.get_partition_keys()[:12])} and 12 more"
    assert received[0]["title"] == "24 failed months"


@pytest.mark.parametrize(
    ("automation", "told", "status"),
    [
        ("off", "", dg.DefaultSensorStatus.STOPPED),
        ("on", "", dg.DefaultSensorStatus.RUNNING),
        ("off", "json://127.0.0.1", dg.DefaultSensorStatus.RUNNING),
    ],
)
def test_the_reminder_runs_where_there_is_automation_or_somebody_to_tell(
    monkeypatch: pytest.MonkeyPatch, automation: str, told: str, status: dg.DefaultSensorStatus
) -> None:
    monkeypatch.setenv("TAXI_AUTOMATION", automation)
    monkeypatch.setenv("TAXI_NOTIFY_URL", told)
    sensor = build_definitions().resolve_sensor_def("failed_months")
    assert sensor.default_status is status
    assert sensor.minimum_interval_seconds == 600


def test_a_webserver_that_does_not_answer_is_named(instance: dg.DagsterInstance) -> None:
    run(instance, "trips", "2021-01", "raw/trips")
    (failed,) = failed_partitions(instance, code_location().resolve_all_job_defs())
    with receiving() as (url, _):
        gone = url.replace("json://", "http://").rstrip("/")
    with pytest.raises(
        PermanentError,
        match=r"does not answer at .* start it .make dev., or set TAXI_DAGSTER_API_URL",
    ):
        run_again(failed, gone)


def test_a_server_that_is_not_dagsters_is_named(instance: dg.DagsterInstance) -> None:
    run(instance, "trips", "2021-01", "raw/trips")
    (failed,) = failed_partitions(instance, code_location().resolve_all_job_defs())
    with receiving(404) as (url, _):
        other = url.replace("json://", "http://").rstrip("/")
        with pytest.raises(PermanentError, match=f"at {other} did not launch trips 2021-01: "):
            run_again(failed, other)
