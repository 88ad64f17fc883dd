"""The table of faults at the end of a session, with what came of each."""

import pytest

from taxi_pipeline_tests.faults.table import table

FAULT = "fault"


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
