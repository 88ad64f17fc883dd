"""What the emulator's catalog gets wrong: who defines a table, where it lies, how it is found.

Two that create the same table, or replace the same view, at once collide in it, or find it half
made; in BigQuery one is told that it exists. It lists all tables to learn of one, and keeps them
where every look takes long.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from threading import RLock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def install() -> None:
    """Wrap the emulator's functions."""
    _define_one_table_at_a_time()
    _keep_tables_in_one_file()
    _look_up_tables_by_name()


def _define_one_table_at_a_time() -> None:
    """Let nobody create, change or look at a table's definition while somebody else does."""
    from local_bigquery.catalog import tables
    from local_bigquery.jobs import query

    lock = RLock()  # they call each other

    def alone[**P, T](work: Callable[P, T]) -> Callable[P, T]:
        def locked(*args: P.args, **kwargs: P.kwargs) -> T:
            with lock:
                return work(*args, **kwargs)

        return locked

    tables.create, tables.update = alone(tables.create), alone(tables.update)
    tables.get = alone(tables.get)
    run = query._run

    def run_alone_if_ddl(cursor: "DuckDBPyConnection", tree: Any, *rest: Any) -> Any:
        with lock if isinstance(tree, query.DDL) else nullcontext():
            return run(cursor, tree, *rest)

    query._run = run_alone_if_ddl


def _keep_tables_in_one_file() -> None:
    """Replace the functions that attach a project's tables: they are DuckDB's own.

    The emulator's are DuckLake's, whose catalog is asked anew for every statement. In a folder of
    an earlier release they stay so.
    """
    from local_bigquery.engine import database
    from local_bigquery.settings import settings

    attach_lake = database._attach

    def attach(connection: "DuckDBPyConnection", project: str) -> None:
        if (settings.data_dir / f"{project}.ducklake").exists():
            attach_lake(connection, project)
            return
        file = _literal(str(settings.data_dir / f"{project}.tables.duckdb"))
        connection.execute(f"ATTACH IF NOT EXISTS {file} AS {database.quote(project)}")
        database._attached.add(project)

    database._attach = attach
    database.projects = lambda: sorted(database._attached)


# What stands for DuckDB's own function: the same columns, of one table alone.
_COLUMNS = """(
    SELECT {database} AS database_name, {schema} AS schema_name, {name} AS table_name,
        name AS column_name, NOT "notnull" AS is_nullable
    FROM pragma_table_info({path}))"""


def _look_up_tables_by_name() -> None:
    """Wrap the functions that ask about a table, half a dozen times a query.

    DuckDB lists all tables of all databases for it, which takes the longer the more there are, and
    each query's result is one.
    """
    import duckdb
    from local_bigquery.catalog import metadata
    from local_bigquery.engine import database
    from local_bigquery.models import Table

    fetch, objects = database.fetch, database.objects

    def fetch_by_name(sql: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        query = sql
        match params:
            case ["emulator", "_results", _] if "duckdb_columns()" in sql:
                return []  # no column of a query's result is required
            case [str(project), str(schema), str(name), *_]:
                path = database.quote(project, schema, name)
                words = {"database": project, "schema": schema, "name": name, "path": path}
                literals = {word: _literal(value) for word, value in words.items()}
                query = sql.replace("duckdb_columns()", _COLUMNS.format(**literals))
        try:
            rows: list[tuple[Any, ...]] = fetch(query, params)
        except duckdb.CatalogException:
            if query == sql:
                raise
            return []  # there is no such table
        except duckdb.BinderException:
            if query == sql:
                raise
            rows = fetch(sql, params)  # a view whose columns are not known
        return rows

    def objects_by_name(project: str, dataset: str, table: str | None = None) -> Any:
        is_result = (project, dataset) == ("emulator", "_results")
        # DuckDB takes a name in another case for the table's, too
        if table and (is_result or metadata.load(Table, project, dataset, table)):
            path = database.quote(project, dataset, table)
            with suppress(duckdb.CatalogException, duckdb.BinderException):  # none, or a view
                ((rows,),) = fetch(f"SELECT count(*) FROM (SELECT rowid FROM {path})")  # noqa: S608
                return [(table, "TABLE", rows)]
        return objects(project, dataset, table)

    database.fetch, database.objects = fetch_by_name, objects_by_name


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
