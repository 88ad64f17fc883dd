"""The newest due month that a table lacks: a failed check and a message, on the real stores."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.definitions.sensor_definition import SensorExecutionData

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.automation.due_months import due_months
from taxi_pipeline.checks.results import MATCHES_LAKE
from taxi_pipeline.definitions import build_definitions
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.conftest import Platform, Publish
from taxi_pipeline_tests.support.http import receiving, status
from taxi_pipeline_tests.support.source_files import MIRRORED, csv_gz, in_month

NEW_YORK = ZoneInfo("America/New_York")
JOB = YELLOW.trips.name
THERE, DUE = "2019-03", "2019-04"
FILE = csv_gz(*[in_month(DUE)] * 30)
UI = "https://dagster.example.org"


@pytest.fixture(scope="module", autouse=True)
def _loaded(platform: Platform) -> None:
    """Load one month of yellow; the other services' tables are in nobody's use."""
    platform.load("yellow", THERE)


@pytest.fixture(autouse=True)
def _missing(platform: Platform) -> Iterator[None]:
    """Take the due month out of both tables again, if a test has loaded it."""
    yield
    for sink in platform.resources.sinks.values():
        platform.execute(
            sink,
            f"DELETE FROM {sink.sql_name(YELLOW.trips)} "
            "WHERE pickup_datetime >= '2019-04-01' AND pickup_datetime < '2019-05-01'",
        )


@dataclass
class Ticks:
    """The sensor on a publisher of these files, evaluated at a time in New York."""

    platform: Platform
    url: str
    cursor: str | None = None

    def at(self, time: str) -> SensorExecutionData:
        clock = datetime.fromisoformat(time).replace(tzinfo=NEW_YORK)
        notifier = Notifier(url=self.url)
        resources = {**self.platform.resources.by_name(), "notifier": notifier}
        definitions = dg.Definitions(
            sensors=[due_months(SINKS, MATCHES_LAKE, lambda: clock)], resources=resources
        )
        with dg.build_sensor_context(
            self.platform.instance, self.cursor, definitions=definitions, resources=resources
        ) as context:
            ticked = definitions.resolve_sensor_def("due_months").evaluate_tick(context)
        self.cursor = ticked.cursor
        return ticked


def failed(ticked: SensorExecutionData) -> Mapping[str, tuple[str, str]]:
    """Return the severity of each table's check, and what it says."""
    found = {}
    for event in ticked.asset_events:
        assert isinstance(event, dg.AssetCheckEvaluation)
        assert (event.check_name, event.partition, event.passed) == (MATCHES_LAKE, DUE, False)
        found[event.asset_key.to_user_string()] = (event.severity.value, event.description or "")
    return found


def test_a_table_that_has_the_month_is_well_and_one_that_nobody_uses_is_left_alone(
    publish: Publish,
) -> None:
    ticked = Ticks(publish({})[0], "").at("2019-05-26 09:00")
    assert ticked.skip_message == f"2 tables that are in use have {THERE}."
    assert ticked.asset_events == []


@pytest.mark.parametrize(
    ("time", "due"),
    [
        ("2019-06-25 09:00", THERE),  # the schedules' runs have a day
        ("2019-06-26 08:00", DUE),
        ("2019-07-25 23:00", DUE),
    ],
)
def test_a_month_is_due_a_day_after_the_schedules_have_asked_for_it(
    publish: Publish, time: str, due: str
) -> None:
    said = Ticks(publish({})[0], "").at(time).skip_message or ""
    assert due in said
    assert said.startswith("yellow_bigquery: ") is (due == DUE)


@pytest.mark.parametrize(
    ("schedule", "time", "said"),
    [
        ("0 6 25 6 *", "2020-05-01 09:00", f"{DUE} was due on 2019-06-25 "),
        ("0 6 29 2 *", "2023-06-26 09:00", "2019-12 was due on 2020-02-29 "),
        ("0 6 * * 1", "2019-06-26 09:00", f"{DUE} was due on 2019-06-03 "),
        ("0 6 1,25 * *", "2019-06-26 09:00", f"{DUE} was due on 2019-06-01 "),
    ],
)
def test_a_month_was_due_when_the_schedules_first_asked_for_it_however_long_ago(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, schedule: str, time: str, said: str
) -> None:
    monkeypatch.setenv("TAXI_SCHEDULE", schedule)
    assert said in (Ticks(publish({})[0], "").at(time).skip_message or "")


def test_it_is_looked_at_once_a_day_from_8_on(publish: Publish) -> None:
    ticks = Ticks(publish({})[0], "")
    early = "The tables are looked at once a day, from 8:00 on."
    assert ticks.at("2019-06-26 07:59").skip_message == early
    assert len(ticks.at("2019-06-26 08:00").asset_events) == 2
    assert ticks.at("2019-06-26 08:10").skip_message == early


def test_who_waits_for_tlc_is_told_once_and_each_day_of_a_month_that_is_published(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXI_DAGSTER_URL", UI)
    late = f"{DUE} was due on 2019-06-25 and is not there: TLC has not published it yet."
    missing = f"{DUE} was due on 2019-06-25 and is not there, although it is published."
    with receiving() as (url, received):
        ticks = Ticks(publish({})[0], url)
        both = dict.fromkeys(("yellow_bigquery", "yellow_postgres"), ("WARN", late))
        assert failed(ticks.at("2019-06-26 09:00")) == both
        assert failed(ticks.at("2019-06-27 09:00")) == both
        assert len(received) == 1
        ticks.platform = publish({MIRRORED.format(DUE): FILE})[0]
        for day in ("2019-06-28", "2019-06-29"):
            ticked = ticks.at(f"{day} 09:00")
            assert failed(ticked) == dict.fromkeys(both, ("ERROR", missing))
    assert [message["title"] for message in received] == [f"2 tables lack {DUE}"] * 3
    assert received[-1]["message"].splitlines() == [
        f"yellow_bigquery: {missing}",
        f"yellow_postgres: {missing}",
        f"{UI}/assets",
    ]


def test_who_waits_for_tlc_is_told_once_a_month_where_the_schedules_ask_daily(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXI_SCHEDULE", "0 6 * * *")
    with receiving() as (url, received):
        ticks = Ticks(publish({})[0], url)
        for day in ("2019-06-10", "2019-06-11", "2019-06-30"):
            (severity, description), *_ = failed(ticks.at(f"{day} 09:00")).values()
            assert severity == "WARN"
            assert description.startswith(f"{DUE} was due on 2019-06-01 ")
        assert len(received) == 1
        ticks.at("2019-07-02 09:00")  # the next month
    assert [message["title"] for message in received] == [
        f"2 tables lack {DUE}",
        "2 tables lack 2019-05",
    ]


def test_a_publisher_that_cannot_be_asked_is_no_reason_to_wait_for_it(publish: Publish) -> None:
    away = {MIRRORED.format(DUE): status(503)}
    found = failed(Ticks(publish(away)[0], "").at("2019-06-26 09:00"))
    severity, description = found["yellow_postgres"]
    assert severity == "ERROR"
    assert "is not there, and the publisher could not be asked for it: http" in description


def test_a_table_that_has_got_the_month_is_well_while_another_lacks_it(publish: Publish) -> None:
    platform, _ = publish({MIRRORED.format(DUE): FILE})
    platform.load("yellow", DUE)
    platform.execute(
        platform.resources.bigquery,
        f"DELETE FROM {platform.resources.bigquery.sql_name(YELLOW.trips)} "
        "WHERE pickup_datetime >= '2019-04-01' AND pickup_datetime < '2019-05-01'",
    )
    assert [*failed(Ticks(platform, "").at("2019-06-26 09:00"))] == ["yellow_bigquery"]


def test_the_months_check_fails_in_dagster_until_its_run_has_loaded_it(publish: Publish) -> None:
    platform, _ = publish({MIRRORED.format(DUE): FILE})
    check = dg.AssetCheckKey(asset_key(JOB, "postgres"), MATCHES_LAKE)
    assert check in build_definitions().resolve_asset_graph().asset_check_keys

    def passed() -> bool:
        history = platform.instance.event_log_storage.get_asset_check_execution_history(check, 1)
        (record,) = history
        assert record.event
        assert record.event.dagster_event
        evaluation = record.event.dagster_event.asset_check_evaluation_data
        assert evaluation.partition == DUE
        return evaluation.passed

    platform.load("yellow", DUE)
    platform.execute(platform.resources.postgres, "TRUNCATE tlc.yellow_trips_2019_04")
    for event in Ticks(platform, "").at("2019-06-26 09:00").asset_events:
        platform.instance.report_runless_asset_event(event)
    assert not passed()
    assert platform.run(JOB, DUE).success
    assert passed()
