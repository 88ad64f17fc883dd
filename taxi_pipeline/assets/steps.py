"""The steps on a file's way that trips and zones have in common, each with its report to Dagster.

Which file, which table and which rules are for `trips` and `zones` to say.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import dagster as dg

from taxi_pipeline.assets.findings import UNKNOWN_CODES, UNKNOWN_COLUMNS, Finding, Findings
from taxi_pipeline.assets.reporting import (
    PREVIEW_ROWS,
    columns_from,
    counts,
    file_columns,
    parquet_preview,
    preview,
    table_columns,
)
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.resources.lake import SOURCE_URL, Lake, LakeObject, Place
from taxi_pipeline.resources.publisher import Download, Unchanged
from taxi_pipeline.tlc.services import UNKNOWN_WORDS, Table

if TYPE_CHECKING:
    import pyarrow as pa

    from taxi_pipeline.tlc.cleaning import Summary
    from taxi_pipeline.tlc.reading import PublishedFile

type Fetch = Callable[[Path, Unchanged | None], Download | Unchanged]
type Clean = Callable[[PublishedFile, Path, Path], Summary]


def store_raw(lake: Lake, place: Place, table: Table, fetch: Fetch) -> dg.MaterializeResult[None]:
    """Put the published file into the lake, byte for byte, unless the lake has it already.

    A file that is broken, or could not be cleaned for want of a column, leaves the lake as it was.
    """
    from taxi_pipeline.tlc.reading import examine, open_published

    with TemporaryDirectory() as scratch, TemporaryDirectory() as stored:
        copy = _intact_copy(lake, place, Path(stored))
        known = copy and Unchanged(copy[0].metadata[SOURCE_URL], copy[0].metadata["etag"])
        fetched = fetch(Path(scratch), known)
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
            raw = lake.upload(fetched.path, place.raw + ending, origin)
    for other in lake.find(place.raw):
        if other.name != raw.name:  # what the publisher served before, in another format
            lake.delete(other.name)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(raw.metadata["sha256"]),
        metadata={
            "dagster/row_count": found.rows,
            "dagster/column_schema": file_columns(found.schema),
            "dagster/uri": raw.uri,
            "bytes": raw.size,
            "downloaded": isinstance(fetched, Download),
            "preview": preview(found.first_rows, found.schema),
            "source": dg.MetadataValue.url(raw.metadata[SOURCE_URL]),
            "etag": raw.metadata["etag"],
            "last_modified": raw.metadata["last_modified"],
            "sha256": raw.metadata["sha256"],
        },
    )


def clean_raw(
    lake: Lake, place: Place, table: Table, clean: Clean, log: Callable[[str], None]
) -> dg.MaterializeResult[None]:
    """Clean the raw object into two: its rows in canonical form, and the rejected ones.

    One that somebody else put into the lake gets its rows and its SHA-256 noted first, counted as
    `store_raw` counts them, so that the ledger can hold the cleaning against them.
    """
    from taxi_pipeline.tlc.reading import examine, open_published

    raw = _raw(lake, place)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = lake.download(raw.name, folder)
        source = open_published(path, table)
        if not raw.metadata.keys() >= {"rows", "sha256"}:
            rows = examine(path, first_rows=0).rows
            raw = lake.annotate(raw, {"rows": str(rows), "sha256": _sha256(path)})
        kept, rejected = folder / "kept.parquet", folder / "rejected.parquet"
        summary = clean(source, kept, rejected)
        if unknown := source.header.unknown:
            log(
                f"{raw.uri} has columns that are not declared: {', '.join(unknown)}. They stay in "
                "raw; declare them in tlc/services.py to carry them on."
            )
        expected = int(raw.metadata["rows"])
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
        findings = {
            UNKNOWN_COLUMNS: str(Findings.cut([{"column": name} for name in unknown])),
            UNKNOWN_CODES: str(Findings.cut(codes)),
        }
        beside = lake.upload(rejected, place.rejected, history)
        cleaned = lake.upload(kept, place.cleaned, history | findings)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": summary.kept,
                "dagster/column_schema": table_columns(table),
                "dagster/column_lineage": columns_from("raw", table, _origins(source)),
                "dagster/uri": cleaned.uri,
                "bytes": cleaned.size,
                "published": summary.published,
                "rejected": summary.rejected.total(),
                "rejected_because": counts("reason", summary.rejected),
                "rejected_rows": beside.uri,
                "kept_but_odd": counts("oddity", summary.noted),
                "unknown_columns": list(unknown),
                "preview": parquet_preview(kept),
            }
        )


def _origins(source: "PublishedFile") -> Iterator[tuple[str, str]]:
    """Yield the pairs of a canonical column and a published one that it is read from."""
    for column, published in zip(source.header.columns, source.header.published, strict=True):
        if column:
            yield column, published
            if source.table[column].words:
                yield UNKNOWN_WORDS, published


def _intact_copy(lake: Lake, place: Place, folder: Path) -> tuple[LakeObject, Path] | None:
    """Copy the raw object, unless there is none, or it is not what we stored."""
    stored = next(iter(lake.find(place.raw)), None)
    if stored is None or SOURCE_URL not in stored.metadata:
        return None
    path = lake.download(stored.name, folder)
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
    """A cleaned object: its place in the lake, its rows, and how to read it."""

    uri: str
    rows: int
    path: Path

    def batches(self) -> "Iterator[pa.RecordBatch]":
        """Stream the rows in the table's canonical schema."""
        from taxi_pipeline.tlc.reading import opened_parquet

        with opened_parquet(self.path) as file:
            yield from file.iter_batches()

    def loaded(self, table: Table, uri: str) -> dg.MaterializeResult[None]:
        """Return the report of a table that now holds these rows."""
        same = ((column.name, column.name) for column in table.columns)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": self.rows,
                "dagster/column_schema": table_columns(table),
                "dagster/column_lineage": columns_from("cleaned", table, same),
                "dagster/uri": uri,
                "loaded_from": self.uri,
                "preview": parquet_preview(self.path),
            }
        )


@contextmanager
def cleaned_copy(lake: Lake, place: Place) -> Iterator[Cleaned]:
    """Yield the cleaned object, copied from the lake for as long as the context lasts."""
    import pyarrow.parquet as pq

    found: list[LakeObject] = lake.find(place.cleaned)
    if not found:
        raise PermanentError(
            f"{lake.uri(place.cleaned)} is not in the lake: materialize the cleaned asset first."
        )
    with TemporaryDirectory() as scratch:
        path = lake.download(place.cleaned, Path(scratch))
        yield Cleaned(found[0].uri, pq.read_metadata(path).num_rows, path)
