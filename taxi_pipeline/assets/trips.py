"""A service's trips: four assets, partitioned by month, made by one factory.

    raw/yellow_trips ──▶ cleaned/yellow_trips ──▶ bigquery/yellow_trips
                                              └─▶ postgres/yellow_trips

Each replaces its month whole, so any of them can be run again at any time.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.pictures import month_picture
from taxi_pipeline.assets.reporting import OWNERS, RETRIES, retried_if_transient, table_columns
from taxi_pipeline.assets.steps import clean_raw, cleaned_copy, cleaned_in_lake, store_raw
from taxi_pipeline.assets.tags import ACCEPT_FEWER_ROWS, HOW_TO_ACCEPT, REPLACE_RAW, is_set
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.resources.database import Database
from taxi_pipeline.resources.lake import Lake, object_paths
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.resources.warehouse import Warehouse
from taxi_pipeline.tlc.month import PUBLICATION_LAG_MONTHS, Month
from taxi_pipeline.tlc.services import Service, Table
from taxi_pipeline.tlc.shrinkage import Comparison

if TYPE_CHECKING:
    from taxi_pipeline.tlc.cleaning import Summary

# a month comes about 30 days after the one before it; a third of that is patience
FRESH = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(days=40), fail_window=timedelta(days=50)
)


def months_of(service: Service) -> dg.MonthlyPartitionsDefinition:
    """Return the service's partitions: its first month to the newest that TLC has published."""
    return months_from(service.first_month)


def months_from(first: Month) -> dg.MonthlyPartitionsDefinition:
    """Return the partitions from the first month to the newest that TLC has published."""
    return dg.MonthlyPartitionsDefinition(
        start_date=first.key,
        fmt="%Y-%m",
        timezone="America/New_York",
        end_offset=1 - PUBLICATION_LAG_MONTHS,
    )


def trips_assets(service: Service) -> list[dg.AssetsDefinition]:
    """Return the four assets of a service: raw, cleaned, bigquery, postgres."""
    table = service.trips
    asset = partial(
        dg.asset,
        partitions_def=months_of(service),
        group_name=service.name,
        owners=OWNERS,
        retry_policy=RETRIES,
    )
    tags = {"service": service.name}
    declared = {"dagster/column_schema": table_columns(table)}  # for before the first run

    @asset(
        key=asset_key(table.name, "raw"),
        kinds={"gcs"},
        pool="publisher",
        tags=tags | {"layer": "raw"},
        description=f"The published file of {service.name} trips, byte for byte, in the lake.",
    )
    def raw(
        context: dg.AssetExecutionContext, publisher: Publisher, lake: Lake
    ) -> dg.MaterializeResult[None]:
        with retried_if_transient(context):
            month = month_of(context, service)
            fetch = partial(publisher.fetch_month, service, month)
            replace = is_set(context.run, REPLACE_RAW)
            paths = object_paths(service, month)
            return store_raw(lake, paths, table, fetch, context.log, replace=replace)

    @asset(
        key=asset_key(table.name, "cleaned"),
        deps=[raw],
        kinds={"gcs", "parquet"},
        tags=tags | {"layer": "cleaned"},
        metadata=declared,
        description=f"{table.description} Parquet in the lake; the rows that are no trips lie "
        "beside it under rejected/, each with its reason.",
    )
    def cleaned(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult[None]:
        from taxi_pipeline.tlc.cleaning import clean_trips
        from taxi_pipeline.tlc.daily import trips_by_day

        with retried_if_transient(context):
            month = month_of(context, service)
            clean = partial(clean_trips, month)
            by_day = partial(trips_by_day, month=month)
            picture = partial(_picture, service, month)
            paths = object_paths(service, month)
            return clean_raw(lake, paths, table, clean, context.log, by_day, picture)

    @asset(
        key=asset_key(table.name, "bigquery"),
        deps=[cleaned],
        kinds={"bigquery", "table"},
        pool="bigquery",
        freshness_policy=FRESH,
        tags=tags | {"layer": "bigquery"},
        metadata=declared,
        description=f"{table.description} Partitioned by the month of pickup_datetime.",
    )
    def bigquery(
        context: dg.AssetExecutionContext, lake: Lake, warehouse: Warehouse
    ) -> dg.MaterializeResult[None]:
        with retried_if_transient(context):
            month = month_of(context, service)
            labels = {"service": service.name, "month": month.key, "run": context.run.run_id}
            with cleaned_in_lake(lake, object_paths(service, month), table) as trips:
                _ensure_enough(context.run, table, month, trips.rows, warehouse)
                warehouse.replace_month(table, month, trips.stored, trips.rows, labels)
                return trips.loaded(table, month, warehouse, warehouse.link(table))

    @asset(
        key=asset_key(table.name, "postgres"),
        deps=[cleaned],
        kinds={"postgres", "table"},
        pool="postgres",
        freshness_policy=FRESH,
        tags=tags | {"layer": "postgres"},
        metadata=declared,
        description=f"{table.description} Partitioned by the month of pickup_datetime.",
    )
    def postgres(
        context: dg.AssetExecutionContext, lake: Lake, database: Database
    ) -> dg.MaterializeResult[None]:
        with retried_if_transient(context):
            month = month_of(context, service)
            paths = object_paths(service, month)
            with cleaned_copy(lake, paths, table, context.log) as (trips, batches):
                _ensure_enough(context.run, table, month, trips.rows, database)
                database.replace_month(table, month, batches, trips.rows)
                return trips.loaded(table, month, database)

    return [raw, cleaned, bigquery, postgres]


def _picture(
    service: Service, month: Month, by_day: Sequence[int], summary: "Summary"
) -> dg.MarkdownMetadataValue:
    return month_picture(service, month, by_day, summary.rejected)


def _ensure_enough(
    run: dg.DagsterRun, table: Table, month: Month, rows: int, store: Warehouse | Database
) -> None:
    """Raise `PermanentError` where next to nothing would be left of the month in a table.

    So it is checked in a run of the table's asset alone, too, which has not the checks of what was
    cleaned. The run's tag lets the month through.
    """
    if is_set(run, ACCEPT_FEWER_ROWS):
        return
    tally = store.tallies(table, None, month, month).get(month)
    replaced = tally.rows - tally.rows_without_pickup if tally else None
    comparison = Comparison(month, rows, replaced, neighbours={})
    if comparison.next_to_nothing:
        raise PermanentError(" ".join([*comparison.shortfalls(0), HOW_TO_ACCEPT]))


def month_of(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, service: Service
) -> Month:
    """Return the run's month; raise `PermanentError` where it has none or TLC has no such month."""
    return month_among(context.run, months_of(service), service.name)


def month_among(run: dg.DagsterRun, months: dg.MonthlyPartitionsDefinition, owner: str) -> Month:
    """Return the run's month; raise `PermanentError` where it has none or none of these."""
    newest = months.get_last_partition_key()
    key = run.tags.get("dagster/partition")
    if key is None:
        job = run.job_name
        raise PermanentError(
            f"The job {job} needs a month, given as a tag: dagster job execute "
            f"-m taxi_pipeline.definitions -j {job} "
            f"""--tags '{{"dagster/partition": "{newest}"}}'"""
        )
    month = Month.parse(key)
    if not months.has_partition_key(month.key):
        raise PermanentError(
            f"{month} is not a month of {owner}: it has {months.get_first_partition_key()} to "
            f"{newest}."
        )
    return month
