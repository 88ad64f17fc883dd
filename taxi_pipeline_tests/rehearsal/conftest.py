"""The table of what befell production, and how long it took to recover, at the end of a session."""

import pytest

BEFELL = "befell"

_HEAD = [
    "what befell",
    "months under way",
    "the next run began after, s",
    "runs lost",
    "all those months done after, s",
]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, if production was rehearsed."""
    found = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, value in getattr(report, "user_properties", ())
        if name == BEFELL
    ]
    if found:
        terminalreporter.section("rehearsal")
        for row in (_HEAD, ["---", *("--:" for _ in _HEAD[1:])], *found):
            terminalreporter.write_line(f"| {' | '.join(row)} |")
