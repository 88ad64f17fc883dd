"""A published file's columns, matched with those that its table declares.

Names only: whether a file is of the right service and has what its month needs is known before a
row of it is read. The values are `values`'.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.services import REJECTED_COLUMNS, SERVICES, Column, Table
from taxi_pipeline.tlc.text import printable

# what pandas adds to a Parquet file: the row's number, and no part of the record
_INDEX = "__index_level_0__"
_LISTED_CHARACTERS = 1000


@dataclass(frozen=True)
class Header:
    """The columns that a file has, matched with those that its table declares.

    Attributes:
        published: The names in the file.
        columns: For each of them the canonical name; None for one that the table does not have.
            Several may have the same: fhv of 2018 has two for the base.
    """

    published: tuple[str, ...]
    columns: tuple[str | None, ...]

    @classmethod
    def match(cls, published: Sequence[str], table: Table, file: str) -> Self:
        """Match published names with the table's; case and outer spaces, which vary, do not count.

        Args:
            published: The names in the file.
            table: The declared table.
            file: The file's name, for the message.

        Raises:
            PermanentError: A required column is missing, a name is there twice or is one of
                `REJECTED_COLUMNS`, or the columns are rather those of another service.
        """
        canonical = _names(table)
        columns = tuple(canonical.get(_plain(name)) for name in published)
        present = {name for name in columns if name is not None}
        listed = printable(", ".join(published), _LISTED_CHARACTERS)
        if better := _better_matches(published, table):
            raise PermanentError(
                f"{file}: its columns are those of {' or '.join(better)}, not of {table.name}; the "
                f"file has: {listed}. Check that the publisher serves the right file."
            )
        missing = [
            column
            for column in table.columns
            if column.required
            and column.name not in present
            and column.required_unless not in present
        ]
        if missing:
            names = ", ".join(" or ".join(map(repr, _spellings(column))) for column in missing)
            raise PermanentError(
                f"{file}: the required column {names} is missing; the file has: {listed}. "
                "Check that it is the right file; a renamed column is declared in tlc/services/."
            )
        plain = [_plain(name) for name in published]
        if len(set(plain)) < len(plain):
            raise PermanentError(f"{file}: a column appears twice; the file has: {listed}.")
        if reserved := {column.name for column in REJECTED_COLUMNS} & {*plain}:
            raise PermanentError(
                f"{file}: the column {', '.join(sorted(reserved))} has the name of a column that "
                "rejected rows get; rename that one in tlc/services/."
            )
        return cls(tuple(published), columns)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The published columns that the table does not declare, without pandas' row numbers."""
        pairs = zip(self.published, self.columns, strict=True)
        return tuple(name for name, column in pairs if column is None and _plain(name) != _INDEX)

    def published_for(self, column: Column) -> list[str]:
        """Return the published columns that stand for a declared one."""
        pairs = zip(self.published, self.columns, strict=True)
        return [name for name, canonical in pairs if canonical == column.name]


def _better_matches(published: Sequence[str], table: Table) -> list[str]:
    """Return the services' tables that know more of the columns than this one does."""
    tables = [service.trips for service in SERVICES.values()]
    if table not in tables:
        return []
    plain = {_plain(name) for name in published}
    count = {other.name: len(plain & _names(other).keys()) for other in tables}
    return [name for name, matches in count.items() if matches > count[table.name]]


def _names(table: Table) -> Mapping[str, str]:
    """Return the canonical name for every name that files gave a column."""
    return {_plain(name): column.name for column in table.columns for name in _spellings(column)}


def _spellings(column: Column) -> tuple[str, ...]:
    return (*column.published_as, column.name)


def _plain(name: str) -> str:
    return name.strip().casefold()
