"""BigQuery's tables: how a declared table is spelled there, made, extended and checked.

A table is partitioned by month and clustered. What replaces its rows is a job's matter.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.sql import NO_INTEGER, Dialect
from taxi_pipeline.tlc.services import DATE, DATETIME, INTEGER, LONG, NUMBER, TEXT, Table

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud import bigquery

# The declared types as BigQuery's catalog spells them. A DATETIME has no zone, as TLC's times.
TYPES: "Mapping[pa.DataType, str]" = {
    INTEGER: "INT64",
    LONG: "INT64",
    NUMBER: "FLOAT64",
    TEXT: "STRING",
    DATETIME: "DATETIME",
    DATE: "DATE",
}
DIALECT = Dialect(
    # an INT64, of which sums and products may be none
    integer=(
        f"CASE WHEN {{0}} BETWEEN -{NO_INTEGER} AND {NO_INTEGER} THEN {{0}} "
        f"WHEN {{0}} IS NOT NULL THEN {NO_INTEGER} END"
    ),
    microseconds="DATETIME_DIFF({0}, DATETIME '1970-01-01', MICROSECOND)",
    # in two parts, each of which fits into 64 bits
    sum_of_microseconds=(
        "CAST(SUM(DIV(DATETIME_DIFF({0}, DATETIME '1970-01-01', MICROSECOND), 1000000)) AS NUMERIC)"
        " * 1000000 + SUM(MOD(DATETIME_DIFF({0}, DATETIME '1970-01-01', MICROSECOND), 1000000))"
    ),
    text_hash="CAST(CONCAT('0x', SUBSTR(TO_HEX(MD5({0})), 1, 7)) AS INT64)",
    minutes="DATETIME_DIFF({1}, {0}, MICROSECOND) / 60000000",
)
_ALIASES = {"INTEGER": "INT64", "FLOAT": "FLOAT64"}  # as BigQuery's answers spell them
_WIDENED = {("INT64", "FLOAT64"), ("NUMERIC", "FLOAT64"), ("BIGNUMERIC", "FLOAT64")}


def schema_of(table: Table) -> "list[bigquery.SchemaField]":
    """Return the table's columns as BigQuery's client takes them, each nullable and described."""
    from google.cloud import bigquery

    return [
        bigquery.SchemaField(column.name, TYPES[column.type], description=column.description)
        for column in table.columns
    ]


def ensure_table(
    client: "bigquery.Client", table: Table, table_id: str, call_options: Mapping[str, Any]
) -> "bigquery.Table":
    """Make the table if it is not there; add what was declared, or described anew, since.

    A table that is not clustered becomes so.

    Args:
        client: Google's client.
        table: The declared table.
        table_id: Its full name, PROJECT.DATASET.TABLE.
        call_options: The timeout and retries of each call.

    Returns:
        The table that is there: by its location BigQuery finds the jobs that write to it.

    Raises:
        PermanentError: A column is another than is declared, or has to be filled by others.
        TransientError: Another run changed the table at the same moment.
    """
    from google.api_core.exceptions import Conflict, NotFound, PreconditionFailed
    from google.cloud import bigquery

    schema = schema_of(table)
    wanted = bigquery.Table(table_id, schema=schema)
    wanted.description = table.description
    if table.partitioned_by:
        wanted.time_partitioning = bigquery.TimePartitioning(
            type_=bigquery.TimePartitioningType.MONTH, field=table.partitioned_by
        )
    if table.clustered_by:
        wanted.clustering_fields = table.clustered_by
    try:
        existing = client.get_table(wanted.reference, **call_options)
    except NotFound:
        try:
            existing = client.create_table(wanted, **call_options)
        except Conflict:  # another run was faster
            existing = client.get_table(wanted.reference, **call_options)
    _check_columns(table, f"`{table_id}`", existing.schema)
    changed = []
    # a clustering of somebody's own stays; BigQuery sorts old rows anew in its own time
    if table.clustered_by and not existing.clustering_fields:
        existing.clustering_fields = table.clustered_by
        changed.append("clustering_fields")
    described = {field.name: field.description for field in existing.schema}
    if any(described.get(field.name) != field.description for field in schema):
        declared = {field.name: field for field in schema}
        # BigQuery adds columns at the end only, wherever they are declared
        present = [declared.pop(field.name, field) for field in existing.schema]
        existing.schema = [*present, *declared.values()]
        changed.append("schema")
    if changed:
        try:
            client.update_table(existing, changed, **call_options)
        except PreconditionFailed:
            raise TransientError(
                f"bigquery://{table_id} was changed by another run: run the month again."
            ) from None
    return existing


def table_if_there(
    client: "bigquery.Client", table_id: str, call_options: Mapping[str, Any]
) -> "bigquery.Table | None":
    """Return a table, by its full name; None where it is missing."""
    from google.api_core.exceptions import NotFound

    try:
        return client.get_table(table_id, **call_options)
    except NotFound as error:
        if "Table" not in str(error.message):
            raise
        return None


def _check_columns(table: Table, name: str, columns: "Iterable[bigquery.SchemaField]") -> None:
    """Raise `PermanentError` where a column of the table is not what it is declared as."""
    wanted = {field.name: _type(field) for field in schema_of(table)}
    for field in columns:
        declared = wanted.get(field.name)
        where = f"BigQuery: the column {field.name} of {name} is {_type(field)}"
        if field.mode == "REQUIRED":
            raise PermanentError(
                f"{where} and required, but may be null in the trips, or is not declared. "
                f"Nothing was changed: run ALTER TABLE {name} ALTER COLUMN `{field.name}` "
                "DROP NOT NULL."
            )
        if declared and declared != _type(field):
            change = (
                f"run ALTER TABLE {name} ALTER COLUMN `{field.name}` SET DATA TYPE {declared}"
                if (_type(field), declared) in _WIDENED
                else "BigQuery cannot change that, so rename or drop the table, and run its "
                "months again from `bigquery` on"
            )
            raise PermanentError(
                f"{where}, and is declared as {declared}. Nothing was changed: {change}."
            )


def _type(field: "bigquery.SchemaField") -> str:
    """Return a column's type as SQL spells it."""
    type_ = _ALIASES.get(field.field_type, field.field_type)
    return f"ARRAY<{type_}>" if field.mode == "REPEATED" else type_
