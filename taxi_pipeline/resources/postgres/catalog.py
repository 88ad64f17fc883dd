"""What PostgreSQL's catalog says of our tables, and whether new rows can be put beside it.

Nothing here changes a table.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, LiteralString

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.resources.postgres.statements import (
    SCHEMA,
    TYPES,
    execute,
    partition_name,
    rows_name,
)
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Table

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

PARTITIONED: LiteralString = "PARTITION BY RANGE (pickup_datetime)"


class Place(Enum):
    """What has a month's place in a partitioned table."""

    NOTHING = auto()
    ROWS_THEMSELVES = auto()  # a partition that is not partitioned, as of an earlier release
    EMPTY_MONTH = auto()  # a partitioned partition whose own has been detached or dropped
    MONTH = auto()


@dataclass(frozen=True)
class ExistingColumn:
    """A column that a table has, as the catalog says it.

    Attributes:
        name: The name.
        type: The type as SQL writes it.
        collation: The collation's schema and name; None where it is the type's.
        not_null: Whether it is NOT NULL.
        filled: Whether a row that leaves the column out gets a value.
        computed: Whether no row may give it a value.
        description: The comment, which does not count in a comparison.
    """

    name: str
    type: str
    collation: tuple[str, str] | None
    not_null: bool
    filled: bool
    computed: bool
    description: str | None = field(compare=False)


# The partitions that have a part of a month: schema, name, whether the bounds are the month's, and
# whether a DETACH PARTITION CONCURRENTLY has not ended. MINVALUE and MAXVALUE are no timestamps.
# (Given the partition, pg_get_expr would wait for its lock.)
_OVERLAPPING: LiteralString = """
SELECT schema, name, first = {start} AND after = {end}, detaching
FROM (
  SELECT nspname AS schema, relname AS name, inhdetachpending AS detaching,
    coalesce(substring(bounds FROM $$FROM \\('([^']+)'\\)$$)::timestamp, '-infinity') AS first,
    coalesce(substring(bounds FROM $$TO \\('([^']+)'\\)$$)::timestamp, 'infinity') AS after
  FROM pg_inherits
  JOIN pg_class ON pg_class.oid = inhrelid
  JOIN pg_namespace ON pg_namespace.oid = relnamespace,
  LATERAL (SELECT pg_get_expr(relpartbound, 0)) AS partition (bounds)
  WHERE inhparent = to_regclass({parent}) AND bounds <> 'DEFAULT'
) AS partitions
WHERE first < {end} AND after > {start}"""

# Of what has a table's name: what it is, whether it is partitioned by the RANGE of one column, that
# column, and a CHECK constraint. (pg_get_partkeydef would wait for the table's lock.)
_KIND: LiteralString = """
SELECT relkind, partstrat = 'r' AND partnatts = 1, attname,
  (SELECT min(conname) FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'c')
FROM pg_class
LEFT JOIN pg_partitioned_table ON partrelid = pg_class.oid
LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum = partattrs[0]
WHERE pg_class.oid = to_regclass({table})"""

# The columns of a table.
_CATALOG: LiteralString = """
SELECT attname, format_type(atttypid, atttypmod), nspname, collname, attnotnull,
  atthasdef OR attidentity <> '', attgenerated <> '' OR attidentity <> '',
  col_description(attrelid, attnum)
FROM pg_attribute
JOIN pg_type ON pg_type.oid = atttypid
LEFT JOIN pg_collation ON pg_collation.oid = attcollation AND attcollation <> typcollation
LEFT JOIN pg_namespace ON pg_namespace.oid = collnamespace
WHERE attrelid = to_regclass({table}) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum"""


# The columns that are NOT NULL in a month and not in its table, but by the month's primary key.
_NOT_NULL_IN_MONTH: LiteralString = """
SELECT attname FROM pg_attribute AS of_month
WHERE attrelid = to_regclass({month}) AND attnum > 0 AND NOT attisdropped AND attnotnull
  AND NOT EXISTS (SELECT FROM pg_attribute AS of_table
    WHERE attrelid = to_regclass({table}) AND of_table.attname = of_month.attname AND attnotnull)
  AND NOT EXISTS (SELECT FROM pg_constraint
    WHERE conrelid = attrelid AND contype = 'p' AND attnum = ANY (conkey))
ORDER BY attnum"""


def existing_columns(connection: "psycopg.Connection", name: str) -> list[ExistingColumn]:
    """Return the columns of the table of our schema with that name; none where there is none."""
    columns = execute(connection, _CATALOG, {}, {"table": f"{SCHEMA}.{name}"})
    return [
        ExistingColumn(name, type_, (schema, collation) if collation else None, *rest)
        for name, type_, schema, collation, *rest in columns.fetchall()
    ]


def definitions_like(columns: Iterable[ExistingColumn]) -> "sql.Composed":
    """Return definitions of columns like those, without which no partition can be attached."""
    from psycopg import sql

    definitions = []
    for column in columns:
        # the catalog has quoted the type
        defined = sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type))
        if column.collation:
            defined += sql.SQL(" COLLATE {}").format(sql.Identifier(*column.collation))
        definitions.append(defined + sql.SQL(" NOT NULL") if column.not_null else defined)
    return sql.SQL(", ").join(definitions)


def check_kind(connection: "psycopg.Connection", table: str, partitioning: str) -> None:
    """Check that what has the table's name is a table as declared, which new partitions fit.

    Args:
        connection: A connection.
        table: The name. Something must have it.
        partitioning: The declared PARTITION BY clause; empty for a table without months.

    Raises:
        PermanentError: It is something else, or partitioned otherwise; or it is to be partitioned
            and has a CHECK constraint, which new partitions would not have.
    """
    name = f"{SCHEMA}.{table}"
    rows = execute(connection, _KIND, {}, {"table": name}).fetchall()
    ((kind, is_by_range, key, constraint),) = rows
    clause = f"PARTITION BY RANGE ({key})" if is_by_range else None
    is_expected = clause == partitioning if partitioning else kind in "rp"
    if not is_expected:
        what = f"a table {partitioning}" if partitioning else "a table"
        raise PermanentError(
            f"PostgreSQL: {name} is there, but is not {what}. Nothing was changed: rename it or "
            "drop it, and run its months again."
        )
    if partitioning and constraint:
        raise PermanentError(
            f"PostgreSQL: {name} has the constraint {constraint}, which new partitions would not "
            f"have. Nothing was changed: run ALTER TABLE {name} DROP CONSTRAINT {constraint}."
        )


def check_columns(table: Table, columns: Iterable[ExistingColumn], partitioning: str) -> None:
    """Check that the columns can hold the declared ones' values, in new partitions, too.

    Args:
        table: The declared table.
        columns: The columns that it has.
        partitioning: The declared PARTITION BY clause; empty for a table without months.

    Raises:
        PermanentError: A column is of another type than is declared; is generated or an identity,
            as only an undeclared one of a table without months may be; or is NOT NULL and would be
            null in new rows. The message says what to do.
    """
    types = {column.name: TYPES[column.type] for column in table.columns}
    for column in columns:
        name, declared = f"{SCHEMA}.{table.name}", types.get(column.name)
        where = f"PostgreSQL: the column {column.name} of {name}"
        change = f"Nothing was changed: run ALTER TABLE {name} ALTER COLUMN {column.name}"
        if declared and declared != column.type:
            raise PermanentError(
                f"{where} is {column.type}, and is declared as {declared}. "
                f"{change} TYPE {declared} USING {column.name}::{declared}. Views that read the "
                "column keep it from that: drop them first; the job `trips` makes ours again."
            )
        if column.computed and (declared or partitioning):
            raise PermanentError(
                f"{where} is generated, or an identity, and new rows could not be put beside it. "
                "Nothing was changed: drop it, or compute it in a view."
            )
        if column.not_null and not declared and (partitioning or not column.filled):
            raise PermanentError(
                f"{where} is NOT NULL, but is not declared, so it would be null in new rows. "
                f"{change} DROP NOT NULL."
            )


def month_place(connection: "psycopg.Connection", table: Table, month: Month) -> Place:
    """Return what has the month's place in the table.

    Args:
        connection: A connection in a transaction, whose DateStyle becomes ISO.
        table: The partitioned table.
        month: The month.

    Raises:
        PermanentError: Something is in the place of the month's partition, or of the partition
            that this one has, and is none of ours: it has our name and is no partition of that
            table, or another name or other bounds than the month's; it is being detached; it is
            partitioned otherwise; or it has a CHECK constraint, or a column that is NOT NULL
            and is not so in the table.
    """
    name, rows = partition_name(table, month), rows_name(table, month)
    execute(connection, "SET LOCAL datestyle = 'ISO'", {})  # in which bounds are written
    is_there = _has_partition(connection, table.name, name, month)
    relation = {"table": f"{SCHEMA}.{name}"}
    is_partitioned = is_there and execute(connection, _KIND, {}, relation).fetchall()[0][0] == "p"
    if is_partitioned:
        check_kind(connection, name, PARTITIONED)
        _check_not_null(connection, table, name)
    has_rows = _has_partition(connection, name, rows, month)
    if is_partitioned:
        return Place.MONTH if has_rows else Place.EMPTY_MONTH
    return Place.ROWS_THEMSELVES if is_there else Place.NOTHING


def _check_not_null(connection: "psycopg.Connection", table: Table, month: str) -> None:
    """Raise `PermanentError` where a column of a month is NOT NULL, and not in the table."""
    values = {"table": f"{SCHEMA}.{table.name}", "month": f"{SCHEMA}.{month}"}
    for (column,) in execute(connection, _NOT_NULL_IN_MONTH, {}, values).fetchall():
        name = f"{SCHEMA}.{month}"
        raise PermanentError(
            f"PostgreSQL: the column {column} of {name} is NOT NULL, which the new rows' table "
            f"would not be. Nothing was changed: run ALTER TABLE {name} ALTER COLUMN {column} DROP "
            "NOT NULL."
        )


def _has_partition(
    connection: "psycopg.Connection", table: str, expected: str, month: Month
) -> bool:
    """Return whether a table has a partition of the month, of the name that we give it.

    Raises `PermanentError` where something else has that name, or the partition for rows of the
    month has another name or other bounds than the month's, or is being detached.
    """
    partition, parent = f"{SCHEMA}.{expected}", f"{SCHEMA}.{table}"
    bounds = f"FOR VALUES FROM ('{month.start}') TO ('{month.end}')"
    values = {"parent": parent, "start": month.start, "end": month.end}
    overlapping = execute(connection, _OVERLAPPING, {}, values).fetchall()
    for schema, name, exactly, detaching in overlapping:
        where = f"PostgreSQL: {schema}.{name} is a partition of {parent}"
        if detaching:
            raise PermanentError(
                f"{where} that is being detached. Nothing was changed: end that by ALTER TABLE "
                f"{parent} DETACH PARTITION {schema}.{name} FINALIZE, and rename it or drop it."
            )
        if not exactly:
            raise PermanentError(
                f"{where} with {month} and more, or a part of it. Nothing was changed: detach it, "
                "or drop it."
            )
        if (schema, name) != (SCHEMA, expected):
            raise PermanentError(
                f"{where} with {month}, under another name than ours, {partition}. Nothing was "
                "changed: rename it to that, or drop it."
            )
    if overlapping:
        return True
    relation = execute(connection, "SELECT to_regclass({name})", {}, {"name": partition}).fetchone()
    if relation != (None,):
        raise PermanentError(
            f"PostgreSQL: {partition} is there, and is not {parent}'s partition of {month}: "
            "somebody has detached it, or made it. Nothing was changed: rename it or drop it, or "
            f"attach it again by ALTER TABLE {parent} ATTACH PARTITION {partition} {bounds}."
        )
    return False
