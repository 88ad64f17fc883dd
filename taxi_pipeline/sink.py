"""What the platform needs of a store that keeps tables, and what such a store is given.

A store's own package in `resources` has all that is particular to it: its SQL, its types, its
errors, its settings. Which stores there are is said in `resources`; what their figures are held
against is the ledger's.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import dagster as dg

from taxi_pipeline.marts import View
from taxi_pipeline.tlc.column_tallies import ColumnTallies
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Table
from taxi_pipeline.tlc.tally import Tally

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Stamp:
    """A version of the cleaned object, which a sink keeps with the rows that it has loaded from it.

    Attributes:
        generation: Cloud Storage's number of the version. The same bytes stored again have another
            one, so it does not count in a comparison.
        crc32c: The CRC32C of its bytes, in base 64.
    """

    generation: int = field(compare=False)
    crc32c: str


def _assume_current() -> None:
    """Raise nothing, as of a file that nothing can replace."""


@dataclass(frozen=True)
class CleanedFile:
    """The cleaned rows of a table, or of one month of it: a Parquet file in the lake.

    Attributes:
        table: The declared table.
        month: The month; None for a table without months.
        uri: The file's `gs://` URI.
        stamp: Which version of the file it is.
        schema: The file's own Arrow schema. A file that was cleaned when the table was declared
            otherwise has other columns than the table has now.
        rows: How many rows the file has.
        batches: Fetches the file, and returns its rows as a stream of record batches in the
            declared schema of the table. The stream raises `PermanentError` where a column of the
            file does not fit without loss.
        ensure_current: Raises `TransientError` where another version has taken the file's place. A
            sink that reads `uri` itself calls it before it keeps the stamp.
    """

    table: Table
    month: Month | None
    uri: str
    stamp: Stamp
    schema: "pa.Schema"
    rows: int
    batches: "Callable[[], Iterator[pa.RecordBatch]]"
    ensure_current: Callable[[], None] = _assume_current


class Sink(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A store that keeps tables: to Dagster the resource `name`, and a layer of assets.

    Attributes:
        name: The layer, the last word of its assets' keys and the resource's key: `bigquery`.
        title: What people call the store: `BigQuery`.
        kinds: The kinds of its assets, which Dagster shows as icons.
        pool: Dagster's pool, which bounds how many runs write to the store at once.
        types: How the store's SQL spells each declared type.
        keeps_views: Whether the store keeps views.
        variables: For each field the environment variable that sets it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    kinds: ClassVar[frozenset[str]]
    pool: ClassVar[str]
    types: "ClassVar[Mapping[pa.DataType, str]]"
    keeps_views: ClassVar[bool] = False
    variables: ClassVar[Mapping[str, str]]

    @abstractmethod
    def replace(self, cleaned: CleanedFile, run_id: str) -> None:
        """Put a file's rows in place of its month, or of the whole of a table without months.

        The replacement is atomic: a reader sees the old rows or the file's, and so does whoever
        looks after the process has died, at whatever point. The same call made again ends what was
        begun. The table is made where it is missing, and columns that were declared since are added
        to it. The file's stamp is kept with the rows: where its writing is lost, the month has an
        older stamp or none, and never that of rows which it does not have.

        Args:
            cleaned: The rows.
            run_id: The Dagster run that asks.

        Raises:
            PermanentError: Another number of rows arrived than the file says that it has, or the
                table that is there cannot take them.
            TransientError: The store is away, or others hold the table for too long.
        """

    @abstractmethod
    def tallies(
        self,
        table: Table,
        total: str | None,
        first: Month | None = None,
        last: Month | None = None,
    ) -> dict[Month, Tally]:
        """Tally a table by month; a table that is missing has no months.

        Args:
            table: A table that is partitioned by month.
            total: The column to sum up, in dollars; None for no sum.
            first: The first month to tally; None for the table's own first.
            last: The last month to tally; None for the table's own last.

        Returns:
            The tally of each month that has rows. Where a store can hold a row without a pick-up
            time, which nothing of ours loads, it counts in every month: none may have it.
        """

    @abstractmethod
    def tally(self, table: Table) -> Tally:
        """Tally the rows of a table without months; a table that is missing has none."""

    @abstractmethod
    def stamps(self, table: Table) -> dict[Month | None, Stamp]:
        """Return what each month of a table was loaded from, by one query.

        Returns:
            The stamp of each month that has one; under None that of a table without months.
        """

    @abstractmethod
    def column_tallies(self, table: Table, month: Month | None) -> ColumnTallies:
        """Tally every column of a month, or of a whole table without months, in one pass.

        A month or a table that is missing has no rows.
        """

    @abstractmethod
    def fingerprint(self, table: Table, month: Month | None) -> int:
        """Return the fingerprint of a month's rows, or of all rows of a table without months.

        A month or a table that is missing has that of no rows, 0.
        """

    def replace_view(self, view: View) -> None:
        """Make a view, or replace its definition, if the store keeps views.

        Readers see the view as it was or as it is to be. The tables that it reads are made, without
        rows, where they are missing.

        Raises:
            PermanentError: Something else has the view's name.
            TransientError: The store is away, or others hold the view for too long.
        """
        raise NotImplementedError(f"{self.title} keeps no views.")

    @abstractmethod
    def uri(self, table: Table) -> str:
        """Return a table's address as Dagster's catalog shows it, without user and password."""

    @abstractmethod
    def sql_name(self, table: Table) -> str:
        """Return a table's name as a query of the store writes it."""

    def place(self) -> Mapping[str, str | int]:
        """Return where the tables lie, by the store's own words, without user and password.

        Of a store that says nothing, nothing is known.
        """
        return {}

    def row_count(self, table: Table) -> int | None:
        """Return how many rows a table has; None for a store that must count them, or is away."""
        return None

    def link(self, table: Table) -> str | None:
        """Return the URL of a table's page; None for a store that has no pages."""
        return None
