"""The rows of a file, copied into PostgreSQL: those of a month wait in a table to be swapped in.

All of it happens in a transaction that is not ours to begin or to commit. The swap is `swap`'s.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.resources.postgres.catalog import (
    ExistingColumn,
    definitions_like,
    existing_columns,
)
from taxi_pipeline.resources.postgres.planner import analyze, create_indexes, index_statements
from taxi_pipeline.resources.postgres.stamps import read_waiting_stamp, write_waiting_stamp
from taxi_pipeline.resources.postgres.statements import (
    SCHEMA,
    bounds_check_name,
    execute,
    identifier,
    incoming_name,
)
from taxi_pipeline.sink import CleanedFile
from taxi_pipeline.tlc.concurrency import ordered_parallel_map
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from psycopg import sql

    from taxi_pipeline.resources.postgres.connection import Connection


def copy_rows(
    connection: "Connection",
    cleaned: CleanedFile,
    batches: "Iterable[pa.RecordBatch]",
    into: "sql.Identifier",
    *,
    frozen: bool,
) -> None:
    """Stream a file's rows into a table by binary COPY, and check that all arrived.

    Args:
        connection: A connection in a transaction.
        cleaned: The file.
        batches: Its rows, in the declared schema of its table.
        into: The table that gets them.
        frozen: Whether whoever sees the table sees the rows. This transaction must have made it.

    Raises:
        PermanentError: Another number of rows arrived than the file says that it has.
    """
    from pgpq import ArrowToPostgresBinaryEncoder
    from psycopg import sql

    table = cleaned.table
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    statement = sql.SQL(
        "COPY {into} ({columns}) FROM STDIN (FORMAT binary, FREEZE {frozen})"
    ).format(into=into, columns=columns, frozen=sql.Literal(frozen))
    encoder = ArrowToPostgresBinaryEncoder(arrow_schema(table))
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy, connection.closed_if_interrupted():
            copy.write(encoder.write_header())
            # the next rows are encoded while PostgreSQL stores these
            for encoded in ordered_parallel_map(encoder.write_batch, batches, threads=1):
                copy.write(encoded)
            copy.write(encoder.finish())
        if cursor.rowcount != cleaned.rows:
            raise PermanentError(
                f"{SCHEMA}.{table.name}: {cursor.rowcount} rows arrived of {cleaned.rows}; nothing "
                "was changed. Materialize the month again from `cleaned` on."
            )


def copy_month(
    connection: "Connection",
    cleaned: CleanedFile,
    batches: "Iterable[pa.RecordBatch]",
    month: Month,
    columns: Sequence[ExistingColumn],
) -> None:
    """Copy a file's rows into the month's incoming table, so that a swap has nothing else to do.

    Args:
        connection: A connection in a transaction that holds the partition's lock.
        cleaned: The file.
        batches: Its rows, in the declared schema of its table.
        month: Their month.
        columns: The columns that the partitioned table has.

    Raises:
        PermanentError: The incoming table's name is somebody's, or another number of rows arrived
            than the file says that it has.
    """
    from psycopg import errors

    table, name = cleaned.table, incoming_name(cleaned.table, month)
    incoming = identifier(name)
    # before the copy: whoever has locked the table for itself costs no second one
    indexes = index_statements(connection, table, month, incoming)
    try:
        # not LIKE the parent: its lock, held to the end, would deadlock two months at the swap.
        # The bounds, proved row by row, need no scan when the partition is swapped in.
        execute(
            connection,
            "CREATE TABLE {incoming} ({columns}, CONSTRAINT {check} CHECK "
            "(pickup_datetime IS NOT NULL AND pickup_datetime >= {start} "
            "AND pickup_datetime < {end}))",
            {
                "incoming": incoming,
                "columns": definitions_like(columns),
                "check": bounds_check_name(table, month),
            },
            {"start": month.start, "end": month.end},
        )
    except (errors.DuplicateTable, errors.DuplicateObject):
        raise PermanentError(
            f"PostgreSQL: there is a {SCHEMA}.{name} of somebody's, a name that the month's rows "
            "are copied under. Nothing was changed: rename it, or drop it."
        ) from None
    # frozen, or a transaction that began before the swap would find no rows after it
    copy_rows(connection, cleaned, batches, incoming, frozen=True)
    write_waiting_stamp(connection, incoming, cleaned.stamp)
    create_indexes(connection, indexes)
    analyze(connection, incoming)


def has_waiting_rows(
    connection: "Connection", cleaned: CleanedFile, month: Month, columns: Sequence[ExistingColumn]
) -> bool:
    """Return whether a try that could not swap the file's rows has left them, whole, to the next.

    Args:
        connection: A connection in a transaction that holds the partition's lock.
        cleaned: The file.
        month: Its month.
        columns: The columns that the partitioned table has.
    """
    if read_waiting_stamp(connection, cleaned.table, month) != cleaned.stamp:
        return False
    name = incoming_name(cleaned.table, month)
    if definitions_like(existing_columns(connection, name)) != definitions_like(columns):
        return False
    incoming = {"incoming": identifier(name)}
    return execute(connection, "SELECT count(*) FROM {incoming}", incoming).fetchall() == [
        (cleaned.rows,)
    ]


def drop_other_waiting_rows(
    connection: "Connection", cleaned: CleanedFile, month: Month, columns: Sequence[ExistingColumn]
) -> None:
    """Drop the month's incoming table where it is ours and has not the file's rows.

    The arguments are those of `has_waiting_rows`.
    """
    is_ours = read_waiting_stamp(connection, cleaned.table, month) is not None
    if is_ours and not has_waiting_rows(connection, cleaned, month, columns):
        incoming = {"incoming": identifier(incoming_name(cleaned.table, month))}
        execute(connection, "DROP TABLE {incoming}", incoming)
