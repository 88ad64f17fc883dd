"""What BigQuery counts of a table's cells: its column tallies and its fingerprint, by SQL.

What the figures are is said in `tlc`, and most of their SQL in `io.sql`.
"""

import json
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from taxi_pipeline.io.sql import (
    Expression,
    fingerprint_terms,
    tallies_of_row,
    tally_aggregates,
)
from taxi_pipeline.resources.bigquery.jobs import Jobs, Purpose
from taxi_pipeline.resources.bigquery.tables import DIALECT, TYPES, table_if_there
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
        f"{composed(aggregate, column, columns)} AS f{number}"
        for number, (column, aggregate) in enumerate(tally_aggregates(table, DIALECT))
    )
    source = _rows_of_month(table_id, table, columns, month)
    query = f"SELECT COUNT(*), {', '.join(aggregates)} FROM {source}"  # noqa: S608 - ours
    return tallies_of_row(table, _first_row(jobs, query, table, "columns", month))


def read_fingerprint(jobs: Jobs, table_id: str, table: Table, month: Month | None) -> int:
    """Return the fingerprint of a month, or of a table without months; arguments as above."""
    columns = _columns(jobs, table_id)
    if columns is None:
        return 0
    terms = (
        composed(expression, column, columns)
        for column, expression in fingerprint_terms(table, DIALECT)
    )
    residue = f"MOD({' + '.join(terms)}, {MODULUS})"
    rows = f"SELECT {residue} AS residue FROM {_rows_of_month(table_id, table, columns, month)}"  # noqa: S608 - ours
    query = f"SELECT SUM(MOD(residue * residue, {MODULUS})) FROM ({rows})"  # noqa: S608 - ours
    (value,) = _first_row(jobs, query, table, "fingerprint", month) or (0,)
    return int(value or 0)


def rows_if_there(
    jobs: Jobs,
    query: str,
    table: Table,
    purpose: Purpose,
    parameters: "Iterable[bigquery.ScalarQueryParameter]" = (),
) -> "RowIterator | tuple[()]":
    """Return a query's rows; none where its table is missing.

    Args:
        jobs: The project's jobs.
        query: The query.
        table: The table that it asks about, for the job's labels.
        purpose: What it is for, for the job's labels.
        parameters: The query's parameters.
    """
    from google.api_core.exceptions import NotFound

    labels = {"table": table.name, "purpose": purpose}
    try:
        return jobs.query_rows(query, jobs.query_config(labels, parameters))
    except NotFound as error:
        if "Table" not in str(error.message):
            raise
        return ()


def _columns(jobs: Jobs, table_id: str) -> set[str] | None:
    """Return the names of the columns that the table has; None where there is none."""
    existing = table_if_there(jobs.client, table_id, jobs.call_options)
    return None if existing is None else {field.name for field in existing.schema}


def composed(expression: Expression, column: Column, columns: Container[str]) -> str:
    """Return an expression of a declared column, which is null where the table lacks it."""
    # BigQuery takes a text as JSON writes it
    values = (json.dumps(value) for value in expression.values)
    null = f"CAST(NULL AS {TYPES[column.type]})"
    return expression.sql.format(f"`{column.name}`" if column.name in columns else null, *values)


def rows_in_range(table_id: str, columns: Iterable[str], conditions: Sequence[str]) -> str:
    """Return what follows FROM for a table's rows in a range of pick-up times, or for all.

    A row without a pick-up time is one of no month: each range has it, so that none adds up. It is
    asked for apart, since BigQuery reads no other partitions for a condition that is just a range.

    Args:
        table_id: The table's full name.
        columns: The columns that are selected.
        conditions: The range's bounds; none for all rows.
    """
    if not conditions:
        return f"`{table_id}`"
    rows = f"SELECT {', '.join(f'`{name}`' for name in columns)} FROM `{table_id}` WHERE "  # noqa: S608 - declared names
    return f"({rows}{' AND '.join(conditions)} UNION ALL {rows}pickup_datetime IS NULL)"


def _rows_of_month(
    table_id: str, table: Table, columns: Container[str], month: Month | None
) -> str:
    """Return what follows FROM for a month's rows, or for all of a table."""
    present = [column.name for column in table.columns if column.name in columns]
    bounds = ("pickup_datetime >= @start", "pickup_datetime < @end")
    return rows_in_range(table_id, present, bounds if month else ())


def _first_row(
    jobs: Jobs, query: str, table: Table, purpose: Purpose, month: Month | None
) -> "tuple[Any, ...] | None":
    from google.cloud import bigquery

    bounds = {"start": month.start, "end": month.end} if month else {}
    parameters = [
        bigquery.ScalarQueryParameter(name, "DATETIME", bound) for name, bound in bounds.items()
    ]
    row = next(iter(rows_if_there(jobs, query, table, purpose, parameters)), None)
    return row and tuple(row.values())
