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

# two for each fault, and some more
MONTHS = [f"{year}-{month:02}" for year in (2019, 2020) for month in range(1, 9)]
WANTED = [(table, month) for table in ("yellow_trips", "green_trips") for month in MONTHS]
AT_ONCE = 2  # months under way when something befalls


@dataclass(frozen=True)
class Befell:
    """What befell, when, and the months that were under way then."""

    what: str
    at: float
    going: set[Month]

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
        figures = (len(self.going), min(later), len(lost), last)
        return [self.what, *(f"{figure:.0f}" for figure in figures)]


def befall(there: Deployment, what: str) -> Befell:
    """Let it happen while months are under way, which the publisher's gate holds until then.

    It is two of them that go on, so that there are enough for all faults.
    """

    def under_way() -> set[Month]:
        runs = there.runs()
        done = {run.month for run in runs if run.status == "SUCCESS"}
        held = {run.month for run in runs if run.status == "STARTED"} - there.gate().passed - done
        return {*sorted(held)[:AT_ONCE]} if len(held) >= AT_ONCE else set()

    try:
        going = until(under_way, 300, every=1)
        at = time.time()
        if what not in WHILE_FETCHING:
            there.gate().let_through(going)  # also those that have started and not yet asked
        FAULTS[what](there)
        there.gate().let_through(going)
        until(lambda: any((run.started or 0) > at for run in there.runs()), 300, every=1)
        # one thing at a time: Dagster gives up a run that it cannot launch again at once
        until(there.has_recovered, 300, every=1)
    except AssertionError as error:
        error.add_note(f"{what}\n{there.state()}")
        raise
    return Befell(what, at, going)


@pytest.mark.timeout(1800)
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
    deployment.await_done(WANTED, 90 * len(MONTHS))
    for one in befallen:
        record_property(BEFELL, one.row(deployment.runs()))
    failures = [deployment.events(run.id, ["RunFailureEvent"]) for run in deployment.runs()]
    assert sum("needed more memory" in str(messages) for messages in failures) == 1
    entries = [entry for entry in deployment.ledger() if entry["month"] in MONTHS]
    months = [(f"{entry['service']}_trips", entry["month"]) for entry in entries]
    assert months == WANTED
    assert [entry["published"] for entry in entries] == [ROWS] * len(entries)
    assert all(entry["adds_up"] for entry in entries)
