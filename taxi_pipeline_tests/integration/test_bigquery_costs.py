"""What a query of ours may cost in BigQuery: the partitions it reads, its limit, its labels."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import sqlglot
from google.cloud import bigquery
from sqlglot import exp

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.google import GoogleBigQuery
from taxi_pipeline.marts import DAILY_TRIPS, MONTHLY_ZONE_REVENUE, TRIPS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN, SERVICES, TAXI_ZONES, Table
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.relays import Exchange, Point, http_relay, passing

JANUARY = Month(2021, 1)
LIMIT = 12_345_678
LABELS = {"purpose": "mart", "run": "a-run"}
# Each method that asks BigQuery by SQL.
QUERIES: dict[str, Callable[[BigQuery], object]] = {
    "tallies of a month": lambda each: each.tallies(GREEN.trips, GREEN.total, JANUARY, JANUARY),
    "tallies from a month on": lambda each: each.tallies(GREEN.trips, None, JANUARY),
    "tally": lambda each: each.tally(TAXI_ZONES),
    "stamps": lambda each: each.stamps(GREEN.trips),
    "column_tallies": lambda each: each.column_tallies(GREEN.trips, JANUARY),
    "fingerprint": lambda each: each.fingerprint(GREEN.trips, JANUARY),
    "mart_tallies": lambda each: each.mart_tallies(DAILY_TRIPS, GREEN, JANUARY, JANUARY),
    "query_month": lambda each: each.query_month(DAILY_TRIPS.query, JANUARY, LABELS),
    "query_month of the zones": lambda each: each.query_month(
        MONTHLY_ZONE_REVENUE.query, JANUARY, LABELS
    ),
    "replace_view": lambda each: each.replace_view(TRIPS),
    "replace_month_by_query": lambda each: each.replace_month_by_query(
        DAILY_TRIPS.table, JANUARY, DAILY_TRIPS.query, DAILY_TRIPS.sources, LABELS
    ),
}
PARTITIONED = {
    table.name: table.partitioned_by
    for table in (DAILY_TRIPS.table, *(service.trips for service in SERVICES.values()))
}


@pytest.fixture(scope="module")
def loaded(platform: Platform) -> Platform:
    """Return a platform whose tables are there: all the services', and the mart's."""
    platform.load("green", JANUARY.key)
    assert platform.run("taxi_zones").success
    assert platform.run(DAILY_TRIPS.name, JANUARY.key).success
    return platform


@pytest.fixture
def points() -> list[Point[Exchange]]:
    return []


@pytest.fixture
def warehouse(
    loaded: Platform, points: list[Point[Exchange]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[BigQuery]:
    """Return a warehouse with a limit, which is reached through a relay that has the points."""
    there = loaded.resources.bigquery
    with http_relay(os.environ["BIGQUERY_EMULATOR_HOST"], points) as url:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        yield BigQuery(project=there.project, dataset=there.dataset, maximum_bytes_billed=LIMIT)


@pytest.fixture
def configurations(points: list[Point[Exchange]]) -> list[dict[str, Any]]:
    """Return a list that gets the configuration of each job that is started."""
    started: list[dict[str, Any]] = []

    def note(exchange: Exchange) -> None:
        started.append(exchange.json["configuration"])
        exchange.answer(exchange.asked())

    points.append(Point(passing("POST", "/jobs"), note, times=None))
    return started


def test_every_method_that_asks_by_sql_is_tried_below() -> None:
    methods = {name for name, value in vars(BigQuery).items() if callable(value) and name[0] != "_"}
    without_sql = {"uri", "link", "sql_name", "place", "row_count", "replace"}
    assert methods - without_sql == {name.split()[0] for name in QUERIES}


@pytest.mark.parametrize("method", QUERIES)
def test_a_query_has_a_limit_and_says_what_it_is_for(
    warehouse: BigQuery, configurations: list[dict[str, Any]], method: str
) -> None:
    QUERIES[method](warehouse)
    assert configurations
    for configuration in configurations:
        assert configuration["query"]["maximumBytesBilled"] == str(LIMIT)
        assert configuration["labels"]["purpose"]


@pytest.mark.parametrize(
    "method", [name for name in QUERIES if name not in ("tally", "stamps", "replace_view")]
)
def test_a_query_of_a_month_reads_no_other_partition(
    warehouse: BigQuery, configurations: list[dict[str, Any]], method: str
) -> None:
    QUERIES[method](warehouse)
    read = [
        select
        for configuration in configurations
        for select in selects_of(configuration["query"]["query"])
    ]
    assert read
    for table, condition in read:
        assert is_pruned(condition, PARTITIONED[table]), condition


def selects_of(query: str) -> Iterator[tuple[str, exp.Expression | None]]:
    """Yield the partitioned tables that a query reads, each with its WHERE."""
    for select in sqlglot.parse_one(query, dialect="bigquery").find_all(exp.Select):
        source = select.args.get("from_")
        if source and isinstance(source.this, exp.Table) and source.this.name in PARTITIONED:
            where = select.args.get("where")
            yield source.this.name, where and where.this


def is_pruned(condition: exp.Expression | None, column: str | None) -> bool:
    """Return whether a condition leaves out partitions by itself: NULL alone, or a lower bound.

    By https://docs.cloud.google.com/bigquery/docs/querying-partitioned-tables: the column stands
    alone on one side of a comparison with what is constant, and no OR is around it.
    """
    if isinstance(condition, exp.Is):
        return condition.this.name == column and isinstance(condition.expression, exp.Null)
    comparisons = [*condition.flatten()] if isinstance(condition, exp.And) else [condition]
    return any(
        isinstance(each, exp.GTE)
        and isinstance(each.this, exp.Column)
        and each.this.name == column
        and isinstance(each.expression, exp.Parameter)
        for each in comparisons
    )


@pytest.mark.parametrize(
    ("condition", "pruned"),
    [
        ("pickup_datetime >= @first", True),
        ("pickup_datetime >= @first AND pickup_datetime < @end", True),
        ("pickup_datetime IS NULL", True),
        ("pickup_datetime IS NULL OR pickup_datetime >= @first", False),
        ("DATE(pickup_datetime) >= @first", False),
        ("dropoff_datetime >= @first", False),
        ("TRUE", False),
    ],
)
def test_what_counts_as_pruned(condition: str, pruned: bool) -> None:
    ((_, where),) = selects_of(f"SELECT 1 FROM p.d.green_trips WHERE {condition}")
    assert is_pruned(where, "pickup_datetime") is pruned


def test_rows_without_a_pickup_count_once_in_every_range(
    platform: Platform, warehouse: BigQuery
) -> None:
    before = warehouse.tallies(GREEN.trips, GREEN.total, JANUARY, JANUARY)[JANUARY]
    columns = warehouse.column_tallies(GREEN.trips, JANUARY)
    platform.bigquery("INSERT INTO green_trips (vendor_id) VALUES (1)")
    try:
        after = warehouse.tallies(GREEN.trips, GREEN.total, JANUARY, JANUARY)[JANUARY]
        assert (after.rows, after.total) == (before.rows + 1, before.total)
        assert warehouse.tallies(GREEN.trips, GREEN.total)[JANUARY] == after
        assert warehouse.column_tallies(GREEN.trips, JANUARY).rows == columns.rows + 1
    finally:
        platform.bigquery("DELETE FROM green_trips WHERE pickup_datetime IS NULL")


def test_a_query_that_would_bill_more_says_which_setting_counts(
    warehouse: BigQuery, points: list[Point[Exchange]]
) -> None:
    """The emulator bills nothing: the answer is BigQuery's own."""
    message = "Query exceeded limit for bytes billed: 12345678. 20971520 or higher required."
    error = {"reason": "bytesBilledLimitExceeded", "message": message}

    def refuse(exchange: Exchange) -> None:
        answer = {"code": 400, "message": message, "errors": [error]}
        assert exchange.body
        exchange.answer_json(400, {"error": answer})

    points.append(Point(passing("POST", "/jobs"), refuse))
    with pytest.raises(PermanentError, match=r"20971520 or higher.*\. TAXI_BIGQUERY_MAXIMUM_BYTES"):
        warehouse.tallies(GREEN.trips, GREEN.total, JANUARY, JANUARY)


# --- clustering ---


def clustering_of(client: bigquery.Client, warehouse: BigQuery, table: Table) -> object:
    found = client.get_table(warehouse.uri(table).removeprefix("bigquery://"))
    return found.clustering_fields


def test_tables_are_clustered_by_what_people_ask_for_and_old_ones_become_so(
    platform: Platform, warehouse: BigQuery
) -> None:
    with GoogleBigQuery(project=warehouse.project).get_client() as client:
        for service in SERVICES.values():
            clustered_by = service.trips.clustered_by
            assert len(clustered_by) in (2, 3)
            assert {*clustered_by} <= {column.name for column in service.trips.columns}
            assert clustering_of(client, warehouse, service.trips) == [*clustered_by]

        old, own = (replace(GREEN.trips, name=f"old_{uuid4().hex}") for _ in range(2))
        for table, by in ((old, ""), (own, "CLUSTER BY vendor_id")):
            platform.bigquery(
                f"CREATE TABLE {table.name} (vendor_id INT64, pickup_datetime DATETIME) "
                f"PARTITION BY DATETIME_TRUNC(pickup_datetime, MONTH) {by}"
            )
            with warehouse._connected() as jobs:
                warehouse._ensure(jobs, table)
        assert clustering_of(client, warehouse, old) == [*GREEN.trips.clustered_by]
        assert clustering_of(client, warehouse, own) == ["vendor_id"]
