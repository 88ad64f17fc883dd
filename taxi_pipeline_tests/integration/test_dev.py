"""`make dev`: Dagster's webserver and daemon on the stack, as people use them."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from taxi_pipeline_tests.support.dagster_dev import dagster_dev
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
        with dagster_dev(Path(name)) as dev:  # which sees that nothing is left
            assets = [{"path": [layer, "green_trips"]} for layer in LAYERS]
            months = ["2021-01", "2021-02"]
            launched = dev.graphql(LAUNCH_BACKFILL, months=months, assets=assets)
            assert "backfillId" in launched["launchPartitionBackfill"], launched

            def statuses() -> list[str]:
                return [run["status"] for run in dev.graphql(RUNS)["runsOrError"]["results"]]

            until(lambda: len(ended := statuses()) == 2 and not set(ended) - ENDED, 120)
            assert statuses() == ["SUCCESS", "SUCCESS"]
            family = dev.process.children(recursive=True)
            assert len(family) > 6  # four servers; dagster dev's webserver, daemon, code servers
        ledger = dev.ledger()
        assert ledger.stdout.count("yes") == 2, ledger.stderr
        assert killed_leftovers(Path(name)) == []
