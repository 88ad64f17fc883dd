"""Terminating a run from Dagster's UI: it ends within seconds, and the stores are as before."""

from collections.abc import Mapping

import pytest

from .conftest import Ended, Launched
from .termination import PHASES, SERVICES, Phase, Terminated


@pytest.mark.parametrize("phase", PHASES, ids=str)
def test_a_terminated_run_ends_within_seconds_and_leaves_the_stores_as_before(
    terminated: Mapping[str, Terminated], phase: Phase
) -> None:
    run = terminated[phase.name]
    assert run.status == "CANCELED"
    assert run.starts[0] == run.starts[1]
    assert run.files_left == []
    assert run.tables[0] == run.tables[1]
    before, after = run.stored
    assert {store for store in after if after[store] != before[store]} == {*phase.replaced}
    assert run.ran_again
    assert run.stored_again["adds up"]


def test_no_terminated_run_is_launched_again_and_the_ledger_adds_up(
    launched: Launched, ended: Ended
) -> None:
    runs = {run.id for run in ended.runs if run.service in SERVICES}
    assert runs == {*launched.to_terminate.launched.values()}
    assert ended.ledger.returncode == 0, ended.ledger.stderr
    assert len(ended.months(*SERVICES)) == len(PHASES)
