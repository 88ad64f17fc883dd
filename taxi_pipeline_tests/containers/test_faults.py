"""A backfill of two services ends by itself in spite of every fault, and its ledger adds up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import pytest

from taxi_pipeline.automation.lost_retries import RELAUNCHES
from taxi_pipeline_tests.containers.conftest import BEFELL
from taxi_pipeline_tests.containers.deployment import Deployment
from taxi_pipeline_tests.containers.emulators import ROWS
from taxi_pipeline_tests.containers.faults import FAULTS, LOSE_A_RETRY, PASS_OVER, WHILE_FETCHING
from taxi_pipeline_tests.containers.gate import Month
from taxi_pipeline_tests.support.processes import until
from taxi_pipeline_tests.support.webserver import ENDED, Run

TABLES = ("yellow_trips", "green_trips")
# of each table: one or two for each fault, and some more
MONTHS = [f"2020-{month:02}" for month in range(1, 13)]
MAX_RETRIES = "2"  # of a run, by deploy/compose/dagster.yaml
AT_ONCE = 2  # months under way when something befalls, all but one of which go on then


@dataclass(frozen=True)
class Befell:
    """What befell, when, how many months were under way then, and which of them went on."""

    what: str
    at: float
    under_way: int
    going: list[Month]

    def row(self, runs: Sequence[Run], ends: float) -> list[str]:
        """Return its row of the table, by all runs of the test; the next thing befell at `ends`."""
        later = [run.started - self.at for run in runs if run.started and run.started > self.at]
        lost = [
            run for run in runs if run.status == "FAILURE" and self.at < (run.ended or 0) < ends
        ]
        done = {run.month: run.ended or 0 for run in runs if run.status == "SUCCESS"}
        last = max(done[month] for month in self.going) - self.at
        figures = (self.under_way, min(later), len(lost), last)
        return [self.what, *(f"{figure:.0f}" for figure in figures)]


def befall(there: Deployment, what: str, fault: Callable[[Deployment], None]) -> Befell:
    """Let a fault happen while months are under way, which the publisher's gate holds until then.

    All but one of them go on: so there are enough for all faults, and there is a place in the
    publisher's pool of two, without which no other run would begin. A month that is run again is
    not held: of one whose run died three times Dagster would make no further one.
    """

    def under_way() -> list[Month]:
        runs = there.runs()
        unfinished = [run for run in runs if run.status not in ENDED]
        again = {run.month for run in unfinished if _is_again(run)}
        there.gate().let_through(again)
        started = {run.month for run in unfinished if run.status == "STARTED"}
        held = started - again - there.gate().passed
        asking = [month for month in there.gate().waiting if month in held]
        if any(map(_is_last_try, unfinished)):
            if held == started - again:  # which keep it waiting for its turn
                there.gate().let_through(asking[:1])
            return []
        if not (there.has_recovered() and asking and len(held) >= AT_ONCE):
            return []
        return [*asking, *sorted(held - {*asking})]

    try:
        held = until(under_way, every=0.5)
        going = held[:-1]
        at = time.time()
        if what not in WHILE_FETCHING:
            there.gate().let_through(going)
        fault(there)
        there.gate().let_through(going)
        until(lambda: any((run.started or 0) > at for run in there.runs()), every=0.5)
    except AssertionError as error:
        error.add_note(f"{what}\n{there.state()}")
        raise
    return Befell(what, at, len(held), going)


def _is_again(run: Run) -> bool:
    return "dagster/parent_run_id" in run.tags or RELAUNCHES in run.tags


def _is_last_try(run: Run) -> bool:
    return run.tags.get("dagster/retry_number") == MAX_RETRIES


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_backfill_goes_on_whatever_befalls_the_containers(
    deployment: Deployment, record_property: Callable[[str, object], None]
) -> None:
    wanted = [(table, month) for table in TABLES for month in MONTHS]
    deployment.gate().close()  # which other tests may have left open
    for table in TABLES:
        deployment.backfill(table, MONTHS)
    befallen = []
    for what, fault in FAULTS.items():
        if "Docker" in what and not deployment.engine.daemon:
            continue  # the engine is somebody's, with containers of theirs
        befallen.append(befall(deployment, what, fault))
    deployment.gate().open()
    deployment.await_done(wanted)
    runs = [run for run in deployment.runs() if run.month in wanted]
    for one, ends in zip(befallen, [*(one.at for one in befallen[1:]), inf], strict=True):
        record_property(BEFELL, one.row(runs, ends))
    relaunched = {run.month: run.status for run in reversed(runs) if RELAUNCHES in run.tags}
    assert len(relaunched) >= len({LOSE_A_RETRY, PASS_OVER})
    assert {*relaunched.values()} == {"SUCCESS"}
    failures = [deployment.events(run.id, ["RunFailureEvent"]) for run in runs]
    assert sum("needed more memory" in str(messages) for messages in failures) == 1
    entries = [entry for entry in deployment.ledger() if entry["month"] in MONTHS]
    assert [(f"{entry['service']}_trips", entry["month"]) for entry in entries] == wanted
    assert [entry["published"] for entry in entries] == [ROWS] * len(entries)
    assert all(entry["adds_up"] for entry in entries)
