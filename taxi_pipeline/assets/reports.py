"""The reports of the steps on a file's way: what each asset tells Dagster that it did.

Nothing here moves data: `lake` and the sinks do.
"""

from collections.abc import Iterator

import dagster as dg

from taxi_pipeline.assets.reporting import (
    columns_from,
    counts,
    figures,
    file_columns,
    preview,
    query,
    table_columns,
)
from taxi_pipeline.lake.cleaned import CleanedRows, StoredFile
from taxi_pipeline.lake.metadata import RawMetadata
from taxi_pipeline.lake.raw import RawFile, is_fetched, not_published
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.services import UNKNOWN_WORDS, Table


def report_raw(
    lake: Lake, table: Table, raw: RawFile, seconds: float
) -> dg.MaterializeResult[None]:
    """Return the report of a published file that is in the lake."""
    stored, noted = raw.stored, RawMetadata.parse(raw.stored.metadata)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(noted.sha256 or ""),
        metadata={
            **_rows(table, raw.examination.rows),
            "dagster/column_schema": file_columns(raw.examination.schema),
            "dagster/uri": stored.uri,
            "link": dg.MetadataValue.url(lake.link(stored.name)),
            "bytes": stored.size,
            "seconds": seconds,
            "downloaded": raw.is_downloaded,
            "preview": preview(raw.examination.first_rows, raw.examination.schema),
            "source": _source(stored),
            "etag": noted.etag or "",
            "last_modified": noted.last_modified or "",
            "sha256": noted.sha256 or "",
        },
    )


def report_cleaned(
    lake: Lake,
    table: Table,
    cleaned: CleanedRows,
    picture: dg.MarkdownMetadataValue | None,
    seconds: float,
) -> dg.MaterializeResult[None]:
    """Return the report of a file that was cleaned into its rows and the rejected ones."""
    from taxi_pipeline.tlc.schema import arrow_schema

    stored, summary = cleaned.stored, cleaned.summary
    return dg.MaterializeResult(
        metadata={
            **_rows(table, summary.kept),
            "dagster/column_schema": table_columns(table),
            "dagster/column_lineage": columns_from("raw", table, _origins(table, cleaned)),
            "dagster/uri": stored.uri,
            "link": dg.MetadataValue.url(lake.link(stored.name)),
            **({"picture": picture} if picture else {}),
            "bytes": stored.size,
            "seconds": seconds,
            "source": _source(cleaned.raw),
            "published": summary.published,
            "rejected": summary.rejected.total(),
            "rejected_share": summary.rejected.total() / max(summary.published, 1),
            "rejected_because": counts("reason", summary.rejected),
            "rejected_rows": cleaned.rejected.uri,
            "kept_but_odd": counts("oddity", summary.noted),
            "unknown_columns": [finding["column"] for finding in cleaned.unknown_columns.listed],
            "preview": preview(cleaned.first_rows, arrow_schema(table)),
        }
    )


def report_loaded(stored: StoredFile, sink: Sink, seconds: float) -> dg.MaterializeResult[None]:
    """Return the report of a sink's table that has a file's rows now, counted on arrival."""
    file = stored.file
    link = sink.link(file.table)
    same = ((column.name, column.name) for column in file.table.columns)
    return dg.MaterializeResult(
        metadata={
            **_rows(file.table, file.rows),
            **_table(sink, file.table),
            "dagster/column_schema": table_columns(file.table),
            "dagster/column_lineage": columns_from("cleaned", file.table, same),
            "dagster/uri": sink.uri(file.table),
            **({"link": dg.MetadataValue.url(link)} if link else {}),
            "seconds": seconds,
            **_ledger(stored, sink),
            "query": query(sink.sql_name(file.table), file.month),
            "loaded_from": file.uri,
            "preview": preview(stored.first_rows, file.schema),
        }
    )


def _rows(table: Table, rows: int) -> dict[str, int]:
    """Return the rows of a month, or of a table without months, as Dagster's catalog names them."""
    return {"dagster/partition_row_count" if table.partitioned_by else "dagster/row_count": rows}


def _table(sink: Sink, table: Table) -> dict[str, str | int]:
    """Return what Dagster's catalog knows a sink's table by, and all its rows if the sink knows."""
    rows = sink.row_count(table) if table.partitioned_by else None
    return {
        "dagster/storage_kind": sink.name,
        "dagster/table_name": sink.sql_name(table).strip("`"),
        **({} if rows is None else {"dagster/row_count": rows}),
    }


def _ledger(stored: StoredFile, sink: Sink) -> dict[str, dg.TableMetadataValue]:
    """Return the ledger's line as far as this sink has it; none of what others cleaned."""
    history = stored.metadata
    if history.published is None or history.kept is None or history.rejected is None:
        return {}
    row = {
        "published": history.published,
        "kept": history.kept,
        "rejected": sum(history.rejected.values()),
        sink.title: stored.file.rows,
    }
    return {"ledger": figures(row)}


def _source(raw: LakeObject) -> dg.MetadataValue[str]:
    """Return where a raw object comes from."""
    if is_fetched(raw):
        return dg.MetadataValue.url(RawMetadata.parse(raw.metadata).source_url or "")
    return dg.MetadataValue.text(not_published(raw))


def _origins(table: Table, cleaned: CleanedRows) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a declared column and a published one that it was read from."""
    for column, published in zip(cleaned.header.columns, cleaned.header.published, strict=True):
        if column:
            yield column, published
            if table[column].words:
                yield UNKNOWN_WORDS, published
