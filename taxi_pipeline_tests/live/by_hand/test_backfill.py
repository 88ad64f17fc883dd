"""Backfills from the UI and from a shell, on a platform that a signal ends."""

from collections.abc import Sequence

from .commands import WATCHED
from .conftest import BACKFILLED, Ended, Typed


def test_a_backfill_from_the_ui_runs(backfilled: Sequence[str]) -> None:
    assert backfilled == ["SUCCESS", "SUCCESS"]


def test_a_backfill_from_a_shell_is_followed_to_its_end_and_ledger(typed: Typed) -> None:
    watched = typed.watched
    assert watched.code == 0, watched.stderr
    assert "fhv 2019-01 to 2019-02: all 2 succeeded.\n" in watched.stdout
    of_months = [line.split() for line in watched.stdout.splitlines() if line.startswith(" fhv ")]
    assert [(words[1], words[-1]) for words in of_months] == [(month, "yes") for month in WATCHED]


def test_ctrl_c_leaves_the_backfill_of_a_shell_running(typed: Typed) -> None:
    assert typed.interrupted.code == 130
    assert "of fhv goes on. To cancel it: taxi backfill --cancel " in typed.interrupted.stderr
    assert typed.statuses == ["SUCCESS"]


def test_past_months_say_how_long_one_more_takes(typed: Typed) -> None:
    assert typed.said.code == 0
    assert "1 run: some " in typed.said.stdout
    assert "by the seconds of 3 past months." in typed.said.stdout
    assert "It is loaded already, and would be run again" in typed.said.stdout


def test_sigterm_leaves_no_process_but_the_data(ended: Ended) -> None:
    assert ended.processes > 8  # four servers; dagster dev's four processes and itself
    assert ended.ledger.returncode == 0, ended.ledger.stderr  # all months add up
    assert ended.months("green") == BACKFILLED
    assert ended.left == []
