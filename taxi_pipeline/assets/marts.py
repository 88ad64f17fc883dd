"""The marts' assets, made by one factory: a month of a mart, computed in BigQuery.

    yellow_bigquery ─┐
    green_bigquery ──┤
    fhv_bigquery ────┼─▶ daily_trips, monthly_zone_revenue
    fhvhv_bigquery ──┘

No trip leaves BigQuery; a mart's rows are read back for Dagster to show. What a mart is computed by
is for `taxi_pipeline.marts` to say.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, cast

import dagster as dg

from taxi_pipeline.assets.keys import asset_key, table_of
from taxi_pipeline.assets.pictures import daily_picture, zones_picture
from taxi_pipeline.assets.reporting import (
    OWNERS,
    PREVIEW_ROWS,
    RETRIES,
    column_lineage,
    preview,
    retried_if_transient,
    table_columns,
    table_name,
)
from taxi_pipeline.assets.trips import month_among, months_from
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.lake.shapes import find_zone_shapes
from taxi_pipeline.marts import DAILY_TRIPS, MONTHLY_ZONE_REVENUE, Mart
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import SERVICES

type Rows = Sequence[Mapping[str, Any]]

MONTHS = months_from(min(service.first_month for service in SERVICES.values()))


def mart_asset(mart: Mart) -> dg.AssetsDefinition:
    """Return the asset of a mart."""

    # not dg.asset, which would name the step as the job is named
    @dg.multi_asset(
        name=f"compute_{mart.name}",
        specs=[_spec(mart)],
        partitions_def=MONTHS,
        pool=BigQuery.pool,
        retry_policy=RETRIES,
    )
    def compute(
        context: dg.AssetExecutionContext,
        bigquery: BigQuery,
        lake: Lake,
        mart_month: dg.ResourceParam[Month],
    ) -> dg.MaterializeResult[None]:
        with retried_if_transient(context):
            began = monotonic()
            labels = {
                "mart": mart.name,
                "purpose": "mart",
                "month": mart_month.key,
                "run": context.run.run_id,
            }
            count = bigquery.replace_month_by_query(
                mart.table, mart_month, mart.query, mart.sources, labels
            )
            rows = bigquery.query_month(_read_back(mart), mart_month, labels)
            all_rows = bigquery.row_count(mart.table)
            picture = _drawn(mart, rows, lake, context.log)
            return dg.MaterializeResult(
                metadata={
                    "dagster/partition_row_count": count,
                    **({} if all_rows is None else {"dagster/row_count": all_rows}),
                    "dagster/storage_kind": BigQuery.name,
                    "dagster/table_name": bigquery.sql_name(mart.table).strip("`"),
                    "dagster/column_schema": table_columns(mart.table),
                    "dagster/column_lineage": column_lineage(mart.origins, BigQuery.name),
                    "dagster/uri": bigquery.uri(mart.table),
                    "seconds": monotonic() - began,
                    "preview": preview(rows[:PREVIEW_ROWS], arrow_schema(mart.table)),
                    **({"picture": picture} if picture else {}),
                }
            )

    return compute


def _spec(mart: Mart) -> dg.AssetSpec:
    return dg.AssetSpec(
        dg.AssetKey(mart.name),
        deps=_deps(mart),
        automation_condition=_due(mart),
        group_name="marts",
        kinds={"bigquery", "table"},
        owners=OWNERS,
        tags={"layer": "bigquery"},
        metadata={
            "dagster/storage_kind": BigQuery.name,
            "dagster/column_schema": table_columns(mart.table),
            **table_name(BigQuery, mart.table),
        },
        description=f"{mart.table.description} Partitioned by the month of {mart.partitioned_by}.",
    )


@dg.resource
def mart_month(context: dg.InitResourceContext) -> Month:
    """Return the run's month; raise `PermanentError` where it has none or none of the marts'.

    A resource, because Dagster looks for the month among the tables' own before it calls the asset,
    and fails there in words of its own.
    """
    run = cast("dg.DagsterRun", context.run)  # there always is one where a run gets its resources
    chosen = {*(run.asset_selection or ()), *(c.asset_key for c in run.asset_check_selection or ())}
    names = {table_of(key) for key in chosen} or {run.job_name.removesuffix("_checks")}
    return month_among(run, MONTHS, ", ".join(sorted(names)))


def _due(mart: Mart) -> dg.AutomationCondition[dg.AssetKey]:
    """Return the condition under which a month of a mart is asked for.

    New zones make none due: they are of no month, and each month would be. But where a mart reads
    the zones, its months wait for the first.
    """
    sources = {
        asset_key(source.name, BigQuery.name): bool(source.partitioned_by)
        for source in mart.sources
    }
    months = dg.AssetSelection.assets(*(key for key, of_months in sources.items() if of_months))
    zones = dg.AssetSelection.assets(*(key for key, of_months in sources.items() if not of_months))
    # A table's month was replaced. (`any_deps_updated` forgets when, and so would lose what is
    # replaced between a request and the next look.)
    replaced = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated()).allow(
        months
    )
    # A table has a month that the mart has not, such as those from before automation was turned on.
    lacking = (
        dg.AutomationCondition.missing()
        & dg.AutomationCondition.any_deps_match(~dg.AutomationCondition.missing()).allow(months)
    ).newly_true()
    # Only a request settles either: a run by hand may have read its tables before. One that fails
    # is not asked for again.
    requested = dg.AutomationCondition.newly_requested()
    return (
        (replaced.since(requested) | lacking.since(requested))
        & ~dg.AutomationCondition.any_deps_match(dg.AutomationCondition.missing()).allow(zones)
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
    )


def _read_back(mart: Mart) -> str:
    """Return the query of a month's rows, which gets the month as the mart's own does."""
    partition = mart.table.partitioned_by
    order = ", ".join(sorted(mart.grain, key=lambda column: column != partition))
    return (
        f"SELECT * FROM `{mart.name}` WHERE {partition} >= DATE(@start) "  # noqa: S608 - declared
        f"AND {partition} < DATE(@end) ORDER BY {order}"
    )


def _deps(mart: Mart) -> Iterator[dg.AssetDep]:
    with warnings.catch_warnings():
        # Dagster calls this parameter beta; without it no backfill could reach the months before a
        # service's first
        warnings.simplefilter("ignore", dg.BetaWarning)
        mapping = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    for source in mart.sources:
        yield dg.AssetDep(
            asset_key(source.name, BigQuery.name),
            partition_mapping=mapping if source.partitioned_by else None,
        )


def _drawn(
    mart: Mart, rows: Rows, lake: Lake, log: dg.DagsterLogManager
) -> dg.MarkdownMetadataValue | None:
    """Return a mart's picture, if it has one and it can be drawn: its rows are there anyhow."""
    draw = _PICTURES.get(mart.name)
    try:
        return draw(rows, lake) if draw else None
    except (PermanentError, TransientError) as error:
        log.warning(f"No picture was drawn: {error}")
        return None


def _zones_picture(rows: Rows, lake: Lake) -> dg.MarkdownMetadataValue:
    zones = find_zone_shapes(lake)
    trips: Counter[int] = Counter()
    for row in rows:
        trips[row["pickup_location_id"]] += row["trips"]
    months = ", ".join(sorted({f"{row['month']:%Y-%m}" for row in rows})) or "no trips"
    return zones_picture(f"pick-ups by zone, {months}: {sum(trips.values()):,} trips", zones, trips)


def _daily_picture(rows: Rows, _: Lake) -> dg.MarkdownMetadataValue:
    trips = {(row["service"], row["day"]): row["trips"] for row in rows}
    days = sorted({day for _, day in trips})
    names = [name for name in SERVICES if any(name == service for service, _ in trips)]
    return daily_picture(
        days, {name: [trips.get((name, day), 0) for day in days] for name in names}
    )


_PICTURES: Mapping[str, Callable[[Rows, Lake], dg.MarkdownMetadataValue]] = {
    DAILY_TRIPS.name: _daily_picture,
    MONTHLY_ZONE_REVENUE.name: _zones_picture,
}
