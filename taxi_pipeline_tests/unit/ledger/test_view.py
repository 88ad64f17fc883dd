"""How the ledger is shown."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from taxi_pipeline.ledger import Cells, Entry, LakeEntry
from taxi_pipeline.ledger.view import missing, show, show_columns, to_json
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.sink import Sink, Stamp
from taxi_pipeline.tlc.column_tallies import ColumnTallies, figures_of
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV, GREEN, YELLOW, Service
from taxi_pipeline.tlc.tally import Tally

TRIPS = Tally(48_970, 123_456_780)
LAKE = LakeEntry(50_000, TRIPS, Counter(unparsable=30, no_passengers=1000), '"e"', "5a", True)
MARTS = {"daily_trips": TRIPS, "monthly_zone_revenue": TRIPS}
JANUARY, MARCH = Month(2021, 1), Month(2021, 3)
NOTHING: dict[type[Sink], Tally | None] = {BigQuery: None, Postgres: None}
GOOD = Entry("yellow", JANUARY, LAKE, {BigQuery: TRIPS, Postgres: TRIPS}, MARTS)
BAD = Entry("green", JANUARY, LAKE, {BigQuery: Tally(48_969, 123_455_500), Postgres: TRIPS})
ZONES = Entry(
    "taxi_zones",
    None,
    LakeEntry(265, Tally(265, None), Counter(), '"z"', "5b", True, content="zones"),
    {BigQuery: Tally(265, None), Postgres: Tally(264, None)},
)
BARE = Entry("fhv", JANUARY, LakeEntry(9, None, None, None, None, False), NOTHING)


def test_the_table_is_followed_by_what_does_not_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    show([GOOD, BAD, BARE, ZONES])
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    figures = "2021-01 50,000 48,970 1,030 {} 48,970 1,234,567.80 {}"
    assert "service month published kept rejected BigQuery Postgres total (lake) adds up" in rows
    assert "yellow " + figures.format("48,970", "yes") in rows
    assert "green " + figures.format("48,969", "NO") in rows
    assert "fhv 2021-01 9 - - - - - NO" in rows
    assert "taxi_zones - 265 265 0 265 264 - NO" in rows
    assert rows[-4:] == [
        "green 2021-01: BigQuery has 48,969 rows, the lake 48,970.",
        "fhv 2021-01: The lake has no cleaned trips that can be read.",
        "fhv 2021-01: The lake has no rejected rows that can be read.",
        "taxi_zones: Postgres has 264 rows, the lake 265.",
    ]


def test_programs_get_every_figure() -> None:
    stamp = Stamp(7, "AAAAAA==")
    lake = replace(GOOD.lake, stamp=stamp, is_tallied=True)
    stamped = replace(GOOD, lake=lake, stamps={BigQuery: stamp, Postgres: None})
    good, bare = json.loads(to_json([stamped, BARE]))
    assert good == {
        "service": "yellow",
        "month": "2021-01",
        "published": 50_000,
        "kept": 48_970,
        "rejected": {"no_passengers": 1000, "unparsable": 30},
        "bigquery": 48_970,
        "postgres": 48_970,
        "daily_trips": 48_970,
        "monthly_zone_revenue": 48_970,
        "total_lake": 1_234_567.8,
        "total_bigquery": 1_234_567.8,
        "total_postgres": 1_234_567.8,
        "total_daily_trips": 1_234_567.8,
        "total_monthly_zone_revenue": 1_234_567.8,
        "etag": '"e"',
        "sha256": "5a",
        "stamps": {
            "lake": {"generation": 7, "crc32c": "AAAAAA=="},
            "bigquery": {"generation": 7, "crc32c": "AAAAAA=="},
            "postgres": None,
        },
        "adds_up": False,
        "problems": [
            "Postgres does not say from which cleaned object its rows were loaded: "
            "materialize postgres again."
        ],
    }
    assert list(bare) == list(good)
    said = {"service": "fhv", "month": "2021-01", "published": 9, "adds_up": False}
    assert bare == dict.fromkeys(good) | said | {
        "stamps": {"lake": None},
        "problems": BARE.problems,
    }
    assert json.loads(to_json([])) == []
    (zones,) = json.loads(to_json([ZONES]))
    assert (zones["service"], zones["month"]) == ("taxi_zones", None)


@pytest.mark.parametrize(
    ("asked", "first", "last", "said"),
    [
        ([], None, None, []),
        ([], JANUARY, JANUARY, []),
        ([YELLOW], None, None, []),
        ([YELLOW, GREEN, FHV], None, None, ["No store has fhv trips."]),
        ([FHV], JANUARY, JANUARY, ["No store has fhv trips of 2021-01."]),
        ([FHV], JANUARY, MARCH, ["No store has fhv trips of 2021-01 to 2021-03."]),
        ([FHV], JANUARY, None, ["No store has fhv trips of 2021-01 or later."]),
        ([FHV], None, MARCH, ["No store has fhv trips of 2021-03 or earlier."]),
    ],
)
def test_a_service_asked_for_must_be_there(
    asked: list[Service], first: Month | None, last: Month | None, said: list[str]
) -> None:
    assert missing([GOOD, BAD], asked, first, last) == said


def test_months_asked_for_must_be_there_but_none_need_be() -> None:
    assert missing([], [], MARCH, MARCH) == ["No store has trips of 2021-03."]
    assert missing([], [], None, None) == []


def test_columns_stand_side_by_side_the_differing_ones_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tallies = ColumnTallies.of_no_rows(YELLOW.trips)
    other = ColumnTallies(0, {**tallies.columns, "tip_amount": {"nulls": 0, "sum": 12_500}})
    cells: dict[type[Sink], Cells] = {BigQuery: Cells(other), Postgres: Cells(tallies, 5)}
    entry = replace(GOOD, lake=replace(GOOD.lake, cells=Cells(tallies, 5)), cells=cells)
    show_columns([entry, BARE])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    first = lines.index("column figure lake BigQuery Postgres equal") + 2
    assert lines[first] == "tip_amount sum 0.00 1.25 0.00 NO"
    assert lines[first + 1] == "vendor_id nulls 0 0 0 yes"
    assert (
        sum(line.endswith("yes") for line in lines)
        == len([name for column in YELLOW.trips.columns for name in figures_of(column)]) - 1
    )
    (as_object,) = json.loads(to_json([entry]))
    assert next(iter(as_object["columns"])) == "tip_amount"
    of_tips = as_object["columns"]["tip_amount"]["sum"]
    assert of_tips == {"lake": 0, "bigquery": 12_500, "postgres": 0}
    assert as_object["fingerprint"] == {"lake": 5, "bigquery": None, "postgres": 5}
