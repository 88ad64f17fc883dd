"""The query by which BigQuery tallies a table by month; who asks it, and when, is not said here."""

from typing import TYPE_CHECKING

from taxi_pipeline.io.sql import SUM_OF_CENTS
from taxi_pipeline.resources.bigquery.cells import rows_in_range
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Table

if TYPE_CHECKING:
    from google.cloud import bigquery


def tally_query(
    table_id: str, table: Table, total: str | None, first: Month | None, last: Month | None
) -> "tuple[str, list[bigquery.ScalarQueryParameter]]":
    """Return the query that tallies a month-partitioned table by month, and its parameters.

    Args:
        table_id: The table's full name.
        table: The declared table.
        total: The column to sum up, in dollars; None for no sum.
        first: The first month to tally; None for the table's own first.
        last: The last month to tally; None for the table's own last.
    """
    from google.cloud import bigquery

    conditions, bounds = [], []
    if first:
        conditions.append("pickup_datetime >= @first")
        bounds.append(bigquery.ScalarQueryParameter("first", "DATETIME", first.start))
    if last:
        conditions.append("pickup_datetime < @end")
        bounds.append(bigquery.ScalarQueryParameter("end", "DATETIME", last.end))
    cents = SUM_OF_CENTS.format(f"`{table[total].name}`") if total else "NULL"
    columns = ["pickup_datetime", *([total] if total else [])]
    query = (
        "SELECT EXTRACT(YEAR FROM pickup_datetime) AS year, "  # noqa: S608 - declared names
        f"EXTRACT(MONTH FROM pickup_datetime) AS month, COUNT(*) AS trips, {cents} AS cents "
        f"FROM {rows_in_range(table_id, columns, conditions)} "
        "GROUP BY year, month"
    )
    return query, bounds
