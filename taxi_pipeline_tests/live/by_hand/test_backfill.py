"""A backfill from the UI, on a platform that a script has started and that a signal ends."""

from collections.abc import Sequence

import pytest

from .conftest import BACKFILLED, Ended

pytestmark = pytest.mark.timeout(400)  # the first test waits for the whole platform


def test_a_backfill_from_the_ui_runs(backfilled: Sequence[str]) -> None:
    assert backfilled == ["SUCCESS", "SUCCESS"]


def test_sigterm_leaves_no_process_but_the_data(ended: Ended) -> None:
    assert ended.processes > 8  # four servers; dagster dev's four processes and itself
    assert ended.ledger.returncode == 0, ended.ledger.stderr  # all months add up
    assert ended.months("green") == BACKFILLED
    assert ended.left == []
