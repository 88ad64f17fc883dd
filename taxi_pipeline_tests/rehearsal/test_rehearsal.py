"""A backfill of two services ends by itself in spite of every fault, and its ledger adds up."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from taxi_pipeline.local.stack import PublisherOptions, running
from taxi_pipeline_tests.rehearsal.conftest import BEFELL
from taxi_pipeline_tests.rehearsal.faults import FAULTS, Scene
from taxi_pipeline_tests.rehearsal.gate import gated_publisher
from taxi_pipeline_tests.rehearsal.production import Month, production
from taxi_pipeline_tests.support.dagster_dev import TAXI
from taxi_pipeline_tests.support.processes import until
from taxi_pipeline_tests.support.webserver import Run

TABLES = ("yellow_trips", "green_trips")
MONTHS = [f"{year}-{month:02}" for year in (2019, 2020) for month in range(1, 13)]
ROWS = 2_000
QUICK = ["the code server is restarted, as by a deploy"]


@dataclass(frozen=True)
class Befell:
    """What befell, when, and the months that were under way then."""

    what: str
    at: float
    going: set[Month]

    def told(self, runs: Sequence[Run]) -> list[str]:
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


def befall(scene: Scene, what: str, more: int, at_once: int) -> Befell:
    """Let it happen while so many months are under way, when so many more than before are done.

    The publisher's gate holds so many until it happens; as many others are let through meanwhile.
    """
    there, gate = scene.production, scene.gate
    so_far = len(there.done())

    def under_way() -> set[Month]:
        runs = there.runs()
        done = {run.month for run in runs if run.status == "SUCCESS"}
        going = {run.month for run in runs if run.status == "STARTED"} - done
        held = going - gate.passed
        if len(done) >= so_far + more:
            return going if len(held) >= at_once else set()
        # one at a time: a run asks seconds after it has started, and none would be left to hold
        if not gate.places and len(going & gate.passed) < at_once <= len(held):
            gate.let(1)
        return set()

    going = until(under_way, 300, every=1)
    at = time.time()
    gate.let_through(going)  # also those that have started and not yet asked
    FAULTS[what](scene)
    until(lambda: any((run.started or 0) > at for run in there.runs()), 300, every=1)
    return Befell(what, at, going)


@pytest.mark.parametrize(
    ("months", "befalling", "more", "at_once"),
    [
        pytest.param(
            MONTHS[:4],
            QUICK,
            1,
            1,
            id="a few months",
            marks=[pytest.mark.deploy, pytest.mark.timeout(600)],
        ),
        pytest.param(
            MONTHS,
            list(FAULTS),
            2,
            2,
            id="two years",
            marks=[pytest.mark.long, pytest.mark.timeout(3600)],
        ),
    ],
)
def test_a_backfill_goes_on_whatever_befalls_production(
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    months: list[str],
    befalling: list[str],
    more: int,
    at_once: int,
) -> None:
    stack = tmp_path / "stores"
    with (
        running(stack, PublisherOptions(None, ROWS)) as embedded,
        gated_publisher(tmp_path / "published", ROWS) as (gate, publisher),
        production(tmp_path / "production", stores := embedded | publisher) as there,
    ):
        for table in TABLES:
            there.backfill(table, months)
        scene = Scene(there, gate, stack, stores)
        befallen = [befall(scene, what, more, at_once) for what in befalling]
        gate.open()
        there.await_done(len(TABLES) * len(months), 90 * len(months))
        for one in befallen:
            record_property(BEFELL, one.told(there.runs()))
        ledger = subprocess.run(
            [*TAXI, "ledger", "--json"], env={**os.environ, **stores}, capture_output=True
        )
    entries = json.loads(ledger.stdout)
    assert [entry["month"] for entry in entries] == months * len(TABLES)
    assert [entry["published"] for entry in entries] == [ROWS] * len(entries)
    assert ledger.returncode == 0, ledger.stderr
