"""Amounts sum up to the same cents in the lake's Parquet, in PostgreSQL and in BigQuery."""

import math
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.marts import DAILY_TRIPS
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import YELLOW, Table
from taxi_pipeline.tlc.tally import Tally, tally_parquet
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.cleaned import cleaned_file
from taxi_pipeline_tests.support.lake import overwrite

LARGEST = math.nextafter(1e7, 0)  # as declared
EXTREMES: list[float | None] = [
    *[LARGEST, -LARGEST, LARGEST] * 50,
    *(LARGEST - 0.005, -LARGEST + 0.005, 9_999_999.99, -9_999_999.99),
    *(0.005, -0.005, 0.015, -0.015, 1.005, -1.005, 2.675, -2.675, 0.285, -0.0, 0.0, None),
    *(5e-324, -5e-324, 1e-300, 123_456.785, -123_456.785, 1e7 / 3, -1e7 / 3),
]
JANUARY = Month(2015, 1)


def exact(amounts: Sequence[float | None]) -> Tally:
    """Sum up the cents of amounts as Python's integers."""
    cents = [math.floor(amount * 100 + 0.5) for amount in amounts if amount is not None]
    return Tally(len(amounts), sum(cents))


@dataclass(frozen=True)
class Stores:
    """A table of its own in each store."""

    platform: Platform
    folder: Path
    table: Table

    def put(self, month: Month, orders: Sequence[Sequence[float | None]]) -> Tally:
        """Put a month's amounts into all stores, in an order for each; return the lake's tally."""
        paths = [self._parquet(month, amounts) for amounts in orders]
        resources = self.platform.resources
        stored = overwrite(
            resources.lake, paths[0], f"cleaned/{self.table.name}/{month}.parquet", {}
        )
        rows = len(orders[0])
        with pq.ParquetFile(paths[1]) as file:
            copied = cleaned_file(self.table, month, file.iter_batches(7), rows)
            resources.postgres.replace(copied, "a-run")
        resources.bigquery.replace(cleaned_file(self.table, month, (), rows, stored), "a-run")
        return tally_parquet(paths[2], "total_amount")

    def tallies(self) -> list[dict[Month, Tally]]:
        resources = self.platform.resources
        return [
            store.tallies(self.table, "total_amount")
            for store in (resources.postgres, resources.bigquery)
        ]

    def _parquet(self, month: Month, amounts: Sequence[float | None]) -> Path:
        schema = arrow_schema(self.table)
        known = {"pickup_datetime": [month.start] * len(amounts), "total_amount": amounts}
        columns = [
            pa.array(known.get(field.name, [None] * len(amounts)), field.type) for field in schema
        ]
        path = self.folder / f"{uuid.uuid4()}.parquet"
        pq.write_table(pa.table(columns, schema=schema), path, row_group_size=20)
        return path


@pytest.fixture
def stores(platform: Platform, tmp_path: Path) -> Iterator[Stores]:
    table = replace(YELLOW.trips, name=f"trips_{uuid.uuid4().hex}")
    yield Stores(platform, tmp_path, table)
    with psycopg.connect(platform.resources.postgres.url) as connection:
        connection.execute(f"DROP TABLE IF EXISTS tlc.{table.name}".encode())


def shuffled(amounts: Sequence[float | None], seed: int) -> list[float | None]:
    return Random(seed).sample(amounts, len(amounts))


def test_the_largest_amounts_sum_up_exactly_in_every_store_and_order(stores: Stores) -> None:
    months = [Month(2015, number) for number in range(1, 6)]
    for month in months:
        orders = [shuffled(EXTREMES, 3 * month.month + store) for store in range(3)]
        assert stores.put(month, orders) == exact(EXTREMES)
    assert stores.tallies() == [dict.fromkeys(months, exact(EXTREMES))] * 2


def test_amounts_beyond_the_limit_that_are_in_the_stores_cause_no_false_alarm(
    stores: Stores,
) -> None:
    amounts = [9e14, *[0.01] * 100, -9e14, *[0.01] * 100]
    lake = stores.put(JANUARY, [amounts, sorted(amounts), shuffled(amounts, 1)])
    assert stores.tallies() == [{JANUARY: lake}] * 2


@pytest.mark.parametrize("absurd", ["Infinity", "-Infinity", "NaN", "1e300"])
def test_an_amount_beyond_any_integer_is_named_and_the_tally_goes_on(
    stores: Stores, absurd: str
) -> None:
    amounts = [1.5, 0.0, None]
    lake = stores.put(JANUARY, [amounts] * 3)
    assert lake == Tally(3, 150)
    name = stores.table.name
    with psycopg.connect(stores.platform.resources.postgres.url) as connection:
        connection.execute(
            f"UPDATE tlc.{name} SET total_amount = '{absurd}' WHERE total_amount = 0".encode()
        )
    stores.platform.bigquery(
        f"UPDATE {name} SET total_amount = CAST('{absurd}' AS FLOAT64) WHERE total_amount = 0"
    )
    assert stores.tallies() == [{JANUARY: Tally(3, 150 + 10**11)}] * 2


def test_the_marts_revenue_is_exact(stores: Stores) -> None:
    orders = [shuffled(EXTREMES, seed) for seed in range(3)]
    stores.put(JANUARY, orders)
    bigquery = stores.platform.resources.bigquery
    with bigquery._connected() as jobs:
        for source in DAILY_TRIPS.sources:  # as a run of the mart makes them where they are missing
            bigquery._ensure(jobs, source)
    query = DAILY_TRIPS.query.replace(f"FROM {YELLOW.trips.name}\n", f"FROM {stores.table.name}\n")
    assert query != DAILY_TRIPS.query
    rows = bigquery.query_month(query, JANUARY, {})
    found = [row for row in rows if row["service"] == YELLOW.name]
    assert [row["revenue"] for row in found] == [exact(EXTREMES).total]
    assert isinstance(found[0]["revenue"], float)
