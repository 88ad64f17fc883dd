"""What a column, a table and a service are, and the types that a column can have."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from taxi_pipeline.tlc.month import Month

INTEGER = pa.int32()
NUMBER = pa.float64()
TEXT = pa.string()
DATETIME = pa.timestamp("us")  # no zone: TLC publishes New York's wall-clock time
DATE = pa.date32()

UNKNOWN_WORDS = "unknown_words"

NUMBER_LIMIT = 1e15  # whole numbers below it are exact, and nothing that a taxi can do comes near


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `published_as` lists the names that files gave it, compared without case and outer spaces; the
    canonical name always counts. A `required` column must be in every published file, unless the
    column that it is `required_unless` is there. `codes` gives the meaning of each code, `words`
    the code of each word that a file wrote instead, compared without case and outer spaces. A
    number is smaller than `limit`, whatever its sign.
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

    @property
    def description(self) -> str:
        """The column in full sentences: its meaning, its unit and its codes."""
        unit = f" Unit: {self.unit}." if self.unit else ""
        codes = "; ".join(f"{str(code).strip() or 'blank'} {of}" for code, of in self.codes.items())
        return f"{self.meaning}{unit}" + (f" Codes: {codes}." if codes else "")


@dataclass(frozen=True)
class Table:
    """A named list of columns, in the order in which every store keeps them.

    `partitioned_by` is the column by whose months the stores partition it, if they do.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    partitioned_by: str | None = None

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True)
class Service:
    """One of TLC's services: its name in file names, its trips, its first published month.

    `total` is the column whose sum the ledger compares between the stores, `distance` the one that
    says how far a trip went, in miles; fhv has neither.
    """

    name: str
    trips: Table
    first_month: Month
    total: str | None
    distance: str | None
