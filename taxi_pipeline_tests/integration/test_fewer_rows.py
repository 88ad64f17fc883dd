"""Months that shrink: what warns, what no table gets, and how a person lets it through."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.tags import ACCEPT_FEWER_ROWS
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.ledger import Entry
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.conftest import Platform, Publish, with_resources
from taxi_pipeline_tests.support.lake import overwrite
from taxi_pipeline_tests.support.results import (
    AS_BEFORE,
    EVERY_ROW,
    SINK_LAYERS,
    evaluations,
    failure_of,
)
from taxi_pipeline_tests.support.source_files import MIRRORED, csv_gz, in_month

JOB = YELLOW.trips.name
CHECKS_JOB = f"{JOB}_checks"  # the checks and nothing else
ALL_DAYS = range(1, 31)


@pytest.fixture(autouse=True)
def compared_months() -> None:
    """Compare the months, which are this file's alone."""


def published(month: str, rows: int, days: Iterable[int] = ALL_DAYS) -> dict[str, bytes]:
    """Return a month's file with so many rows, spread over the days in order."""
    days = list(days)
    lines = [
        in_month(month).replace(f"{month}-15", f"{month}-{days[row * len(days) // rows]:02}")
        for row in range(rows)
    ]
    return {MIRRORED.format(month): csv_gz(*lines)}


def rows_in_tables(entry: Entry) -> tuple[int | None, ...]:
    return tuple(tally.rows if tally else None for tally in entry.tables.values())


def judged(result: dg.ExecuteInProcessResult) -> tuple[bool, dg.AssetCheckSeverity, str]:
    found = evaluations(result)[AS_BEFORE]
    return found.passed, found.severity, found.description or ""


WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


def test_half_a_month_is_loaded_and_warns(publish: Publish) -> None:
    month = "2016-06"
    whole, _ = publish(published(month, 600))
    first = whole.run(JOB, month)
    assert first.success
    assert judged(first)[0]
    half, _ = publish(published(month, 300, range(1, 16)))
    result = half.run(JOB, month)
    assert result.success
    passed, severity, said = judged(result)
    assert (passed, severity) == (False, WARN)
    assert "The month has 300 trips, the tables 600: 50.0% fewer." in said
    assert "No trips on 15 days of the month: 16, 17, 18, " in said
    assert "TAXI_FEWER_ROWS_SHARE" in said
    assert rows_in_tables(half.entry("yellow", month)) == (300, 300)
    # the tables have no more by now; the days are as they were
    passed, severity, said = judged(half.run(CHECKS_JOB, month))
    assert (passed, severity) == (False, WARN)
    assert "fewer" not in said.partition(" Up to ")[0]
    assert "No trips on 15 days" in said


@pytest.mark.parametrize("rows", [0, 59], ids=["a header alone", "less than a tenth"])
def test_next_to_nothing_reaches_no_table_until_somebody_lets_it(
    publish: Publish, rows: int
) -> None:
    month = "2016-09" if rows else "2016-12"
    whole, _ = publish(published(month, 600))
    whole.load("yellow", month)
    shrunk, _ = publish(published(month, rows))
    for _ in range(2):  # judged by the tables, so a second run is judged the same
        result = shrunk.run(JOB, month)
        assert [event.step_key for event in result.get_step_failure_events()] == [
            "yellow_cleaned_checks"
        ]
        assert shrunk.will_retry(result) is False
        passed, severity, said = judged(result)
        assert (passed, severity) == (False, ERROR)
        assert f"The month has {rows} trips, the tables 600: " in said
        assert '"taxi/accept_fewer_rows": "true"' in said
        assert evaluations(result)[EVERY_ROW].passed
        entry = shrunk.entry("yellow", month)
        assert rows_in_tables(entry) == (600, 600)
        assert not entry.adds_up
    for layer in SINK_LAYERS:  # alone, without the checks of what was cleaned
        alone = shrunk.run(JOB, month, [asset_key(JOB, layer)])
        assert f"The month has {rows} trips, the tables 600: " in failure_of(alone)
        assert shrunk.will_retry(alone) is False
    assert rows_in_tables(shrunk.entry("yellow", month)) == (600, 600)
    result = shrunk.run(JOB, month, tags={ACCEPT_FEWER_ROWS: "true"})
    assert result.success
    passed, severity, said = judged(result)
    assert (passed, severity) == (False, WARN)
    assert "The tag taxi/accept_fewer_rows lets it through." in said
    entry = shrunk.entry("yellow", month)
    assert entry.adds_up
    assert rows_in_tables(entry) == (rows, rows)


def test_a_month_let_through_can_be_run_again(publish: Publish) -> None:
    month = "2016-03"
    lone, _ = publish(published("2016-02", 600, range(1, 29)))
    lone.load("yellow", "2016-02")
    few, _ = publish(published(month, 5))
    result = few.run(JOB, month)
    assert judged(result)[:2] == (False, ERROR)
    assert rows_in_tables(few.entry("yellow", month)) == (None, None)
    assert few.run(JOB, month, tags={ACCEPT_FEWER_ROWS: "true"}).success
    # the tables have as few already: there is nothing left to save
    again = few.run(JOB, month)
    assert again.success
    assert judged(again)[:2] == (False, WARN)
    assert judged(few.run(CHECKS_JOB, month))[:2] == (False, WARN)


def test_the_smaller_neighbour_counts_and_a_twelfth_of_it_is_a_month(publish: Publish) -> None:
    months = {"2015-06": 4000, "2015-08": 500}
    for month, rows in months.items():
        neighbour, _ = publish(published(month, rows))
        neighbour.load("yellow", month)
    # of 500 it is a hundredth, of 4,000 less; as in 2020-04 of 2020-03, there is a month
    little, _ = publish(published("2015-07", 40))
    result = little.run(JOB, "2015-07")
    assert result.success
    passed, severity, said = judged(result)
    assert (passed, severity) == (False, WARN)
    assert "The month has 40 trips, 2015-08 500: 92.0% fewer." in said
    assert "2015-06" not in said
    nothing, _ = publish(published("2015-07", 3))
    blocked = nothing.run(JOB, "2015-07")
    assert judged(blocked)[:2] == (False, ERROR)
    assert "The month has 3 trips, 2015-08 500: 99.4% fewer." in judged(blocked)[2]
    assert rows_in_tables(nothing.entry("yellow", "2015-07")) == (40, 40)


def test_the_larger_table_counts_and_either_alone(publish: Publish, platform: Platform) -> None:
    month = "2016-05"
    whole, _ = publish(published(month, 600))
    whole.load("yellow", month)
    few, _ = publish(published(month, 3))
    platform.bigquery(
        f"DELETE FROM {JOB} WHERE pickup_datetime >= '2016-05-01' "
        "AND pickup_datetime < '2016-06-01'"
    )
    assert judged(few.run(JOB, month))[:2] == (False, ERROR)
    assert rows_in_tables(few.entry("yellow", month)) == (None, 600)

    whole.load("yellow", month)
    away = Postgres(url="postgresql://nobody:x@127.0.0.1:1/nothing", connect_timeout=2)
    without = with_resources(few, postgres=away).resources
    result = replace(few, resources=without).run(JOB, month)
    passed, severity, said = judged(result)
    assert (passed, severity) == (False, ERROR)
    assert said.endswith(" Postgres did not say how many it has.")
    assert rows_in_tables(few.entry("yellow", month)) == (600, 600)


def test_where_no_table_can_be_asked_nothing_is_judged(publish: Publish) -> None:
    month = "2016-07"
    platform, _ = publish(published(month, 10))
    warehouse = platform.resources.bigquery
    away = {
        "postgres": Postgres(url="postgresql://nobody:x@host:port/nothing"),
        "bigquery": BigQuery(project=warehouse.project, dataset="no-dataset"),
    }
    resources = with_resources(platform, **away).resources
    result = replace(platform, resources=resources).run(JOB, month)
    assert failure_of(result).startswith("TAXI_DATASET: 'no-dataset' is not a dataset's name")
    assert evaluations(result) == {}


def test_any_other_value_of_the_tag_is_refused(publish: Publish) -> None:
    month = "2016-01"
    platform, _ = publish(published(month, 10))
    result = platform.run(JOB, month, tags={ACCEPT_FEWER_ROWS: "yes"})
    assert failure_of(result) == (
        "The tag taxi/accept_fewer_rows has the value 'yes': give it the value true, or leave it "
        "out."
    )
    assert rows_in_tables(platform.entry("yellow", month)) == (None, None)


def test_a_share_that_is_set_is_the_one_that_counts(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    month = "2016-11"
    whole, _ = publish(published(month, 100))
    whole.load("yellow", month)
    less, _ = publish(published(month, 70))
    monkeypatch.setenv("TAXI_FEWER_ROWS_SHARE", "0.3")
    result = less.run(JOB, month)
    assert result.success
    assert judged(result)[0]
    monkeypatch.setenv("TAXI_FEWER_ROWS_SHARE", "30%")
    refused = less.run(CHECKS_JOB, month)
    assert "TAXI_FEWER_ROWS_SHARE: '30%' is not a share" in failure_of(refused)


def test_trips_that_say_nothing_of_their_days_are_not_judged_by_them(
    publish: Publish, tmp_path: Path
) -> None:
    month = "2015-11"
    platform, _ = publish(published(month, 600, range(1, 16)))
    assert "No trips on 15 days" in judged(platform.run(JOB, month))[2]
    lake = platform.resources.lake
    (cleaned,) = lake.find(object_paths(YELLOW, Month.parse(month)).cleaned)
    path = lake.download(cleaned, tmp_path)
    before = {key: said for key, said in cleaned.metadata.items() if key != "days_without_trips"}
    overwrite(lake, path, cleaned.name, before)
    assert judged(platform.run(CHECKS_JOB, month))[0]
