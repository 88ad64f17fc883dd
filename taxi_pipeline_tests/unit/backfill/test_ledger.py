"""The ledger at the end of a backfill; the store's answers are made up here."""

from collections import Counter
from unittest.mock import Mock

import pytest

from taxi_pipeline.backfill.launch import Launched
from taxi_pipeline.backfill.ledger import read_loaded
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
