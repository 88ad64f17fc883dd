"""A mart as its SQL file declares it: a TOML header in a comment, and the query below it."""

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
    TEXT,
    Column,
    Table,
)

_FILE = re.compile(r"/\*\n(?P<header>.*?)\*/\n(?P<query>.*)", re.DOTALL)
_TYPES = {"integer": INTEGER, "number": NUMBER, "text": TEXT, "date": DATE, "datetime": DATETIME}
_TRIPS = {service.trips.name: service.trips for service in SERVICES.values()}


@dataclass(frozen=True)
class Mart:
    """A table that a query computes from the services' trips.

    Attributes:
        table: The table, which is partitioned by month.
        grain: The columns that tell one row from another.
        sources: The tables that the query reads.
        query: Computes a month's rows. It reads the tables by their names alone, and gets the month
            as two DATETIME parameters: @start, its first instant, and @end, the first after it.
        origins: The column of each source that a column is made of, by column and by source.
    """

    table: Table
    grain: tuple[str, ...]
    sources: tuple[Table, ...]
    query: str
    origins: Mapping[str, Mapping[str, str]]

    @property
    def name(self) -> str:
        """The table's name."""
        return self.table.name

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a mart from its file, whose name is the table's.

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
                partitioned_by=header["partition"],
            )
            sources = tuple(_TRIPS[name] for name in header["sources"])
            origins = {name: declared.get("from", {}) for name, declared in columns.items()}
            used = [(table, name) for name in (*header["grain"], header["partition"])]
            used += [
                (_TRIPS[of], name) for origin in origins.values() for of, name in origin.items()
            ]
            for of, name in used:
                if name not in {column.name for column in of.columns}:
                    raise KeyError(f"{of.name}.{name}")
        except (tomllib.TOMLDecodeError, KeyError) as error:
            what = f"{type(error).__name__} {error}".strip()
            raise ValueError(f"{path.name}: the header does not declare a mart: {what}.") from error
        return cls(table, tuple(header["grain"]), sources, match["query"], origins)


def _column(name: str, declared: Mapping[str, Any]) -> Column:
    return Column(
        name,
        _TYPES[declared["type"]],
        declared["meaning"].strip(),
        unit=declared.get("unit", ""),
        required=False,  # it is in no published file
    )
