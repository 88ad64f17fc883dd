"""Months that were cleaned before their table was declared as it is now, on their way to tables."""

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.lake.cleaned import open_cleaned
from taxi_pipeline.lake.paths import ObjectPaths, object_paths
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import INTEGER, TEXT, YELLOW, Column, Table
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.lake import overwrite

MONTH, NEXT = Month(2016, 2), Month(2016, 3)
LOG = logging.Logger("of a run")  # of no hierarchy, of which Dagster turns off parts


@dataclass(frozen=True)
class Scene:
    """A service of its own, in all stores."""

    platform: Platform
    folder: Path
    table: Table

    def clean(self, table: Table, month: Month = MONTH, **values: pa.Array) -> None:
        """Put two trips into the lake, as cleaning leaves them under a declaration."""
        schema = arrow_schema(table)
        ones, pickups = pa.array([1, None]), pa.array([month.start] * 2)
        columns = {
            field.name: (pickups if field.name == "pickup_datetime" else ones).cast(field.type)
            for field in schema
        }
        path = self.folder / "cleaned.parquet"
        pq.write_table(pa.table(columns | values), path)
        overwrite(self.platform.resources.lake, path, self._place(month).cleaned, {})

    def load(self, table: Table, month: Month = MONTH) -> None:
        """Take the month to both tables."""
        self.copy(table, month)
        stores = self.platform.resources
        with open_cleaned(stores.lake, self._place(month), table, month, LOG) as trips:
            stores.bigquery.replace(trips.file, uuid.uuid4().hex)

    def copy(self, table: Table, month: Month = MONTH) -> None:
        """Take the month to PostgreSQL alone."""
        stores = self.platform.resources
        with open_cleaned(stores.lake, self._place(month), table, month, LOG) as trips:
            stores.postgres.replace(trips.file, uuid.uuid4().hex)

    def found(self, columns: str, month: Month = MONTH) -> list[Any]:
        """Return what both tables have of the month, which is the same."""
        query = (
            f"SELECT {columns} FROM {{}} WHERE pickup_datetime = '{month.start}' ORDER BY vendor_id"
        )
        postgres = self.platform.postgres(query.format(f"tlc.{self.table.name}") + " NULLS LAST")
        bigquery = self.platform.bigquery(query.format(self.table.name) + " NULLS LAST")
        assert bigquery == postgres
        return postgres

    def _place(self, month: Month) -> ObjectPaths:
        return object_paths(replace(YELLOW, name=self.table.name, trips=self.table), month)


@pytest.fixture
def scene(platform: Platform, tmp_path: Path) -> Iterator[Scene]:
    table = replace(YELLOW.trips, name=f"trips{uuid.uuid4().hex}")
    yield Scene(platform, tmp_path, table)
    with psycopg.connect(platform.resources.postgres.url) as connection:
        connection.execute(f"DROP TABLE IF EXISTS tlc.{table.name}".encode())


def grown(table: Table) -> Table:
    """Return the table with two more columns, one of them in the middle."""
    columns = table.columns
    more = Column("more", INTEGER, "More."), Column("words", TEXT, "Words.")
    return replace(table, columns=(*columns[:3], more[0], *columns[3:], more[1]))


def without(table: Table, name: str) -> Table:
    return replace(table, columns=tuple(each for each in table.columns if each.name != name))


def test_a_month_cleaned_before_a_column_was_declared_gets_nulls(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    LOG.addHandler(caplog.handler)
    scene.clean(scene.table)
    scene.load(scene.table)
    assert not caplog.records
    table = grown(scene.table)
    scene.load(table)
    assert scene.found("vendor_id, fare_amount, more, words") == [
        (1, 1.0, None, None),
        (None, None, None, None),
    ]
    assert "it lacks the columns more, words. The first are null" in caplog.text
    LOG.removeHandler(caplog.handler)
    scene.clean(table)
    scene.load(table)
    assert scene.found("vendor_id, fare_amount, more, words") == [
        (1, 1.0, 1, "1"),
        (None, None, None, None),
    ]


def test_a_column_no_longer_declared_stays_and_is_null_in_new_months(scene: Scene) -> None:
    table = grown(scene.table)
    for month in (MONTH, NEXT):
        scene.clean(table, month)
        scene.load(table, month)
    scene.load(scene.table)  # of an object that still has them
    scene.clean(scene.table)
    scene.load(scene.table)
    assert scene.found("vendor_id, more, words") == [(1, None, None), (None, None, None)]
    assert scene.found("vendor_id, more, words", NEXT) == [(1, 1, "1"), (None, None, None)]


def test_a_months_columns_in_another_order_land_where_they_belong(scene: Scene) -> None:
    scene.clean(replace(scene.table, columns=tuple(reversed(scene.table.columns))))
    scene.load(scene.table)
    assert scene.found("vendor_id, payment_type, unknown_words") == [
        (1, 1, "1"),
        (None, None, None),
    ]


def test_wider_integers_that_fit_are_loaded(scene: Scene) -> None:
    scene.clean(scene.table, passenger_count=pa.array([2**31 - 1, None], pa.int64()))
    scene.load(scene.table)
    assert scene.found("passenger_count") == [(2**31 - 1,), (None,)]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([2**31, None], pa.int64()),
        pa.array([0.5, None]),
        pa.array(["1", None]),
    ],
    ids=["too large", "a fraction", "a text"],
)
def test_values_that_do_not_fit_are_named_and_change_nothing(
    scene: Scene, values: pa.Array
) -> None:
    scene.clean(scene.table)
    scene.load(scene.table)
    scene.clean(scene.table, passenger_count=values)
    with pytest.raises(
        PermanentError, match=r"the column passenger_count is .* declared as int32.*`cleaned` again"
    ):
        scene.copy(scene.table)
    assert scene.found("passenger_count") == [(1,), (None,)]


def test_types_that_bigquery_would_not_take_are_named_before_a_job_is_started(
    scene: Scene,
) -> None:
    scene.clean(scene.table, passenger_count=pa.array([1.0, None]))
    scene.copy(scene.table)  # whole numbers are integers to PostgreSQL
    stores, place = scene.platform.resources, scene._place(MONTH)
    with (
        pytest.raises(
            PermanentError, match=r"_2016-02\.parquet: the column passenger_count is dou"
        ),
        open_cleaned(stores.lake, place, scene.table, MONTH, LOG) as trips,
    ):
        stores.bigquery.replace(trips.file, "a-run")
