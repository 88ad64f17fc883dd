"""How findings look: a line for people, an object for programs."""

from typing import Any

from rich.console import Console
from rich.text import Text

from taxi_pipeline.doctor.finding import Finding, Status
from taxi_pipeline.tlc.text import printable

_CHARACTERS = 4000
_STYLES = {Status.OK: "green", Status.FAILED: "bold red", Status.SKIPPED: "dim"}


def show(name: str, finding: Finding) -> None:
    """Print a finding in one line."""
    status = finding.status.upper() if finding.status is Status.FAILED else str(finding.status)
    message = printable(finding.message, _CHARACTERS)
    line = Text.assemble(f"{name}: ", (status, _STYLES[finding.status]), f": {message}")
    Console().print(line, highlight=False, soft_wrap=True)


def as_object(name: str, finding: Finding) -> dict[str, Any]:
    """Return a finding as a JSON object."""
    return {
        "check": name,
        "status": str(finding.status),
        "message": finding.message,
        **finding.details,
    }
