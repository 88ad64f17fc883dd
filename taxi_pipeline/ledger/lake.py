"""The ledger's part of the lake: its Parquet files are counted, and its published files again.

What a figure must be equal to is said in `entry`.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import partial
from typing import BinaryIO, NamedTuple

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.scratch import scratch
from taxi_pipeline.lake.cleaned import conformed_batches
from taxi_pipeline.lake.metadata import RawMetadata
from taxi_pipeline.lake.objects import FileObjects
from taxi_pipeline.lake.paths import (
    ZONE_SHAPES_PATHS,
    ZONES_PATHS,
    ObjectPaths,
    month_of_object,
)
from taxi_pipeline.lake.raw import sha256_of
from taxi_pipeline.ledger.entry import Cells, LakeEntry
from taxi_pipeline.resources.gcs import Lake, LakeObject, ReplacedError
from taxi_pipeline.tlc.column_tallies import FOOTER_KEY, ColumnTallies, differences
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service, Table
from taxi_pipeline.tlc.tally import Tally, tally_row_groups

_BATCH_ROWS = 1 << 17  # some 30 MB


class Depth(IntEnum):
    """How closely the ledger looks at the stores.

    Attributes:
        ROWS: Rows, one total, and what each sink has loaded its rows from.
        COLUMNS: The tallies of all columns, too.
        CELLS: The fingerprint of all rows, too, for which the cleaned file is read again.
        PUBLISHED: The published file is read again, too, and its rows are counted.
    """

    ROWS = 0
    COLUMNS = 1
    CELLS = 2
    PUBLISHED = 3


def lake_entry(
    lake: Lake, paths: ObjectPaths, table: Table, total: str | None, depth: Depth = Depth.ROWS
) -> LakeEntry:
    """Return what the lake has of one published file.

    Args:
        lake: The lake.
        paths: Where the file lies in it.
        table: The declared table.
        total: The column to sum up, in dollars; None for no sum.
        depth: How closely to look.

    Raises:
        PermanentError: The lake cannot be asked, and asking again cannot change that.
        TransientError: The lake is away, or an object was replaced while it was read.
    """
    return entry_of(lake, paths, find_objects(lake, paths), table, total, depth)


def read_lake(
    lake: Lake,
    paths: ObjectPaths,
    objects: Iterable[LakeObject],
    table: Table,
    total: str | None,
    depth: Depth,
) -> LakeEntry:
    """Return what the lake has; where an object is replaced while it is read, that nothing was."""
    try:
        return entry_of(lake, paths, objects, table, total, depth)
    except ReplacedError:
        return LakeEntry(None, None, None, None, None, of_this_raw=False, is_read=False)


def entry_of(
    lake: Lake,
    paths: ObjectPaths,
    objects: Iterable[LakeObject],
    table: Table,
    total: str | None,
    depth: Depth,
) -> LakeEntry:
    """Return what the lake has of one published file, of which these are the objects.

    Arguments and errors are `lake_entry`'s, but for `objects`: all of the file's, the newest of
    each folder first.
    """
    stored = FileObjects.among(objects, paths)
    cleaned, origin = stored.cleaned, stored.origin
    faults: list[str] = []
    kept = _read(lake, cleaned, partial(_tally, total=total, table=table), faults)
    reasons = _read(lake, stored.rejected, _reasons, faults)
    cells = Cells(kept.columns) if kept and kept.columns else None
    if cleaned and kept and (depth >= Depth.CELLS or (depth == Depth.COLUMNS and not cells)):
        counted = _count_cells(lake, cleaned, table, faults)
        if counted and cells:
            faults += (
                f"{column}: the cleaned {_content(paths)} in the lake have {has}, when they were "
                f"stored they had {should}."
                for column, has, should in differences(table, counted.columns, cells.columns)
            )
        cells = counted
    if stored.raw and depth >= Depth.PUBLISHED:
        faults += _recounted(lake, stored.raw, origin)
    return LakeEntry(
        published=origin.rows,
        kept=kept.tally if kept else None,
        rejected=reasons,
        etag=origin.etag,
        sha256=origin.sha256,
        of_this_raw=stored.of_this_raw,
        faults=tuple(faults),
        stamp=cleaned.stamp if cleaned else None,
        is_tallied=bool(kept and kept.is_tallied),
        cells=cells,
        content=_content(paths),
    )


def find_objects(lake: Lake, paths: ObjectPaths) -> list[LakeObject]:
    """Return what the lake has of one published file, the newest object of each folder first."""
    prefixes = (paths.raw, paths.cleaned, paths.rejected)
    return [item for prefix in prefixes for item in lake.find(prefix) if paths.holds(item.name)]


def noted_entry(objects: FileObjects) -> LakeEntry:
    """Return what the lake's objects say that the lake has of one published file.

    No object is read: what they say was counted when they were stored.
    """
    history = objects.history
    rejected = history.rejected if objects.rejected else None
    return LakeEntry(
        published=objects.origin.rows,
        kept=None if history.kept is None else Tally(history.kept, history.cents),
        rejected=None if rejected is None else Counter(rejected),
        etag=objects.origin.etag,
        sha256=objects.origin.sha256,
        of_this_raw=objects.of_this_raw,
        stamp=objects.cleaned.stamp if objects.cleaned else None,
    )


def generations(objects: Iterable[LakeObject]) -> set[tuple[str, int]]:
    """Return what tells these versions of the objects from others."""
    return {(item.name, item.generation) for item in objects}


def objects_by_month(lake: Lake, service: Service) -> dict[Month, list[LakeObject]]:
    """Return the service's objects by month, the newest of each folder first."""
    objects = defaultdict(list)
    for folder in ("raw", "cleaned", "rejected"):
        for item in lake.find(f"{folder}/{service.name}/"):
            if named := month_of_object(item.name):  # others are none of ours
                _, month = named
                objects[month].append(item)
    return objects


def _content(paths: ObjectPaths) -> str:
    """Return what the rows are called."""
    return {ZONES_PATHS: "zones", ZONE_SHAPES_PATHS: "shapes"}.get(paths, "trips")


class _Tallied(NamedTuple):
    """What a cleaned file holds, and the tallies of its columns as its footer says them."""

    tally: Tally
    is_tallied: bool
    columns: ColumnTallies | None


def _tally(file: BinaryIO, total: str | None, table: Table) -> _Tallied:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, pre_buffer=False) as parquet:  # see `tally_parquet`
        noted = (parquet.metadata.metadata or {}).get(FOOTER_KEY)
        tally = tally_row_groups(parquet, total)
    columns = ColumnTallies.parse(noted, table)
    is_of_file = columns is not None and columns.rows == tally.rows
    return _Tallied(tally, noted is not None, columns if is_of_file else None)


def _count_cells(lake: Lake, cleaned: LakeObject, table: Table, faults: list[str]) -> Cells | None:
    """Read a cleaned file to its end, and count its cells; one that cannot be read is a fault."""
    from taxi_pipeline.tlc.cells import fingerprint, tally_columns

    columns, of_rows = ColumnTallies.of_no_rows(table), 0
    with scratch() as folder:
        try:
            path = lake.download(cleaned, folder)
            for batch in conformed_batches(path, table, cleaned.uri, _BATCH_ROWS):
                columns += tally_columns(batch, table)
                of_rows += fingerprint([batch], table)
        except PermanentError as error:
            faults.append(f"{cleaned.uri} cannot be read: {error}")
            return None
    return Cells(columns, of_rows)


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
