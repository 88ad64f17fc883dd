"""A backfill of two services goes on through every fault, and in the end its ledger adds up."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from taxi_pipeline.local.stack import Settings, running
from taxi_pipeline_tests.rehearsal.conftest import BEFELL
from taxi_pipeline_tests.rehearsal.faults import FAULTS, Scene
from taxi_pipeline_tests.rehearsal.production import Month, production
from taxi_pipeline_tests.support.dagster_dev import TAXI
from taxi_pipeline_tests.support.processes import until

TABLES = ("yellow_trips", "green_trips")
MONTHS = [f"{year}-{month:02}" for year in (2019, 2020) for month in range(1, 13)]
ROWS = 2_000


def befall(scene: Scene, fault: Callable[[Scene], None]) -> tuple[int, float, float]:
    """Let some more months be done first, and let it happen while others are under way.

    Return how many those are, and after how many seconds the next run began and they were done.
    """
    there = scene.production
    so_far = len(there.done())

    def under_way() -> set[Month]:
        runs, done = there.runs(), there.done()
        going = {run.month for run in runs if run.status == "STARTED"}
        return going - done if len(done) >= so_far + 4 else set()

    def next_began() -> list[float]:
        return [run.started - at for run in there.runs() if run.started and run.started > at]

    going = until(under_way, 300, every=0.2)
    at = time.time()
    fault(scene)
    until(lambda: going <= there.done(), 900, every=0.5)
    recovered = time.time() - at
    return len(going), min(until(next_began, 300)), recovered


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_backfill_goes_on_through_every_fault(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # PostgreSQL's user must reach its data
    stack = tmp_path / "stores"
    with (
        running(stack, Settings(None, ROWS)) as stores,
        production(tmp_path / "production", stores) as there,
    ):
        scene = Scene(there, stack, stores)
        for table in TABLES:
            there.backfill(table, MONTHS)
        for name, fault in FAULTS.items():
            going, next_began, recovered = befall(scene, fault)
            found = [name, str(going), f"{next_began:.0f}", f"{recovered:.0f}"]
            record_property(BEFELL, found)
        there.await_months(len(TABLES) * len(MONTHS), 1200)
        ledger = subprocess.run(
            [*TAXI, "ledger", "--json"], env={**os.environ, **stores}, capture_output=True
        )
    entries = json.loads(ledger.stdout)
    assert [entry["month"] for entry in entries] == MONTHS * len(TABLES)
    assert [entry["published"] for entry in entries] == [ROWS] * len(entries)
    assert ledger.returncode == 0, ledger.stderr
