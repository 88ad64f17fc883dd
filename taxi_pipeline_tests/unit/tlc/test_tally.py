"""Figures that are the same whatever the order of the rows, and that notice a cent."""

import io
import math
from dataclasses import replace
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_pipeline.tlc.tally import Tally, tally_parquet

AMOUNTS = st.lists(st.none() | st.floats(-1e6, 1e6), max_size=200)


def parquet(amounts: list[float | None], group: int = 1 << 20) -> io.BytesIO:
    file = io.BytesIO()
    table = pa.table({"other": [1] * len(amounts), "dollars": pa.array(amounts, pa.float64())})
    pq.write_table(table, file, row_group_size=group)
    return file


def test_a_file_is_tallied_from_a_path_as_from_an_open_file(tmp_path: Path) -> None:
    file = parquet([11.8, None, 0.005, -3.3])
    path = tmp_path / "trips.parquet"
    path.write_bytes(file.getvalue())
    assert tally_parquet(file, "dollars") == tally_parquet(path, "dollars") == Tally(4, 8.51)


@pytest.mark.parametrize("amounts", [[], [None, None]])
def test_where_there_are_no_amounts_the_total_is_0(amounts: list[float | None]) -> None:
    assert tally_parquet(parquet(amounts), "dollars") == Tally(len(amounts), 0.0)


def test_a_service_without_a_total_has_none() -> None:
    assert tally_parquet(parquet([1.0, 2.0]), None) == Tally(2, None)


@given(AMOUNTS, st.integers(1, 50), st.randoms(use_true_random=False))
def test_any_order_and_any_row_groups_give_the_same_total(
    amounts: list[float | None], group: int, random: Random
) -> None:
    expected = tally_parquet(parquet(amounts), "dollars")
    random.shuffle(amounts)
    assert tally_parquet(parquet(amounts, group), "dollars") == expected
    cents = sum(math.floor(amount * 100 + 0.5) for amount in amounts if amount is not None)
    assert expected == Tally.of_cents(len(amounts), cents)


@given(st.integers(-(10**15), 10**15), st.sampled_from([-1, 1]))
def test_a_cent_is_noticed_in_sums_up_to_ten_trillion_dollars(cents: int, change: int) -> None:
    tally = Tally.of_cents(3, cents)
    assert tally.agrees_with(Tally.of_cents(3, cents))
    assert not tally.agrees_with(Tally.of_cents(3, cents + change))


@given(st.floats(-1e15, 1e15), st.integers(1, 50))
def test_absurd_amounts_cause_no_false_alarm(absurd: float, group: int) -> None:
    amounts = [absurd, *[0.01] * 99]
    tally = tally_parquet(parquet([*amounts]), "dollars")
    assert tally_parquet(parquet([*reversed(amounts)], group), "dollars").agrees_with(tally)


def test_rows_and_the_want_of_amounts_count_too() -> None:
    tally = Tally(3, 1.0)
    assert not replace(tally, rows=4).agrees_with(tally)
    assert not replace(tally, total=None).agrees_with(tally)
    assert not tally.agrees_with(replace(tally, total=None))
    assert replace(tally, total=None).agrees_with(replace(tally, total=None))
    assert not replace(tally, total=math.nan).agrees_with(replace(tally, total=math.nan))


def test_rows_of_no_month_are_no_others_rows() -> None:
    assert not Tally(2, 1.0).agrees_with(Tally(2, 1.0, strays=1))
