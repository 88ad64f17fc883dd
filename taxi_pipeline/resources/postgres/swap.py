"""A month's incoming table put in the place of its rows, while as few readers as can be wait.

A month is a partition that is itself partitioned, and has one partition, the table of its rows. So
that one is dropped and attached under a lock of the month alone, which readers of others never
meet. Copying the rows, before, is `rows`'s.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, LiteralString

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.postgres.catalog import (
    PARTITIONED,
    ExistingColumn,
    Place,
    definitions_like,
    existing_columns,
    month_place,
)
from taxi_pipeline.resources.postgres.planner import index_names, rename_indexes
from taxi_pipeline.resources.postgres.stamps import write_stamp
from taxi_pipeline.resources.postgres.statements import (
    SCHEMA,
    bounds_check_name,
    execute,
    identifier,
    incoming_name,
    partition_name,
    rows_name,
)
from taxi_pipeline.sink import CleanedFile
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Table

if TYPE_CHECKING:
    from psycopg import sql

    from taxi_pipeline.resources.postgres.connection import Connection

# Under which lock of the partitioned table nobody alters it or changes the month's place meanwhile.
# Its readers wait for the last alone, which the partitions of an earlier release need once.
_LOCKS: Mapping[Place, LiteralString] = {
    Place.MONTH: "ACCESS SHARE",
    Place.EMPTY_MONTH: "ACCESS SHARE",
    Place.NOTHING: "SHARE UPDATE EXCLUSIVE",
    Place.ROWS_THEMSELVES: "ACCESS EXCLUSIVE",
}


def swap_in(
    connection: "Connection", cleaned: CleanedFile, month: Month, columns: Sequence[ExistingColumn]
) -> None:
    """Put the month's incoming table in the place of its rows.

    Args:
        connection: A connection in a transaction that holds the partition's lock.
        cleaned: The file whose rows the incoming table has.
        month: Their month.
        columns: The columns that the partitioned table had when they were copied.

    Raises:
        PermanentError: Something of somebody's is in the month's place, or a DEFAULT partition has
            rows of the month.
        TransientError: The table was altered meanwhile.
    """
    from psycopg import sql

    table = cleaned.table
    name, rows = partition_name(table, month), rows_name(table, month)
    incoming = incoming_name(table, month)
    names: dict[str, sql.Composable] = {
        "parent": identifier(table.name),
        "month": identifier(name),
        "rows": identifier(rows),
        "rows_name": sql.Identifier(rows),
        "incoming": identifier(incoming),
        "bounds_check": bounds_check_name(table, month),
        "columns": definitions_like(columns),
    }
    place = _locked_place(connection, table, month, columns, names)
    old_indexes = index_names(connection, rows)
    if place is Place.MONTH:
        execute(connection, "DROP TABLE {rows}", names)
    if place is Place.ROWS_THEMSELVES:
        execute(connection, "DROP TABLE {month}", names)
    write_stamp(connection, identifier(incoming), cleaned.stamp)
    execute(connection, "ALTER TABLE {incoming} RENAME TO {rows_name}", names)
    if place in (Place.NOTHING, Place.ROWS_THEMSELVES):
        execute(connection, "CREATE TABLE {month} ({columns}) " + PARTITIONED, names)
        _attach(connection, month, rows, name)
        _attach(connection, month, name, table.name)
    else:
        _attach(connection, month, rows, name)
    execute(connection, "ALTER TABLE {rows} DROP CONSTRAINT IF EXISTS {bounds_check}", names)
    rename_indexes(connection, rows, old_indexes, incoming)


def _locked_place(
    connection: "Connection",
    table: Table,
    month: Month,
    columns: Sequence[ExistingColumn],
    names: "Mapping[str, sql.Composable]",
) -> Place:
    """Return what has the month's place, under locks that let nobody change it."""
    lock = _LOCKS[month_place(connection, table, month)]
    execute(connection, f"LOCK TABLE ONLY {{parent}} IN {lock} MODE", names)
    place = month_place(connection, table, month)
    if place in (Place.MONTH, Place.EMPTY_MONTH):
        execute(connection, "LOCK TABLE ONLY {month} IN ACCESS EXCLUSIVE MODE", names)
        place = month_place(connection, table, month)
    if _LOCKS[place] != lock or existing_columns(connection, table.name) != columns:
        raise TransientError(
            f"PostgreSQL: {SCHEMA}.{table.name} was altered while the month's rows were copied. "
            "Nothing was changed: run the month again."
        )
    return place


def _attach(connection: "Connection", month: Month, partition: str, to: str) -> None:
    """Attach a table as the month's partition of another, both given by their names."""
    from psycopg import errors

    try:
        execute(
            connection,
            "ALTER TABLE {to} ATTACH PARTITION {partition} FOR VALUES FROM ({start}) TO ({end})",
            {"to": identifier(to), "partition": identifier(partition)},
            {"start": month.start, "end": month.end},
        )
    except errors.CheckViolation as error:  # our rows are within the bounds
        raise PermanentError(
            f"PostgreSQL: {error.diag.schema_name}.{error.diag.table_name}, the DEFAULT partition "
            f"of {SCHEMA}.{to}, has rows of {month}. Nothing was changed: move them to another "
            "table, or delete them."
        ) from None
