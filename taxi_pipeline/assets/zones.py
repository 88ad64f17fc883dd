"""The taxi zones: what the trips' location ids mean, in every store, by the same four steps.

265 rows, published as one file without months, so nothing here is partitioned. A file without all
of them replaces nothing, not even raw.
"""

from functools import partial

import dagster as dg

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.reporting import OWNERS, RETRIES, retried_if_transient, table_columns
from taxi_pipeline.assets.steps import clean_raw, cleaned_copy, cleaned_in_lake, store_raw
from taxi_pipeline.assets.tags import REPLACE_RAW, is_set
from taxi_pipeline.resources.database import Database
from taxi_pipeline.resources.lake import ZONES_PATHS, Lake
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.resources.warehouse import Warehouse
from taxi_pipeline.tlc.services import TAXI_ZONES

_asset = partial(dg.asset, group_name="zones", owners=OWNERS, retry_policy=RETRIES)
_TAGS = {"service": "zones"}
_DECLARED = {"dagster/column_schema": table_columns(TAXI_ZONES)}  # for before the first run


@_asset(
    key=asset_key(TAXI_ZONES.name, "raw"),
    pool="publisher",
    kinds={"gcs", "csv"},
    tags=_TAGS | {"layer": "raw"},
    description="The published table of taxi zones, byte for byte, in the lake.",
)
def raw_taxi_zones(
    context: dg.AssetExecutionContext, publisher: Publisher, lake: Lake
) -> dg.MaterializeResult[None]:
    """Fetch the zones into the lake."""
    from taxi_pipeline.tlc.zones import ensure_all_zones

    with retried_if_transient(context):
        replace = is_set(context.run, REPLACE_RAW)
        fetch, log = publisher.fetch_zones, context.log
        return store_raw(
            lake, ZONES_PATHS, TAXI_ZONES, fetch, log, ensure_all_zones, replace=replace
        )


@_asset(
    key=asset_key(TAXI_ZONES.name, "cleaned"),
    deps=[raw_taxi_zones],
    kinds={"gcs", "parquet"},
    tags=_TAGS | {"layer": "cleaned"},
    metadata=_DECLARED,
    description=f"{TAXI_ZONES.description} Parquet in the lake.",
)
def cleaned_taxi_zones(context: dg.AssetExecutionContext, lake: Lake) -> dg.MaterializeResult[None]:
    """Clean the zones in the lake."""
    from taxi_pipeline.tlc.cleaning import clean_zones

    with retried_if_transient(context):
        return clean_raw(lake, ZONES_PATHS, TAXI_ZONES, clean_zones, context.log)


@_asset(
    key=asset_key(TAXI_ZONES.name, "bigquery"),
    deps=[cleaned_taxi_zones],
    kinds={"bigquery", "table"},
    pool="bigquery",
    tags=_TAGS | {"layer": "bigquery"},
    metadata=_DECLARED,
    description=TAXI_ZONES.description,
)
def bigquery_taxi_zones(
    context: dg.AssetExecutionContext, lake: Lake, warehouse: Warehouse
) -> dg.MaterializeResult[None]:
    """Load the zones into BigQuery."""
    with retried_if_transient(context), cleaned_in_lake(lake, ZONES_PATHS, TAXI_ZONES) as zones:
        warehouse.replace(TAXI_ZONES, zones.stored, zones.rows, {"run": context.run.run_id})
        return zones.loaded(TAXI_ZONES, None, warehouse, warehouse.link(TAXI_ZONES))


@_asset(
    key=asset_key(TAXI_ZONES.name, "postgres"),
    deps=[cleaned_taxi_zones],
    kinds={"postgres", "table"},
    pool="postgres",
    tags=_TAGS | {"layer": "postgres"},
    metadata=_DECLARED,
    description=TAXI_ZONES.description,
)
def postgres_taxi_zones(
    context: dg.AssetExecutionContext, lake: Lake, database: Database
) -> dg.MaterializeResult[None]:
    """Copy the zones into PostgreSQL."""
    with (
        retried_if_transient(context),
        cleaned_copy(lake, ZONES_PATHS, TAXI_ZONES, context.log) as (zones, batches),
    ):
        database.replace(TAXI_ZONES, batches, zones.rows)
        return zones.loaded(TAXI_ZONES, None, database)


ZONES_ASSETS = [
    raw_taxi_zones,
    cleaned_taxi_zones,
    bigquery_taxi_zones,
    postgres_taxi_zones,
]
