"""`make dev`: Dagster's webserver and daemon on the stack, as people use them."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from taxi_pipeline_tests.support.processes import killed_leftovers, started, until

WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"

LAUNCH_BACKFILL = """
mutation ($months: [String!]!, $assets: [AssetKeyInput!]!) {
  launchPartitionBackfill(backfillParams: {partitionNames: $months, assetSelection: $assets}) {
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
LAYERS = ("raw", "cleaned", "bigquery", "postgres")
RUNS = "query { runsOrError { ... on Runs { results { status } } } }"


def graphql(url: str, query: str, **variables: object) -> Any:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["data"]


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/server_info", timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.timeout(240)
def test_a_backfill_from_the_ui_runs_and_ctrl_c_leaves_nothing() -> None:
    with TemporaryDirectory(prefix="taxi-") as name, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.close()
        taxi = [sys.executable, "-m", "taxi_pipeline", "local"]
        stack = [*taxi, "--data-dir", f"{name}/data", "--rows", "500"]
        dagster = str(Path(sys.executable).with_name("dagster"))
        dev = [dagster, "dev", "-w", str(WORKSPACE), "-h", "127.0.0.1", "-p", str(port)]
        url = f"http://127.0.0.1:{port}"
        with started([*stack, *dev]) as process:
            until(lambda: answers(url), 120)
            assets = [{"path": [layer, "green_trips"]} for layer in LAYERS]
            months = ["2021-01", "2021-02"]
            launched = graphql(url, LAUNCH_BACKFILL, months=months, assets=assets)
            assert "backfillId" in launched["launchPartitionBackfill"], launched

            def statuses() -> list[str]:
                return [run["status"] for run in graphql(url, RUNS)["runsOrError"]["results"]]

            until(lambda: len(ended := statuses()) == 2 and not set(ended) - ENDED, 120)
            assert statuses() == ["SUCCESS", "SUCCESS"]
            family = psutil.Process(process.pid).children(recursive=True)
            assert len(family) > 6  # four servers; dagster dev's webserver, daemon, code servers
            process.send_signal(signal.SIGINT)
        _, left = psutil.wait_procs(family, timeout=10)
        assert left == []
        ledger = subprocess.run(
            [*stack, sys.executable, "-m", "taxi_pipeline", "ledger"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ledger.stdout.count("yes") == 2, ledger.stderr
        assert killed_leftovers(Path(name)) == []
