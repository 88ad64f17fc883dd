"""How the status is shown in a terminal, and to programs."""

import json
from dataclasses import replace

import pytest

from taxi_pipeline.status import MonthStatus, State, Status
from taxi_pipeline.status.view import show, to_json
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.support.status import AS_OF, figures, full_history

HISTORY = full_history()
JANUARY = Month(2021, 1)


def lines(status: Status, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show(status)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_the_matrix_has_a_row_a_year_and_a_mark_a_month(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = lines(HISTORY, capsys)
    assert "service year J F M A M J J A S O N D" in shown
    assert "yellow 2009 ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓" in shown
    assert "2019 ✓ ✓ ✓ ✓ ✓ ✓ ↻ ✓ ✓ ✓ ✓ ✓" in shown
    assert "green 2013 ✓ ✓ ✓ ✓ ✓" in shown
    assert "2017 ✓ ✓ ✓ ○ ○ ○ ✓ ✓ ✓ ✓ ✓ ✓" in shown
    assert "2018 ✓ ✕ ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓ ✓" in shown
    assert "2026 ✓ ✓ ✓ ✓ ✓ ✓ ✓ ▸ ✓ · · ·" in shown
    legend = "✓ as loaded: 597 ↻ rewritten since: 1 ≠ does not add up: 1 ✕ failed: 1 ▸ running: 1"
    assert f"{legend} ○ missing: 3 · not published yet: 12" in shown


def test_totals_what_is_not_well_and_what_to_do_follow(capsys: pytest.CaptureFixture[str]) -> None:
    shown = lines(replace(HISTORY, unknown=("Dagster was not asked.",)), capsys)
    names = "totals loaded due published kept rejected share bytes dollars oldest newest"
    rows = shown[shown.index(names) :]
    assert [row.split()[0] for row in rows[2:7]] == ["yellow", "green", "fhv", "fhvhv", "all"]
    assert rows[4].startswith("fhv 137 141 ")
    assert rows[4].endswith(" - 2015-01 2026-09")  # no dollars
    at = rows.index("What to do next")
    assert rows[at - 4 : at - 1] == [
        "green 2015-03: BigQuery has the rows of generation 17.",
        "fhv 2018-02: Its last run failed in fhv_cleaned.",
        "Not known: Dagster was not asked.",
    ]
    assert rows[at + 1] == "1 month failed. taxi retry-failed --service fhv"


def test_months_in_a_row_of_one_cause_are_a_line_and_many_lines_are_cut(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failed(key: str, cause: str) -> MonthStatus:
        return MonthStatus("yellow", Month.parse(key), State.FAILED, cause)

    row = [failed(f"2021-{month:02}", "Broken.") for month in (1, 2, 3)]
    assert "yellow 2021-01 to 2021-03: Broken." in lines(replace(HISTORY, months=row), capsys)
    many = [failed(f"20{year}-01", f"Broken in {year}.") for year in range(10, 40)]
    assert "… and 10 more, which taxi status --json has." in lines(
        replace(HISTORY, months=many), capsys
    )


def test_dollars_of_some_months_say_of_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    with_dollars = figures(YELLOW, JANUARY)
    silent = replace(with_dollars, cents=None)
    some = [
        MonthStatus("yellow", Month(2021, number), State.LOADED, "", each)
        for number, each in enumerate((with_dollars, silent), 1)
    ]
    (row,) = [line for line in lines(Status(AS_OF, "", some), capsys) if " of 1 month" in line]
    assert row.startswith("yellow 2 2 ")
    totals = json.loads(to_json(Status(AS_OF, "", some)))["totals"]
    assert totals["months_with_dollars"] == 1


def test_files_that_somebody_put_there_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    put = [
        MonthStatus("yellow", Month(2021, month), State.LOADED, "", is_foreign=True)
        for month in (1, 2)
    ]
    said = "yellow 2021-01 to 2021-02: from a file that somebody else put into the lake, not TLC's."
    assert said in lines(Status(AS_OF, "", put), capsys)
    (shown, _) = json.loads(to_json(Status(AS_OF, "", put)))["months"]
    assert shown["foreign"] is True


def test_a_cause_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    month = MonthStatus("yellow", JANUARY, State.FAILED, "[red]x[/red]")
    assert "yellow 2021-01: [red]x[/red]" in lines(Status(AS_OF, "", [month]), capsys)


def test_programs_get_months_totals_and_what_to_do() -> None:
    there = MonthStatus("yellow", JANUARY, State.LOADED, "Well.", figures(YELLOW, JANUARY))
    absent = MonthStatus("yellow", Month(2021, 2), State.MISSING, "No store has it.")
    shown = json.loads(to_json(Status(AS_OF, "gs://lake/", [there, absent], ("Who knows.",))))
    assert shown.keys() == {"as_of", "lake", "months", "totals", "next", "unknown"}
    assert shown["as_of"] == "2026-11-29T09:10:00+00:00"
    first, second = shown["months"]
    assert there.figures
    assert there.figures.rejected
    assert first == {
        "service": "yellow",
        "month": "2021-01",
        "state": "as loaded",
        "cause": "Well.",
        "foreign": False,
        "published": there.figures.published,
        "kept": there.figures.kept,
        "rejected": dict(there.figures.rejected),
        "dollars": there.figures.dollars,
        "bytes": there.figures.size,
        "trips_by_day": [*there.figures.trips_by_day],
        "stores": {"bigquery": True, "postgres": True},
    }
    nothing = ("published", "kept", "rejected", "dollars", "bytes", "trips_by_day", "stores")
    assert second == {
        "service": "yellow",
        "month": "2021-02",
        "state": "missing",
        "cause": "No store has it.",
        "foreign": False,
        **dict.fromkeys(nothing),
    }
    assert shown["totals"]["states"] == {"as loaded": 1, "missing": 1}
    assert shown["totals"]["due"] == 2
    assert shown["totals"]["kept"] == there.figures.kept
    assert shown["totals"]["newest"] == "2021-01"
    assert shown["totals"]["services"].keys() == {"yellow"}
    assert shown["next"] == [
        {
            "sentence": "yellow 2021-02 is missing.",
            "command": "taxi backfill yellow --month 2021-02",
        }
    ]
    assert shown["unknown"] == ["Who knows."]
