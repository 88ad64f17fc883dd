"""What PostgreSQL's planner goes by: a new partition's indexes and statistics, and the table's.

A partition gets them before it is attached. ATTACH PARTITION adopts an index that the partition has
already; one that it lacks would be built while all readers of the table wait.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, LiteralString

from taxi_pipeline.resources.postgres.statements import SCHEMA, execute, identifier
from taxi_pipeline.tlc.services import Table

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

_ANALYZE_ONLY = 180000  # the version since which a table is analyzed without its partitions

# Of each index of a partitioned table: whether it is unique, the definition of its constraint if it
# has one, and what follows the table's name in its own. The catalog has quoted both.
_INDEXES: LiteralString = """
SELECT indisunique, pg_get_constraintdef(pg_constraint.oid), substr(
  pg_get_indexdef(indexrelid),
  length(format('CREATE %sINDEX %I ON ONLY %I.%I ',
    CASE WHEN indisunique THEN 'UNIQUE ' END, index.relname, nspname, parent.relname)) + 1)
FROM pg_index
JOIN pg_class AS index ON index.oid = indexrelid
JOIN pg_class AS parent ON parent.oid = indrelid
JOIN pg_namespace ON pg_namespace.oid = parent.relnamespace
LEFT JOIN pg_constraint
  ON conindid = indexrelid AND conrelid = indrelid AND contype IN ('p', 'u', 'x')
WHERE indrelid = to_regclass({table})
ORDER BY index.relname"""

# The names of a table's indexes that begin with another table's.
_NAMED_AFTER: LiteralString = """
SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE indrelid = to_regclass({table}) AND starts_with(relname, {prefix})
ORDER BY relname"""

_HAS_STATISTICS: LiteralString = """
SELECT FROM pg_stats WHERE schemaname = {schema} AND tablename = {name} AND inherited LIMIT 1"""


def create_indexes(connection: "psycopg.Connection", table: Table, on: "sql.Identifier") -> None:
    """Create the indexes of a partitioned table on the table that is to be its partition.

    Args:
        connection: A connection in a transaction.
        table: The partitioned table.
        on: The other table, which has the same columns, and rows.

    Raises:
        psycopg.errors.IntegrityError: The rows break a constraint of somebody's.
    """
    from psycopg import sql

    rows = execute(connection, _INDEXES, {}, {"table": f"{SCHEMA}.{table.name}"}).fetchall()
    for is_unique, constraint, definition in rows:
        if constraint:
            statement = sql.SQL("ALTER TABLE {} ADD ").format(on) + sql.SQL(constraint)
        else:
            unique = sql.SQL("UNIQUE " if is_unique else "")
            statement = sql.SQL("CREATE {}INDEX ON {} ").format(unique, on) + sql.SQL(definition)
        connection.execute(statement)


def rename_indexes(connection: "psycopg.Connection", partition: str, old: str) -> None:
    """Name a partition's indexes after it that are named after what the partition was called.

    One whose name PostgreSQL has shortened, or whose new name somebody's relation has, keeps it.

    Args:
        connection: A connection in a transaction.
        partition: The partition's name.
        old: The name that it had when its indexes were created.
    """
    from psycopg import errors, sql

    values = {"table": f"{SCHEMA}.{partition}", "prefix": old}
    for (name,) in execute(connection, _NAMED_AFTER, {}, values).fetchall():
        new = sql.Identifier(partition + name.removeprefix(old))
        names = {"index": identifier(name), "new": new}
        with suppress(errors.DuplicateTable), connection.transaction():
            execute(connection, "ALTER INDEX {index} RENAME TO {new}", names)


def analyze(connection: "psycopg.Connection", table: "sql.Identifier") -> None:
    """Take the statistics of a table's rows."""
    execute(connection, "ANALYZE {table}", {"table": table})


def analyze_parent(connection: "psycopg.Connection", table: Table, *, has_new_month: bool) -> None:
    """Take the statistics of a partitioned table, which autovacuum never does.

    It is done where there are none, and for a new month. (A server older than 18 would read all
    partitions again, so there it is done once.) Other months cannot be swapped meanwhile; where
    others keep it from being done in time, it is left to the next load.

    Args:
        connection: A connection in a transaction.
        table: The partitioned table.
        has_new_month: Whether the table has a month more than it had.
    """
    from psycopg import errors

    only = connection.info.server_version >= _ANALYZE_ONLY
    if not (only and has_new_month):
        values = {"schema": SCHEMA, "name": table.name}
        if execute(connection, _HAS_STATISTICS, {}, values).fetchone() is not None:
            return
    statement: LiteralString = "ANALYZE ONLY {table}" if only else "ANALYZE {table}"
    with suppress(errors.LockNotAvailable, errors.QueryCanceled), connection.transaction():
        execute(connection, statement, {"table": identifier(table.name)})
