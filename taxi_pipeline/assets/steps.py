"""The steps on a file's way that trips and zones have in common, each with its report to Dagster.

Which file, which table and which rules are for `trips` and `zones` to say.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import dagster as dg

from taxi_pipeline.assets.findings import (
    DAYS_WITHOUT_TRIPS,
    UNKNOWN_CODES,
    UNKNOWN_COLUMNS,
    Finding,
    Findings,
)
from taxi_pipeline.assets.progress import progress, report_progress
from taxi_pipeline.assets.reporting import (
    PREVIEW_ROWS,
    columns_from,
    counts,
    figures,
    file_columns,
    parquet_preview,
    preview,
    query,
    table_columns,
)
from taxi_pipeline.assets.tags import REPLACE_RAW
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.database import Database
from taxi_pipeline.resources.lake import (
    PENDING,
    RAW_ENDINGS,
    REJECTED_ROWS,
    SOURCE_URL,
    STORED_AT,
    Lake,
    LakeObject,
    ObjectPaths,
)
from taxi_pipeline.resources.publisher import Download, FileVersion, NotModified
from taxi_pipeline.resources.scratch import scratch
from taxi_pipeline.resources.warehouse import Warehouse
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import UNKNOWN_WORDS, Table
from taxi_pipeline.tlc.text import printable

if TYPE_CHECKING:
    import pyarrow as pa

    from taxi_pipeline.tlc.cleaning import ProgressCallback, Summary
    from taxi_pipeline.tlc.reading import Examination, SourceFile

type Fetch = Callable[[Path, FileVersion | None, Callable[[int], None]], Download | NotModified]
type Clean = Callable[[SourceFile, Path, Path, ProgressCallback], Summary]
type Ensure = Callable[[SourceFile], None]
type ByDay = Callable[[Path], Sequence[int]]
type Picture = Callable[[Sequence[int], Summary], dg.MarkdownMetadataValue]

_LISTED_CHARACTERS = 1000
_READ_BYTES = 1 << 16  # of a column at a time
_BATCH_ROWS = 1 << 13  # some megabytes, so that who encodes them and who sends them take turns


class _Raw(NamedTuple):
    """The raw object that a step leaves in the lake, what is in it, and whether it is new."""

    stored: LakeObject
    examination: "Examination"
    downloaded: bool


def store_raw(
    lake: Lake,
    paths: ObjectPaths,
    table: Table,
    fetch: Fetch,
    log: logging.Logger,
    ensure: Ensure | None = None,
    *,
    replace: bool = False,
) -> dg.MaterializeResult[None]:
    """Put the published file into the lake, byte for byte, unless the lake has it already.

    A file that is broken, or could not be cleaned for want of a column, leaves the lake as it was.
    One of the same bytes leaves the object and its generation: only what is said of it is new.
    `ensure` raises where the file has the columns, but not what it must have beyond.

    An object that somebody else put into the lake stays, and the publisher is not asked, unless
    `replace` says that the published file shall take its place.
    """
    began = monotonic()
    before = _raw_objects(lake, paths)
    newest = next(iter(before), None)
    if newest and not newest.is_fetched and not replace:
        raw = _keep(lake, table, ensure, newest, log)
    else:
        raw = _fetch(lake, paths, table, ensure, fetch, before, log, anew=replace)
    stored, examination = raw.stored, raw.examination
    return dg.MaterializeResult(
        data_version=dg.DataVersion(stored.metadata["sha256"]),
        metadata={
            "dagster/row_count": examination.rows,
            "dagster/column_schema": file_columns(examination.schema),
            "dagster/uri": stored.uri,
            "link": dg.MetadataValue.url(lake.link(stored.name)),
            "bytes": stored.size,
            "seconds": _seconds_since(began),
            "downloaded": raw.downloaded,
            "preview": preview(examination.first_rows, examination.schema),
            "source": _source(stored),
            "etag": stored.metadata.get("etag", ""),
            "last_modified": stored.metadata.get("last_modified", ""),
            "sha256": stored.metadata["sha256"],
        },
    )


def _keep(
    lake: Lake, table: Table, ensure: Ensure | None, raw: LakeObject, log: logging.Logger
) -> _Raw:
    """Leave a raw object that somebody else put into the lake, and count it."""
    from taxi_pipeline.tlc.reading import examine

    log.warning(f"{not_published(raw)} The publisher was not asked.")
    with scratch() as folder, _not_published_named(raw):
        path = lake.download(raw, folder)
        examination = examine(path, PREVIEW_ROWS)
        _ensure_usable(path, table, ensure)
        return _Raw(_count(lake, raw, path, examination.rows), examination, downloaded=False)


def _fetch(
    lake: Lake,
    paths: ObjectPaths,
    table: Table,
    ensure: Ensure | None,
    fetch: Fetch,
    before: list[LakeObject],
    log: logging.Logger,
    *,
    anew: bool,
) -> _Raw:
    """Fetch the published file into the lake, unless it is the newest of the objects `before`.

    `anew` fetches it whatever the lake has.
    """
    from taxi_pipeline.tlc.reading import examine

    with scratch() as downloads, scratch() as stored:
        copy = None if anew else _intact_copy(lake, before, stored)
        version = copy and FileVersion(
            copy[0].metadata[SOURCE_URL], copy[0].metadata.get("etag", "")
        )
        with progress(f"Downloading {paths.stem}", log) as on_progress:
            fetched = fetch(downloads, version, partial(on_progress, 0))
        if copy and isinstance(fetched, NotModified):
            raw = copy[0]
            examination = examine(copy[1], PREVIEW_ROWS)
        elif isinstance(fetched, Download):
            examination = examine(fetched.path, PREVIEW_ROWS)
            _ensure_usable(fetched.path, table, ensure)
            origin = {
                SOURCE_URL: fetched.url,
                STORED_AT: PENDING,
                "etag": fetched.etag,
                "last_modified": fetched.last_modified,
                "sha256": fetched.sha256,
                "rows": str(examination.rows),
            }
            name = _raw_name(paths, fetched.path)
            if _generations(lake.raw_objects(paths)) != _generations(before):
                raise TransientError(
                    f"{lake.uri(paths.raw)}*: another file was stored while this one was fetched, "
                    "which may be the older one: run the month again."
                )
            if copy and (copy[0].name, copy[0].metadata["sha256"]) == (name, fetched.sha256):
                raw = lake.annotate(copy[0], origin | {STORED_AT: copy[0].created})
            else:
                replaced = _generations(before).get(name, 0)
                raw = _upload(lake, fetched.path, name, origin, replaced, log)
                _give_way(lake, paths, raw, before)
                raw = lake.annotate(raw, {STORED_AT: raw.created})
    _delete_older(lake, paths, raw)  # what was served before, in another format
    return _Raw(raw, examination, isinstance(fetched, Download))


def _ensure_usable(path: Path, table: Table, ensure: Ensure | None) -> None:
    """Raise `PermanentError` where a file lacks a column, or what `ensure` asks for beyond."""
    from taxi_pipeline.tlc.reading import open_published

    source = open_published(path, table)
    if ensure:
        ensure(source)


def clean_raw(
    lake: Lake,
    paths: ObjectPaths,
    table: Table,
    clean: Clean,
    log: logging.Logger,
    by_day: ByDay | None = None,
    picture: Picture | None = None,
) -> dg.MaterializeResult[None]:
    """Clean the raw object into two: its rows in canonical form, and the rejected ones.

    An object that somebody else put into the lake gets its rows and its SHA-256 noted first, so
    that the ledger can hold the cleaning against them.

    `by_day` counts what is kept of each day of the month, for rows that have one; `picture` draws
    these counts and the summary.
    """
    from taxi_pipeline.tlc.reading import examine, open_published, opened_parquet

    began = monotonic()
    # first what may be replaced: trips of a newer file, which another run cleans meanwhile, stay
    replaced = lake.generation_of(paths.cleaned)
    raw = next(iter(_raw_objects(lake, paths)), None)
    if raw is None:
        raise PermanentError(
            f"{lake.uri(paths.raw)}* is not in the lake: materialize the raw asset first."
        )
    if not raw.is_fetched:
        log.warning(not_published(raw))
    with scratch() as folder, _not_published_named(raw):
        path = lake.download(raw, folder)
        source = open_published(path, table)
        if not (raw.is_fetched and raw.metadata.keys() >= {"rows", "sha256"}):
            raw = _count(lake, raw, path, examine(path, first_rows=0).rows)
        kept, rejected = folder / "kept.parquet", folder / "rejected.parquet"
        expected = int(raw.metadata["rows"])
        with progress(f"Cleaning {paths.stem}", log, expected) as on_progress:
            summary = clean(source, kept, rejected, on_progress)
        if unknown := source.header.unknown:
            log.warning(
                f"{raw.uri} has columns that are not declared: "
                f"{printable(', '.join(unknown), _LISTED_CHARACTERS)}. They stay in "
                "raw; declare them in tlc/services.py to carry them on."
            )
        if summary.published != expected or expected != summary.kept + summary.rejected.total():
            raise PermanentError(
                f"{raw.uri} has {expected} rows, but {summary.published} were read, of which "
                f"{summary.kept} were kept and {summary.rejected.total()} rejected. Nothing was "
                "stored; this is a fault in the reading: please report it."
            )
        history = {
            "published": str(summary.published),
            "kept": str(summary.kept),
            "rejected": json.dumps(summary.rejected),
            "raw": raw.uri,
            "raw_generation": str(raw.generation),
            "etag": raw.metadata.get("etag", ""),
            "sha256": raw.metadata["sha256"],
        }
        codes: list[Finding] = [
            {"column": column, "code": code, "rows": rows}
            for (column, code), rows in summary.unknown_codes.most_common()
        ]
        undeclared = Findings.cut([{"column": name} for name in unknown])
        findings = {
            UNKNOWN_COLUMNS: str(undeclared),
            UNKNOWN_CODES: str(Findings.cut(codes)),
        }
        days = by_day(kept) if by_day else ()
        if days:
            empty = [day for day, trips in enumerate(days, start=1) if not trips]
            findings[DAYS_WITHOUT_TRIPS] = json.dumps(empty)
        name = f"{paths.rejected}{_sha256(rejected)[:16]}.parquet"
        beside = _upload(lake, rejected, name, history, lake.generation_of(name), log)
        # another run of the month may have put another raw file there, or deleted what it knew not
        with lake.unchanged(raw), lake.unchanged(beside):
            named = {REJECTED_ROWS: beside.name}
            history |= findings | named
            cleaned = _upload(lake, kept, paths.cleaned, history, replaced, log)
            _delete_other_rejected(lake, paths, beside)
        with opened_parquet(kept) as file:
            first_rows = parquet_preview(file)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": summary.kept,
                "dagster/column_schema": table_columns(table),
                "dagster/column_lineage": columns_from("raw", table, _origins(source)),
                "dagster/uri": cleaned.uri,
                "link": dg.MetadataValue.url(lake.link(cleaned.name)),
                **({"picture": picture(days, summary)} if picture else {}),
                "bytes": cleaned.size,
                "seconds": _seconds_since(began),
                "source": _source(raw),
                "published": summary.published,
                "rejected": summary.rejected.total(),
                "rejected_share": summary.rejected.total() / max(summary.published, 1),
                "rejected_because": counts("reason", summary.rejected),
                "rejected_rows": beside.uri,
                "kept_but_odd": counts("oddity", summary.noted),
                "unknown_columns": [finding["column"] for finding in undeclared.listed],
                "preview": first_rows,
            }
        )


def _upload(
    lake: Lake,
    path: Path,
    name: str,
    metadata: dict[str, str],
    replaced: int,
    log: logging.Logger,
) -> LakeObject:
    """Put a file into the lake, and say how far that has come."""
    with progress(f"Uploading {name}", log) as on_progress:
        return lake.upload(path, name, metadata, replaced, partial(on_progress, 0))


def _raw_name(paths: ObjectPaths, path: Path) -> str:
    """Return the raw object's name for a published file, which ends as the file's name does."""
    return next(
        f"{paths.raw}{ending}" for ending in RAW_ENDINGS if path.name.endswith(f".{ending}")
    )


def _give_way(
    lake: Lake, paths: ObjectPaths, stored: LakeObject, before: Iterable[LakeObject]
) -> None:
    """Delete the stored object where somebody has put a file beside it while it was uploaded.

    Theirs is older by then, and would not count. Raises `TransientError`, since the next try finds
    it.
    """
    expected = _generations([*before, stored]).items()
    for other in lake.raw_objects(paths):
        if (other.name, other.generation) not in expected and not other.is_fetched:
            lake.delete(stored)
            raise TransientError(
                f"{other.uri} was put there by somebody else while the published file was stored: "
                "run the month again."
            )


def _delete_older(lake: Lake, paths: ObjectPaths, kept: LakeObject) -> None:
    """Delete the raw objects that a run has fetched before `kept`; all others stay."""
    objects = lake.raw_objects(paths)
    names = [each.name for each in objects]
    if kept.name in names:  # or else another run has replaced it
        for older in objects[names.index(kept.name) + 1 :]:
            if older.is_fetched:
                lake.delete(older)


def _delete_other_rejected(lake: Lake, paths: ObjectPaths, kept: LakeObject) -> None:
    """Delete the objects with rejected rows that no trips name any more."""
    for other in lake.find(paths.rejected):
        if paths.is_rejected(other.name) and other.name != kept.name:
            lake.delete(other)


def _origins(source: "SourceFile") -> Iterator[tuple[str, str]]:
    """Yield the pairs of a canonical column and a published one that it is read from."""
    for column, published in zip(source.header.columns, source.header.published, strict=True):
        if column:
            yield column, published
            if source.table[column].words:
                yield UNKNOWN_WORDS, published


def _generations(objects: Iterable[LakeObject]) -> dict[str, int]:
    return {each.name: each.generation for each in objects}


def _intact_copy(
    lake: Lake, objects: list[LakeObject], folder: Path
) -> tuple[LakeObject, Path] | None:
    """Copy the newest of the raw objects, unless there is none, or it is not what we stored."""
    newest = next(iter(objects), None)
    if newest is None or not newest.is_fetched:
        return None
    path = lake.download(newest, folder)
    return (newest, path) if _sha256(path) == newest.metadata.get("sha256") else None


def _count(lake: Lake, raw: LakeObject, path: Path, rows: int) -> LakeObject:
    """Note on a raw object how many rows it has, and its SHA-256."""
    counts = {"rows": str(rows), "sha256": _sha256(path)}
    if not raw.is_fetched and SOURCE_URL in raw.metadata:
        # a copy of an object that an earlier release has stored: it is no original of ours
        counts[STORED_AT] = raw.metadata.get(STORED_AT, "unknown")
    return raw if counts.items() <= raw.metadata.items() else lake.annotate(raw, counts)


def not_published(raw: LakeObject) -> str:
    """Say that a raw object is not the publisher's, and how the publisher's comes back."""
    return (
        f"The month comes from {raw.uri}, which somebody else put into the lake. To have the "
        f"publisher's file again, delete it, or run raw with the tag {REPLACE_RAW}=true."
    )


def _source(raw: LakeObject) -> dg.MetadataValue[str]:
    """Return where a raw object comes from, as a report shows it."""
    if raw.is_fetched:
        return dg.MetadataValue.url(raw.metadata[SOURCE_URL])
    return dg.MetadataValue.text(not_published(raw))


@contextmanager
def _not_published_named(raw: LakeObject) -> Iterator[None]:
    """Let an error about a file that is not the publisher's say so, and what to do."""
    try:
        yield
    except PermanentError as error:
        if raw.is_fetched:
            raise
        raise PermanentError(f"{error} {not_published(raw)}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _raw_objects(lake: Lake, paths: ObjectPaths) -> list[LakeObject]:
    """List a place's raw objects, the newest first; note when it was created, if that lacks.

    It does on an object whose run was killed as it stored it, and on one that an earlier release
    has stored: that is the one that the cleaned object was made of, or else a copy.
    """
    objects = lake.raw_objects(paths)
    if not objects or SOURCE_URL not in objects[0].metadata:
        return objects
    newest, *older = objects
    noted = newest.metadata.get(STORED_AT)
    cleaned = next((item for item in lake.find(paths.cleaned) if item.name == paths.cleaned), None)
    of_earlier_release = (
        noted is None
        and cleaned is not None
        and cleaned.metadata.get("raw_generation") == str(newest.generation)
    )
    if noted == PENDING or of_earlier_release:
        newest = lake.annotate(newest, {STORED_AT: newest.created})
    return [newest, *older]


@dataclass(frozen=True)
class Cleaned:
    """A cleaned object of the lake, its rows and the first of them.

    `began` is when its reading began, in seconds of the monotonic clock.
    """

    stored: LakeObject
    rows: int
    preview: dg.TableMetadataValue
    began: float

    @property
    def uri(self) -> str:
        """The object's `gs://` URI."""
        return self.stored.uri

    def loaded(
        self,
        table: Table,
        month: Month | None,
        store: Warehouse | Database,
        link: str | None = None,
    ) -> dg.MaterializeResult[None]:
        """Return the report of a store's table that now holds these rows, counted on arrival.

        `link` is the table's page, if it has one.
        """
        same = ((column.name, column.name) for column in table.columns)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": self.rows,
                "dagster/column_schema": table_columns(table),
                "dagster/column_lineage": columns_from("cleaned", table, same),
                "dagster/uri": store.uri(table),
                **({"link": dg.MetadataValue.url(link)} if link else {}),
                "seconds": _seconds_since(self.began),
                **self._ledger(store.title),
                "query": query(store.sql_name(table), month),
                "loaded_from": self.uri,
                "preview": self.preview,
            }
        )

    def _ledger(self, store: str) -> dict[str, dg.TableMetadataValue]:
        """Return the ledger's line as far as this store has it; none of what others cleaned."""
        history = self.stored.metadata
        if not history.keys() >= {"published", "kept", "rejected"}:
            return {}
        row = {
            "published": int(history["published"]),
            "kept": int(history["kept"]),
            "rejected": sum(json.loads(history["rejected"]).values()),
            store: self.rows,
        }
        return {"ledger": figures(row)}


@contextmanager
def cleaned_in_lake(lake: Lake, paths: ObjectPaths, table: Table) -> Iterator[Cleaned]:
    """Yield the cleaned object, of which only the footer and the first rows are read.

    Raises `PermanentError` where BigQuery cannot load it as the table is declared, and
    `TransientError` where it is replaced while the context lasts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from taxi_pipeline.tlc.conforming import check_loadable

    began, stored = monotonic(), _cleaned(lake, paths)
    try:
        with (
            lake.opened(stored) as file,
            # without a buffer Arrow would read a whole row group, with pre_buffer in threads
            pq.ParquetFile(file, buffer_size=_READ_BYTES, pre_buffer=False) as parquet,
        ):
            check_loadable(parquet.schema_arrow, table, stored.uri)
            cleaned = Cleaned(stored, parquet.metadata.num_rows, parquet_preview(parquet), began)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise PermanentError(
            f"{stored.uri} cannot be read: {error}. Materialize the cleaned asset again."
        ) from error
    with lake.unchanged(stored):
        yield cleaned


@contextmanager
def cleaned_copy(
    lake: Lake, paths: ObjectPaths, table: Table, log: logging.Logger
) -> Iterator[tuple[Cleaned, "Iterator[pa.RecordBatch]"]]:
    """Yield the cleaned object and its rows as a stream, of a copy as long as the context lasts.

    The rows have the table's columns as they are declared now. Raises `TransientError` where the
    object is replaced while the context lasts.
    """
    from taxi_pipeline.tlc.conforming import conformed, differences
    from taxi_pipeline.tlc.reading import opened_parquet

    began, stored = monotonic(), _cleaned(lake, paths)
    with scratch() as folder:
        path = lake.download(stored, folder)
        with opened_parquet(path) as file:
            cleaned = Cleaned(stored, file.metadata.num_rows, parquet_preview(file), began)
            if difference := differences(file.schema_arrow, table):
                log.warning(
                    f"{stored.uri} was cleaned before {table.name} was declared as it is now: it "
                    f"{difference}. The first are null in the table, the others are left out; "
                    "materialize `cleaned` again for their values."
                )
        batches = conformed(parquet_batches(path), table, stored.uri)
        with (
            lake.unchanged(stored),
            progress(f"Copying {paths.stem}", log, cleaned.rows) as on_progress,
        ):
            yield cleaned, report_progress(batches, on_progress)


def _cleaned(lake: Lake, paths: ObjectPaths) -> LakeObject:
    for item in lake.find(paths.cleaned):
        if item.name == paths.cleaned:  # another's may only begin like it
            return item
    raise PermanentError(
        f"{lake.uri(paths.cleaned)} is not in the lake: materialize the cleaned asset first."
    )


def parquet_batches(path: Path) -> "Iterator[pa.RecordBatch]":
    """Yield the rows of a local Parquet file, as many at a time as suit a copy."""
    from taxi_pipeline.tlc.reading import opened_parquet

    with opened_parquet(path) as file:
        yield from file.iter_batches(_BATCH_ROWS)


def _seconds_since(began: float) -> float:
    return round(monotonic() - began, 3)
