"""How few trips are too few."""

from collections.abc import Mapping, Sequence

import pytest

from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.shrinkage import Comparison

MONTH, BEFORE, AFTER = Month(2020, 4), Month(2020, 3), Month(2020, 5)


def compared(
    trips: int,
    replaced: int | None = None,
    neighbours: Mapping[Month, int] = {},
    empty_days: Sequence[int] = (),
) -> Comparison:
    return Comparison(MONTH, trips, replaced, neighbours, empty_days)


@pytest.mark.parametrize(
    ("comparison", "nothing"),
    [
        (compared(1), False),  # the first month of a service
        (compared(0), True),
        (compared(0, 0), True),
        (compared(100, 1000), False),
        (compared(99, 1000), True),
        (compared(1, 11), True),
        (compared(1, 10), False),
        (compared(10, None, {BEFORE: 1000}), False),
        (compared(9, None, {BEFORE: 1000}), True),
        (compared(9, None, {BEFORE: 1000, AFTER: 900}), False),
        (compared(8, None, {BEFORE: 1000, AFTER: 900}), True),
        (compared(9, None, {BEFORE: 1000, AFTER: 0}), True),  # an empty month says nothing
        (compared(9, 9, {BEFORE: 1000}), False),  # what the tables have already
        (compared(9, 10, {BEFORE: 1000}), True),
        (compared(237_993, None, {BEFORE: 3_007_292, AFTER: 348_371}), False),  # yellow's own
    ],
)
def test_next_to_nothing(comparison: Comparison, nothing: bool) -> None:
    assert comparison.next_to_nothing is nothing


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        (compared(5), []),
        (compared(80, 100, {BEFORE: 100}), []),
        (compared(79, 100), ["The month has 79 trips, the tables 100: 21.0% fewer."]),
        (
            compared(1000, None, {BEFORE: 4000, AFTER: 2000}),
            ["The month has 1,000 trips, 2020-05 2,000: 50.0% fewer."],
        ),
        (
            compared(0, 7, {AFTER: 8}),
            [
                "The month has 0 trips, the tables 7: 100.0% fewer.",
                "The month has 0 trips, 2020-05 8: 100.0% fewer.",
            ],
        ),
        (compared(0), ["The month has no trips."]),
        (compared(300, None, {}, [30]), ["No trips on 1 day of the month: 30."]),
        (compared(300, None, {}, [1, 30]), ["No trips on 2 days of the month: 1, 30."]),
        (compared(299, None, {}, [1, 30]), []),  # may be chance
    ],
)
def test_what_is_fewer_is_said_with_both_figures(comparison: Comparison, said: list[str]) -> None:
    assert comparison.shortfalls(0.2) == said
