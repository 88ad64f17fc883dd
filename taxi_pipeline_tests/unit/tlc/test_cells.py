"""Rows counted by Arrow: in whatever parts and order, and other rows otherwise."""

import hashlib
import math
import random
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxi_pipeline.tlc.cells import fingerprint, tally_batches, tally_columns
from taxi_pipeline.tlc.column_tallies import MOST_PARTS, SUM, ColumnTallies
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import DATETIME, INTEGER, NUMBER, TEXT, Column, Table

VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    INTEGER: st.integers(-(2**31), 2**31 - 1),
    NUMBER: st.floats(-1e15, 1e15),
    DATETIME: st.datetimes(),
    TEXT: st.text(max_size=5),
}
TABLE = Table(
    "table",
    "A table.",
    (
        *(Column(f"c{index}", type_, "A column.") for index, type_ in enumerate(VALUES)),
        Column("code", TEXT, "A code.", codes={"Y": "yes", "N": "no"}),
    ),
)
ROWS = st.lists(
    st.tuples(*(st.none() | VALUES[column.type] for column in TABLE.columns)), max_size=12
)


def batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = [*zip(*rows, strict=True)] or [()] * len(TABLE.columns)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, arrow_schema(TABLE), strict=True)]
    return pa.record_batch(arrays, schema=arrow_schema(TABLE))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(ROWS, st.integers(0, 12), st.randoms(use_true_random=False))
def test_neither_order_nor_parts_change_a_figure(
    rows: list[tuple[Any, ...]], cut: int, drawn: random.Random
) -> None:
    whole = [batch(rows)]
    shuffled = drawn.sample(rows, len(rows))
    parts = [batch(shuffled[:cut]), batch([]), batch(shuffled[cut:])]
    assert tally_batches(parts, TABLE) == tally_batches(whole, TABLE)
    assert fingerprint(parts, TABLE) == fingerprint(whole, TABLE)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(ROWS, ROWS)
def test_other_rows_have_another_fingerprint(
    one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]
) -> None:
    def counted(rows: list[tuple[Any, ...]]) -> list[str]:
        """Return the rows as they are counted: numbers in parts, and none too large."""
        return sorted(
            str(
                [
                    round(math.floor(value * 10_000 + 0.5)) if type(value) is float else value
                    for value in row
                ]
            )
            for row in rows
        )

    too_large = any(abs(v) > 9e11 for row in (*one, *other) for v in row if type(v) is float)
    if not too_large:
        same = fingerprint([batch(one)], TABLE) == fingerprint([batch(other)], TABLE)
        assert same == (counted(one) == counted(other))


def test_the_fingerprint_is_the_one_that_is_described() -> None:
    def md5(text: str, digits: int) -> int:
        return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:digits], 16)

    prime, null = 2**31 - 1, 1_234_567_891
    noon = datetime(2021, 1, 15, 12)  # noqa: DTZ001 - TLC's times carry no zone
    moment = (noon - datetime(1970, 1, 1)) // timedelta(microseconds=1) % prime  # noqa: DTZ001
    amount = round(8.25 * TABLE.columns[1].parts)
    numbers = [(7, amount, moment, md5("B02510", 7), md5("Y", 7)), (-7, null, null, null, null)]
    factors = [md5(column.name, 6) | 1 for column in TABLE.columns]
    sums = [sum(w * f for w, f in zip(row, factors, strict=True)) % prime for row in numbers]
    rows = [(7, 8.25, noon, "B02510", "Y"), (-7, None, None, None, None)]
    assert fingerprint([batch(rows)], TABLE) == sum(r * r % prime for r in sums)


def test_no_rows_have_the_tallies_of_no_rows() -> None:
    assert tally_columns(batch([]), TABLE) == ColumnTallies.of_no_rows(TABLE)
    assert fingerprint([batch([])], TABLE) == fingerprint([], TABLE) == 0


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e300, -1e7, 1e7])
def test_a_number_too_large_counts_as_the_most(value: float) -> None:
    rows = batch([(None, value, None, None, None)])
    assert tally_columns(rows, TABLE).columns["c1"][SUM] == MOST_PARTS


def test_the_sum_of_the_times_of_many_rows_fits() -> None:
    first, last = (datetime.fromisoformat(f"{year}-01-01") for year in ("0001", "9999"))
    times = pa.array([first, last] * 50_000, DATETIME)
    columns = [
        times if field.type == DATETIME else pa.nulls(len(times), field.type)
        for field in arrow_schema(TABLE)
    ]
    rows = pa.record_batch(columns, schema=arrow_schema(TABLE))
    of_both = sum(times[:2].cast(pa.int64()).to_pylist())
    assert tally_columns(rows, TABLE).columns["c2"][SUM] == 50_000 * of_both
