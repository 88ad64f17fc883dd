"""A backfill as a person launches it in the UI, and what `taxi backfill` says it will take."""

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import inputs
from benchmarks.report import Cost
from taxi_pipeline_tests.support.dagster_dev import TAXI, DagsterDev, dagster_dev
from taxi_pipeline_tests.support.processes import until

_DAEMON_SECONDS = 30  # between two looks of Dagster's daemon for backfills; it has no setting
_LOOKED = """
query {
  instance { daemonHealth { daemonStatus(daemonType: "BACKFILL") { lastHeartbeatTime } } }
}
"""
_CREATED = "query { runsOrError { ... on Runs { results { creationTime } } } }"


def measure_backfill(folder: Path) -> tuple[dict[str, Cost], dict[str, Cost]]:
    """Launch a backfill as the UI does, on webserver and daemon of its own; wait for its end.

    Also returned are the seconds that `taxi backfill` says before it, and then by its months.

    The time is wall clock, once from the launch and once from when Dagster's daemon made the first
    run; CPU and memory are not measured. The launch is half-way between two of the daemon's looks
    for backfills: a person's click comes at any time, and waits so long in the mean.
    """
    months = [file.month.key for file in inputs.BACKFILL]
    folder.mkdir()
    folder.chmod(0o755)
    with dagster_dev(folder, settings=("--publisher", str(inputs.published()))) as dev:
        before = _estimated(dev, months)
        looked = until(lambda: dev.graphql(_LOOKED)["instance"]["daemonHealth"]["daemonStatus"])
        time.sleep(max(0, looked["lastHeartbeatTime"] + _DAEMON_SECONDS / 2 - time.time()))
        launched = time.time()
        backfill = dev.backfill("yellow_trips", months)
        statuses = dev.await_backfill(backfill, len(months), 1200)
        ended = time.time()
        runs = dev.graphql(_CREATED)["runsOrError"]["results"]
        after = _estimated(dev, months)
    if {*statuses} != {"SUCCESS"}:
        raise click.ClickException(f"The backfill ended with {statuses}.")
    first = min(run["creationTime"] for run in runs)
    took = {
        "from its launch": Cost(ended - launched, 0, 0),
        "from its first run": Cost(ended - first, 0, 0),
    }
    return took, {"estimated": before, "estimated by past months": after}


def _estimated(dev: DagsterDev, months: Sequence[str]) -> Cost:
    """Return the seconds that `taxi backfill` says that months will take."""
    chosen = [word for month in months for word in ("--month", month)]
    command = [*dev.stack, *TAXI, "backfill", "yellow", *chosen, "--dry-run", "--json"]
    environment = os.environ | {"TAXI_DAGSTER_API_URL": dev.url}
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout
    return Cost(json.loads(said)["estimate"]["seconds"], 0, 0)
