"""SQL for PostgreSQL whose names and values the driver quotes, and how tables are spelled there.

What a statement is for belongs to the modules that execute it.
"""

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, LiteralString

from taxi_pipeline.io.sql import NO_MOMENT, Dialect, Expression
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import DATE, DATETIME, INTEGER, NUMBER, TEXT, Column, Table

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from psycopg import sql

SCHEMA = "tlc"

# The declared types as PostgreSQL's catalog spells them. The timestamp has no zone, as TLC's times
# have none.
TYPES: "Mapping[pa.DataType, LiteralString]" = {
    INTEGER: "integer",
    NUMBER: "double precision",
    TEXT: "text",
    DATETIME: "timestamp without time zone",
    DATE: "date",
}

# The seconds since 1970 are a double, whose microseconds are exact up to 2106. Other times are
# counted by day and time of day, which takes twice as long.
_MICROSECONDS: LiteralString = (
    "CASE WHEN {0} >= TIMESTAMP '1900-01-01' AND {0} < TIMESTAMP '2100-01-01' THEN "
    "CAST(date_part('epoch', {0}) * 1000000 AS bigint) "
    "WHEN isfinite({0}) THEN "
    "CAST(CAST({0} AS date) - DATE '1970-01-01' AS bigint) * 86400000000 "
    "+ CAST(date_part('epoch', CAST({0} AS time)) * 1000000 AS bigint) "
    f"WHEN {{0}} IS NOT NULL THEN {NO_MOMENT} END"
)
DIALECT = Dialect(
    integer="{0}",
    microseconds=_MICROSECONDS,
    sum_of_microseconds=f"SUM({_MICROSECONDS})",  # a numeric
    # in UTF-8, whatever the database's encoding
    text_hash="CAST(CAST('x' || substr(md5(convert_to({0}, 'UTF8')), 1, 7) AS bit(28)) AS integer)",
    minutes="CAST(extract(epoch FROM {1} - {0}) AS double precision) / 60",
)


def identifier(name: str) -> "sql.Identifier":
    """Return the quoted name of a relation of our schema."""
    from psycopg import sql

    return sql.Identifier(SCHEMA, name)


def partition_name(table: Table, month: Month) -> str:
    """Return the name of the month's partition, a partitioned table with one partition."""
    return f"{table.name}_{month.year:04}_{month.month:02}"


def rows_name(table: Table, month: Month) -> str:
    """Return the name of the one partition of the month's partition, which has the rows."""
    return f"{partition_name(table, month)}_rows"


def incoming_name(table: Table, month: Month) -> str:
    """Return the name of the table that the month's new rows are copied into."""
    return f"{partition_name(table, month)}_incoming"


def bounds_check_name(table: Table, month: Month) -> "sql.Identifier":
    """Return the quoted name of the constraint that proves the incoming rows to be the month's."""
    from psycopg import sql

    return sql.Identifier(f"{partition_name(table, month)}_bounds")


def column_definitions(columns: Iterable[Column]) -> "sql.Composed":
    """Return the columns' definitions: names and types, as in CREATE TABLE."""
    from psycopg import sql

    return sql.SQL(", ").join(
        sql.SQL("{} " + TYPES[column.type]).format(sql.Identifier(column.name))
        for column in columns
    )


def execute(
    connection: "psycopg.Connection",
    statement: LiteralString,
    names: "Mapping[str, sql.Composable]",
    values: Mapping[str, object] | None = None,
) -> "psycopg.Cursor":
    """Execute a statement whose names and values the driver quotes: DDL takes no parameters.

    Args:
        connection: A connection.
        statement: The SQL, with names and values as {placeholders}.
        names: The names, by placeholder.
        values: The values, by placeholder, which become literals.
    """
    from psycopg import sql

    literals = {name: sql.Literal(value) for name, value in (values or {}).items()}
    return connection.execute(sql.SQL(statement).format(**names, **literals))


def composed(expression: Expression, column: Column, columns: Container[str]) -> "sql.Composed":
    """Return an expression of a column, its name and values quoted by the driver.

    Args:
        expression: The expression.
        column: The declared column.
        columns: The columns that the table has: one that it lacks is null.
    """
    from psycopg import sql

    values = map(sql.Literal, expression.values)
    name: sql.Composable = sql.Identifier(column.name)
    if column.name not in columns:
        name = sql.SQL("CAST(NULL AS " + TYPES[column.type] + ")")
    return sql.SQL(expression.sql).format(name, *values)
