"""The months that are broken, and the table of faults at the end, with what came of each."""

from pathlib import Path

import pytest

from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.faults.scene import Months
from taxi_pipeline_tests.faults.table import table

FAULT = "fault"


@pytest.fixture(scope="session")
def months(platform: Platform, stack: Path) -> Months:
    return Months(platform, stack)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, if a fault was run."""
    found = {
        value: outcome if outcome == "passed" else f"**{outcome}**"
        for outcome in ("passed", "skipped", "failed", "error")
        for report in terminalreporter.getreports(outcome)
        for name, value in getattr(report, "user_properties", ())
        if name == FAULT
    }
    if found:
        terminalreporter.section("faults")
        terminalreporter.write_line(table(found))
