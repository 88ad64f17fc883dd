"""What only the cleaning learns of a file, kept with its object in the lake for the checks to read.

So a check can be run again at any time, without cleaning again. An object's metadata holds 8 KiB:
what was found is cut short, and says by how much.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

from taxi_pipeline.tlc.text import printable

UNKNOWN_COLUMNS = "unknown_columns"
UNKNOWN_CODES = "unknown_codes"
DAYS_WITHOUT_TRIPS = "days_without_trips"  # of the month, as JSON: [1, 31]

MOST = 20
CHARACTERS = 40  # of a text
JSON_CHARACTERS = 3_000  # two findings and a history fit into 8 KiB

type Finding = Mapping[str, str | int]


@dataclass(frozen=True)
class Findings:
    """The first findings, each as named values, and how many more there were."""

    listed: Sequence[Finding]
    left_out: int

    @classmethod
    def cut(cls, findings: Sequence[Finding]) -> Self:
        """Cut findings to what an object's metadata can hold."""
        listed = [
            {name: _cut(value) for name, value in finding.items()} for finding in findings[:MOST]
        ]
        while len(json.dumps(listed)) > JSON_CHARACTERS:
            listed.pop()
        return cls(listed, len(findings) - len(listed))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` has written."""
        return cls(**json.loads(text))

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def _cut(value: str | int) -> str | int:
    return printable(value, CHARACTERS) if isinstance(value, str) else value
