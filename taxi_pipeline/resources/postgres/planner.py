"""What PostgreSQL's planner goes by: a new partition's indexes and statistics, and the table's.

A partition gets them before it is attached. ATTACH PARTITION adopts an index that the partition has
already; one that it lacks would be built while all readers of the table wait.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, LiteralString

from taxi_pipeline.resources.postgres.statements import (
    SCHEMA,
    execute,
    identifier,
    partition_name,
)
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Table

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

# Rows come roughly in the order of their pick-ups, so a day is on few pages, and their ranges are a
# thousandth of a B-tree. Ranges of 4 pages read the fewest pages of real months, and cost no more.
# ONLY: what earlier months have to read for it is theirs to read when they are replaced.
_CREATE_DAY_INDEX: LiteralString = (
    "CREATE INDEX ON ONLY {table} USING brin (pickup_datetime) WITH (pages_per_range = 4)"
)

# The indexes of a table by which a day's rows are found.
_DAY_INDEXES: LiteralString = """
SELECT FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid
JOIN pg_am ON pg_am.oid = relam
JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
WHERE indrelid = to_regclass({table}) AND attname = 'pickup_datetime'
  AND amname IN ('brin', 'btree') AND indpred IS NULL"""

_ANALYZE_ONLY = 180000  # the version since which a table is analyzed without its partitions

# Of each index of two partitioned tables, but those of the one that are parts of the other's:
# whether it is unique, the definition of its constraint if it has one, and what follows the table's
# name in its own. The catalog has quoted both. What they do not say is a tablespace, and a key's
# storage options.
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
WHERE indrelid IN (to_regclass({table}), to_regclass({month}))
  AND index.relkind = 'I' AND NOT index.relispartition AND index.reltablespace = 0
  AND (pg_constraint.oid IS NULL OR index.reloptions IS NULL)
ORDER BY index.relname"""

# The indexes of a partition that are parts of the table's, by the table's.
_ADOPTED: LiteralString = """
SELECT inhparent, relname
FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid
JOIN pg_inherits ON inhrelid = indexrelid
WHERE indrelid = to_regclass({partition})
ORDER BY relname"""

# Whether a table's statistics reach a month: the first bound of their histogram lies before the
# month's end, and the last one not before its start.
_KNOWS_MONTH: LiteralString = """
SELECT FROM pg_stats, LATERAL (SELECT histogram_bounds::text::timestamp[]) AS histogram (bounds)
WHERE schemaname = {schema} AND tablename = {name} AND attname = {column} AND inherited
  AND bounds[1] < {end} AND bounds[cardinality(bounds)] >= {start}"""

_HAS_STATISTICS: LiteralString = """
SELECT FROM pg_stats WHERE schemaname = {schema} AND tablename = {name} AND inherited LIMIT 1"""


def has_day_index(connection: "psycopg.Connection", table: Table) -> bool:
    """Return whether a table has an index that begins with the pick-up time, ours or not."""
    values = {"table": f"{SCHEMA}.{table.name}"}
    return execute(connection, _DAY_INDEXES, {}, values).fetchone() is not None


def create_day_index(connection: "psycopg.Connection", table: Table) -> None:
    """Create our own index of a partitioned table, by which a day is found without its month.

    Months that are there get it when they are replaced.
    """
    execute(connection, _CREATE_DAY_INDEX, {"table": identifier(table.name)})


def index_statements(
    connection: "psycopg.Connection", table: Table, month: Month, on: "sql.Identifier"
) -> list["sql.Composed"]:
    """Return what creates the indexes of a partitioned table, and its month's own, on another.

    To read their definitions, PostgreSQL locks both tables for a moment, as a reader does.

    Args:
        connection: A connection in a transaction.
        table: The partitioned table.
        month: The month.
        on: The table of the month's new rows.
    """
    from psycopg import sql

    values = {
        "table": f"{SCHEMA}.{table.name}",
        "month": f"{SCHEMA}.{partition_name(table, month)}",
    }
    rows = execute(connection, _INDEXES, {}, values).fetchall()
    alter = sql.SQL("ALTER TABLE {} ADD ").format(on)
    create = sql.SQL("CREATE {}INDEX ON {} ")
    return [
        alter + sql.SQL(constraint)
        if constraint
        else create.format(sql.SQL("UNIQUE " if is_unique else ""), on) + sql.SQL(definition)
        for is_unique, constraint, definition in rows
    ]


def create_indexes(connection: "psycopg.Connection", statements: "Iterable[sql.Composed]") -> None:
    """Create indexes on a table of new rows.

    ATTACH PARTITION is left with what our role may not create, as where it lacks a right on the
    schema of a function, and with what a definition does not say.

    Args:
        connection: A connection in a transaction.
        statements: As of `index_statements`.

    Raises:
        psycopg.errors.IntegrityError: The rows break a constraint of somebody's.
    """
    from psycopg import ProgrammingError

    for statement in statements:
        with suppress(ProgrammingError), connection.transaction():  # SQLSTATE 42…
            connection.execute(statement)


def index_names(connection: "psycopg.Connection", partition: str) -> dict[int, str]:
    """Return the names of a partition's indexes by the table's index that each is a part of."""
    values = {"partition": f"{SCHEMA}.{partition}"}
    return dict(execute(connection, _ADOPTED, {}, values).fetchall())


def rename_indexes(
    connection: "psycopg.Connection", partition: str, old_names: Mapping[int, str], incoming: str
) -> None:
    """Give a new partition's indexes the names that the old one's had, or such as its own.

    One whose new name somebody's relation has keeps its name.

    Args:
        connection: A connection in a transaction.
        partition: The partition's name.
        old_names: As of `index_names`, of the partition that was replaced.
        incoming: The name that the partition had when its indexes were created.
    """
    from psycopg import errors, sql

    for parent, name in index_names(connection, partition).items():
        own = partition + name.removeprefix(incoming) if name.startswith(incoming) else name
        if (new := old_names.get(parent, own)) != name:
            names = {"index": identifier(name), "new": sql.Identifier(new)}
            with suppress(errors.DuplicateTable), connection.transaction():
                execute(connection, "ALTER INDEX {index} RENAME TO {new}", names)


def analyze(connection: "psycopg.Connection", table: "sql.Identifier") -> None:
    """Take the statistics of a table's rows."""
    execute(connection, "ANALYZE {table}", {"table": table})


def analyze_parent(connection: "psycopg.Connection", table: Table, month: Month) -> None:
    """Take the statistics of a partitioned table, which autovacuum never does.

    It is done where they know nothing of the month. A server older than 18 would read all
    partitions again, so there it is done where there are none. Other months cannot be swapped
    meanwhile, so it may take ten seconds.

    Args:
        connection: A connection in a transaction.
        table: The partitioned table.
        month: A month that it has.
    """
    only = connection.info.server_version >= _ANALYZE_ONLY
    values = {
        "schema": SCHEMA,
        "name": table.name,
        "column": table.partitioned_by,
        "start": month.start,
        "end": month.end,
    }
    known = _KNOWS_MONTH if only else _HAS_STATISTICS
    if execute(connection, known, {}, values).fetchone() is None:
        statement: LiteralString = "ANALYZE ONLY {table}" if only else "ANALYZE {table}"
        execute(connection, "SET LOCAL statement_timeout = '10s'", {})
        execute(connection, statement, {"table": identifier(table.name)})
