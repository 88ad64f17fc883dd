"""How long months take, of figures that can be reckoned by hand."""

from itertools import pairwise

import pytest

from taxi_pipeline.backfill.pace import (
    LAUNCH_SECONDS,
    MEASURED,
    PastRun,
    pace,
    seconds_alone,
    speedup,
)
from taxi_pipeline.tlc.services import SERVICES

ALONE = seconds_alone("yellow", 1_000_000)
YELLOW = ("yellow", 1_000_000.0)


def past(began: float, seconds: float, rows: int = 1_000_000) -> PastRun:
    return PastRun("yellow", rows, began, began + seconds)


@pytest.mark.parametrize("service", SERVICES)
def test_more_rows_take_longer_but_none_take_some_time(service: str) -> None:
    seconds = [seconds_alone(service, rows) for rows in (0, 1e5, 1e6, 2e7)]
    assert seconds[0] > 0
    assert all(less < more for less, more in pairwise(seconds))


def test_where_each_run_has_its_own_cores_two_take_half_as_long() -> None:
    assert pace([], 2, None).seconds([YELLOW] * 4) == pytest.approx(LAUNCH_SECONDS + 2 * ALONE)
    assert pace([], 2, None).source == MEASURED


def test_on_few_cores_two_at_once_are_hardly_faster_than_one() -> None:
    assert speedup(2, 1) == speedup(1, 1) == speedup(1, 64) == 1
    assert speedup(2, 2) == pytest.approx(1.28)
    assert speedup(2, 64) == 2


@pytest.mark.parametrize("cores", [1, 2, 8, None])
def test_past_months_that_ran_two_at_once_are_taken_as_they_were(cores: int | None) -> None:
    runs = [past(0, 30), past(0, 30), past(30, 30), past(30, 30)]  # a month each 15 seconds
    found = pace(runs, 2, cores)
    assert found.seconds([YELLOW] * 10) == pytest.approx(LAUNCH_SECONDS + 150)
    assert found.source == "the seconds of 4 past months"


def test_what_ran_alone_gets_faster_by_what_the_cores_allow() -> None:
    runs = [past(0, 20), past(100, 20)]  # nothing ran in between
    assert pace(runs, 2, None).seconds([YELLOW]) == pytest.approx(LAUNCH_SECONDS + 10)
    assert pace(runs, 2, 1).seconds([YELLOW]) == pytest.approx(LAUNCH_SECONDS + 20)


def test_months_of_other_sizes_follow_the_line() -> None:
    slow = pace([past(0, 3 * seconds_alone("yellow", 10_000), rows=10_000)], 1, 2)
    assert slow.seconds([YELLOW]) == pytest.approx(LAUNCH_SECONDS + 3 * ALONE)
    assert slow.source == "the seconds of one past month"


def test_the_measured_backfills_come_out_within_a_half() -> None:
    """What `make bench` took on a slow machine, and four such months on another one."""
    of_month = ("yellow", 1_369_765.0)
    for months, took in ((12, 185.1), (4, 58.7)):
        assert 1 / 1.5 < pace([], 2, 2).seconds([of_month] * months) / took < 1.5
