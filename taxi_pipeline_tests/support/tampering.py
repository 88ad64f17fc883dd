"""What somebody may do to a table behind the platform's back, and at which level it shows.

The documentation has the same table. `integration/test_cells` does all of it to every column.
"""

from dataclasses import dataclass

ROWS = "rows"
STAMP = "stamp"
COLUMNS = "columns"
FINGERPRINT = "fingerprint"

# For each level: what compares it.
LEVELS = {
    ROWS: "`taxi ledger`, and `matches_lake` in every run",
    STAMP: "`taxi ledger`",
    COLUMNS: "`matches_lake` in every run, `taxi ledger --columns`",
    FINGERPRINT: "`taxi ledger --recount`, the schedules that recount, the tag `taxi/recount`",
}


@dataclass(frozen=True)
class Tampering:
    """A change, and the level at which it shows.

    Attributes:
        words: The change.
        in_sink: The first level that shows it where a sink's table was changed.
        in_lake: The same, where the lake's Parquet was changed.
    """

    words: str
    in_sink: str
    in_lake: str = STAMP


STEP = Tampering("a value changed by the smallest step that is counted", COLUMNS)
NULLED = Tampering("a value made null", COLUMNS)
SWAPPED = Tampering("the values of two rows swapped, in one column", FINGERPRINT)
DELETED = Tampering("a row deleted", ROWS, ROWS)
DOUBLED = Tampering("a row doubled", ROWS, ROWS)
REPLACED = Tampering("the month replaced by another of the same rows and totals", STAMP)

TAMPERINGS = (STEP, NULLED, SWAPPED, DELETED, DOUBLED, REPLACED)


def table() -> str:
    """Return the table in Markdown."""
    rows = [
        ("what is changed", "shows in a sink's", "shows in the lake's"),
        ("---", "---", "---"),
        *((each.words, each.in_sink, each.in_lake) for each in TAMPERINGS),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def levels() -> str:
    """Return what compares each level, as a table in Markdown."""
    rows = [("level", "compared by"), ("---", "---"), *LEVELS.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
