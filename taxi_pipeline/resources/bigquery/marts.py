"""What a mart in BigQuery has of a service's months, by SQL.

What a mart is computed by is said in `taxi_pipeline.marts`.
"""

from taxi_pipeline.io.sql import CENTS
from taxi_pipeline.marts import Mart
from taxi_pipeline.resources.bigquery.cells import rows_if_there
from taxi_pipeline.resources.bigquery.jobs import Jobs
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service
from taxi_pipeline.tlc.tally import Tally

# No row of a mart has as many dollars: the cents of one put there by hand may be no integer.
_MOST_REVENUE = 10_000_000_000_000


def read_mart_tallies(
    jobs: Jobs,
    table_id: str,
    mart: Mart,
    service: Service,
    first: Month | None,
    last: Month | None,
) -> dict[Month, Tally]:
    """Tally a service's trips in a mart by month, by one query.

    Args:
        jobs: The project's jobs.
        table_id: The mart's full name, PROJECT.DATASET.TABLE.
        mart: The mart.
        service: The service.
        first: The first month to tally; None for the mart's own first.
        last: The last month to tally; None for the mart's own last.

    Returns:
        As of `BigQuery.mart_tallies`.
    """
    from google.cloud import bigquery

    date = mart.partitioned_by
    conditions = [f"{date} IS NOT NULL"]
    values = [bigquery.ScalarQueryParameter("service", "STRING", service.name)]
    if first:
        conditions.append(f"{date} >= @first")
        values.append(bigquery.ScalarQueryParameter("first", "DATE", first.start.date()))
    if last:
        conditions.append(f"{date} < @end")
        values.append(bigquery.ScalarQueryParameter("end", "DATE", last.end.date()))
    cents = (
        f"CASE WHEN service = @service AND ABS(revenue) < {_MOST_REVENUE} "
        f"THEN {CENTS.format('revenue')} "
        f"WHEN service = @service AND revenue IS NOT NULL THEN {_MOST_REVENUE * 100} ELSE 0 END"
    )
    by_month = (
        f"SELECT EXTRACT(YEAR FROM {date}) AS year, "  # noqa: S608 - declared names
        f"EXTRACT(MONTH FROM {date}) AS month, "
        "CAST(SUM(IF(service = @service, trips, 0)) AS BIGINT) AS trips, "
        f"CAST({f'SUM({cents})' if service.total else 'NULL'} AS BIGINT) AS cents "
        f"FROM `{table_id}` WHERE {' AND '.join(conditions)} "
        "GROUP BY year, month"
    )
    rows_by_month = rows_if_there(jobs, by_month, mart.table, "tally", values)
    return {Month(row.year, row.month): Tally(row.trips, row.cents) for row in rows_by_month}
