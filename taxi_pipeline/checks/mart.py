"""The checks of the marts: a month's rows against the tables that they come from."""

import warnings

import dagster as dg

from taxi_pipeline.assets.marts import MONTHS
from taxi_pipeline.assets.reporting import RETRIES, compared, retried_if_transient
from taxi_pipeline.ledger import mart_problems
from taxi_pipeline.marts import Mart
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES
from taxi_pipeline.tlc.tally import Tally

MATCHES_TRIPS = "matches_trips"


def mart_checks(mart: Mart) -> list[dg.AssetChecksDefinition]:
    """Return the checks of a mart."""
    with warnings.catch_warnings():
        # Dagster calls the partitions of checks a preview; the tests hold what we need of them
        warnings.simplefilter("ignore", dg.PreviewWarning)

        @dg.asset_check(
            asset=dg.AssetKey(mart.name),
            name=MATCHES_TRIPS,
            description="The mart's rows of the month sum up, for each service, to the trips that "
            "BigQuery's table has of it, and to their total to the cent.",
            partitions_def=MONTHS,
            retry_policy=RETRIES,
        )
        def in_mart(
            context: dg.AssetCheckExecutionContext,
            bigquery: BigQuery,
            mart_month: dg.ResourceParam[Month],
        ) -> dg.AssetCheckResult:
            with retried_if_transient(context):
                return _matches_trips(mart, bigquery, mart_month)

    return [in_mart]


def _matches_trips(mart: Mart, bigquery: BigQuery, month: Month) -> dg.AssetCheckResult:
    problems: list[str] = []
    expected: dict[str, float | None] = {}
    actual: dict[str, float | None] = {}
    for service in SERVICES.values():
        nothing = Tally(0, 0 if service.total else None)
        held = bigquery.mart_tallies(mart, service, month, month).get(month, nothing)
        trips = bigquery.tallies(service.trips, service.total, month, month).get(month, nothing)
        problems += [
            f"{service.name}: {problem}" for problem in mart_problems(mart.name, held, trips)
        ]
        for figures, tally in ((expected, trips), (actual, held)):
            figures[f"{service.name} trips"] = tally.rows
            if service.total:
                figures[f"{service.name} revenue"] = tally.total
    return dg.AssetCheckResult(
        passed=not problems,
        description=" ".join(problems) or "The mart has what BigQuery's tables have.",
        metadata={"compared": compared(expected, actual)},
    )
