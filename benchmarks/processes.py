"""Ways as processes of their own: started, waited for, and what they took.

Ours run in this process's environment, the peers' in `.venv-peers`.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks import cleaning, inputs, peers
from benchmarks.inputs import Published
from benchmarks.report import Cost

_REPOSITORY = Path(__file__).parents[1]
PEERS_PYTHON = _REPOSITORY / ".venv-peers/bin/python"
_PEERS = ("duckdb", "polars")

# What the rules of cleaning look at, as the Parquet and the CSV of these months call it.
_FILTERED = {
    "yellow": ("tpep_pickup_datetime", "tpep_dropoff_datetime", "passenger_count"),
    "fhvhv": ("pickup_datetime", "dropoff_datetime", None),
}


def peers_versions() -> dict[str, str]:
    """Return the versions of the libraries that the peers' environment has."""
    if not PEERS_PYTHON.exists():
        raise click.ClickException("The peers are not installed: make .venv-peers/.ready")
    code = f"from importlib.metadata import version; print(*map(version, {_PEERS}))"
    said = subprocess.run([PEERS_PYTHON, "-c", code], stdout=subprocess.PIPE, check=True, text=True)
    return dict(zip(_PEERS, said.stdout.split(), strict=True))


def run_way(
    name: str, file: Published | None = None, times: int = 1
) -> tuple[int, dict[str, list[Cost]]]:
    """Run a way; return the rows that it ended with, and its costs, and those of ways within it.

    Args:
        name: The way.
        file: The published file, for a way of one.
        times: How often the process does it, for a way of none.
    """
    if file is None:
        command = [sys.executable, "-m", "benchmarks.ways", name, "--times", str(times)]
    elif name in cleaning.WAYS:
        command = [sys.executable, "-m", "benchmarks.cleaning", name, file.name]
    else:
        task = json.dumps(asdict(peers_task(file)))
        command = [str(PEERS_PYTHON), "-m", "benchmarks.peers", name, task]
    folder = inputs.written("")
    folder.mkdir(exist_ok=True)
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=_REPOSITORY)
    shutil.rmtree(folder)
    found = json.loads(ran.stdout.splitlines()[-1])
    took = {way: [Cost(**cost) for cost in costs] for way, costs in found["took"].items()}
    return found["rows"], took


def peers_task(file: Published) -> peers.Task:
    """Return what a peer is to do with a published file."""
    pickup, dropoff, passengers = _FILTERED[file.service.name]
    return peers.Task(
        source=str(file.path),
        target=str(inputs.written("kept.parquet")),
        pickup=pickup,
        dropoff=dropoff,
        passengers=passengers,
        start=file.month.start.isoformat(),
        end=file.month.end.isoformat(),
    )


def run_process(command: Sequence[str]) -> Cost:
    """Run a command; return what it took from start to end, without what it leaves running."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr  # noqa: S101
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(said.decode()[-2000:])
    seconds = time.perf_counter() - began
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
