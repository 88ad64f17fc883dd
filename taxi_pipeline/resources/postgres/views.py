"""A view in PostgreSQL: how a declared one is spelled there, and put in place of the one before.

The transaction is not ours to begin or to commit.
"""

from typing import TYPE_CHECKING, LiteralString

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.sql import words_of_codes
from taxi_pipeline.marts import View
from taxi_pipeline.resources.postgres.locks import in_turns
from taxi_pipeline.resources.postgres.statements import (
    DIALECT,
    SCHEMA,
    TYPES,
    composed,
    execute,
    identifier,
)
from taxi_pipeline.tlc.services import TEXT

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

_IS_VIEW: LiteralString = "SELECT relkind = 'v' FROM pg_class WHERE oid = to_regclass({view})"


def replace_view(connection: "psycopg.Connection", view: View, lock_timeout: int) -> None:
    """Make the view, or replace its definition; who may read it stays.

    Args:
        connection: A connection in a transaction.
        view: The view, whose sources are there.
        lock_timeout: For how many seconds readers of the view are waited for.

    Raises:
        PermanentError: Something else has the view's name, or it has other columns.
        TransientError: The view is read for too long.
    """
    from psycopg import errors

    name = f"{SCHEMA}.{view.name}"
    if execute(connection, _IS_VIEW, {}, {"view": name}).fetchone() == (False,):
        raise PermanentError(
            f"PostgreSQL: {name} is there, but is not a view. Nothing was changed: rename it or "
            "drop it, and materialize the view again."
        )
    try:
        in_turns(connection, lambda: _define(connection, view), lock_timeout, view.name)
    except errors.InvalidTableDefinition:
        raise PermanentError(
            f"PostgreSQL: {name} has other columns than are declared now. Nothing was changed: run "
            f"DROP VIEW {name}, materialize the view again, and grant the right to read it anew."
        ) from None


def _define(connection: "psycopg.Connection", view: View) -> None:
    from psycopg import sql

    names: dict[str, sql.Composable] = {"view": identifier(view.name)}
    created = {**names, "query": _query_of(view)}
    execute(connection, "CREATE OR REPLACE VIEW {view} AS {query}", created)
    comment = {"comment": view.table.description}
    execute(connection, "COMMENT ON VIEW {view} IS {comment}", names, comment)
    for column in view.table.columns:
        of_column = {**names, "column": sql.Identifier(column.name)}
        comment = {"comment": column.description}
        execute(connection, "COMMENT ON COLUMN {view}.{column} IS {comment}", of_column, comment)


def _query_of(view: View) -> "sql.Composed":
    from psycopg import sql

    sources = {source.name: identifier(source.name) for source in view.sources}
    words = {
        placeholder: composed(words_of_codes(column, TYPES[TEXT]), column, {column.name})
        for placeholder, column in view.words.items()
    }
    minutes = DIALECT.minutes.format("trips.pickup_datetime", "trips.dropoff_datetime")
    return sql.SQL(view.query).format(**sources, **words, minutes=sql.SQL(minutes))
