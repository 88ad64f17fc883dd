"""Figures that are the same whatever the order of the rows, and that notice a cent."""

import io
import math
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taxi_pipeline.tlc.tally import Tally, tally_parquet

LARGEST = math.nextafter(1e7, 0)
AMOUNTS = st.lists(
    st.none()
    | st.floats(-LARGEST, LARGEST)
    | st.sampled_from([LARGEST, -LARGEST, -0.0, 0.005, -0.005, 1.005, -0.015]),
    max_size=200,
)


def parquet(amounts: list[float | None], group: int = 1 << 20) -> io.BytesIO:
    file = io.BytesIO()
    table = pa.table({"other": [1] * len(amounts), "dollars": pa.array(amounts, pa.float64())})
    pq.write_table(table, file, row_group_size=group)
    return file


def test_a_file_is_tallied_from_a_path_as_from_an_open_file(tmp_path: Path) -> None:
    file = parquet([11.8, None, 0.005, -3.3])
    path = tmp_path / "trips.parquet"
    path.write_bytes(file.getvalue())
    assert tally_parquet(file, "dollars") == tally_parquet(path, "dollars") == Tally(4, 851)


@pytest.mark.parametrize("amounts", [[], [None, None]])
def test_where_there_are_no_amounts_the_total_is_0(amounts: list[float | None]) -> None:
    assert tally_parquet(parquet(amounts), "dollars") == Tally(len(amounts), 0)


def test_a_service_without_a_total_has_none() -> None:
    assert tally_parquet(parquet([1.0, 2.0]), None) == Tally(2, None)


@settings(deadline=None)
@given(AMOUNTS, st.integers(1, 50), st.randoms(use_true_random=False))
@example([LARGEST, 0.01, -LARGEST] * 60, 7, Random(1))
def test_any_order_and_any_row_groups_give_the_exact_sum(
    amounts: list[float | None], group: int, random: Random
) -> None:
    cents = sum(math.floor(amount * 100 + 0.5) for amount in amounts if amount is not None)
    assert tally_parquet(parquet(amounts), "dollars") == Tally(len(amounts), cents)
    random.shuffle(amounts)
    assert tally_parquet(parquet(amounts, group), "dollars") == Tally(len(amounts), cents)


@settings(deadline=None)
@given(st.floats(allow_nan=True, allow_infinity=True), st.integers(1, 50))
@example(9e14, 1)
def test_absurd_amounts_hide_no_others_and_cause_no_false_alarm(absurd: float, group: int) -> None:
    amounts: list[float | None] = [absurd, -absurd, *[0.01] * 99]
    tally = tally_parquet(parquet(amounts), "dollars")
    assert tally_parquet(parquet([*reversed(amounts)], group), "dollars") == tally
    less = tally_parquet(parquet([*amounts[:-1], 0.02]), "dollars")
    assert less.cents is not None
    assert less.cents - 1 == tally.cents


def test_an_amount_that_no_integer_can_hold_does_not_pass_for_another() -> None:
    for absurd in (math.inf, -math.inf, math.nan, 1e300, 9e14, 1e9):
        assert tally_parquet(parquet([absurd, None]), "dollars") == Tally(2, 10**11)


@pytest.mark.parametrize(
    ("cents", "dollars"), [(None, None), (0, 0.0), (-1, -0.01), (10**13 + 1, 100_000_000_000.01)]
)
def test_the_total_is_in_dollars(cents: int | None, dollars: float | None) -> None:
    assert Tally(1, cents).total == dollars
