"""The figures of columns: parsed, added, compared and put into words."""

import json
from typing import Any

import pytest

from taxi_pipeline.tlc.column_tallies import (
    FIRST,
    SUM,
    ColumnTallies,
    as_text,
    differences,
    figures_of,
    text_hash,
)
from taxi_pipeline.tlc.services import FHV, TAXI_ZONES, YELLOW

TABLE = FHV.trips
NONE = ColumnTallies.of_no_rows(TABLE)


def changed(column: str, figure: str, value: int | None) -> ColumnTallies:
    columns = {**NONE.columns, column: {**NONE.columns[column], figure: value}}
    return ColumnTallies(NONE.rows, columns)


def test_what_was_written_is_read() -> None:
    for table in (YELLOW.trips, TABLE, TAXI_ZONES):
        tallies = ColumnTallies.of_no_rows(table)
        assert ColumnTallies.parse(tallies.to_json(), table) == tallies
        assert {name: (*figures,) for name, figures in tallies.columns.items()} == {
            column.name: figures_of(column) for column in table.columns
        }


def with_figures(figures: Any) -> str:
    written = json.loads(NONE.to_json())
    written["columns"]["sr_flag"] = figures
    return json.dumps(written)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "no JSON",
        "[" * 100_000,
        "[]",
        '{"rows": 1}',
        '{"rows": "1", "columns": {}}',
        '{"rows": 1, "columns": {}}',
        with_figures({"nulls": 0}),
        with_figures({"nulls": 0, "sum": "1"}),
        with_figures({"nulls": 0, "sum": 1.5}),
        with_figures({"nulls": 0, "sum": True}),
        with_figures({"nulls": 0, "sum": 1, "more": 1}),
        with_figures([]),
        with_figures({"nulls": 0, "sum": 1}).replace("sr_flag", "another"),
        '{"rows": ' + "9" * 5_000 + "}",
    ],
    ids=lambda text: str(text)[:24],
)
def test_what_does_not_parse_counts_as_not_said(text: str | None) -> None:
    assert ColumnTallies.parse(text, TABLE) is None


def test_tallies_of_other_columns_count_as_not_said() -> None:
    assert ColumnTallies.parse(ColumnTallies.of_no_rows(YELLOW.trips).to_json(), TABLE) is None


def test_of_two_parts_the_first_and_the_last_are_those_of_either() -> None:
    column = "pickup_datetime"
    one, other = changed(column, FIRST, 5), changed(column, FIRST, 3)
    assert (one + other).columns[column][FIRST] == (other + one).columns[column][FIRST] == 3
    assert (one + NONE).columns[column] == (NONE + one).columns[column] == one.columns[column]


@pytest.mark.parametrize(
    ("column", "figure", "value", "text"),
    [
        ("total_amount", SUM, 41_170_000, "4,117.00"),
        ("total_amount", SUM, -12_345, "-1.2345"),
        ("total_amount", SUM, -5_000, "-0.50"),
        ("total_amount", "nulls", 1_234, "1,234"),
        ("pickup_longitude", SUM, -73_991_957, "-73.991957"),
        ("pickup_datetime", FIRST, 1_609_459_200_000_001, "2021-01-01 00:00:00.000001"),
        ("pickup_datetime", FIRST, None, "none"),
        ("store_and_fwd_flag", "Y", 3, "3"),
    ],
)
def test_a_figure_in_words(column: str, figure: str, value: int | None, text: str) -> None:
    assert as_text(YELLOW.trips[column], figure, value) == text


def test_each_column_that_differs_is_named_once_by_its_sum_if_that_differs() -> None:
    of_flag = {"nulls": 1, SUM: 7}
    held = ColumnTallies(0, {**NONE.columns, "sr_flag": of_flag})
    assert [*differences(TABLE, held, NONE)] == [("sr_flag", "7", "0")]
    nulls = changed("affiliated_base_num", "nulls", 2)
    assert [*differences(TABLE, nulls, NONE)] == [("affiliated_base_num (nulls)", "2", "0")]
    assert [*differences(TABLE, NONE, NONE)] == []


def test_a_hash_is_the_first_28_bits_of_md5() -> None:
    assert text_hash("") == 0xD41D8CD  # RFC 1321: d41d8cd98f00b204e9800998ecf8427e
    assert text_hash("abc") == 0x9001509  # 900150983cd24fb0d6963f7d28e17f72
