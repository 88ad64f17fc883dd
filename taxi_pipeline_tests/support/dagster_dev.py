"""`make dev` for tests: Dagster's webserver and daemon on an embedded stack of their own."""

import json
import random
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from .processes import killed_leftovers, started, until

_WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"
TAXI = [sys.executable, "-m", "taxi_pipeline"]

LAUNCH_BACKFILL = """
mutation ($months: [String!]!, $assets: [AssetKeyInput!]!) {
  launchPartitionBackfill(backfillParams: {partitionNames: $months, assetSelection: $assets}) {
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
_RUNS = "query { runsOrError { ... on Runs { results { status } } } }"
_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass(frozen=True)
class DagsterDev:
    """Where the UI is, the process that `make dev` would be, and what joins its stack."""

    url: str
    process: psutil.Process
    stack: Sequence[str]

    def graphql(self, query: str, **variables: object) -> Any:
        """Return the data of GraphQL's answer."""
        return graphql(self.url, query, variables)

    def backfill(self, job: str, months: Sequence[str], seconds: float) -> list[str]:
        """Launch a backfill of a job's four assets as the UI does; return how its runs ended."""
        assets = [{"path": [layer, job]} for layer in ("raw", "cleaned", "bigquery", "postgres")]
        launched = self.graphql(LAUNCH_BACKFILL, months=months, assets=assets)
        assert "backfillId" in launched["launchPartitionBackfill"], launched

        def ended() -> list[str]:
            runs = self.graphql(_RUNS)["runsOrError"]["results"]
            statuses = [run["status"] for run in runs]
            return statuses if len(runs) == len(months) and not {*statuses} - _ENDED else []

        return until(ended, seconds, every=1)  # no person's page asks more often

    def ledger(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run `taxi ledger` in the stack, which it starts if it has ended."""
        command = [*self.stack, *TAXI, "ledger", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)


@contextmanager
def dagster_dev(
    folder: Path, *wrapper: str, settings: Sequence[str] = ("--rows", "500")
) -> Iterator[DagsterDev]:
    """Run it on a stack in `folder`, inside of the `wrapper` command, until the block is left.

    It is ended as by Ctrl-C, and must leave no process behind.
    """
    stack, (dev, url) = _stack(folder, settings), _dev()
    # in a group of its own: Ctrl-C is then pytest's, which ends it in order
    with psutil.Popen([*stack, *wrapper, *dev], process_group=0) as process:
        try:
            until(lambda: _answers(url) or process.poll() is not None, 120)
            assert process.is_running(), f"it ended with {process.returncode}"
            yield DagsterDev(url, process, stack)
        finally:
            left = _left_of(process) + killed_leftovers(folder)
    assert left == []


@contextmanager
def dagster_dev_of_a_script(folder: Path) -> Iterator[psutil.Process]:
    """Let a script start it in the background, on a stack in `folder`; yield `taxi`'s process.

    The webserver answers by then. When the block is left, all of it must have ended.
    """
    stack, (dev, url) = _stack(folder, ["--rows", "500"]), _dev()
    pid = folder / "pid"
    script = f'"$@" & echo $! > {pid}; wait'
    with started(["sh", "-c", script, "sh", *stack, *dev]) as shell:
        family = [psutil.Process(shell.pid)]
        try:
            until(lambda: _answers(url), 120)
            family += family[0].children(recursive=True)
            assert len(family) > 10  # taxi, four servers; dagster dev's four processes and itself
            yield psutil.Process(int(pid.read_text()))
            psutil.wait_procs(family, timeout=45)
        finally:
            left = [process for process in family if process.is_running()]
            for process in left:
                process.kill()
            left += killed_leftovers(folder)
    assert left == []


def _stack(folder: Path, settings: Sequence[str]) -> list[str]:
    return [*TAXI, "local", "--data-dir", f"{folder}/data", *settings]


def _dev() -> tuple[list[str], str]:
    """Return the words of `dagster dev` on a free port, and its URL."""
    port = free_port()
    dagster = str(Path(sys.executable).with_name("dagster"))
    words = [dagster, "dev", "-w", str(_WORKSPACE), "-h", "127.0.0.1", "-p", str(port)]
    return words, f"http://127.0.0.1:{port}"


def graphql(url: str, query: str, variables: Mapping[str, object]) -> Any:
    """Return the data of the webserver's answer; raises `OSError` or `ValueError` without one."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/graphql", body, headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)
    if answer.get("errors"):
        raise ValueError(answer["errors"])
    return answer["data"]


def _left_of(process: psutil.Process) -> list[psutil.Process]:
    """Interrupt a process; kill, and return, who of it and its family does not end."""
    with suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        process.send_signal(signal.SIGINT)
        _, left = psutil.wait_procs(family, timeout=60)
        for one in left:
            one.kill()
        return left
    return []


def free_port() -> int:
    """Return a port of those that the system hands to nobody while Dagster is not yet there."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is no free port")


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/server_info", timeout=5).close()
    except OSError:
        return False
    return True
