from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.month import Month


def test_a_month_spans_its_days() -> None:
    month = Month.parse("2020-02")
    assert month == Month(2020, 2)
    assert (month.start, month.end) == (datetime(2020, 2, 1), datetime(2020, 3, 1))  # noqa: DTZ001


def test_december_ends_in_the_next_year() -> None:
    assert Month(2020, 12).next == Month(2021, 1)


@given(st.integers(1, 9997), st.integers(1, 12))
def test_each_month_is_before_the_next(year: int, month: int) -> None:
    assert Month(year, month).next.previous == Month(year, month)


@given(st.integers(1, 9998), st.integers(1, 12))
def test_keys_read_back(year: int, month: int) -> None:
    assert Month.parse(Month(year, month).key) == Month(year, month)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "2021-1",
        "2021-13",
        "2021-00",
        "21-01",
        "2021-01-01",
        "2021-01\n",
        "0000-01",
        "9999-12",
        "2021-0\u0661",
        "../../x",
    ],
)
def test_anything_else_is_refused_by_name(key: str) -> None:
    assert not Month.is_key(key)
    with pytest.raises(PermanentError, match="is not a month: write it as YYYY-MM"):
        Month.parse(key)


@pytest.mark.parametrize(
    ("today", "newest"),
    [
        (date(2026, 11, 22), Month(2026, 9)),
        (date(2026, 2, 1), Month(2025, 12)),
        (date(2026, 1, 31), Month(2025, 11)),
        (date(2026, 3, 1), Month(2026, 1)),
    ],
)
def test_the_newest_published_month_lags_by_two(today: date, newest: Month) -> None:
    assert Month.newest_published(today) == newest
