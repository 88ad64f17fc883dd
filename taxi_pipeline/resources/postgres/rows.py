"""The rows of a file, copied into PostgreSQL, and swapped in as the partition of their month.

All of it happens in a transaction that is not ours to begin or to commit.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.postgres.catalog import (
    ExistingColumn,
    column_definition,
    existing_columns,
    has_partition,
)
from taxi_pipeline.resources.postgres.locks import in_turns
from taxi_pipeline.resources.postgres.planner import (
    analyze,
    create_indexes,
    index_names,
    rename_indexes,
)
from taxi_pipeline.resources.postgres.stamps import write_stamp
from taxi_pipeline.resources.postgres.statements import (
    SCHEMA,
    execute,
    identifier,
    partition_name,
)
from taxi_pipeline.sink import CleanedFile
from taxi_pipeline.tlc.concurrency import ordered_parallel_map
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import Table

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


def replace_partition(
    connection: "Connection",
    cleaned: CleanedFile,
    batches: "Iterable[pa.RecordBatch]",
    month: Month,
    columns: Sequence[ExistingColumn],
    lock_timeout: int,
) -> None:
    """Copy a file's rows into a new table, and let it take the place of the month's partition.

    Args:
        connection: A connection in a transaction that holds the partition's lock.
        cleaned: The file.
        batches: Its rows, in the declared schema of its table.
        month: Their month.
        columns: The columns that the partitioned table has.
        lock_timeout: For how many seconds readers of the table are waited for.

    Raises:
        PermanentError: Something of somebody's is in the partition's place, the DEFAULT partition
            has rows of the month, or another number of rows arrived than the file says that it has.
        TransientError: The table was altered meanwhile, or is read for too long.
    """
    from psycopg import sql

    table = cleaned.table
    name = partition_name(table, month)
    bounds = {"start": month.start, "end": month.end}
    names = {
        "parent": identifier(table.name),
        "partition": identifier(name),
        "partition_name": sql.Identifier(name),
        "incoming": identifier(f"{name}_incoming"),
        "bounds_check": sql.Identifier(f"{name}_bounds"),
    }
    has_partition(connection, table, month)  # or raises, before any row is copied
    _create_incoming(connection, name, columns, names)
    # frozen, or a transaction that began before the swap would find no rows after it
    copy_rows(connection, cleaned, batches, names["incoming"], frozen=True)
    write_stamp(connection, names["incoming"], cleaned.stamp)
    create_indexes(connection, table, names["incoming"])
    analyze(connection, names["incoming"])
    # proved here, while nobody waits, the bounds need no scan when the partition is swapped
    execute(
        connection,
        "ALTER TABLE {incoming} ADD CONSTRAINT {bounds_check} CHECK (pickup_datetime IS NOT NULL "
        "AND pickup_datetime >= {start} AND pickup_datetime < {end})",
        names,
        bounds,
    )
    in_turns(
        connection,
        lambda: _swap(connection, table, month, columns, names),
        lock_timeout,
        table.name,
        name,
    )


def _create_incoming(
    connection: "Connection",
    partition: str,
    columns: Sequence[ExistingColumn],
    names: "Mapping[str, sql.Identifier]",
) -> None:
    """Create the table that the rows are copied into, with the columns of the partitioned one."""
    from psycopg import errors, sql

    try:
        # not LIKE the parent: its lock, held to the end, would deadlock two months at the swap
        execute(
            connection,
            "CREATE TABLE {incoming} ({columns})",
            {**names, "columns": sql.SQL(", ").join(map(column_definition, columns))},
        )
    except (errors.DuplicateTable, errors.DuplicateObject):
        raise PermanentError(
            f"PostgreSQL: there is a {SCHEMA}.{partition}_incoming of somebody's, a name that the "
            "month's rows are copied under. Nothing was changed: rename it, or drop it."
        ) from None


def _swap(
    connection: "Connection",
    table: Table,
    month: Month,
    columns: Sequence[ExistingColumn],
    names: "Mapping[str, sql.Identifier]",
) -> None:
    """Put the incoming table in the partition's place; `names` are the statements' names."""
    from psycopg import errors

    is_old = has_partition(connection, table, month)
    mode = "ACCESS EXCLUSIVE" if is_old else "SHARE UPDATE EXCLUSIVE"
    # from here to the commit nobody alters the table or detaches a partition; if there is an old
    # one, readers of the table wait
    execute(connection, f"LOCK TABLE ONLY {{parent}} IN {mode} MODE", names)
    if existing_columns(connection, table) != columns:
        raise TransientError(
            f"PostgreSQL: {SCHEMA}.{table.name} was altered while the month's rows were copied. "
            "Nothing was changed: run the month again."
        )
    name = partition_name(table, month)
    old_indexes = index_names(connection, name)
    if is_old and has_partition(connection, table, month):
        execute(connection, "DROP TABLE {partition}", names)
    execute(connection, "ALTER TABLE {incoming} RENAME TO {partition_name}", names)
    try:
        execute(
            connection,
            "ALTER TABLE {parent} ATTACH PARTITION {partition} "
            "FOR VALUES FROM ({start}) TO ({end})",
            names,
            {"start": month.start, "end": month.end},
        )
    except errors.CheckViolation as error:  # our rows are within the bounds
        raise PermanentError(
            f"PostgreSQL: {error.diag.schema_name}.{error.diag.table_name}, the DEFAULT partition "
            f"of {SCHEMA}.{table.name}, has rows of {month}. Nothing was changed: move them to "
            "another table, or delete them."
        ) from None
    execute(connection, "ALTER TABLE {partition} DROP CONSTRAINT {bounds_check}", names)
    rename_indexes(connection, name, old_indexes, f"{name}_incoming")
