"""The ledger at the end of a backfill; the store's answers are made up here."""

from collections import Counter
from unittest.mock import Mock

import pytest

from taxi_pipeline.backfill.launch import Launched
from taxi_pipeline.backfill.ledger import read_loaded
from taxi_pipeline.backfill.months import months_between
from taxi_pipeline.ledger import Entry, LakeEntry
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN
from taxi_pipeline.tlc.tally import Tally

MONTH = Month(2021, 1)


@pytest.mark.parametrize(("in_postgres", "adds_up"), [(9, True), (8, False)])
def test_a_mart_that_is_not_computed_anew_yet_is_no_fault_of_the_backfill(
    monkeypatch: pytest.MonkeyPatch, in_postgres: int, adds_up: bool
) -> None:
    lake = LakeEntry(9, Tally(9, 100), Counter(), '"e"', "5a", True)
    tables: dict[type[Sink], Tally | None] = {
        BigQuery: Tally(9, 100),
        Postgres: Tally(in_postgres, 100),
    }
    entry = Entry("green", MONTH, lake, tables, {"daily_trips": Tally(7, 80)})
    assert not entry.adds_up
    monkeypatch.setattr("taxi_pipeline.backfill.ledger.read_ledger", lambda *_: [entry])
    (loaded,) = read_loaded([Launched(GREEN, [MONTH], "id")], Mock())
    assert loaded.adds_up == adds_up


def read(monkeypatch: pytest.MonkeyPatch, months: list[Month]) -> tuple[list[str], list[Month]]:
    """Return the ranges that are read for a backfill, and the months whose entries are returned."""
    ranges: list[str] = []
    lake = LakeEntry(9, Tally(9, 100), Counter(), '"e"', "5a", True)

    def read_ledger(_: object, __: object, first: Month, last: Month) -> list[Entry]:
        ranges.append(f"{first} to {last}")
        return [Entry("green", month, lake, {}, {}) for month in months_between(first, last)]

    monkeypatch.setattr("taxi_pipeline.backfill.ledger.read_ledger", read_ledger)
    entries = read_loaded([Launched(GREEN, months, "id")], Mock())
    return ranges, [entry.month for entry in entries if entry.month]


def test_months_with_many_gaps_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = months_between(Month(2014, 1), Month(2023, 12))[::2]
    assert read(monkeypatch, odd) == (["2014-01 to 2023-11"], odd)


def test_months_far_apart_are_read_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    apart = [Month(2014, 1), Month(2014, 2), Month(2023, 12)]
    assert read(monkeypatch, apart) == (["2014-01 to 2014-02", "2023-12 to 2023-12"], apart)
