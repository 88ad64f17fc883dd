"""A published table's assets, made by one factory for trips and zones alike.

    yellow_raw ──▶ yellow_cleaned ──▶ yellow_bigquery
                                  └─▶ yellow_postgres

Each replaces its month whole, or the table that has no months, so any can be run again at any time.
Which tables are published, and how one is fetched and cleaned, is for `trips` and `zones` to say.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from time import monotonic

import dagster as dg

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.looks import looks_of
from taxi_pipeline.assets.reporting import (
    OWNERS,
    PREVIEW_ROWS,
    RETRIES,
    retried_if_transient,
    table_columns,
    table_name,
)
from taxi_pipeline.assets.reports import report_cleaned, report_loaded, report_raw
from taxi_pipeline.assets.tags import ACCEPT_FEWER_ROWS, HOW_TO_ACCEPT, is_set
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.lake.cleaned import (
    Clean,
    CleanedRows,
    CountByDay,
    open_cleaned,
    store_cleaned,
)
from taxi_pipeline.lake.paths import ObjectPaths
from taxi_pipeline.lake.raw import REPLACE_RAW, Ensure, Fetch, store_raw
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.sink import CleanedFile, Sink
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Table
from taxi_pipeline.tlc.shrinkage import Comparison

# a month comes about 30 days after the one before it; a third of that is patience
STALE_WARNING = timedelta(days=40)
STALE_ERROR = timedelta(days=50)
_FRESH = dg.FreshnessPolicy.time_window(warn_window=STALE_WARNING, fail_window=STALE_ERROR)


type _Decorator = Callable[[Callable[..., dg.MaterializeResult[None]]], dg.AssetsDefinition]


@dataclass(frozen=True)
class PublishedFile:
    """A file that TLC publishes, and what is done with it.

    Attributes:
        month: The file's month; None for the file of a table without months.
        paths: Where the file lies in the lake.
        fetch: Returns what fetches it from the publisher.
        clean: Cleans it.
        ensure: Checks what the file must have beyond its columns.
        count_by_day: Counts the kept rows of each day.
        draw: Draws what was cleaned.
    """

    month: Month | None
    paths: ObjectPaths
    fetch: Callable[[Publisher], Fetch]
    clean: Clean
    ensure: Ensure | None = None
    count_by_day: CountByDay | None = None
    draw: Callable[[CleanedRows], dg.MarkdownMetadataValue] | None = None


@dataclass(frozen=True)
class PublishedTable:
    """A table that TLC publishes.

    Attributes:
        table: The declared table.
        group: The group of its assets.
        partitions: Its months; None for a table without months.
        file_of: Returns the file that a run is about; raises `PermanentError` where it has none.
        total: The column whose sum the ledger compares between the stores, if there is one.
        raw_kinds: The kinds of the raw asset.
    """

    table: Table
    group: str
    partitions: dg.MonthlyPartitionsDefinition | None
    file_of: Callable[[dg.DagsterRun], PublishedFile]
    total: str | None = None
    raw_kinds: frozenset[str] = frozenset({"gcs"})


def published_assets(
    published: PublishedTable, sinks: Sequence[type[Sink]]
) -> list[dg.AssetsDefinition]:
    """Return the assets of a table: raw, cleaned, and one for each sink."""
    raw = _raw_asset(published)
    cleaned = _cleaned_asset(published, raw)
    return [raw, cleaned, *(_sink_asset(published, cleaned, sink) for sink in sinks)]


def _asset(
    published: PublishedTable, layer: str, metadata: Mapping[str, str] | None = None
) -> "Callable[..., _Decorator]":
    """Return the decorator of an asset, with what all assets of a table have in common.

    Args:
        published: The table.
        layer: The asset's layer.
        metadata: What else Dagster's catalog shows before the first run.
    """
    return partial(
        dg.asset,
        key=asset_key(published.table.name, layer),
        partitions_def=published.partitions,
        group_name=published.group,
        owners=OWNERS,
        retry_policy=RETRIES,
        tags={"service": published.group, "layer": layer},
        # the columns are known before the first run, but for the published file's own
        metadata={
            "dagster/storage_kind": "gcs" if layer in ("raw", "cleaned") else layer,
            **({} if layer == "raw" else {"dagster/column_schema": table_columns(published.table)}),
            **(metadata or {}),
        },
    )


def _raw_asset(published: PublishedTable) -> dg.AssetsDefinition:
    @_asset(published, "raw")(
        kinds=published.raw_kinds,
        pool="publisher",
        description=f"The published file of {published.table.name}, byte for byte, in the lake.",
    )
    def raw(
        context: dg.AssetExecutionContext, publisher: Publisher, lake: Lake
    ) -> dg.MaterializeResult[None]:
        with retried_if_transient(context):
            began = monotonic()
            file = published.file_of(context.run)
            stored = store_raw(
                lake,
                file.paths,
                published.table,
                file.fetch(publisher),
                context.log,
                file.ensure,
                first_rows=PREVIEW_ROWS,
                replace=is_set(context.run, REPLACE_RAW),
            )
            return report_raw(lake, published.table, stored, _seconds_since(began))

    return raw


def _cleaned_asset(published: PublishedTable, raw: dg.AssetsDefinition) -> dg.AssetsDefinition:
    @_asset(published, "cleaned")(
        deps=[raw],
        kinds={"gcs", "parquet"},
        description=f"{published.table.description} Parquet in the lake; the rejected "
        "rows lie beside it under rejected/, each with its reason.",
    )
    def cleaned(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult[None]:
        with retried_if_transient(context):
            began = monotonic()
            file = published.file_of(context.run)
            stored = store_cleaned(
                lake,
                file.paths,
                published.table,
                file.clean,
                context.log,
                file.count_by_day,
                published.total,
                first_rows=PREVIEW_ROWS,
            )
            picture = file.draw(stored) if file.draw else None
            return report_cleaned(lake, published.table, stored, picture, _seconds_since(began))

    return cleaned


def _sink_asset(
    published: PublishedTable, cleaned: dg.AssetsDefinition, sink: type[Sink]
) -> dg.AssetsDefinition:
    @_asset(published, sink.name, table_name(sink, published.table))(
        deps=[cleaned],
        kinds=sink.kinds,
        pool=sink.pool,
        required_resource_keys={"lake", sink.name},  # whose names no parameter can have
        freshness_policy=_FRESH if published.partitions else None,
        description=published.table.description
        + (" Partitioned by the month of pickup_datetime." if published.partitions else ""),
    )
    def loaded(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        with retried_if_transient(context):
            began = monotonic()
            lake: Lake = context.resources.lake
            store: Sink = getattr(context.resources, sink.name)
            file = published.file_of(context.run)
            with open_cleaned(
                lake,
                file.paths,
                published.table,
                file.month,
                context.log,
                first_rows=PREVIEW_ROWS,
            ) as stored:
                _ensure_enough(context.run, stored.file, store)
                looks_of(context.run.run_id).forget(store)
                store.replace(stored.file, context.run.run_id)
                return report_loaded(stored, store, _seconds_since(began))

    return loaded


def _ensure_enough(run: dg.DagsterRun, file: CleanedFile, sink: Sink) -> None:
    """Raise `PermanentError` where next to nothing would be left of the month in a table.

    So it is checked in a run of the table's asset alone, too, which has not the checks of what was
    cleaned, and by what the table has now: another run may have loaded it since. The run's tag lets
    the month through.
    """
    if file.month is None or is_set(run, ACCEPT_FEWER_ROWS):
        return
    tally = sink.tallies(file.table, None, file.month, file.month).get(file.month)
    replaced = tally.rows - tally.rows_without_pickup if tally else None
    comparison = Comparison(file.month, file.rows, replaced, neighbours={})
    if comparison.next_to_nothing:
        raise PermanentError(" ".join([*comparison.shortfalls(0), HOW_TO_ACCEPT]))


def _seconds_since(began: float) -> float:
    return round(monotonic() - began, 3)
