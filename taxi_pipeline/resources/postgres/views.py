"""A view in PostgreSQL: how a declared one is spelled there, and put in place of the one before.

The transaction is not ours to begin or to commit.
"""

from contextlib import suppress
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
_OPTIONS: LiteralString = (
    "SELECT option_name, option_value FROM pg_class, pg_options_to_table(reloptions) "
    "WHERE pg_class.oid = to_regclass({view})"
)
_ARE_SAME: LiteralString = (
    "SELECT pg_get_viewdef({view}::regclass) = pg_get_viewdef({draft}::regclass)"
)


def replace_view(connection: "psycopg.Connection", view: View, lock_timeout: int) -> None:
    """Make the view, or replace its definition where it is another; grants and options stay.

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
    is_view = execute(connection, _IS_VIEW, {}, {"view": name}).fetchone()
    if is_view == (False,):
        raise PermanentError(
            f"PostgreSQL: {name} is there, but is not a view. Nothing was changed: rename it or "
            "drop it, and materialize the view again."
        )
    try:
        if not (is_view and _is_as_declared(connection, view, name)):
            in_turns(connection, lambda: _define(connection, view, name), lock_timeout, view.name)
        _describe(connection, view)
    except errors.InvalidTableDefinition:
        raise PermanentError(
            f"PostgreSQL: {name} has other columns than are declared now. Nothing was changed: run "
            f"DROP VIEW {name}, materialize the view again, and grant the right to read it anew."
        ) from None


def _is_as_declared(connection: "psycopg.Connection", view: View, name: str) -> bool:
    """Return whether the view has the declared definition, as PostgreSQL writes both.

    False where our role may not make the temporary view that this needs.
    """
    from psycopg import errors, sql

    draft = sql.Identifier("pg_temp", f"{view.name}_draft")
    names = {"draft": draft, "query": _query_of(view)}
    values = {"view": name, "draft": f"pg_temp.{view.name}_draft"}
    with suppress(errors.InsufficientPrivilege), connection.transaction():
        execute(connection, "CREATE TEMPORARY VIEW {draft} AS {query}", names)
        are_same = execute(connection, _ARE_SAME, {}, values).fetchone() == (True,)
        execute(connection, "DROP VIEW {draft}", names)
        return are_same
    return False


def _define(connection: "psycopg.Connection", view: View, name: str) -> None:
    from psycopg import sql

    names = {"view": identifier(view.name), "query": _query_of(view)}
    options = execute(connection, _OPTIONS, {}, {"view": name}).fetchall()
    execute(connection, "CREATE OR REPLACE VIEW {view} AS {query}", names)
    for option, value in options:  # which are not kept
        named = {**names, "option": sql.Identifier(option)}
        execute(connection, "ALTER VIEW {view} SET ({option} = {value})", named, {"value": value})


def _describe(connection: "psycopg.Connection", view: View) -> None:
    from psycopg import sql

    names: dict[str, sql.Composable] = {"view": identifier(view.name)}
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
