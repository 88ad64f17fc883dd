"""The mart of daily trips: its figures, counted anew from the lake, and what a run touches."""

import json
import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from taxi_pipeline.assets.keys import table_of
from taxi_pipeline.cli import main
from taxi_pipeline.io.google import GoogleBigQuery
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.ledger import read_ledger
from taxi_pipeline.marts import DAILY_TRIPS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, Service
from taxi_pipeline_tests.conftest import Platform, Publish, with_resources
from taxi_pipeline_tests.support.job_execute import job_execute
from taxi_pipeline_tests.support.results import evaluations, failure_of
from taxi_pipeline_tests.support.source_files import MIRRORED, csv_gz, in_month

JOB = DAILY_TRIPS.name
TIPS = {"yellow": "tip_amount", "green": "tip_amount", "fhvhv": "tips"}

type Days = dict[
    tuple[str, date], tuple[int, float | None, float | None, float | None, float | None]
]


def days_of(platform: Platform, month: str) -> Days:
    """Return the mart's rows of a month: trips, revenue, distance, tips and minutes."""
    rows = platform.bigquery(
        f"SELECT * FROM {JOB} WHERE FORMAT_DATE('%Y-%m', day) = '{month}' ORDER BY day, service"
    )
    found = {(service, day): (trips, *figures) for service, day, trips, *figures in rows}
    assert len(found) == len(rows)
    return found


def counted(platform: Platform, services: Iterable[Service], month: str, folder: Path) -> Days:
    """Count a month's days anew from the lake, by pandas."""
    found: Days = {}
    for service in services:
        (cleaned,) = platform.resources.lake.find(object_paths(service, Month.parse(month)).cleaned)
        path = platform.resources.lake.download(cleaned, folder)
        trips = pq.read_table(path).to_pandas()
        for day, group in trips.groupby(trips["pickup_datetime"].dt.date):
            dollars, miles, tips = (
                group[column].dropna() if column else pd.Series(dtype="float64")
                for column in (service.total, service.distance, TIPS.get(service.name))
            )
            times = (group["dropoff_datetime"] - group["pickup_datetime"]).dropna()
            minutes = times.dt.total_seconds() / 60
            found[service.name, day] = (
                len(group),
                round(math.fsum(dollars), 2) if len(dollars) else None,
                miles.median() if len(miles) else None,
                round(math.fsum(tips), 2) if len(tips) else None,
                minutes.median() if len(minutes) else None,
            )
    return found


def assert_same(found: Days, expected: Days) -> None:
    assert found.keys() == expected.keys()
    for key, (trips, revenue, distance, tips, minutes) in expected.items():
        # pandas may take the middle between two numbers by another formula
        miles, times = (
            None if median is None else pytest.approx(median, rel=1e-12)
            for median in (distance, minutes)
        )
        assert found[key] == (trips, revenue, miles, tips, times), key


def materialized(result: dg.ExecuteInProcessResult) -> dg.AssetMaterialization:
    assert result.success
    (event,) = result.get_asset_materialization_events()
    return event.materialization


def test_a_months_figures_are_those_of_the_lake_and_the_ledger(
    platform: Platform, tmp_path: Path
) -> None:
    month = "2023-08"
    for service in SERVICES.values():
        platform.load(service.name, month)
    assert platform.run(JOB, month).success
    found = days_of(platform, month)
    assert_same(found, counted(platform, SERVICES.values(), month, tmp_path))
    assert len(found) == 4 * 31
    for service in SERVICES.values():
        tally = platform.entry(service.name, month).tables[BigQuery]
        assert tally
        mine = [figures for (name, _), figures in found.items() if name == service.name]
        assert sum(trips for trips, *_ in mine) == tally.rows
        revenue = [dollars for _, dollars, *_ in mine if dollars is not None]
        assert (round(math.fsum(revenue), 2) if revenue else None) == tally.total
        assert any(distance for _, _, distance, *_ in mine) == bool(service.distance)
        assert any(tips for *_, tips, _ in mine) == (service.name in TIPS)
        assert all(minutes for *_, minutes in mine)


def test_a_second_run_ends_the_same(platform: Platform) -> None:
    month = "2014-06"
    platform.load("green", month)
    first = materialized(platform.run(JOB, month))
    found = days_of(platform, month)
    second = materialized(platform.run(JOB, month))
    assert days_of(platform, month) == found
    rows = {said.metadata["dagster/partition_row_count"].value for said in (first, second)}
    assert rows == {len(found)} == {30}


def test_what_a_materialization_says(platform: Platform) -> None:
    month = "2014-03"
    platform.load("green", month)
    result = platform.run(JOB, month)
    said = materialized(result).metadata
    assert materialized(result).partition == month
    assert said["dagster/partition_row_count"].value == 31
    assert said["dagster/uri"].value == platform.resources.bigquery.uri(DAILY_TRIPS.table)
    seconds, preview, lineage = said["seconds"], said["preview"], said["dagster/column_lineage"]
    assert isinstance(seconds, dg.FloatMetadataValue)
    assert seconds.value
    assert isinstance(preview, dg.TableMetadataValue)
    assert [record.data["day"] for record in preview.records] == [
        f"{month}-0{day}" for day in range(1, 6)
    ]
    assert isinstance(said["picture"], dg.MarkdownMetadataValue)
    assert "data:image/png;base64," in (said["picture"].md_str or "")
    assert isinstance(lineage, dg.TableColumnLineageMetadataValue)
    assert {
        column: {(table_of(dep.asset_key), dep.column_name) for dep in deps}
        for column, deps in lineage.column_lineage.deps_by_column.items()
    } == {
        "day": {(service.trips.name, "pickup_datetime") for service in SERVICES.values()},
        "revenue": {
            ("yellow_trips", "total_amount"),
            ("green_trips", "total_amount"),
            ("fhvhv_trips", "base_passenger_fare"),
        },
        "median_distance": {
            ("yellow_trips", "trip_distance"),
            ("green_trips", "trip_distance"),
            ("fhvhv_trips", "trip_miles"),
        },
        "tips": {(f"{service}_trips", column) for service, column in TIPS.items()},
        "median_minutes": {
            (service.trips.name, "dropoff_datetime") for service in SERVICES.values()
        },
    }


def test_the_table_is_described_and_partitioned_and_the_job_labelled(platform: Platform) -> None:
    month = "2014-04"
    assert platform.run(JOB, month).success  # twice: replacing a month keeps the descriptions
    result = platform.run(JOB, month)
    warehouse = platform.resources.bigquery
    with GoogleBigQuery(project=warehouse.project).get_client() as client:
        table = client.get_table(warehouse.uri(DAILY_TRIPS.table).removeprefix("bigquery://"))
        labels = [job.labels for job in client.list_jobs(max_results=20)]
    assert table.time_partitioning.type_ == "MONTH"
    assert table.time_partitioning.field == "day"
    assert table.description == DAILY_TRIPS.table.description
    assert {field.name: field.description for field in table.schema} == {
        column.name: column.description for column in DAILY_TRIPS.table.columns
    }
    assert {"mart": JOB, "purpose": "mart", "month": month, "run": result.run_id} in labels


def test_a_month_of_one_service_has_its_rows_alone(platform: Platform, tmp_path: Path) -> None:
    month = "2011-03"
    platform.load("yellow", month)
    assert platform.run(JOB, month).success
    expected = counted(platform, [SERVICES["yellow"]], month, tmp_path)
    assert_same(days_of(platform, month), expected)


def test_what_no_trip_has_is_null_and_not_nothing(platform: Platform, tmp_path: Path) -> None:
    month = "2021-06"  # of which fhvhv was published under fhv's header, without fares and miles
    platform.load("fhvhv", month)
    assert platform.run(JOB, month).success
    mine = {key: figures for key, figures in days_of(platform, month).items() if key[0] == "fhvhv"}
    assert_same(mine, counted(platform, [SERVICES["fhvhv"]], month, tmp_path))
    assert {figures[1:4] for figures in mine.values()} == {(None, None, None)}
    # or the month would not add up for the services that other tests load
    platform.bigquery(f"DELETE FROM {JOB} WHERE FORMAT_DATE('%Y-%m', day) = '{month}'")


def test_a_replaced_month_gets_new_figures_and_no_other_changes(publish: Publish) -> None:
    march, april = "2017-03", "2017-04"
    trip = {
        month: in_month(month, total_amount="10.01", tip_amount="1.25", trip_distance="3")
        for month in (march, april)
    }
    files = {MIRRORED.format(month): csv_gz(trip[month]) for month in (march, april)}
    platform, _ = publish(files)
    for month in (march, april):
        platform.load("yellow", month)
        assert platform.run(JOB, month).success
        day = date.fromisoformat(f"{month}-15")
        assert days_of(platform, month) == {("yellow", day): (1, 10.01, 3.0, 1.25, 362 / 60)}

    more = [
        trip[march],
        in_month(march, total_amount="-0.02", trip_distance="4"),
        in_month(march, total_amount="", trip_distance=""),
        in_month(march, total_amount="0.1", tip_amount="0.1", trip_distance="100"),
        in_month(march, total_amount="0.2", trip_distance="0"),
    ]
    files = {MIRRORED.format(march): csv_gz(*more), MIRRORED.format(april): csv_gz()}
    replaced, _ = publish(files)
    for month in (march, april):
        replaced.load("yellow", month)
    assert replaced.run(JOB, march).success
    of_march = {("yellow", date(2017, 3, 15)): (5, 10.29, 3.5, 1.35, 362 / 60)}
    assert days_of(replaced, march) == of_march
    assert len(days_of(replaced, april)) == 1  # as it was: nobody has run it
    assert replaced.run(JOB, april).success
    assert days_of(replaced, april) == {}
    assert days_of(replaced, march) == of_march


CHECK = ("bigquery", "matches_trips")
DIFFERS = "The mart daily_trips has {}, BigQuery {}: run daily_trips for the month."


def test_check_and_ledger_say_that_the_mart_is_older_than_its_tables(
    publish: Publish,
) -> None:
    month, path = "2017-06", MIRRORED.format("2017-06")
    trip = in_month(month, total_amount="10.01")
    platform, _ = publish({path: csv_gz(trip, trip)})
    platform.load("yellow", month)
    assert platform.entry("yellow", month).adds_up  # the mart's month is yet to come
    first = platform.run(JOB, month)
    assert first.success
    assert evaluations(first)[CHECK].passed
    assert evaluations(first)[CHECK].partition == month
    entry = platform.entry("yellow", month)
    assert entry.adds_up
    assert entry.marts == {JOB: entry.tables[BigQuery]}

    republished, _ = publish({path: csv_gz(trip, trip, in_month(month, total_amount="-0.02"))})
    republished.load("yellow", month)
    said = DIFFERS.format("2 trips", "3")
    assert republished.entry("yellow", month).problems == [said]
    shown = CliRunner().invoke(main, ["ledger", "--month", month])
    assert shown.exit_code == 1
    assert f"yellow {month}: {said}\n" in shown.stdout
    (check,) = evaluations(republished.run(f"{JOB}_checks", month)).values()
    assert not check.passed
    assert check.description == f"yellow: {said}"

    assert evaluations(republished.run(JOB, month))[CHECK].passed
    assert republished.entry("yellow", month).adds_up
    as_json = CliRunner().invoke(main, ["ledger", "--month", month, "--json"])
    (shown_entry,) = json.loads(as_json.stdout)
    assert (shown_entry["daily_trips"], shown_entry["total_daily_trips"]) == (3, 20.0)


def test_a_mart_that_was_tampered_with_is_caught_to_the_cent(
    platform: Platform, publish: Publish
) -> None:
    month, path = "2017-12", MIRRORED.format("2017-12")
    yellow, _ = publish({path: csv_gz(in_month(month, total_amount="10.01"))})
    of_month = f"FORMAT_DATE('%Y-%m', day) = '{month}'"
    yellow.load("yellow", month)
    platform.load("green", month)
    for statement, said in (
        (f"UPDATE {JOB} SET revenue = 10.02 WHERE service = 'yellow' AND {of_month}",
         DIFFERS.format("a revenue of $10.02", "$10.01")),
        (f"UPDATE {JOB} SET revenue = CAST('inf' AS FLOAT64) WHERE service = 'yellow' "
         f"AND {of_month}",
         DIFFERS.format("a revenue of $10,000,000,000,000.00", "$10.01")),
        (f"DELETE FROM {JOB} WHERE service = 'yellow' AND {of_month}",
         DIFFERS.format("0 trips", "1")),
    ):  # fmt: skip
        assert evaluations(platform.run(JOB, month))[CHECK].passed
        platform.bigquery(statement)
        assert platform.entry("yellow", month).problems == [said]
        assert platform.entry("green", month).adds_up
        found = evaluations(platform.run(f"{JOB}_checks", month))[CHECK]
        assert not found.passed
        assert found.description == f"yellow: {said}"
    assert platform.run(JOB, month).success
    platform.bigquery(
        "DELETE FROM green_trips WHERE pickup_datetime >= '2017-12-01' "
        "AND pickup_datetime < '2018-01-01'"
    )
    emptied = platform.entry("green", month)
    assert emptied.problems[-1] == DIFFERS.format(f"{emptied.marts[JOB].rows:,} trips", "0")


def test_a_month_that_the_mart_does_not_have_fails_its_check(platform: Platform) -> None:
    month = "2014-09"
    platform.load("green", month)
    found = evaluations(platform.run(f"{JOB}_checks", month))[CHECK]
    assert not found.passed
    assert (found.description or "").startswith("green: The mart daily_trips has 0 trips, ")
    assert platform.entry("green", month).adds_up


def test_what_the_mart_alone_has_is_in_the_ledger(platform: Platform) -> None:
    platform.load("green", "2014-05")
    assert platform.run(JOB, "2014-05").success
    platform.bigquery(
        f"INSERT INTO {JOB} (service, day, trips) VALUES ('green', '2031-05-07', 9), "
        "('green', NULL, 1), (NULL, '2031-05-08', 1)"
    )
    try:
        month = Month(2031, 5)
        (entry,) = read_ledger(SERVICES["green"], platform.resources, month, month)
        assert entry.problems[-1] == DIFFERS.format("9 trips", "0")
        assert read_ledger(SERVICES["yellow"], platform.resources, month, month) == []
    finally:
        platform.bigquery(f"DELETE FROM {JOB} WHERE day >= '2031-05-07' OR day IS NULL")


def test_tables_that_are_not_there_yet_are_made(platform: Platform) -> None:
    there = platform.resources.bigquery
    empty = BigQuery(project=there.project, dataset="without_trips")
    with GoogleBigQuery(project=there.project).get_client() as client:
        client.create_dataset(empty.dataset)
        resources = with_resources(platform, bigquery=empty).resources
        said = materialized(replace(platform, resources=resources).run(JOB, "2021-01")).metadata
        tables = {table.table_id for table in client.list_tables(empty.dataset)}
    assert said["dagster/partition_row_count"].value == 0
    assert tables == {JOB, *(service.trips.name for service in SERVICES.values())}


@pytest.fixture(scope="module")
def with_a_month(platform: Platform) -> Platform:
    """Return a platform one of whose tables has a month: of none Dagster knows other errors."""
    assert platform.run("green_trips", "2014-06").success
    return platform


@pytest.mark.parametrize(
    ("month", "said"),
    [
        ("2008-12", "2008-12 is not a month of daily_trips: it has 2009-01 to 20"),
        ("2099-01", "2099-01 is not a month of daily_trips"),
        (None, "The job daily_trips needs a month, given as a tag: dagster job execute "),
    ],
)
def test_an_unknown_month_is_a_clear_failure(
    with_a_month: Platform, month: str | None, said: str
) -> None:
    result = with_a_month.run(JOB, month)
    assert not result.success
    (refused,) = [
        event.engine_event_data.error
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.RESOURCE_INIT_FAILURE
    ]
    assert refused
    assert refused.message.startswith(f"taxi_pipeline.errors.PermanentError: {said}")


def test_a_dataset_that_is_not_there_is_named(platform: Platform) -> None:
    nowhere = BigQuery(project=platform.resources.bigquery.project, dataset="nowhere")
    resources = with_resources(platform, bigquery=nowhere).resources
    failure = failure_of(replace(platform, resources=resources).run(JOB, "2021-01"))
    assert "Check TAXI_GCP_PROJECT and TAXI_DATASET" in failure


def test_the_job_runs_from_the_command_line(platform: Platform) -> None:
    platform.load("green", "2014-05")
    done = job_execute(JOB, "--tags", '{"dagster/partition": "2014-05"}')
    assert done.returncode == 0, done.stderr
    assert len(days_of(platform, "2014-05")) == 31
