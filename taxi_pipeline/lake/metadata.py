"""What the lake's objects say of themselves, in their custom metadata: one type for each kind.

Cloud Storage keeps texts, 8 KiB of them an object. Others may put objects into the lake, so what
does not parse counts as not said.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from taxi_pipeline.tlc.text import printable

# The time of creation of a raw object, until its bytes have arrived: nobody knows it before.
PENDING = "pending"

MOST_FINDINGS = 20
_DIGITS = 19  # of a generation, which has 64 bits
_FINDING_CHARACTERS = 40  # of a text
_FINDINGS_CHARACTERS = 3_000  # as JSON: two findings and a history fit into 8 KiB

type Finding = Mapping[str, str | int]


@dataclass(frozen=True)
class RawMetadata:
    """What a raw object says of the published file in it; None for what it does not say.

    Attributes:
        source_url: From where a run has fetched the file.
        stored_at: When the object was created (ISO 8601), or `PENDING`.
        etag: The file's ETag, empty where the publisher gave none.
        last_modified: The publisher's Last-Modified, empty where it gave none.
        sha256: The file's SHA-256, in hex.
        rows: How many rows the file has.
    """

    source_url: str | None = None
    stored_at: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    sha256: str | None = None
    rows: int | None = None

    @classmethod
    def parse(cls, metadata: Mapping[str, str]) -> Self:
        """Return what an object's custom metadata says."""
        return cls(
            source_url=metadata.get("source_url"),
            stored_at=metadata.get("stored_at"),
            etag=metadata.get("etag"),
            last_modified=metadata.get("last_modified"),
            sha256=metadata.get("sha256"),
            rows=_number(metadata.get("rows")),
        )

    @property
    def version(self) -> str:
        """What tells the published file from others of its URL; empty where nothing does."""
        return self.etag or self.last_modified or ""

    def to_metadata(self) -> dict[str, str]:
        """Return it as custom metadata, without what it does not say."""
        return {name: str(value) for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Findings:
    """The first findings of a cleaning, each as named values, and how many more there were."""

    listed: Sequence[Finding]
    left_out: int

    @classmethod
    def cut(cls, findings: Sequence[Finding]) -> Self:
        """Cut findings to what an object's metadata can hold."""
        listed = [
            {name: _cut(value) for name, value in finding.items()}
            for finding in findings[:MOST_FINDINGS]
        ]
        while len(json.dumps(listed)) > _FINDINGS_CHARACTERS:
            listed.pop()
        return cls(listed, len(findings) - len(listed))

    @property
    def total(self) -> int:
        """How many findings there were."""
        return len(self.listed) + self.left_out


@dataclass(frozen=True)
class CleanedMetadata:
    """What a cleaned object says of its making; None for what it does not say.

    The object with the rejected rows says the same, up to `sha256`.

    Attributes:
        published: How many rows the published file has.
        kept: How many of them are in the object.
        rejected: How many of them were rejected, by reason.
        noted: How many of the kept rows are odd, by rule.
        raw: The raw object's URI.
        raw_generation: The raw object's generation.
        etag: The published file's ETag.
        sha256: The published file's SHA-256, in hex.
        rejected_rows: The name of the object with the rejected rows.
        unknown_columns: The published columns that are not declared: `column`.
        unknown_codes: The codes in the rows that are not declared: `column`, `code`, `rows`.
        days_without_trips: The days of the month without trips, from 1 on.
        trips_by_day: How many rows were kept of each day of the month, from the first on.
        cents: The sum of the amounts that the ledger compares, each rounded to whole cents.
    """

    published: int | None = None
    kept: int | None = None
    rejected: Mapping[str, int] | None = None
    noted: Mapping[str, int] | None = None
    raw: str | None = None
    raw_generation: int | None = None
    etag: str | None = None
    sha256: str | None = None
    rejected_rows: str | None = None
    unknown_columns: Findings | None = None
    unknown_codes: Findings | None = None
    days_without_trips: Sequence[int] | None = None
    trips_by_day: Sequence[int] | None = None
    cents: int | None = None

    @classmethod
    def parse(cls, metadata: Mapping[str, str]) -> Self:
        """Return what an object's custom metadata says."""
        return cls(
            published=_number(metadata.get("published")),
            kept=_number(metadata.get("kept")),
            rejected=_counts(metadata.get("rejected")),
            noted=_counts(metadata.get("noted")),
            raw=metadata.get("raw"),
            raw_generation=_number(metadata.get("raw_generation")),
            etag=metadata.get("etag"),
            sha256=metadata.get("sha256"),
            rejected_rows=metadata.get("rejected_rows"),
            unknown_columns=_findings(metadata.get("unknown_columns")),
            unknown_codes=_findings(metadata.get("unknown_codes")),
            days_without_trips=_numbers(metadata.get("days_without_trips")),
            trips_by_day=_numbers(metadata.get("trips_by_day")),
            cents=_signed(metadata.get("cents")),
        )

    def to_metadata(self) -> dict[str, str]:
        """Return it as custom metadata, without what it does not say."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    if isinstance(value, Findings):
        return json.dumps(asdict(value))
    return str(value) if isinstance(value, str | int) else json.dumps(value)


def _number(text: str | None) -> int | None:
    is_number = text and text.isascii() and text.isdecimal() and len(text) <= _DIGITS
    return int(text) if text and is_number else None


def _signed(text: str | None) -> int | None:
    """Return a number that may be below 0: a month may have more reversals than fares."""
    size = _number((text or "").removeprefix("-"))
    return -size if size and text and text.startswith("-") else size


def _parsed(text: str | None) -> Any:
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def _numbers(text: str | None) -> list[int] | None:
    numbers = _parsed(text)
    is_valid = isinstance(numbers, list) and all(map(_is_count, numbers))
    return numbers if is_valid else None


def _counts(text: str | None) -> Counter[str] | None:
    counts = _parsed(text)
    is_valid = isinstance(counts, dict) and all(map(_is_count, counts.values()))
    return Counter(counts) if is_valid else None


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 10**_DIGITS


def _findings(text: str | None) -> Findings | None:
    match _parsed(text):
        case {"listed": [*listed], "left_out": int(left_out)}:
            return Findings(listed, left_out) if all(map(_is_finding, listed)) else None
    return None


def _is_finding(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str | int) for each in value.values())


def _cut(value: str | int) -> str | int:
    return printable(value, _FINDING_CHARACTERS) if isinstance(value, str) else value
