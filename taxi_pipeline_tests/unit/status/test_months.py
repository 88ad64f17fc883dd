"""A month's state: each of the eight, with its cause and its figures."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from taxi_pipeline.lake.metadata import CleanedMetadata, RawMetadata
from taxi_pipeline.lake.objects import FileObjects
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.gcs import LakeObject
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.sink import Stamp
from taxi_pipeline.status import Facts, Figures, MonthStatus, State
from taxi_pipeline.status.months import StoredMonth, status_of
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN, YELLOW

TODAY = date(2026, 11, 29)
MONTH = Month(2021, 1)
KEY = (YELLOW.name, MONTH)
PATHS = object_paths(YELLOW, MONTH)
REJECTED = PATHS.rejected_name("5" * 64)
RAW = RawMetadata("https://publisher/y.parquet", "", '"v1"', "", "5a", 10)
CLEANED = CleanedMetadata(
    published=10,
    kept=7,
    rejected={"unparsable": 1, "no_passengers": 2},
    sha256="5a",
    rejected_rows=REJECTED,
    trips_by_day=[7, *[0] * 30],
    cents=12_345,
)
STAMP = Stamp(17, "AAAAAA==")
NOTHING = FileObjects.among((), PATHS)


def item(name: str, metadata: dict[str, str], size: int = 1) -> LakeObject:
    return LakeObject(name, f"gs://lake/{name}", size, 17, "", metadata, STAMP.crc32c)


def objects(raw: RawMetadata = RAW, cleaned: CleanedMetadata = CLEANED) -> FileObjects:
    rejected = replace(cleaned, rejected_rows=None)
    return FileObjects.among(
        [
            item(f"{PATHS.raw}parquet", raw.to_metadata(), 100),
            item(PATHS.cleaned, cleaned.to_metadata(), 20),
            item(REJECTED, rejected.to_metadata(), 3),
            item(f"{PATHS.cleaned}.bak", {}, 9000),
        ],
        PATHS,
    )


RAW_ITEM = item(f"{PATHS.raw}csv", RAW.to_metadata())
GOOD = StoredMonth(objects(), dict.fromkeys(SINKS, STAMP), SINKS)
EMPTY = StoredMonth(NOTHING, dict.fromkeys(SINKS), SINKS)


def yellow(stored: StoredMonth, facts: Facts | None = None, month: Month = MONTH) -> MonthStatus:
    return status_of(YELLOW, month, stored, facts or Facts(), TODAY)


def state(status: MonthStatus) -> tuple[State, str]:
    return status.state, status.cause


def test_a_month_that_all_stores_have_is_as_loaded_and_has_its_figures() -> None:
    status = yellow(GOOD)
    assert state(status) == (State.LOADED, "All stores have the trips that were cleaned last.")
    assert status.name == "yellow 2021-01"
    assert status.figures == Figures(
        10,
        7,
        Counter(unparsable=1, no_passengers=2),
        12_345,
        123,
        [7, *[0] * 30],
        {BigQuery: True, Postgres: True},
    )
    assert (status.figures.rejected_share, status.figures.dollars) == (0.3, 123.45)


@pytest.mark.parametrize(
    ("stored", "cause"),
    [
        (
            replace(GOOD, objects=objects(raw=replace(RAW, rows=11))),
            "The published file has 11 rows, the lake 10: 7 kept and 3 rejected.",
        ),
        (
            replace(GOOD, objects=objects(raw=replace(RAW, sha256="6b"))),
            "The lake's trips or its rejected rows were cleaned from another published file than "
            "the one that is there.",
        ),
        (
            replace(GOOD, stamps={BigQuery: STAMP, Postgres: Stamp(16, "BBBBBB==")}),
            "Postgres has the rows of generation 16 of the cleaned object, the lake has generation "
            "17: materialize postgres again.",
        ),
        (
            replace(GOOD, stamps={BigQuery: None, Postgres: STAMP}),
            "BigQuery does not say that it has loaded the month: materialize yellow_bigquery.",
        ),
        (
            replace(EMPTY, stamps={BigQuery: STAMP, Postgres: None}),
            "The lake has no published file that says how many rows it has. The lake has no "
            "cleaned trips that can be read. The lake has no rejected rows that can be read.",
        ),
        (
            replace(EMPTY, objects=FileObjects.among([RAW_ITEM], PATHS)),
            "It is not loaded yet: the lake has its raw file, and no cleaned trips.",
        ),
    ],
    ids=["rows", "another raw file", "another version", "not loaded", "table alone", "raw alone"],
)
def test_a_month_does_not_add_up_for_what_the_stores_noted(stored: StoredMonth, cause: str) -> None:
    status = yellow(stored)
    assert state(status) == (State.UNEQUAL, cause)
    assert status.figures


def test_a_month_that_is_merely_begun_is_not_loaded() -> None:
    raw_alone = FileObjects.among([RAW_ITEM], PATHS)
    for begun in (
        replace(EMPTY, objects=raw_alone),
        replace(GOOD, objects=raw_alone),
        replace(GOOD, stamps={BigQuery: STAMP, Postgres: None}),
        replace(GOOD, stamps=dict.fromkeys(SINKS)),
    ):
        status = yellow(begun)
        assert (status.state, status.is_begun) == (State.UNEQUAL, True)
    other = Stamp(16, "BBBBBB==")
    for amiss in (
        replace(GOOD, stamps={BigQuery: None, Postgres: other}),
        replace(GOOD, objects=objects(raw=replace(RAW, rows=11)), stamps=dict.fromkeys(SINKS)),
        replace(EMPTY, stamps={BigQuery: STAMP, Postgres: None}),
        GOOD,
    ):
        assert not yellow(amiss).is_begun


def test_what_an_earlier_release_has_loaded_adds_up_without_a_stamp() -> None:
    earlier = objects(cleaned=replace(CLEANED, trips_by_day=None, cents=None))
    status = yellow(StoredMonth(earlier, {BigQuery: STAMP, Postgres: None}, SINKS))
    assert state(status) == (
        State.LOADED,
        "An earlier release has cleaned it: what Postgres has was not noted. taxi ledger counts "
        "it.",
    )
    assert status.figures
    assert status.figures.stores == {BigQuery: True, Postgres: None}
    stamped = yellow(StoredMonth(earlier, dict.fromkeys(SINKS, STAMP), SINKS))
    assert stamped.cause == "All stores have the trips that were cleaned last."
    other = yellow(StoredMonth(earlier, {BigQuery: STAMP, Postgres: Stamp(16, "BBBBBB==")}, SINKS))
    assert other.state is State.UNEQUAL


def test_a_month_is_due_from_the_first_to_the_newest_that_tlc_should_have_published() -> None:
    due = {month: yellow(GOOD, month=Month(2026, month)).is_due for month in (9, 10)}
    assert due == {9: True, 10: False}
    assert not status_of(GREEN, Month(2013, 7), EMPTY, Facts(), TODAY).is_due


def test_a_month_without_trips_need_not_be_in_any_table() -> None:
    rejected = replace(CLEANED, kept=0, rejected={"unparsable": 10})
    stored = StoredMonth(objects(cleaned=rejected), dict.fromkeys(SINKS), SINKS)
    assert yellow(stored).state is State.LOADED


def test_a_month_of_which_the_publisher_has_another_file_was_rewritten() -> None:
    facts = Facts(rewritten={KEY: '"v1"'})
    cause = "The publisher has another file now than the one it was made of."
    assert state(yellow(GOOD, facts)) == (State.REWRITTEN, cause)
    # the sensor's answer is of the file before
    fetched = replace(GOOD, objects=objects(raw=replace(RAW, etag='"v2"')))
    assert yellow(fetched, facts).state is State.LOADED
    assert yellow(EMPTY, facts).state is State.MISSING


def test_a_file_that_somebody_put_there_is_named_and_is_not_the_publishers() -> None:
    put = objects(raw=replace(RAW, source_url=None))
    status = yellow(replace(GOOD, objects=put), Facts(rewritten={KEY: '"v1"'}))
    assert (status.state, status.is_foreign) == (State.LOADED, True)
    assert status.cause.startswith(
        "All stores have the trips that were cleaned last. The month comes from gs://lake/raw/yellow"
    )
    assert "which somebody else put into the lake" in status.cause
    assert not yellow(GOOD).is_foreign
    assert not yellow(EMPTY).is_foreign


def test_a_failed_month_says_where_and_a_running_one_is_not_failed() -> None:
    facts = Facts(failed={KEY: "Its last run failed in yellow_raw."})
    for stored in (GOOD, EMPTY):
        assert state(yellow(stored, facts)) == (
            State.FAILED,
            "Its last run failed in yellow_raw.",
        )
    since = datetime(2026, 11, 28, 7, 5, tzinfo=UTC)
    again = yellow(GOOD, replace(facts, running={KEY: since}))
    cause = "A run of it has been queued or under way since 2026-11-28 07:05 UTC."
    assert state(again) == (State.RUNNING, cause)
    assert again.running_since == since


def test_a_month_that_no_store_has_is_missing_or_late_or_not_due() -> None:
    status = yellow(EMPTY)
    assert (state(status), status.figures) == ((State.MISSING, "No store has it."), None)
    late = "It is due; TLC did not have it yet when it was asked last."
    assert state(yellow(EMPTY, Facts(unpublished={KEY}))) == (State.UNPUBLISHED, late)
    # a run that asked for it too early has failed
    tried = Facts(unpublished={KEY}, failed={KEY: "Its last run failed in yellow_raw."})
    assert state(yellow(EMPTY, tried)) == (State.UNPUBLISHED, late)
    assert yellow(GOOD, tried).state is State.FAILED
    assert yellow(EMPTY, month=Month(2026, 9)).state is State.MISSING
    nobody_asked = Facts(unknown=("The sensor has not asked.",))
    newest = yellow(EMPTY, nobody_asked, Month(2026, 9))
    assert state(newest) == (
        State.MISSING,
        "No store has it. It is due by the calendar; whether TLC has published it yet is not "
        "known.",
    )
    assert yellow(EMPTY, month=Month(2026, 9)).cause == "No store has it."
    assert yellow(EMPTY, nobody_asked, Month(2026, 8)).cause == "No store has it."
    due = "TLC publishes a month some 50 days after its end: due in 2026-12."
    assert state(yellow(EMPTY, month=Month(2026, 10))) == (State.UNPUBLISHED, due)


def test_before_a_services_first_month_there_is_no_month() -> None:
    status = status_of(GREEN, Month(2013, 7), EMPTY, Facts(), TODAY)
    assert state(status) == (State.NO_MONTH, "TLC's green trips begin with 2013-08.")
    assert status_of(GREEN, Month(2013, 8), EMPTY, Facts(), TODAY).state is State.MISSING


def test_what_a_sink_that_is_away_has_is_not_known() -> None:
    status = yellow(StoredMonth(objects(), {Postgres: STAMP}, SINKS))
    assert status.state is State.LOADED
    assert status.figures
    assert status.figures.stores == {BigQuery: None, Postgres: True}
    lake = "The lake accounts for every published row; whether"
    assert status.cause == f"{lake} BigQuery has the trips is not known."
    alone = yellow(StoredMonth(objects(), {}, SINKS))
    assert alone.cause == f"{lake} BigQuery and Postgres have the trips is not known."
    nothing = yellow(StoredMonth(NOTHING, {Postgres: None}, SINKS))
    assert state(nothing) == (
        State.MISSING,
        "The lake does not have it; whether BigQuery has it is not known.",
    )


def test_days_that_are_not_the_months_are_not_drawn() -> None:
    wrong = replace(CLEANED, trips_by_day=[7])
    status = yellow(replace(GOOD, objects=objects(cleaned=wrong)))
    assert status.figures
    assert status.figures.trips_by_day == ()


def test_every_state_has_a_mark_of_its_own() -> None:
    assert len({each.mark for each in State}) == len(State) == 8
    assert [each for each in State if each.is_bad] == [State.UNEQUAL, State.FAILED]
