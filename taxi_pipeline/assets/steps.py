"""The steps on a file's way that trips and zones have in common, each with its report to Dagster.

Which file, which table and which rules are for `trips` and `zones` to say.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import dagster as dg

from taxi_pipeline.assets.findings import UNKNOWN_CODES, UNKNOWN_COLUMNS, Finding, Findings
from taxi_pipeline.assets.progress import Seen, passing, progress
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
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.database import Database
from taxi_pipeline.resources.lake import REJECTED_ROWS, SOURCE_URL, Lake, LakeObject, Place
from taxi_pipeline.resources.publisher import Download, Unchanged
from taxi_pipeline.resources.scratch import scratch
from taxi_pipeline.resources.warehouse import Warehouse
from taxi_pipeline.tlc.legible import legible
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import UNKNOWN_WORDS, Table

if TYPE_CHECKING:
    import pyarrow as pa

    from taxi_pipeline.tlc.cleaning import Summary
    from taxi_pipeline.tlc.reading import PublishedFile

type Fetch = Callable[[Path, Unchanged | None, Callable[[int], None]], Download | Unchanged]
type Clean = Callable[[PublishedFile, Path, Path, Seen], Summary]
type Picture = Callable[[Path, Summary], dg.MarkdownMetadataValue]

_LISTED_CHARACTERS = 1000
_READ_BYTES = 1 << 16  # of a column at a time
_BATCH_ROWS = 1 << 13  # some megabytes, so that who encodes them and who sends them take turns


def store_raw(
    lake: Lake, place: Place, table: Table, fetch: Fetch, log: logging.Logger
) -> dg.MaterializeResult[None]:
    """Put the published file into the lake, byte for byte, unless the lake has it already.

    A file that is broken, or could not be cleaned for want of a column, leaves the lake as it was.
    One of the same bytes leaves the object and its generation: only what is said of it is new.
    """
    from taxi_pipeline.tlc.reading import examine, open_published

    began = monotonic()
    with scratch() as arrived, scratch() as stored:
        before = lake.find(place.raw)
        copy = _intact_copy(lake, before, stored)
        known = copy and Unchanged(copy[0].metadata[SOURCE_URL], copy[0].metadata.get("etag", ""))
        with progress(f"Downloading {place.stem}", log) as seen:
            fetched = fetch(arrived, known, partial(seen, 0))
        if copy and isinstance(fetched, Unchanged):
            raw = copy[0]
            found = examine(copy[1], PREVIEW_ROWS)
        elif isinstance(fetched, Download):
            found = examine(fetched.path, PREVIEW_ROWS)
            open_published(fetched.path, table)  # it has the columns, or raises
            ending = fetched.path.name.partition(".")[2]
            origin = {
                SOURCE_URL: fetched.url,
                "etag": fetched.etag,
                "last_modified": fetched.last_modified,
                "sha256": fetched.sha256,
                "rows": str(found.rows),
            }
            name = place.raw + ending
            if _generations(lake.find(place.raw)) != _generations(before):
                raise TransientError(
                    f"{lake.uri(place.raw)}*: another run has stored a file while this one was "
                    "fetched, which may be the older one: run the month again."
                )
            if copy and (copy[0].name, copy[0].metadata["sha256"]) == (name, fetched.sha256):
                raw = lake.annotate(copy[0], origin)
            else:
                replaced = _generations(before).get(name, 0)
                raw = _uploaded(lake, fetched.path, name, origin, replaced, log)
    _delete_older(lake, place.raw, raw)  # what was served before, in another format
    return dg.MaterializeResult(
        data_version=dg.DataVersion(raw.metadata["sha256"]),
        metadata={
            "dagster/row_count": found.rows,
            "dagster/column_schema": file_columns(found.schema),
            "dagster/uri": raw.uri,
            "link": dg.MetadataValue.url(lake.link(raw.name)),
            "bytes": raw.size,
            "seconds": _seconds_since(began),
            "downloaded": isinstance(fetched, Download),
            "preview": preview(found.first_rows, found.schema),
            "source": dg.MetadataValue.url(raw.metadata[SOURCE_URL]),
            "etag": raw.metadata["etag"],
            "last_modified": raw.metadata["last_modified"],
            "sha256": raw.metadata["sha256"],
        },
    )


def clean_raw(
    lake: Lake,
    place: Place,
    table: Table,
    clean: Clean,
    log: logging.Logger,
    picture: Picture | None = None,
) -> dg.MaterializeResult[None]:
    """Clean the raw object into two: its rows in canonical form, and the rejected ones.

    One that somebody else put into the lake gets its rows and its SHA-256 noted first, counted as
    `store_raw` counts them, so that the ledger can hold the cleaning against them.

    `picture`, if there is one, draws what is kept and the summary.
    """
    from taxi_pipeline.tlc.reading import examine, open_published, opened_parquet

    began = monotonic()
    raw, replaced = _raw(lake, place), _generations(lake.find(place.cleaned)).get(place.cleaned, 0)
    with scratch() as folder:
        path = lake.download(raw, folder)
        source = open_published(path, table)
        if not raw.metadata.keys() >= {"rows", "sha256"}:
            rows = examine(path, first_rows=0).rows
            raw = lake.annotate(raw, {"rows": str(rows), "sha256": _sha256(path)})
        kept, rejected = folder / "kept.parquet", folder / "rejected.parquet"
        expected = int(raw.metadata["rows"])
        with progress(f"Cleaning {place.stem}", log, expected) as seen:
            summary = clean(source, kept, rejected, seen)
        if unknown := source.header.unknown:
            log.warning(
                f"{raw.uri} has columns that are not declared: "
                f"{legible(', '.join(unknown), _LISTED_CHARACTERS)}. They stay in "
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
        name = f"{place.rejected}{_sha256(rejected)[:16]}.parquet"
        beside = _uploaded(lake, rejected, name, history, None, log)
        # another run of the month may have put another raw file there, or deleted what it knew not
        with lake.unchanged(raw), lake.unchanged(beside):
            named = {REJECTED_ROWS: beside.name}
            history |= findings | named
            cleaned = _uploaded(lake, kept, place.cleaned, history, replaced, log)
            _delete_others(lake, place.rejected, beside)
        with opened_parquet(kept) as file:
            first_rows = parquet_preview(file)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": summary.kept,
                "dagster/column_schema": table_columns(table),
                "dagster/column_lineage": columns_from("raw", table, _origins(source)),
                "dagster/uri": cleaned.uri,
                "link": dg.MetadataValue.url(lake.link(cleaned.name)),
                **({"picture": picture(kept, summary)} if picture else {}),
                "bytes": cleaned.size,
                "seconds": _seconds_since(began),
                "published": summary.published,
                "rejected": summary.rejected.total(),
                "rejected_share": summary.rejected.total() / max(summary.published, 1),
                "rejected_because": counts("reason", summary.rejected),
                "rejected_rows": beside.uri,
                "kept_but_odd": counts("oddity", summary.noted),
                "unknown_columns": [found["column"] for found in undeclared.listed],
                "preview": first_rows,
            }
        )


def _uploaded(
    lake: Lake,
    path: Path,
    name: str,
    metadata: dict[str, str],
    replaced: int | None,
    log: logging.Logger,
) -> LakeObject:
    """Put a file into the lake, and say how far that has come."""
    with progress(f"Uploading {name}", log) as seen:
        return lake.upload(path, name, metadata, replaced, partial(seen, 0))


def _delete_older(lake: Lake, prefix: str, kept: LakeObject) -> None:
    found = [each.name for each in lake.find(prefix)]
    if kept.name in found:  # or else another run has replaced it
        for older in found[found.index(kept.name) + 1 :]:
            lake.delete(older)


def _delete_others(lake: Lake, prefix: str, kept: LakeObject) -> None:
    for other in lake.find(prefix):
        if other.name != kept.name:
            lake.delete(other.name)


def _origins(source: "PublishedFile") -> Iterator[tuple[str, str]]:
    """Yield the pairs of a canonical column and a published one that it is read from."""
    for column, published in zip(source.header.columns, source.header.published, strict=True):
        if column:
            yield column, published
            if source.table[column].words:
                yield UNKNOWN_WORDS, published


def _generations(objects: Iterable[LakeObject]) -> dict[str, int]:
    return {each.name: each.generation for each in objects}


def _intact_copy(
    lake: Lake, found: list[LakeObject], folder: Path
) -> tuple[LakeObject, Path] | None:
    """Copy the newest of the raw objects, unless there is none, or it is not what we stored."""
    stored = next(iter(found), None)
    if stored is None or SOURCE_URL not in stored.metadata:
        return None
    path = lake.download(stored, folder)
    return (stored, path) if _sha256(path) == stored.metadata.get("sha256") else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _raw(lake: Lake, place: Place) -> LakeObject:
    raw = next(iter(lake.find(place.raw)), None)
    if raw is None:
        raise PermanentError(
            f"{lake.uri(place.raw)}* is not in the lake: materialize the raw asset first."
        )
    return raw


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
def cleaned_in_lake(lake: Lake, place: Place, table: Table) -> Iterator[Cleaned]:
    """Yield the cleaned object, of which only the footer and the first rows are read.

    Raises `PermanentError` where BigQuery cannot load it as the table is declared, and
    `TransientError` where it is replaced while the context lasts.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from taxi_pipeline.tlc.conforming import check_loadable

    began, stored = monotonic(), _cleaned(lake, place)
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
    lake: Lake, place: Place, table: Table, log: logging.Logger
) -> Iterator[tuple[Cleaned, "Iterator[pa.RecordBatch]"]]:
    """Yield the cleaned object and its rows as a stream, of a copy as long as the context lasts.

    The rows have the table's columns as they are declared now. Raises `TransientError` where the
    object is replaced while the context lasts.
    """
    from taxi_pipeline.tlc.conforming import conformed, differences
    from taxi_pipeline.tlc.reading import opened_parquet

    began, stored = monotonic(), _cleaned(lake, place)
    with scratch() as folder:
        path = lake.download(stored, folder)
        with opened_parquet(path) as file:
            cleaned = Cleaned(stored, file.metadata.num_rows, parquet_preview(file), began)
            if said := differences(file.schema_arrow, table):
                log.warning(
                    f"{stored.uri} was cleaned before {table.name} was declared as it is now: it "
                    f"{said}. The first are null in the table, the others are left out; "
                    "materialize `cleaned` again for their values."
                )
        batches = conformed(parquet_batches(path), table, stored.uri)
        with lake.unchanged(stored), progress(f"Copying {place.stem}", log, cleaned.rows) as seen:
            yield cleaned, passing(batches, seen)


def _cleaned(lake: Lake, place: Place) -> LakeObject:
    for found in lake.find(place.cleaned):
        if found.name == place.cleaned:  # another's may only begin like it
            return found
    raise PermanentError(
        f"{lake.uri(place.cleaned)} is not in the lake: materialize the cleaned asset first."
    )


def parquet_batches(path: Path) -> "Iterator[pa.RecordBatch]":
    """Yield the rows of a local Parquet file, as many at a time as suit a copy."""
    from taxi_pipeline.tlc.reading import opened_parquet

    with opened_parquet(path) as file:
        yield from file.iter_batches(_BATCH_ROWS)


def _seconds_since(began: float) -> float:
    return round(monotonic() - began, 3)
