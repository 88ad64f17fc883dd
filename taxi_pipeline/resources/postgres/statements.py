"""SQL for PostgreSQL whose names and values the driver quotes, and how tables are spelled there.

What a statement is for belongs to the modules that execute it.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, LiteralString

from taxi_pipeline.io.sql import Dialect, Expression
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

DIALECT = Dialect(
    # a double, which is exact to the microsecond for ten thousand years
    microseconds="CAST(floor(date_part('epoch', {0}) * 1000000 + 0.5) AS bigint)",
    sum_of_microseconds=(
        "SUM(CAST(floor(date_part('epoch', {0}) * 1000000 + 0.5) AS bigint))"  # a numeric
    ),
    text_hash="CAST(CAST('x' || substr(md5({0}), 1, 7) AS bit(28)) AS integer)",
)


def identifier(name: str) -> "sql.Identifier":
    """Return the quoted name of a relation of our schema."""
    from psycopg import sql

    return sql.Identifier(SCHEMA, name)


def partition_name(table: Table, month: Month) -> str:
    """Return the name of the month's partition."""
    return f"{table.name}_{month.year:04}_{month.month:02}"


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


def composed(expression: Expression, column: Column) -> "sql.Composed":
    """Return an expression of a column, its name and values quoted by the driver."""
    from psycopg import sql

    values = map(sql.Literal, expression.values)
    return sql.SQL(expression.sql).format(sql.Identifier(column.name), *values)
