"""A mart: a table that BigQuery computes from the tables of trips, a month at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from taxi_pipeline.marts.sql_file import SqlFile
from taxi_pipeline.tlc.services import Table


@dataclass(frozen=True)
class Mart:
    """A table that a query computes from the services' trips.

    Attributes:
        table: The table, which is partitioned by month. Its columns `service`, `trips` and
            `revenue` are what the trips of a month are held against.
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

    @property
    def partitioned_by(self) -> str:
        """The column, a DATE, by whose months the table is partitioned."""
        return str(self.table.partitioned_by)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a mart from its SQL file, whose header also has `grain` and `partition`.

        Raises:
            ValueError: The header is missing, lacks a declaration or declares what is not there.
        """
        file = SqlFile.read(path)
        if missing := {"grain", "partition"} - file.header.keys():
            raise ValueError(f"{path.name}: the header lacks {', '.join(sorted(missing))}.")
        grain = tuple(file.header["grain"])
        names = (*grain, "service", "trips", "revenue")
        file.ensure_columns(path, *(f"{file.table.name}.{name}" for name in names))
        return cls(file.table, grain, file.sources, file.query, file.origins)
