"""A backfill of two services ends by itself in spite of every fault, and its ledger adds up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from taxi_pipeline_tests.containers.conftest import BEFELL
from taxi_pipeline_tests.containers.deployment import Deployment
from taxi_pipeline_tests.containers.emulators import ROWS
from taxi_pipeline_tests.containers.faults import FAULTS, WHILE_FETCHING
from taxi_pipeline_tests.containers.gate import Month
from taxi_pipeline_tests.support.processes import until
from taxi_pipeline_tests.support.webserver import Run

# one or two for each fault, and some more
MONTHS = [f"2020-{month:02}" for month in range(1, 13)]
WANTED = [(table, month) for table in ("yellow_trips", "green_trips") for month in MONTHS]
AT_ONCE = 2  # months under way when something befalls, all but one of which go on then


@dataclass(frozen=True)
class Befell:
    """What befell, when, how many months were under way then, and which of them went on."""

    what: str
    at: float
    under_way: int
    going: list[Month]

    def row(self, runs: Sequence[Run]) -> list[str]:
        """Return its row of the table, by all the runs that there were in the end."""
        later = [run.started - self.at for run in runs if run.started and run.started > self.at]
        lost = [
            run
            for run in runs
            if run.status == "FAILURE" and (run.started or 0) < self.at < (run.ended or 0)
        ]
        done = {run.month: run.ended or 0 for run in runs if run.status == "SUCCESS"}
        last = max(done[month] for month in self.going) - self.at
        figures = (self.under_way, min(later), len(lost), last)
        return [self.what, *(f"{figure:.0f}" for figure in figures)]


def befall(there: Deployment, what: str) -> Befell:
    """Let it happen while months are under way, which the publisher's gate holds until then.

    All but one of them go on: so there are enough for all faults, and there is a place in the
    publisher's pool of two, without which no other run would begin.
    """

    def under_way() -> list[Month]:
        runs = there.runs()
        done = {run.month for run in runs if run.status == "SUCCESS"}
        held = {run.month for run in runs if run.status == "STARTED"} - there.gate().passed - done
        return sorted(held) if len(held) >= AT_ONCE else []

    try:
        held = until(under_way, every=0.5)
        going = held[:-1]
        at = time.time()
        if what not in WHILE_FETCHING:
            there.gate().let_through(going)  # which may have started and not yet asked
        FAULTS[what](there)
        there.gate().let_through(going)
        until(lambda: any((run.started or 0) > at for run in there.runs()), every=0.5)
        # one thing at a time: Dagster gives up a run that it cannot launch again at once
        until(there.has_recovered, every=0.5)
    except AssertionError as error:
        error.add_note(f"{what}\n{there.state()}")
        raise
    return Befell(what, at, len(held), going)


@pytest.mark.timeout(3600)
def test_a_backfill_goes_on_whatever_befalls_the_containers(
    deployment: Deployment, record_property: Callable[[str, object], None]
) -> None:
    for table in ("yellow_trips", "green_trips"):
        deployment.backfill(table, MONTHS)
    befallen = []
    for what in FAULTS:
        if "Docker" in what and not deployment.engine.daemon:
            continue  # the engine is somebody's, with containers of theirs
        befallen.append(befall(deployment, what))
    deployment.gate().open()
    deployment.await_done(WANTED)
    for one in befallen:
        record_property(BEFELL, one.row(deployment.runs()))
    failures = [deployment.events(run.id, ["RunFailureEvent"]) for run in deployment.runs()]
    assert sum("needed more memory" in str(messages) for messages in failures) == 1
    entries = [entry for entry in deployment.ledger() if entry["month"] in MONTHS]
    months = [(f"{entry['service']}_trips", entry["month"]) for entry in entries]
    assert months == WANTED
    assert [entry["published"] for entry in entries] == [ROWS] * len(entries)
    assert all(entry["adds_up"] for entry in entries)
