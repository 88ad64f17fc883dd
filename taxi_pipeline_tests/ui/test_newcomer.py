"""A newcomer's first evening, by the commands of the README, and the page that comes of it."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright.sync_api")
from playwright.sync_api import expect

from taxi_pipeline_tests.support.dagster_dev import ROWS, TAXI, DagsterDev, dagster_dev
from taxi_pipeline_tests.support.processes import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LOADED = ["green 2021-01", "green 2021-02"]  # by the demo, of green
WANTED = ["green 2021-03", "green 2021-04"]


@pytest.fixture
def evening(browser: "Browser") -> Iterator[DagsterDev]:
    """Start what `make dev` starts, with the publisher of `make demo`, if there is a browser."""
    # pytest's own folders are closed to other users, and root's PostgreSQL runs as another
    with TemporaryDirectory(prefix="taxi-") as folder, dagster_dev(Path(folder)) as dev:
        yield dev


def taxi(dev: DagsterDev, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a verb in the stack, where Dagster's webserver is another than port 3000's."""
    return subprocess.run(
        [*dev.stack, *TAXI, *words],
        env={**os.environ, "TAXI_DAGSTER_URL": dev.url},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def months_of(dev: DagsterDev, *options: str) -> dict[str, str]:
    """Return the state of green's months of early 2021, as `taxi status` says it."""
    span = ("--service", "green", "--from", "2021-01", "--to", "2021-04")
    shown = taxi(dev, "status", "--json", *span, *options)
    assert shown.returncode == 0, shown.stderr
    entries = json.loads(shown.stdout)["months"]
    return {f"{entry['service']} {entry['month']}": entry["state"] for entry in entries}


def test_a_newcomer_sees_what_is_there_loads_more_and_opens_the_page(
    evening: DagsterDev, browser: "Browser", screenshots: Path, tmp_path: Path
) -> None:
    demo = taxi(evening, "demo")
    assert demo.returncode == 0, demo.stderr
    before = {**dict.fromkeys(LOADED, "as loaded"), **dict.fromkeys(WANTED, "missing")}
    assert months_of(evening) == before

    span = ("green", "--from", "2021-03", "--to", "2021-04")
    estimated = taxi(evening, "backfill", *span, "--dry-run")
    assert estimated.returncode == 0, estimated.stderr
    assert "2 runs, 2 at once: some " in estimated.stdout
    assert months_of(evening) == before

    launched = taxi(evening, "backfill", *span, "--yes")
    assert launched.returncode == 0, launched.stdout + launched.stderr
    assert "green 2021-03 to 2021-04: all 2 succeeded." in launched.stdout
    assert launched.stdout.count(f" {ROWS[1]} ") >= len(WANTED)  # the ledger's published rows

    page = tmp_path / "status.html"
    assert months_of(evening, "--html", str(page)) == dict.fromkeys(LOADED + WANTED, "as loaded")
    with browser.new_context() as context:
        opened = context.new_page()
        opened.goto(page.as_uri())
        opened.screenshot(path=screenshots / "newcomer.png", full_page=True)
        expect(opened.get_by_text("4 of 4", exact=False).first).to_be_visible()
