"""`make dev`: Dagster's webserver and daemon on the stack, as people use them."""

import signal
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from taxi_pipeline_tests.support.dev import TAXI, dagster_dev, graphql
from taxi_pipeline_tests.support.processes import killed_leftovers, until

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


@pytest.mark.timeout(240)
def test_a_backfill_from_the_ui_runs_and_ctrl_c_leaves_nothing() -> None:
    with TemporaryDirectory(prefix="taxi-") as name:
        stack = [*TAXI, "local", "--data-dir", f"{name}/data", "--rows", "500"]
        with dagster_dev(stack) as (url, process):
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
            [*stack, *TAXI, "ledger"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ledger.stdout.count("yes") == 2, ledger.stderr
        assert killed_leftovers(Path(name)) == []
