"""What a column, a table and a service are, and the types that a column can have."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from taxi_pipeline.tlc.month import Month

INTEGER = pa.int32()
LONG = pa.int64()
NUMBER = pa.float64()
TEXT = pa.string()
DATETIME = pa.timestamp("us")  # no zone: TLC publishes New York's wall-clock time
DATE = pa.date32()

UNKNOWN_WORDS = "unknown_words"

NUMBER_LIMIT = 1e15  # whole numbers below it are exact, and nothing that a taxi can do comes near


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: The canonical name, which always counts as a published one, too.
        type: The Arrow type: one of this module's.
        meaning: What a value means, in a sentence. `tlc.services` names the sources.
        published_as: The names that files gave the column, compared without case and outer spaces.
        unit: The unit of a number, in words; empty where there is none.
        codes: The meaning of each code; empty where values are no codes.
        words: The code of each word that files wrote instead, compared without case and outer
            spaces.
        required: Whether every published file must have the column.
        required_unless: The column whose presence makes up for a missing required one.
        limit: What a NUMBER is smaller than, whatever its sign, in `unit`. It bounds no other type.
        parts: In how many parts of `unit` a NUMBER is counted where stores are compared.
        is_geometry: Whether a TEXT is a geometry: WKT in degrees of WGS 84, the longitude first.
    """

    name: str
    type: pa.DataType
    meaning: str
    published_as: tuple[str, ...] = ()
    unit: str = ""
    codes: Mapping[int | str, str] = field(default_factory=dict)
    words: Mapping[str, int | str] = field(default_factory=dict)
    required: bool = True
    required_unless: str = ""
    limit: float = NUMBER_LIMIT
    parts: int = 10_000
    is_geometry: bool = False

    @property
    def description(self) -> str:
        """The column in full sentences: its meaning, its unit and its codes."""
        unit = f" Unit: {self.unit}." if self.unit else ""
        codes = "; ".join(f"{str(code).strip() or 'blank'} {of}" for code, of in self.codes.items())
        return f"{self.meaning}{unit}" + (f" Codes: {codes}." if codes else "")


@dataclass(frozen=True)
class Table:
    """A named list of columns.

    Attributes:
        name: The name in every store: `yellow_trips`.
        description: What a row is, in a sentence.
        columns: The columns, in the order in which every store keeps them.
        partitioned_by: The column by whose months the stores partition the table; None for a table
            without months.
        clustered_by: The columns that people ask for most, up to four: BigQuery keeps the rows of a
            month in their order.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    partitioned_by: str | None = None
    clustered_by: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True)
class Service:
    """One of TLC's services.

    Attributes:
        name: The name in TLC's file names: `yellow`.
        trips: The table of its trips.
        first_month: The first month that TLC has published.
        total: The column, in dollars, whose sum the ledger compares between the stores; None for
            fhv.
        distance: The column that says how far a trip went, in miles; None for fhv.
    """

    name: str
    trips: Table
    first_month: Month
    total: str | None
    distance: str | None
