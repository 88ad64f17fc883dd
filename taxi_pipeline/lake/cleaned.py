"""The cleaned rows in the lake and the rejected ones beside them: stored in one step, read as one.

What a row is kept or rejected for is the domain's; what reads the cleaned rows is for `sink` and
the assets to say.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.scratch import scratch
from taxi_pipeline.lake.metadata import CleanedMetadata, Finding, Findings, RawMetadata
from taxi_pipeline.lake.paths import ObjectPaths
from taxi_pipeline.lake.progress import progress, report_progress
from taxi_pipeline.lake.raw import (
    is_fetched,
    newest_raw_objects,
    not_published,
    not_published_named,
    note_counts,
    sha256_of,
)
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.sink import CleanedFile
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Table
from taxi_pipeline.tlc.tally import tally_parquet
from taxi_pipeline.tlc.text import printable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from taxi_pipeline.tlc.cleaning import ProgressCallback, Summary
    from taxi_pipeline.tlc.header import Header
    from taxi_pipeline.tlc.reading import SourceFile

# Cleans a published file into two Parquet files, the kept rows' and the rejected rows'.
type Clean = Callable[[SourceFile, Path, Path, ProgressCallback], Summary]

# Counts the kept rows of each day of the month, from the first on.
type CountByDay = Callable[[Path], Sequence[int]]

type Rows = Sequence[Mapping[str, object]]

_LISTED_CHARACTERS = 1000
_READ_BYTES = 1 << 16  # of a column at a time
_BATCH_ROWS = 1 << 13  # some megabytes, so that who encodes them and who sends them take turns


@dataclass(frozen=True)
class CleanedRows:
    """What a step leaves in the lake: the cleaned object, the rejected one, and what came of it.

    Attributes:
        stored: The cleaned object.
        rejected: The object with the rejected rows.
        raw: The raw object that both were made of.
        summary: The counts of the cleaning.
        header: Which published columns the declared ones were read from.
        by_day: How many rows were kept of each day; empty for a table without months.
        unknown_columns: The published columns that are not declared.
        first_rows: The first of the kept rows.
    """

    stored: LakeObject
    rejected: LakeObject
    raw: LakeObject
    summary: "Summary"
    header: "Header"
    by_day: Sequence[int]
    unknown_columns: Findings
    first_rows: Rows


def store_cleaned(
    lake: Lake,
    paths: ObjectPaths,
    table: Table,
    clean: Clean,
    log: logging.Logger,
    count_by_day: CountByDay | None = None,
    total: str | None = None,
    *,
    first_rows: int = 0,
) -> CleanedRows:
    """Clean the raw object into two: its rows in canonical form, and the rejected ones.

    An object that somebody else put into the lake gets its rows and its SHA-256 noted first, so
    that the ledger can hold the cleaning against them.

    Args:
        lake: The lake.
        paths: Where the file lies in it.
        table: The table that the file is of.
        clean: Cleans it.
        log: Gets warnings and the progress.
        count_by_day: Counts the kept rows of each day, for rows that have one.
        total: The column whose dollars are summed up; None for no sum.
        first_rows: How many rows to return.

    Raises:
        PermanentError: There is no raw object, or it is broken; the lake stays as it was.
        TransientError: Another run has replaced one of the objects meanwhile.
    """
    from taxi_pipeline.tlc.reading import open_published

    # first what may be replaced: trips of a newer file, which another run cleans meanwhile, stay
    replaced = lake.generation_of(paths.cleaned)
    raw = next(iter(newest_raw_objects(lake, paths)), None)
    if raw is None:
        raise PermanentError(
            f"{lake.uri(paths.raw)}* is not in the lake: materialize the raw asset first."
        )
    if not is_fetched(raw):
        log.warning(not_published(raw))
    with scratch() as folder, not_published_named(raw):
        path = lake.download(raw, folder)
        source = open_published(path, table)
        raw = _counted(lake, raw, path)
        kept, rejected = folder / "kept.parquet", folder / "rejected.parquet"
        summary = _clean(clean, source, kept, rejected, raw, log)
        by_day = count_by_day(kept) if count_by_day else ()
        cents = tally_parquet(kept, total).cents
        metadata = _metadata(raw, summary, source.header, by_day, cents)
        beside = _store_rejected(lake, paths, rejected, metadata, log)
        # another run of the month may have put another raw file there, or deleted what it knew not
        with lake.unchanged(raw), lake.unchanged(beside):
            complete = replace(metadata, rejected_rows=beside.name).to_metadata()
            stored = _upload(lake, kept, paths.cleaned, complete, replaced, log)
            _delete_other_rejected(lake, paths, beside)
        unknown = metadata.unknown_columns or Findings((), 0)
        shown = _first_rows_of(kept, first_rows)
    return CleanedRows(stored, beside, raw, summary, source.header, by_day, unknown, shown)


def find_cleaned(lake: Lake, paths: ObjectPaths) -> CleanedMetadata:
    """Return what the cleaned object says of its making; nothing where there is none."""
    stored = lake.get(paths.cleaned)
    return CleanedMetadata.parse(stored.metadata if stored else {})


@dataclass(frozen=True)
class StoredFile:
    """A cleaned file of the lake, what its object says of its making, and its first rows."""

    file: CleanedFile
    metadata: CleanedMetadata
    first_rows: Rows


@contextmanager
def open_cleaned(
    lake: Lake,
    paths: ObjectPaths,
    table: Table,
    month: Month | None,
    log: logging.Logger,
    *,
    first_rows: int = 0,
) -> Iterator[StoredFile]:
    """Open the cleaned file, of which only the footer and the first rows are read at once.

    Args:
        lake: The lake.
        paths: Where the file lies in it.
        table: The table that the file is of.
        month: The file's month; None for a table without months.
        log: Gets warnings and the progress.
        first_rows: How many rows to return.

    Raises:
        PermanentError: There is no cleaned object, or it cannot be read.
        TransientError: It is replaced before the context ends, its opening included.
    """
    stored = lake.get(paths.cleaned)
    if stored is None:
        raise PermanentError(
            f"{lake.uri(paths.cleaned)} is not in the lake: materialize the cleaned asset first."
        )
    with ExitStack() as copies, lake.unchanged(stored):
        schema, rows, shown = _read_footer(lake, stored, first_rows)

        def batches() -> "Iterator[pa.RecordBatch]":
            _warn_of_differences(stored, schema, table, log)
            path = lake.download(stored, copies.enter_context(scratch()))
            on_progress = copies.enter_context(progress(f"Copying {paths.stem}", log, rows))
            return report_progress(conformed_batches(path, table, stored.uri), on_progress)

        cleaned = CleanedFile(
            table,
            month,
            stored.uri,
            stored.stamp,
            schema,
            rows,
            batches,
            partial(_ensure_current, lake, stored),
        )
        yield StoredFile(cleaned, CleanedMetadata.parse(stored.metadata), shown)


def _read_footer(lake: Lake, stored: LakeObject, first_rows: int) -> "tuple[pa.Schema, int, Rows]":
    """Return the schema, the number of rows and the first of them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from taxi_pipeline.tlc.reading.guard.limits import check_footer_of

    try:
        with lake.opened(stored) as file:
            check_footer_of(file, stored.size, stored.uri)
            # without a buffer Arrow would read a whole row group, with pre_buffer in threads
            with pq.ParquetFile(file, buffer_size=_READ_BYTES, pre_buffer=False) as parquet:
                rows = parquet.metadata.num_rows
                return parquet.schema_arrow, rows, _first_rows(parquet, first_rows)
    # the lake has classified what the network failed with: an OSError is Arrow's word for damage
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise PermanentError(
            f"{stored.uri} cannot be read: {str(error).rstrip('.')}. "
            "Materialize the cleaned asset again."
        ) from error


def _ensure_current(lake: Lake, stored: LakeObject) -> None:
    with lake.unchanged(stored):
        pass


def _counted(lake: Lake, raw: LakeObject, path: Path) -> LakeObject:
    """Return the raw object with its rows and its SHA-256 noted, counted where they are not."""
    from taxi_pipeline.tlc.reading import examine

    noted = RawMetadata.parse(raw.metadata)
    if is_fetched(raw) and noted.rows is not None and noted.sha256 is not None:
        return raw
    return note_counts(lake, raw, path, examine(path, first_rows=0).rows)


def _clean(
    clean: Clean,
    source: "SourceFile",
    kept: Path,
    rejected: Path,
    raw: LakeObject,
    log: logging.Logger,
) -> "Summary":
    """Clean a file; raise `PermanentError` where a row of it is not accounted for."""
    expected = RawMetadata.parse(raw.metadata).rows
    with progress(f"Cleaning {raw.name}", log, expected) as on_progress:
        summary = clean(source, kept, rejected, on_progress)
    if unknown := source.header.unknown:
        log.warning(
            f"{raw.uri} has columns that are not declared: "
            f"{printable(', '.join(unknown), _LISTED_CHARACTERS)}. They stay in "
            "raw; declare them in tlc/services/ to carry them on."
        )
    if summary.published != expected or expected != summary.kept + summary.rejected.total():
        raise PermanentError(
            f"{raw.uri} has {expected} rows, but {summary.published} were read, of which "
            f"{summary.kept} were kept and {summary.rejected.total()} rejected. Nothing was "
            "stored; this is a fault in the reading: please report it."
        )
    return summary


def _metadata(
    raw: LakeObject,
    summary: "Summary",
    header: "Header",
    by_day: Sequence[int],
    cents: int | None,
) -> CleanedMetadata:
    """Return what the cleaned object says of its making, but for the rejected rows' name."""
    noted = RawMetadata.parse(raw.metadata)
    codes: list[Finding] = [
        {"column": column, "code": code, "rows": rows}
        for (column, code), rows in summary.unknown_codes.most_common()
    ]
    empty_days = [day for day, trips in enumerate(by_day, start=1) if not trips]
    return CleanedMetadata(
        published=summary.published,
        kept=summary.kept,
        rejected=Counter(summary.rejected),
        noted=Counter(summary.noted),
        raw=raw.uri,
        raw_generation=raw.generation,
        etag=noted.etag or "",
        sha256=noted.sha256,
        unknown_columns=Findings.cut([{"column": name} for name in header.unknown]),
        unknown_codes=Findings.cut(codes),
        days_without_trips=empty_days if by_day else None,
        trips_by_day=list(by_day) if by_day else None,
        cents=cents,
    )


def _store_rejected(
    lake: Lake, paths: ObjectPaths, path: Path, metadata: CleanedMetadata, log: logging.Logger
) -> LakeObject:
    """Store the rejected rows under a name of their own, which nobody reads yet."""
    name = paths.rejected_name(sha256_of(path))
    history = replace(
        metadata,
        unknown_columns=None,
        unknown_codes=None,
        days_without_trips=None,
        trips_by_day=None,
        cents=None,
    )
    return _upload(lake, path, name, history.to_metadata(), lake.generation_of(name), log)


def _upload(
    lake: Lake,
    path: Path,
    name: str,
    metadata: dict[str, str],
    replaced: int,
    log: logging.Logger,
) -> LakeObject:
    with progress(f"Uploading {name}", log) as on_progress:
        return lake.upload(path, name, metadata, replaced, partial(on_progress, 0))


def _delete_other_rejected(lake: Lake, paths: ObjectPaths, kept: LakeObject) -> None:
    """Delete the objects with rejected rows that no trips name any more."""
    for other in lake.find(paths.rejected):
        if paths.is_rejected(other.name) and other.name != kept.name:
            lake.delete(other)


def _first_rows_of(path: Path, rows: int) -> Rows:
    from taxi_pipeline.tlc.reading import opened_parquet

    with opened_parquet(path) as file:
        return _first_rows(file, rows)


def _first_rows(file: "pq.ParquetFile", rows: int) -> Rows:
    # no threads: they may hold a Python file when the process ends, and abort it
    first = next(file.iter_batches(rows, use_threads=False), None) if rows else None
    return [] if first is None else first.to_pylist()


def conformed_batches(
    path: Path, table: Table, uri: str, batch_rows: int = _BATCH_ROWS
) -> "Iterator[pa.RecordBatch]":
    """Yield a local copy's rows in the declared schema, as many at a time as suit a copy."""
    from taxi_pipeline.tlc.conforming import conformed
    from taxi_pipeline.tlc.reading import opened_parquet

    with opened_parquet(path) as file:
        yield from conformed(file.iter_batches(batch_rows), table, uri)


def _warn_of_differences(
    stored: LakeObject, schema: "pa.Schema", table: Table, log: logging.Logger
) -> None:
    from taxi_pipeline.tlc.conforming import differences

    if difference := differences(schema, table):
        log.warning(
            f"{stored.uri} was cleaned before {table.name} was declared as it is now: it "
            f"{difference}. The first are null in the table, the others are left out; "
            "materialize `cleaned` again for their values."
        )
