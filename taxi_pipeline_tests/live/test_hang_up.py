"""A platform that a script has started in the background, and whose terminal hangs up."""

import signal

import pytest

from taxi_pipeline_tests.support.dagster_dev import OF_A_SCRIPT
from taxi_pipeline_tests.support.live_platform import live_platform

pytestmark = pytest.mark.long


def test_a_hang_up_ends_all_of_it() -> None:
    with live_platform(OF_A_SCRIPT, signal.SIGHUP) as live:  # which sees that nothing is left
        live.start_dagster({})
        live.dev.await_answer()
        assert len(live.dev.process.children(recursive=True)) > 8
