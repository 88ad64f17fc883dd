"""`make dev`: Dagster's webserver and daemon on the stack, as people use them."""

import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from taxi_pipeline_tests.support.dagster_dev import dagster_dev, dagster_dev_of_a_script
from taxi_pipeline_tests.support.processes import killed_leftovers


@pytest.mark.timeout(240)
def test_a_backfill_from_the_ui_runs_and_ctrl_c_leaves_nothing() -> None:
    with TemporaryDirectory(prefix="taxi-") as name:
        with dagster_dev(Path(name)) as dev:  # which sees that nothing is left
            statuses = dev.backfill("green_trips", ["2021-01", "2021-02"], 120)
            assert statuses == ["SUCCESS", "SUCCESS"]
            family = dev.process.children(recursive=True)
            assert len(family) > 6  # four servers; dagster dev's webserver, daemon, code servers
        ledger = dev.ledger()
        assert ledger.stdout.count("yes") == 2, ledger.stderr
        assert killed_leftovers(Path(name)) == []


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_in_the_background_of_a_script_a_signal_ends_all_of_it(number: signal.Signals) -> None:
    with (
        TemporaryDirectory(prefix="taxi-") as name,
        dagster_dev_of_a_script(Path(name)) as taxi,  # which sees that nothing is left
    ):
        taxi.send_signal(number)
