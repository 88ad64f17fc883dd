"""What adds up and what does not."""

from collections import Counter
from dataclasses import replace

import pytest

from taxi_pipeline.ledger import Entry, LakeEntry, mart_problems
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.tally import Tally

TRIPS = Tally(7, 123_456)
LAKE = LakeEntry(10, TRIPS, Counter(no_passengers=2, unparsable=1), "etag", "5a", True)
GOOD = Entry("yellow", Month(2021, 1), LAKE, {BigQuery: TRIPS, Postgres: TRIPS})


def test_a_month_whose_every_row_is_accounted_for_adds_up() -> None:
    assert GOOD.adds_up
    assert GOOD.problems == []


def test_a_service_without_amounts_adds_up_by_its_rows() -> None:
    trips = Tally(7, None)
    assert replace(
        GOOD, lake=replace(LAKE, kept=trips), tables={BigQuery: trips, Postgres: trips}
    ).adds_up


@pytest.mark.parametrize(
    ("lake", "said"),
    [
        (
            replace(LAKE, published=1011),
            "The published file has 1,011 rows, the lake 10: 7 kept and 3 rejected.",
        ),
        (
            replace(LAKE, rejected=Counter(no_passengers=2)),
            "The published file has 10 rows, the lake 9: 7 kept and 2 rejected.",
        ),
        (
            replace(LAKE, published=None),
            "The lake has no published file that says how many rows it has.",
        ),
        (replace(LAKE, rejected=None), "The lake has no rejected rows that can be read."),
        (
            replace(LAKE, of_this_raw=False),
            "The lake's trips or its rejected rows were cleaned from another published file than "
            "the one that is there.",
        ),
        (replace(LAKE, faults=("It is broken.",)), "It is broken."),
    ],
)
def test_what_does_not_add_up_in_the_lake_is_said(lake: LakeEntry, said: str) -> None:
    entry = replace(GOOD, lake=lake)
    assert not entry.adds_up
    assert entry.problems == [said]


@pytest.mark.parametrize(
    ("tally", "said"),
    [
        (Tally(6, 123_000), "{} has 6 rows, the lake 7."),
        (Tally(8, 123_456), "{} has 8 rows, the lake 7."),
        (Tally(8, 123_456, 1), "{} has 8 rows, 1 of them without a pick-up time, the lake 7."),
        (Tally(7, 123_456, 1), "{} has 7 rows, 1 of them without a pick-up time, the lake 7."),
        (Tally(7, 123_457), "{} has a total of $1,234.57, the lake $1,234.56."),
        (Tally(7, None), "{} has a total of none, the lake $1,234.56."),
        (None, "{} does not have the month."),
    ],
)
def test_what_does_not_add_up_in_a_table_is_said(tally: Tally | None, said: str) -> None:
    for entry, store in (
        (replace(GOOD, tables={BigQuery: tally, Postgres: TRIPS}), "BigQuery"),
        (replace(GOOD, tables={BigQuery: TRIPS, Postgres: tally}), "Postgres"),
    ):
        assert not entry.adds_up
        assert entry.problems == [said.format(store)]


@pytest.mark.parametrize(
    ("mart", "table", "has"),
    [
        (Tally(6, 123_000), TRIPS, "6 trips, BigQuery 7"),
        (Tally(7, 123_457), TRIPS, "a revenue of $1,234.57, BigQuery $1,234.56"),
        (Tally(0, 0), TRIPS, "0 trips, BigQuery 7"),
        (TRIPS, None, "7 trips, BigQuery 0"),
        (TRIPS, TRIPS, None),
        (Tally(0, 0), None, None),
        (Tally(0, None), None, None),
        (Tally(7, None), Tally(7, None), None),
    ],
)
def test_what_the_mart_has_is_held_against_bigquery(
    mart: Tally, table: Tally | None, has: str | None
) -> None:
    said = [f"The mart daily_trips has {has}: run daily_trips for the month."] if has else []
    assert mart_problems("daily_trips", mart, table) == said
    without = replace(GOOD, tables={BigQuery: table, Postgres: TRIPS})
    marts = {"daily_trips": mart}
    assert replace(without, marts=marts).problems == [*without.problems, *said]


def test_a_month_that_is_not_cleaned_says_so_and_what_the_tables_have() -> None:
    lake = replace(LAKE, kept=None, rejected=None, of_this_raw=False)
    said = [
        "The lake has no cleaned trips that can be read.",
        "The lake has no rejected rows that can be read.",
    ]
    assert Entry("yellow", Month(2021, 1), lake, {BigQuery: None, Postgres: None}).problems == said
    tables = ["BigQuery has 7 rows, the lake none.", "Postgres has 7 rows, the lake none."]
    assert (
        Entry("yellow", Month(2021, 1), lake, {BigQuery: TRIPS, Postgres: TRIPS}).problems
        == said + tables
    )


def test_a_month_of_no_trips_adds_up_with_nothing_in_the_tables() -> None:
    month = Month(2021, 1)
    empty = replace(LAKE, kept=Tally(0, 0))
    assert empty.in_table({}, month) == Tally(0, 0)
    assert LAKE.in_table({}, month) is None
    assert LAKE.in_table({month: TRIPS}, month) == TRIPS
