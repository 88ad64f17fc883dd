"""The ledger: the figures that must add up, month by month, asked of the stores themselves.

published = trips + rejected, and trips = what each sink has, in rows and in dollars to the cent;
so is the sum of the mart's days, where it has the month.
The trips and the rejected rows are counted in their Parquet files and in the tables; `published` is
what was counted in the published file, line by line, before it went into the lake, and with
`recount` is counted again. Dagster's memory is not asked. How a ledger is shown is for who asks.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, NamedTuple

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.scratch import scratch
from taxi_pipeline.lake.metadata import CleanedMetadata, RawMetadata
from taxi_pipeline.lake.paths import ZONES_PATHS, ObjectPaths, month_of_object, object_paths
from taxi_pipeline.lake.raw import sha256_of
from taxi_pipeline.marts import DAILY_TRIPS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.gcs import Lake, LakeObject, ReplacedError
from taxi_pipeline.settings import Resources
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import TAXI_ZONES, Service
from taxi_pipeline.tlc.tally import Tally, tally_parquet

MONTHS_AT_ONCE = 8  # fewer than the connections that Google's client keeps
LOOKS = 3  # at a month that is replaced while it is read


@dataclass(frozen=True)
class LakeEntry:
    """What the lake has of one month, or of the zones. What it does not have, or say, is None.

    Attributes:
        published: How many rows were counted in the published file when it was stored.
        kept: The tally of the cleaned rows.
        rejected: The number of the rejected rows, by reason.
        etag: The published file's ETag.
        sha256: The published file's SHA-256, in hex.
        of_this_raw: Whether the cleaned and the rejected rows are of the raw object that is there
            now.
        faults: What was found wrong with an object by itself, in sentences.
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
        service: The service. The zones, which have no month, are a service of their own here.
        month: The month.
        lake: What the lake has.
        tables: What the table of each sink has; None where it does not have the month.
        mart: What the mart of daily trips has of the service; None where its month was not
            computed yet.
    """

    service: str
    month: Month | None
    lake: LakeEntry
    tables: Mapping[type[Sink], Tally | None]
    mart: Tally | None = None

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
                for problem in self.lake.problems_with(sink.title, tally)
            ),
            *(mart_problems(self.mart, self.tables[BigQuery]) if self.mart else []),
        ]

    @property
    def adds_up(self) -> bool:
        """Whether every published row is accounted for in every store."""
        return not self.problems


def read_ledger(
    service: Service,
    stores: Resources,
    first: Month | None = None,
    last: Month | None = None,
    recount: bool = False,
) -> list[Entry]:
    """Return the entries of a service's months that any store has, oldest first.

    A month that does not add up, and is replaced while it is read, is read anew, `LOOKS` times in
    all.

    Args:
        service: The service.
        stores: All stores.
        first: The first month to read; None for the stores' own first.
        last: The last month to read; None for the stores' own last.
        recount: Whether the published files are read again, which takes as long as downloading
            them.

    Raises:
        PermanentError: A store cannot be asked, and asking again cannot change that.
        TransientError: A store is away.
    """
    in_lake = _by_month(service, stores.lake)
    tables = _tally_tables(service, stores, first, last)
    in_mart = {month for month, tally in tables.mart.items() if tally.rows}
    in_tables = {month for tallies in tables.by_sink.values() for month in tallies}
    months = [
        month
        for month in sorted({*in_lake, *in_tables, *in_mart})
        if (first or month) <= month <= (last or month)
    ]

    def entry(month: Month) -> Entry:
        return _entry(service, month, stores, in_lake.get(month, []), tables, recount)

    with ThreadPoolExecutor(MONTHS_AT_ONCE) as pool:
        return list(pool.map(entry, months))


class _Tables(NamedTuple):
    """What each sink's table and the mart have of a service, by month."""

    by_sink: Mapping[type[Sink], Mapping[Month, Tally]]
    mart: Mapping[Month, Tally]


def _tally_tables(
    service: Service, stores: Resources, first: Month | None, last: Month | None
) -> _Tables:
    return _Tables(
        {
            type(sink): sink.tallies(service.trips, service.total, first, last)
            for sink in stores.sinks.values()
        },
        stores.bigquery.mart_tallies(service, first, last),
    )


def _entry(
    service: Service,
    month: Month,
    stores: Resources,
    objects: Sequence[LakeObject],
    tables: _Tables,
    recount: bool,
) -> Entry:
    """Return a month's entry, given its objects in the lake and what the tables have.

    Where the month does not add up, and its objects are other ones by then, all stores are asked
    again, up to `LOOKS` times in all.
    """
    paths = object_paths(service, month)
    for _ in range(LOOKS):
        in_lake = _read_lake(stores.lake, paths, objects, service.total, recount)
        entry = Entry(
            service.name,
            month,
            in_lake,
            {sink: in_lake.in_table(tallies, month) for sink, tallies in tables.by_sink.items()},
            tables.mart.get(month),
        )
        if entry.adds_up:
            break
        newest = _objects(stores.lake, paths)
        if _generations(newest) == _generations(objects):
            break
        objects, tables = newest, _tally_tables(service, stores, month, month)
    return entry


def read_zones(stores: Resources, recount: bool = False) -> list[Entry]:
    """Return the entry of the taxi zones; none where no store has any.

    Args:
        stores: All stores.
        recount: Whether the published file is read again.

    Raises:
        PermanentError: A store cannot be asked, and asking again cannot change that.
        TransientError: A store is away.
    """
    objects = _objects(stores.lake, ZONES_PATHS)
    for _ in range(LOOKS):
        tallies = {type(sink): sink.tally(TAXI_ZONES) for sink in stores.sinks.values()}
        if not objects and not any(tally.rows for tally in tallies.values()):
            return []
        in_lake = _read_lake(stores.lake, ZONES_PATHS, objects, None, recount)
        tables = {
            sink: tally if tally.rows or in_lake.kept else None for sink, tally in tallies.items()
        }
        entry = Entry(TAXI_ZONES.name, None, in_lake, tables)
        newest = _objects(stores.lake, ZONES_PATHS)
        if entry.adds_up or _generations(newest) == _generations(objects):
            break
        objects = newest
    return [entry]


def mart_problems(mart: Tally, trips: Tally | None) -> list[str]:
    """Say what does not add up between a service's month in the mart and its table in BigQuery.

    Args:
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
    return [f"The mart {DAILY_TRIPS.name} has {has}: run {DAILY_TRIPS.name} for the month."]


def lake_entry(lake: Lake, paths: ObjectPaths, total: str | None) -> LakeEntry:
    """Return what the lake has of one published file.

    Args:
        lake: The lake.
        paths: Where the file lies in it.
        total: The column to sum up, in dollars; None for no sum.

    Raises:
        PermanentError: The lake cannot be asked, and asking again cannot change that.
        TransientError: The lake is away, or an object was replaced while it was read.
    """
    return _lake_entry(lake, paths, _objects(lake, paths), total, recount=False)


def _objects(lake: Lake, paths: ObjectPaths) -> list[LakeObject]:
    prefixes = (paths.raw, paths.cleaned, paths.rejected)
    return [item for prefix in prefixes for item in lake.find(prefix) if paths.holds(item.name)]


def _generations(objects: Iterable[LakeObject]) -> set[tuple[str, int]]:
    return {(item.name, item.generation) for item in objects}


def _by_month(service: Service, lake: Lake) -> dict[Month, list[LakeObject]]:
    """Return the service's objects by month, the newest of each folder first."""
    objects = defaultdict(list)
    for folder in ("raw", "cleaned", "rejected"):
        for item in lake.find(f"{folder}/{service.name}/"):
            if named := month_of_object(item.name):  # others are none of ours
                _, month = named
                objects[month].append(item)
    return objects


def _read_lake(
    lake: Lake, paths: ObjectPaths, objects: Iterable[LakeObject], total: str | None, recount: bool
) -> LakeEntry:
    """Return what the lake has; where an object is replaced while it is read, that nothing was."""
    try:
        return _lake_entry(lake, paths, objects, total, recount)
    except ReplacedError:
        return LakeEntry(None, None, None, None, None, of_this_raw=False, is_read=False)


def _lake_entry(
    lake: Lake, paths: ObjectPaths, objects: Iterable[LakeObject], total: str | None, recount: bool
) -> LakeEntry:
    by_name = {item.name: item for item in objects}
    raw = next((item for name, item in by_name.items() if name.startswith(paths.raw)), None)
    cleaned = by_name.get(paths.cleaned)
    origin = RawMetadata.parse(raw.metadata if raw else {})
    history = CleanedMetadata.parse(cleaned.metadata if cleaned else {})
    rejected = by_name.get(history.rejected_rows or "")
    sources = (history, CleanedMetadata.parse(rejected.metadata if rejected else {}))
    faults: list[str] = []
    kept = _read(lake, cleaned, partial(tally_parquet, total=total), faults)
    reasons = _read(lake, rejected, _reasons, faults)
    if raw and recount:
        faults += _recounted(lake, raw, origin)
    return LakeEntry(
        published=origin.rows,
        kept=kept,
        rejected=reasons,
        etag=origin.etag,
        sha256=origin.sha256,
        of_this_raw=origin.sha256 is not None
        and all(source.sha256 == origin.sha256 for source in sources),
        faults=tuple(faults),
        content="zones" if paths == ZONES_PATHS else "trips",
    )


def _read[T](
    lake: Lake, item: LakeObject | None, read: Callable[[BinaryIO], T], faults: list[str]
) -> T | None:
    """Read an object that may be missing; one that cannot be read is a fault."""
    import pyarrow as pa

    if item is None:
        return None
    try:
        with lake.opened(item) as file:
            return read(file)
    except (pa.ArrowException, UnicodeDecodeError, OSError, KeyError, PermanentError) as error:
        faults.append(f"{item.uri} cannot be read: {error}.")
        return None


def _reasons(rejected: BinaryIO) -> Counter[str]:
    """Count the rejected rows of a Parquet file by their reason, a row group at a time."""
    import pyarrow.parquet as pq

    from taxi_pipeline.tlc.cleaning import REJECTED_BECAUSE

    reasons: Counter[str] = Counter()
    # no threads, by pre_buffer neither: they may hold the file when the process ends, and abort it
    with pq.ParquetFile(rejected, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, [REJECTED_BECAUSE], use_threads=False)
            for counted in rows[REJECTED_BECAUSE].value_counts().to_pylist():
                reasons[str(counted["values"])] += counted["counts"]
    return reasons


def _recounted(lake: Lake, raw: LakeObject, noted: RawMetadata) -> Iterable[str]:
    """Read the published file again; yield what differs from what was noted when it was stored."""
    from taxi_pipeline.tlc.reading import examine

    with scratch() as folder:
        try:
            path = lake.download(raw, folder)
            rows = examine(path, first_rows=0).rows
        except PermanentError as error:
            yield f"The published file in the lake cannot be read: {error}"
            return
        digest = sha256_of(path)
    if noted.rows is not None and rows != noted.rows:
        yield (
            f"The published file in the lake has {rows:,} rows, when it was stored it had "
            f"{noted.rows:,}."
        )
    if digest != noted.sha256:
        yield (
            f"The published file in the lake has the SHA-256 {digest}, when it was stored it had "
            f"{noted.sha256 or 'none noted'}."
        )


def _dollars(tally: Tally) -> str:
    return "none" if tally.total is None else f"${tally.total:,.2f}"
