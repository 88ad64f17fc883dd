"""The mart of daily trips: a month's trips a day of every service, computed in BigQuery.

    bigquery/yellow_trips ─┐
    bigquery/green_trips ──┤
    bigquery/fhv_trips ────┼─▶ bigquery/daily_trips
    bigquery/fhvhv_trips ──┘

No trip leaves BigQuery; the days are read back for Dagster to show. A service that has nothing of a
month has no rows in it.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, cast

import dagster as dg

from taxi_pipeline.assets.keys import MART, asset_key
from taxi_pipeline.assets.pictures import daily_picture
from taxi_pipeline.assets.reporting import (
    OWNERS,
    PREVIEW_ROWS,
    RETRIES,
    preview,
    retried_if_transient,
    table_columns,
)
from taxi_pipeline.assets.trips import month_among, months_from
from taxi_pipeline.io.sql import CENTS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import DAILY_TRIPS, SERVICES, Service

MONTHS = months_from(min(service.first_month for service in SERVICES.values()))

# A table's month was replaced. (`any_deps_updated` forgets when, and so would lose what is replaced
# between a request and the next look.)
_REPLACED = dg.AutomationCondition.any_deps_match(dg.AutomationCondition.newly_updated())
# A table has a month that the mart has not, such as those from before automation was turned on.
_LACKING = (
    dg.AutomationCondition.missing()
    & dg.AutomationCondition.any_deps_match(~dg.AutomationCondition.missing())
).newly_true()
# Only a request settles either: a run by hand may have read its tables before. One that fails is
# not asked for again.
_REQUESTED = dg.AutomationCondition.newly_requested()
DUE = (
    (_REPLACED.since(_REQUESTED) | _LACKING.since(_REQUESTED))
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
)

# PERCENTILE_CONT is exact, where APPROX_QUANTILES is not; it comes as a window function only, so
# each trip carries its day's median. It leaves out nulls, and of nulls alone makes null.
_OF_SERVICE = """\
SELECT
  '{service}' AS service,
  day,
  COUNT(*) AS trips,
  SUM({cents}) / 100 AS revenue,
  ANY_VALUE(median_distance) AS median_distance
FROM (
  SELECT
    DATE(pickup_datetime) AS day,
    {total} AS total,
    PERCENTILE_CONT({distance}, 0.5) OVER (PARTITION BY DATE(pickup_datetime)) AS median_distance
  FROM `{table}`
  WHERE pickup_datetime >= @start AND pickup_datetime < @end
)
GROUP BY day"""

_READ_BACK = f"""\
SELECT * FROM `{DAILY_TRIPS.name}`
WHERE day >= DATE(@start) AND day < DATE(@end)
ORDER BY day, service"""  # noqa: S608 - declared names


def daily_trips_query() -> str:
    """Return the query of a month's rows, which BigQuery's @start and @end bound."""
    return "\nUNION ALL\n".join(_of_service(service) for service in SERVICES.values())


def _of_service(service: Service) -> str:
    return _OF_SERVICE.format(
        service=service.name,
        table=service.trips.name,
        cents=CENTS.format("total"),
        total=_column(service, service.total),
        distance=_column(service, service.distance),
    )


def _column(service: Service, name: str | None) -> str:
    return f"`{service.trips[name].name}`" if name else "CAST(NULL AS FLOAT64)"


def _deps() -> Iterator[dg.AssetDep]:
    with warnings.catch_warnings():
        # Dagster calls this parameter beta; without it no backfill could reach the months before a
        # service's first
        warnings.simplefilter("ignore", dg.BetaWarning)
        mapping = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    for service in SERVICES.values():
        yield dg.AssetDep(_key(service), partition_mapping=mapping)


def _key(service: Service) -> dg.AssetKey:
    return asset_key(service.trips.name, "bigquery")


def _lineage() -> dg.TableColumnLineage:
    origins = [
        (column, dg.TableColumnDep(_key(service), origin))
        for service in SERVICES.values()
        for column, origin in {
            "day": "pickup_datetime",
            "revenue": service.total,
            "median_distance": service.distance,
        }.items()
        if origin
    ]
    return dg.TableColumnLineage(
        {column: [dep for name, dep in origins if name == column] for column, _ in origins}
    )


@dg.resource
def mart_month(context: dg.InitResourceContext) -> Month:
    """Return the run's month; raise `PermanentError` where it has none or none of the mart's.

    A resource, because Dagster looks for the month among the tables' own before it calls the asset,
    and fails there in words of its own.
    """
    run = cast("dg.DagsterRun", context.run)  # there always is one where a run gets its resources
    return month_among(run, MONTHS, DAILY_TRIPS.name)


# not dg.asset, which would name the step as the job is named
@dg.multi_asset(
    name=f"compute_{DAILY_TRIPS.name}",
    specs=[
        dg.AssetSpec(
            MART,
            deps=_deps(),
            automation_condition=DUE,
            group_name="marts",
            kinds={"bigquery", "table"},
            owners=OWNERS,
            tags={"layer": "bigquery"},
            metadata={"dagster/column_schema": table_columns(DAILY_TRIPS)},  # before the first run
            description=f"{DAILY_TRIPS.description} Partitioned by the month of day.",
        )
    ],
    partitions_def=MONTHS,
    pool="bigquery",
    retry_policy=RETRIES,
)
def daily_trips(
    context: dg.AssetExecutionContext, bigquery: BigQuery, mart_month: dg.ResourceParam[Month]
) -> dg.MaterializeResult[None]:
    """Compute a month of the mart in BigQuery."""
    with retried_if_transient(context):
        began = monotonic()
        labels = {"mart": DAILY_TRIPS.name, "month": mart_month.key, "run": context.run.run_id}
        sources = [service.trips for service in SERVICES.values()]
        rows = bigquery.replace_month_by_query(
            DAILY_TRIPS, mart_month, daily_trips_query(), sources, labels
        )
        by_day = bigquery.query_month(_READ_BACK, mart_month)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": rows,
                "dagster/column_schema": table_columns(DAILY_TRIPS),
                "dagster/column_lineage": _lineage(),
                "dagster/uri": bigquery.uri(DAILY_TRIPS),
                "seconds": monotonic() - began,
                "preview": preview(by_day[:PREVIEW_ROWS], arrow_schema(DAILY_TRIPS)),
                "picture": _picture(by_day),
            }
        )


def _picture(rows: Sequence[Mapping[str, Any]]) -> dg.MarkdownMetadataValue:
    trips = {(row["service"], row["day"]): row["trips"] for row in rows}
    days = sorted({day for _, day in trips})
    names = [name for name in SERVICES if any(name == service for service, _ in trips)]
    return daily_picture(
        days, {name: [trips.get((name, day), 0) for day in days] for name in names}
    )
