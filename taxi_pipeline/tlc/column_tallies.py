"""A tally of every column: the figures in which two stores of the same rows must agree.

All figures are integers, so no order of the rows and no engine's rounding shows in them: a number
is counted in fixed parts of its unit, a time in microseconds, a text by its length and by a hash.
Which figures there are, and their forms, belong here. Arrow computes them in `cells`, a store's SQL
by `io.sql`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Self

from taxi_pipeline.tlc.services import DATETIME, NUMBER, TEXT, Column, Table

# The most parts that a NUMBER counts as, whatever its sign: a table may hold infinity, put there by
# hand, and the sum of 80 million rows must fit into 64 bits.
MOST_PARTS = 100_000_000_000

NULLS, SUM, FIRST, LAST, LENGTH, HASHES = "nulls", "sum", "first", "last", "length", "hashes"
# Where a cleaned Parquet file keeps the tallies of its rows: a key of its footer.
FOOTER_KEY = b"taxi_pipeline.column_tallies"

_MOST = 2**100  # of which no figure comes near
_CACHED_CHARACTERS = 64
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - TLC's times have no zone
_HASH_DIGITS = 7  # of MD5 in hex: 28 bits

type Figures = Mapping[str, int | None]


def figures_of(column: Column) -> tuple[str, ...]:
    """Return the names of a column's figures.

    `nulls` is the number of nulls. Of an INTEGER, `sum` is the values' sum; of a NUMBER, the sum of
    its parts (`Column.parts`). Of a DATETIME, `sum`, `first` and `last` are in microseconds since
    1970. Of a TEXT with declared codes there is the number of rows of each code, under the code
    itself; of any other TEXT `length`, the sum of the characters, and `hashes`, the sum of
    `text_hash`.
    """
    if column.type == TEXT:
        return (NULLS, *map(str, column.codes)) if column.codes else (NULLS, LENGTH, HASHES)
    return (NULLS, SUM, FIRST, LAST) if column.type == DATETIME else (NULLS, SUM)


@dataclass(frozen=True)
class ColumnTallies:
    """What a store holds of a table, or of one month of it, column by column.

    Attributes:
        rows: The number of rows.
        columns: The figures of each column, by its name and by theirs (`figures_of`). `first` and
            `last` are None where no row has a value.
    """

    rows: int
    columns: Mapping[str, Figures]

    @classmethod
    def of_no_rows(cls, table: Table) -> Self:
        """Return the tallies of a table without rows."""
        return cls(
            0,
            {
                column.name: {
                    name: None if name in (FIRST, LAST) else 0 for name in figures_of(column)
                }
                for column in table.columns
            },
        )

    def __add__(self, other: "ColumnTallies") -> "ColumnTallies":
        """Return the tallies of both stores' rows together."""
        return ColumnTallies(
            self.rows + other.rows,
            {
                column: {
                    name: _together(name, value, other.columns[column][name])
                    for name, value in figures.items()
                }
                for column, figures in self.columns.items()
            },
        )

    def to_json(self) -> str:
        """Return the tallies as JSON."""
        return json.dumps({"rows": self.rows, "columns": self.columns}, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str | bytes | None, table: Table) -> Self | None:
        """Return the tallies that `to_json` wrote; None where they are not of these columns."""
        try:
            parsed = json.loads(text or "null")
        except (ValueError, RecursionError):
            return None
        match parsed:
            case {"rows": int(rows), "columns": dict(columns)}:
                tallies = cls(rows, columns)
                return tallies if tallies._is_of(table) else None
        return None

    def _is_of(self, table: Table) -> bool:
        expected = {column.name: figures_of(column) for column in table.columns}
        return self.columns.keys() == expected.keys() and all(
            isinstance(figures, dict)
            and figures.keys() == {*expected[name]}
            and all(
                value is None or (type(value) is int and abs(value) < _MOST)
                for value in figures.values()
            )
            for name, figures in self.columns.items()
        )

    def differing(self, other: "ColumnTallies") -> dict[str, list[str]]:
        """Return the names of the figures that differ, by column."""
        differing = {
            column: [name for name in figures if figures[name] != other.columns[column][name]]
            for column, figures in self.columns.items()
        }
        return {column: names for column, names in differing.items() if names}


def text_hash(text: str) -> int:
    """Return 28 bits of a text, which SQL can compute: the first digits of its MD5 in hex."""
    return _cached_hash(text) if len(text) <= _CACHED_CHARACTERS else _hash(text)


def _hash(text: str) -> int:
    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return int(digest[:_HASH_DIGITS], 16)


_cached_hash = lru_cache(1 << 16)(_hash)


def _together(name: str, value: int | None, other: int | None) -> int | None:
    if value is None or other is None:
        return other if value is None else value
    if name in (FIRST, LAST):
        return min(value, other) if name == FIRST else max(value, other)
    return value + other


def as_text(column: Column, figure: str, value: int | None) -> str:
    """Return a figure as people read it: numbers in their unit, moments as dates and times."""
    if value is None:
        return "none"
    if figure == SUM and column.type == NUMBER:
        whole, parts = divmod(abs(value), column.parts)
        places = f"{parts:0{len(str(column.parts)) - 1}}"
        sign = "-" if value < 0 else ""
        return f"{sign}{whole:,}.{places[:2]}{places[2:].rstrip('0')}"
    if figure in (FIRST, LAST):
        with suppress(OverflowError):  # no moment of the years 1 to 9999, put there by hand
            return str(_EPOCH + timedelta(microseconds=value))
    return f"{value:,}"


def differences(
    table: Table, held: ColumnTallies, expected: ColumnTallies
) -> Iterator[tuple[str, str, str]]:
    """Yield for each column that differs its most telling figure.

    Args:
        table: The declared table.
        held: What a store has.
        expected: What it should have.

    Yields:
        The column, with the figure's name where that is not the sum; what there is, and what there
        should be, both as people read them.
    """
    for name, figures in expected.differing(held).items():
        figure = SUM if SUM in figures else figures[0]
        has, should = (
            as_text(table[name], figure, tallies.columns[name][figure])
            for tallies in (held, expected)
        )
        yield name if figure == SUM else f"{name} ({figure})", has, should
