"""A table as its SQL file declares it: a TOML header in a comment, and the query below it."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from taxi_pipeline.tlc.services import (
    DATE,
    DATETIME,
    INTEGER,
    NUMBER,
    SERVICES,
    TAXI_ZONES,
    TEXT,
    Column,
    Table,
)

_FILE = re.compile(r"/\*\n(?P<header>.*?)\*/\n(?P<query>.*)", re.DOTALL)
_TYPES = {"integer": INTEGER, "number": NUMBER, "text": TEXT, "date": DATE, "datetime": DATETIME}
_SOURCES = {
    table.name: table for table in (*(each.trips for each in SERVICES.values()), TAXI_ZONES)
}


@dataclass(frozen=True)
class SqlFile:
    """A table that a query computes from published ones, and all that its header declares.

    Attributes:
        header: The header.
        table: The table that it declares.
        sources: The tables that the query reads.
        query: The query.
        origins: The columns of the sources that a column is made of, by column and by source.
    """

    header: Mapping[str, Any]
    table: Table
    sources: tuple[Table, ...]
    query: str
    origins: Mapping[str, Mapping[str, str]]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file, whose name is the table's.

        The header has the table's `description`, its `sources`, and its `columns`, each with a
        `type`, a `meaning`, if need be a `unit`, and `from`, the column of each source that it is
        made of. `partition` names the column by whose months the table is partitioned.

        Raises:
            ValueError: The header is missing, lacks a declaration or declares what is not there.
        """
        match = _FILE.fullmatch(path.read_text())
        if match is None:
            raise ValueError(f"{path.name}: the file has no header: a /* comment */ at its start.")
        try:
            header = tomllib.loads(match["header"])
            columns: Mapping[str, Mapping[str, Any]] = header["columns"]
            table = Table(
                path.stem,
                header["description"].strip(),
                tuple(_column(name, declared) for name, declared in columns.items()),
                partitioned_by=header.get("partition"),
            )
            sources = tuple(_SOURCES[name] for name in header["sources"])
        except (tomllib.TOMLDecodeError, KeyError) as error:
            raise _no_declaration(path, f"{type(error).__name__} {error}".strip()) from error
        origins = {name: declared.get("from", {}) for name, declared in columns.items()}
        file = cls(header, table, sources, match["query"], origins)
        of_table = [f"{table.name}.{table.partitioned_by}"] if table.partitioned_by else []
        file.ensure_columns(
            path,
            *of_table,
            *(f"{of}.{name}" for origin in origins.values() for of, name in origin.items()),
        )
        return file

    def ensure_columns(self, path: Path, *names: str) -> None:
        """Raise `ValueError` unless the table, or a source, has each column, as `TABLE.COLUMN`."""
        present = {
            f"{table.name}.{column.name}"
            for table in (self.table, *self.sources)
            for column in table.columns
        }
        if missing := [name for name in names if name not in present]:
            raise _no_declaration(path, f"there is no column {', '.join(missing)}")


def _no_declaration(path: Path, problem: str) -> ValueError:
    return ValueError(f"{path.name}: the header does not declare a table: {problem}.")


def _column(name: str, declared: Mapping[str, Any]) -> Column:
    return Column(
        name,
        _TYPES[declared["type"]],
        declared["meaning"].strip(),
        unit=declared.get("unit", ""),
        required=False,  # it is in no published file
    )
