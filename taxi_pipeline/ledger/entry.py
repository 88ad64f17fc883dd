"""A line of the ledger: what the stores have of one month, and what of it does not add up.

Only figures and sentences belong here; how a store is asked is said in `lake` and `stores`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.sink import Sink, Stamp
from taxi_pipeline.tlc.column_tallies import ColumnTallies, differences
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, UNPARTITIONED, Table
from taxi_pipeline.tlc.tally import Tally


@dataclass(frozen=True)
class Cells:
    """What a store has of a month, cell by cell.

    Attributes:
        columns: The tallies of its columns.
        fingerprint: The fingerprint of its rows; None where it was not asked for.
    """

    columns: ColumnTallies
    fingerprint: int | None = None

    def problems_with(self, table: Table, store: str, held: "Cells") -> list[str]:
        """Say which cells of a store differ from these, the lake's, in sentences."""
        problems = [
            f"{column}: {store} has {has}, the lake {should}."
            for column, has, should in differences(table, held.columns, self.columns)
        ]
        fingerprints = {held.fingerprint, self.fingerprint} - {None}
        if not problems and len(fingerprints) > 1:
            problems = [
                f"{store} has other rows than the lake: every column has the same figures, but the "
                f"fingerprint is {held.fingerprint}, the lake's {self.fingerprint}."
            ]
        return problems


@dataclass(frozen=True)
class LakeEntry:
    """What the lake has of one published file. What it does not have, or say, is None.

    Attributes:
        published: How many rows were counted in the published file when it was stored.
        kept: The tally of the cleaned rows.
        rejected: The number of the rejected rows, by reason.
        etag: The published file's ETag.
        sha256: The published file's SHA-256, in hex.
        of_this_raw: Whether the cleaned and the rejected rows are of the raw object that is there
            now.
        faults: What was found wrong with an object by itself, in sentences.
        stamp: Which version the cleaned object is.
        is_tallied: Whether the cleaned file says the tallies of its columns, as one does that was
            cleaned by a release that stamps what it loads.
        cells: What the cleaned file holds, cell by cell; None where it was not asked for, and the
            file does not say it of the columns that are declared now.
        content: What the rows that are kept are called.
        is_read: False where the objects were replaced again and again while they were read.
    """

    published: int | None
    kept: Tally | None
    rejected: Counter[str] | None
    etag: str | None
    sha256: str | None
    of_this_raw: bool
    faults: tuple[str, ...] = ()
    stamp: Stamp | None = None
    is_tallied: bool = False
    cells: Cells | None = None
    content: str = "trips"
    is_read: bool = True

    @property
    def problems(self) -> list[str]:
        """What does not add up within the lake, in sentences."""
        if not self.is_read:
            return [
                "The lake's objects were replaced while they were read, again and again: look "
                "at the month again when its runs have ended."
            ]
        lines = list(self.faults)
        if self.published is None:
            lines.append("The lake has no published file that says how many rows it has.")
        if self.kept is None:
            lines.append(f"The lake has no cleaned {self.content} that can be read.")
        if self.rejected is None:
            lines.append("The lake has no rejected rows that can be read.")
        if self.published is None or self.kept is None or self.rejected is None:
            return lines
        kept, rejected = self.kept.rows, self.rejected.total()
        if self.published != kept + rejected:
            lines.append(
                f"The published file has {self.published:,} rows, the lake {kept + rejected:,}: "
                f"{kept:,} kept and {rejected:,} rejected."
            )
        if not self.of_this_raw:
            lines.append(
                f"The lake's {self.content} or its rejected rows were cleaned from another "
                "published file than the one that is there."
            )
        return lines

    def problems_with(self, store: str, tally: Tally | None) -> list[str]:
        """Say what does not add up between the lake and another store.

        Args:
            store: What people call the store.
            tally: What its table has; None where it does not have the month.

        Returns:
            Sentences; none where the two have the same.
        """
        if tally is None:
            return [] if self.kept is None else [f"{store} does not have the month."]
        if self.kept is None:
            return [f"{store} has {tally.rows:,} rows, the lake none."]
        if tally == self.kept:
            return []
        if tally.rows != self.kept.rows or tally.rows_without_pickup:
            of_them = (
                f" {tally.rows_without_pickup:,} of them without a pick-up time,"
                if tally.rows_without_pickup
                else ""
            )
            return [f"{store} has {tally.rows:,} rows,{of_them} the lake {self.kept.rows:,}."]
        return [f"{store} has a total of {_dollars(tally)}, the lake {_dollars(self.kept)}."]

    def stamp_problems(self, sink: type[Sink], stamp: Stamp | None) -> list[str]:
        """Say where a sink has loaded its rows from another version of the cleaned object.

        The same bytes stored again are the same version. What an earlier release has cleaned was
        loaded without a stamp.

        Args:
            sink: The sink, which has the month.
            stamp: What it has loaded the month from; None where it does not say.

        Returns:
            One sentence; none where the version is the lake's.
        """
        if self.stamp is None or (stamp is None and not self.is_tallied):
            return []
        if stamp is None:
            return [
                f"{sink.title} does not say from which cleaned object its rows were loaded: "
                f"materialize {sink.name} again."
            ]
        if stamp == self.stamp:
            return []
        return [
            f"{sink.title} has the rows of generation {stamp.generation} of the cleaned object, "
            f"the lake has generation {self.stamp.generation}: materialize {sink.name} again."
        ]

    def in_table(self, tallies: Mapping[Month, Tally], month: Month) -> Tally | None:
        """Return what a table has of the month, given its tallies.

        Of a month whose every row was rejected there is no row to find, and none is missing.

        Args:
            tallies: What the table has, by month.
            month: The month.

        Returns:
            The tally; None where the table does not have the month.
        """
        empty = self.kept if self.kept and self.kept.rows == 0 else None
        return tallies.get(month, empty)


@dataclass(frozen=True)
class Entry:
    """One service and month, in all stores.

    Attributes:
        service: The service. A table without months is a service of its own here, by its name.
        month: The month.
        lake: What the lake has.
        tables: What the table of each sink has; None where it does not have the month.
        marts: What each mart has of the service, by its name, of those that were computed for the
            month.
        stamps: What each sink has loaded the month from; None where it does not say.
        cells: What each sink has cell by cell, of those that have the month; empty where it was
            not asked for.
    """

    service: str
    month: Month | None
    lake: LakeEntry
    tables: Mapping[type[Sink], Tally | None]
    marts: Mapping[str, Tally] = field(default_factory=dict)
    stamps: Mapping[type[Sink], Stamp | None] = field(default_factory=dict)
    cells: Mapping[type[Sink], Cells] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        """The declared table."""
        if self.month:
            return SERVICES[self.service].trips
        return next(table for table in UNPARTITIONED if table.name == self.service)

    @property
    def name(self) -> str:
        """What the entry is of: "yellow 2021-01", or "taxi_zones"."""
        return f"{self.service} {self.month}" if self.month else self.service

    @property
    def problems(self) -> list[str]:
        """What does not add up, in sentences: what was found, and what there should be."""
        if not self.lake.is_read:
            return self.lake.problems
        return [
            *self.lake.problems,
            *(
                problem
                for sink, tally in self.tables.items()
                for problem in self._problems_with(sink, tally)
            ),
            *(
                problem
                for name, tally in self.marts.items()
                for problem in mart_problems(name, tally, self.tables[BigQuery])
            ),
        ]

    def _problems_with(self, sink: type[Sink], tally: Tally | None) -> list[str]:
        problems = self.lake.problems_with(sink.title, tally)
        if tally:
            stamp = self.stamps.get(sink)
            if tally.rows or stamp:  # a month without trips need not have been loaded
                problems += self.lake.stamp_problems(sink, stamp)
            cells, of_lake = self.cells.get(sink), self.lake.cells
            if cells and of_lake and tally.rows == of_lake.columns.rows:
                problems += of_lake.problems_with(self.table, sink.title, cells)
        return problems

    @property
    def adds_up(self) -> bool:
        """Whether every published row is accounted for in every store."""
        return not self.problems


def mart_problems(name: str, mart: Tally, trips: Tally | None) -> list[str]:
    """Say what does not add up between a service's month in a mart and its table in BigQuery.

    Args:
        name: The mart's name.
        mart: What the mart has.
        trips: What the table has; None where it does not have the month.

    Returns:
        One sentence; none where the two have the same.
    """
    trips = trips or Tally(0, None if mart.cents is None else 0)
    if mart == trips:
        return []
    has = (
        f"{mart.rows:,} trips, BigQuery {trips.rows:,}"
        if mart.rows != trips.rows
        else f"a revenue of {_dollars(mart)}, BigQuery {_dollars(trips)}"
    )
    return [f"The mart {name} has {has}: run {name} for the month."]


def _dollars(tally: Tally) -> str:
    return "none" if tally.total is None else f"${tally.total:,.2f}"
