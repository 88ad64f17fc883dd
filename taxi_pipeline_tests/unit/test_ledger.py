"""What adds up and what does not."""

from collections import Counter
from dataclasses import replace

import pytest

from taxi_pipeline.ledger import Entry
from taxi_pipeline.tlc.month import Month

GOOD = Entry("yellow", Month(2021, 1), 10, 7, Counter(no_passengers=2, unparsable=1), 7, 7)


def test_a_month_whose_every_row_is_accounted_for_adds_up() -> None:
    assert GOOD.adds_up


@pytest.mark.parametrize(
    "entry",
    [
        replace(GOOD, published=11),
        replace(GOOD, published=None),
        replace(GOOD, kept=6),
        replace(GOOD, kept=None),
        replace(GOOD, rejected=Counter(no_passengers=2)),
        replace(GOOD, bigquery=8),
        replace(GOOD, bigquery=None),
        replace(GOOD, postgres=6),
        replace(GOOD, postgres=None),
    ],
)
def test_anything_missing_or_too_much_does_not(entry: Entry) -> None:
    assert not entry.adds_up
