"""How a backfill that goes on, or has ended, is shown."""

import io
import sys

import pytest

from taxi_pipeline.backfill import view
from taxi_pipeline.backfill.launch import Launched, State
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV

MONTHS = [Month(2021, number) for number in (1, 2, 3)]


def state(status: str = "REQUESTED", error: str = "", **runs: str) -> State:
    keys = {f"2021-0{name[-1]}": how for name, how in runs.items()}
    return State(status, keys, error, len(MONTHS))


def said(of: State) -> str:
    (sentence,) = view.outcome([Launched(FHV, MONTHS, "id")], {"id": of})
    return sentence


def test_all_months_have_to_succeed() -> None:
    some = state(month1="SUCCESS", month2="SUCCESS")
    assert not some.succeeded
    every = state(month1="SUCCESS", month2="SUCCESS", month3="SUCCESS")
    assert every.succeeded
    assert every.ended  # though Dagster has not looked yet
    assert said(every) == "fhv 2021-01 to 2021-03: all 3 succeeded."


def test_what_failed_has_ended_when_dagster_says_so() -> None:
    runs = {"month1": "SUCCESS", "month2": "FAILURE", "month3": "CANCELED"}
    assert not state(**runs).ended  # it may be tried again
    ended = state("COMPLETED_FAILED", **runs)
    assert ended.ended
    assert said(ended) == "fhv 2021-01 to 2021-03: 1 of 3 succeeded; not so 2021-02, 2021-03."


def test_one_that_dagster_has_given_up_or_somebody_canceled_says_it() -> None:
    given_up = state("FAILED", "no such asset", month1="SUCCESS")
    assert said(given_up).endswith("1 of 3 succeeded. Dagster has given it up: no such asset.")
    assert said(state("CANCELED")).endswith("0 of 3 succeeded, canceled.")


def test_meanwhile_it_is_said_how_many_go_on() -> None:
    states = {
        "a": state(month1="SUCCESS", month2="FAILURE", month3="STARTED"),
        "b": state(month1="STARTING", month2="QUEUED"),
    }
    assert view.running(states) == (2, "2 running, 1 failed")
    assert view.running({"a": state()}) == (0, "")


def test_where_nobody_watches_a_sentence_is_said_each_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    sentences: list[str] = []
    monkeypatch.setattr(view, "monotonic", lambda: now)
    with view.watching("Months", 9, sentences.append) as show:
        for now in (10.0, 61.0, 70.0, 130.0):
            show(3, "2 running" if now < 100 else "")
    assert sentences == ["Months: 3 of 9, 2 running", "Months: 3 of 9"]


def test_a_shell_that_has_closed_the_standard_error_watches_no_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with view.watching("Months", 9, print) as show:
        show(3, "2 running")


def test_a_person_watches_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with view.watching("Months", 9, print) as show:
        show(3, "2 running")
    assert "Months" in terminal.getvalue()
    assert "3/9" in terminal.getvalue()
    assert "2 running" in terminal.getvalue()
