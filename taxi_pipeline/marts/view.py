"""A view: a query of the published tables that every store keeps, spelled in SQL of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from taxi_pipeline.marts.sql_file import SqlFile
from taxi_pipeline.tlc.services import Column, Table


@dataclass(frozen=True)
class View:
    """A query of published tables under a name of its own.

    Attributes:
        table: What the view has.
        sources: The tables that the query reads.
        query: The query, with {placeholders}: a source's name for the table, each of `words` for
            its expression, and {minutes} for those from pickup_datetime to dropoff_datetime.
        words: The columns whose codes the view has in words, by placeholder.
        origins: The column of each source that a column is made of, by column and by source.
    """

    table: Table
    sources: tuple[Table, ...]
    query: str
    words: Mapping[str, Column]
    origins: Mapping[str, Mapping[str, str]]

    @property
    def name(self) -> str:
        """The view's name."""
        return self.table.name

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a view from its SQL file, whose header also has `words`, as `TABLE.COLUMN`.

        Raises:
            ValueError: The header is missing, lacks a declaration or declares what is not there.
        """
        file = SqlFile.read(path)
        named: Mapping[str, str] = file.header.get("words", {})
        file.ensure_columns(path, *named.values())
        columns = {
            f"{source.name}.{column.name}": column
            for source in file.sources
            for column in source.columns
        }
        words = {placeholder: columns[name] for placeholder, name in named.items()}
        return cls(file.table, file.sources, file.query, words, file.origins)
