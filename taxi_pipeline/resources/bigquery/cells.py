"""What BigQuery counts of a table's cells: its column tallies and its fingerprint, by SQL.

What the figures are is said in `tlc`, and most of their SQL in `io.sql`.
"""

import json
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any

from taxi_pipeline.io.sql import (
    Expression,
    fingerprint_terms,
    tallies_of_row,
    tally_aggregates,
)
from taxi_pipeline.resources.bigquery.jobs import Jobs
from taxi_pipeline.resources.bigquery.tables import DIALECT, TYPES
from taxi_pipeline.tlc.column_tallies import ColumnTallies
from taxi_pipeline.tlc.fingerprint import MODULUS
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Column, Table

if TYPE_CHECKING:
    from google.cloud import bigquery
    from google.cloud.bigquery.table import RowIterator


def read_column_tallies(
    jobs: Jobs, table_id: str, table: Table, month: Month | None
) -> ColumnTallies:
    """Tally every column of a month, or of a table without months; a missing one has no rows.

    Args:
        jobs: The project's jobs.
        table_id: The table's full name.
        table: The declared table. A column that the other lacks is null.
        month: The month; None for a table without months.
    """
    columns = _columns(jobs, table_id)
    if columns is None:
        return ColumnTallies.of_no_rows(table)
    aggregates = (
        f"{_composed(aggregate, column, columns)} AS f{number}"
        for number, (column, aggregate) in enumerate(tally_aggregates(table, DIALECT))
    )
    query = _month_query(f"COUNT(*), {', '.join(aggregates)}", table_id, month)
    return tallies_of_row(table, _first_row(jobs, query, month))


def read_fingerprint(jobs: Jobs, table_id: str, table: Table, month: Month | None) -> int:
    """Return the fingerprint of a month, or of a table without months; arguments as above."""
    columns = _columns(jobs, table_id)
    if columns is None:
        return 0
    terms = (
        _composed(expression, column, columns)
        for column, expression in fingerprint_terms(table, DIALECT)
    )
    rows = _month_query(f"MOD({' + '.join(terms)}, {MODULUS}) AS residue", table_id, month)
    query = f"SELECT SUM(MOD(residue * residue, {MODULUS})) FROM ({rows})"  # noqa: S608 - ours
    (value,) = _first_row(jobs, query, month) or (0,)
    return int(value or 0)


def rows_if_there(
    jobs: Jobs, query: str, parameters: "Iterable[bigquery.ScalarQueryParameter]"
) -> "RowIterator | tuple[()]":
    """Return a query's rows; none where its table is missing."""
    from google.api_core.exceptions import NotFound
    from google.cloud import bigquery

    config = bigquery.QueryJobConfig(
        query_parameters=list(parameters), job_timeout_ms=jobs.timeout_ms
    )
    try:
        return jobs.query_rows(query, config)
    except NotFound as error:
        if "Table" not in str(error.message):
            raise
        return ()


def _columns(jobs: Jobs, table_id: str) -> set[str] | None:
    """Return the names of the columns that the table has; None where there is none."""
    from google.api_core.exceptions import NotFound

    try:
        existing = jobs.client.get_table(table_id, **jobs.call_options)
    except NotFound as error:
        if "Table" not in str(error.message):
            raise
        return None
    return {field.name for field in existing.schema}


def _composed(expression: Expression, column: Column, columns: Container[str]) -> str:
    """Return an expression of a declared column, which is null where the table lacks it."""
    # BigQuery takes a text as JSON writes it
    values = (json.dumps(value) for value in expression.values)
    null = f"CAST(NULL AS {TYPES[column.type]})"
    return expression.sql.format(f"`{column.name}`" if column.name in columns else null, *values)


def _month_query(select: str, table_id: str, month: Month | None) -> str:
    """Return the query that selects of a month's rows, or of all of a table."""
    query = f"SELECT {select} FROM `{table_id}`"  # noqa: S608 - declared names
    # a row without a pick-up time is one of no month: each has it, and so none adds up
    in_month = "pickup_datetime >= @start AND pickup_datetime < @end"
    return f"{query} WHERE pickup_datetime IS NULL OR ({in_month})" if month else query


def _first_row(jobs: Jobs, query: str, month: Month | None) -> "tuple[Any, ...] | None":
    from google.cloud import bigquery

    bounds = {"start": month.start, "end": month.end} if month else {}
    parameters = [
        bigquery.ScalarQueryParameter(name, "DATETIME", bound) for name, bound in bounds.items()
    ]
    row = next(iter(rows_if_there(jobs, query, parameters)), None)
    return row and tuple(row.values())
