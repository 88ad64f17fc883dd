"""What was cleaned when a table was declared otherwise fits the declaration, or is named."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.conforming import check_types, conformed, differences
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import DATETIME, INTEGER, NUMBER, TEXT, Column, Table

COLUMNS = (
    Column("id", INTEGER, ""),
    Column("miles", NUMBER, ""),
    Column("name", TEXT, ""),
    Column("at", DATETIME, ""),
)
TABLE = Table("things", "", COLUMNS)
ROWS = pa.record_batch(
    [
        pa.array([1, None, -3], INTEGER),
        pa.array([0.5, None, -0.0], NUMBER),
        pa.array(["a", None, "007"], TEXT),
        pa.array([datetime(2021, 1, 1), None, datetime(1, 1, 1)], DATETIME),  # noqa: DTZ001
    ],
    schema=arrow_schema(TABLE),
)


def fitted(*batches: pa.RecordBatch, table: Table = TABLE) -> list[pa.RecordBatch]:
    return [*conformed(batches, table, "gs://lake/object")]


def with_type(name: str, values: pa.Array) -> pa.RecordBatch:
    return ROWS.set_column(ROWS.schema.get_field_index(name), name, values)


def test_rows_as_declared_are_the_same_objects() -> None:
    assert [id(batch) for batch in fitted(ROWS, ROWS)] == [id(ROWS)] * 2


def test_batches_are_taken_one_at_a_time() -> None:
    taken: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(3):
            taken.append(number)
            yield ROWS.select(["id"])

    next(conformed(batches(), TABLE, ""))
    assert taken == [0]


@given(names=st.lists(st.sampled_from(ROWS.schema.names), unique=True), before=st.booleans())
def test_missing_columns_are_null_and_others_keep_their_values_in_any_order(
    names: list[str], before: bool
) -> None:
    columns = {"foreign": pa.array([9, 8, 7])} if before else {}
    columns |= {name: ROWS[name] for name in names}
    there = pa.RecordBatch.from_pydict(columns | {"removed": pa.array(["x"] * 3)})
    (batch,) = fitted(there)
    assert batch.schema.equals(ROWS.schema)
    for name in ROWS.schema.names:
        expected = ROWS[name] if name in names else pa.nulls(3, ROWS[name].type)
        assert batch[name].equals(expected)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("id", pa.array([1, None, -(2**31)], pa.int64())),
        ("id", pa.array([1, 2, 2**31 - 1], pa.uint64())),
        ("id", pa.array([1.0, None, -3.0])),
        ("miles", pa.array([1, None, -(2**53)], pa.int64())),
        ("miles", pa.array([0.5, None, 1], pa.float32())),
    ],
)
def test_numbers_that_fit_are_cast(name: str, values: pa.Array) -> None:
    (batch,) = fitted(with_type(name, values))
    assert batch.schema.equals(ROWS.schema)
    assert batch[name].to_pylist() == values.to_pylist()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("id", pa.array([1, None, 2**31], pa.int64())),
        ("id", pa.array([1.0, None, 1.5])),
        ("id", pa.array([1.0, None, float("nan")])),
        ("id", pa.array(["1", None, "007"])),
        ("miles", pa.array([1, None, 2**53 + 1], pa.int64())),
        ("miles", pa.array(["0.5", None, "1"])),
        ("name", pa.array([1, 2, 3])),
        ("at", pa.array([0, None, 1], pa.int64())),
        ("at", ROWS["at"].cast(pa.timestamp("us", "UTC"))),
        ("at", ROWS["at"].cast(TEXT)),
    ],
)
def test_a_column_that_does_not_fit_without_loss_is_named(name: str, values: pa.Array) -> None:
    with pytest.raises(
        PermanentError,
        match=rf"^gs://lake/object: the column {name} is .*, and is declared as .*materialize `c",
    ):
        fitted(with_type(name, values))


@pytest.mark.parametrize("names", [[], ["id"], ["at", "id", "name", "miles"]])
def test_bigquery_can_load_what_lacks_columns(names: list[str]) -> None:
    check_types(ROWS.select(names).schema, TABLE, "")


@pytest.mark.parametrize("of", [pa.int8(), pa.int64(), pa.uint32()])
def test_bigquery_can_load_integers_of_any_width(of: pa.DataType) -> None:
    check_types(with_type("id", pa.array([1, 2, 3], of)).schema, TABLE, "")


@pytest.mark.parametrize(
    ("name", "of"),
    [("id", NUMBER), ("miles", INTEGER), ("name", INTEGER), ("at", pa.timestamp("us", "UTC"))],
)
def test_bigquery_can_load_no_other_type(name: str, of: pa.DataType) -> None:
    schema = with_type(name, pa.nulls(3, of)).schema
    with pytest.raises(PermanentError, match=rf"gs://x: the column {name} is .*`cleaned` again"):
        check_types(schema, TABLE, "gs://x")


def test_what_differs_is_said() -> None:
    grown = replace(TABLE, columns=(*COLUMNS, Column("new", TEXT, ""), Column("more", TEXT, "")))
    assert differences(ROWS.schema, TABLE) == ""
    assert differences(ROWS.schema, grown) == "lacks the columns new, more"
    assert (
        differences(ROWS.select(["id"]).schema.append(pa.field("old", TEXT)), TABLE)
        == "lacks the columns miles, name, at and has columns that are not declared old"
    )
