"""What the BigQuery emulator does again for each query, and need not.

It parses and translates a query that comes again, asks DuckDB three times for the columns of its
result, and lists all tables, the results of all earlier queries too, before each new one. Most of a
query's time goes there. None of it changes what a query gives. Of many results, one that nobody has
read for a minute is dropped, where BigQuery keeps it for a day.
"""

from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Reference = tuple[str, str, str]

_QUERIES = 500  # whose translations are kept
_RESULTS = 200  # of queries, that are kept in any case
_RESULT_SECONDS = 60  # since it was read, for which any other result is kept


def install() -> None:
    """Wrap the emulator's functions."""
    from local_bigquery.catalog import tabledata, tables
    from local_bigquery.jobs import query
    from local_bigquery.sql import script

    selects: _Selects = {}
    translations = _Translations(selects)
    script.parse, script.parse_script = translations.parse, translations.parse_script
    query.translate = translations.translate
    results = _Results(selects)
    tables.write, tabledata.list_rows = results.write, results.list_rows
    tabledata.load = results.load
    _list_no_temporary_tables()


def _list_no_temporary_tables() -> None:
    """Wrap the function that lists all tables of all databases to find the temporary ones."""
    from local_bigquery.jobs import query

    run = query.execute

    def execute(cursor: "DuckDBPyConnection", *args: Any, session: Any = None, **rest: Any) -> Any:
        return run(
            cursor if session else _SessionlessCursor(cursor), *args, session=session, **rest
        )

    query.execute = execute


class _SessionlessCursor:
    """A cursor that is no session's, and so has no temporary tables."""

    def __init__(self, cursor: "DuckDBPyConnection") -> None:
        self._cursor = cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def sql(self, query: str, **options: Any) -> Any:
        if query == "SELECT table_name FROM duckdb_tables() WHERE temporary":
            query = "SELECT NULL WHERE false"
        return self._cursor.sql(query, **options)


# The statements that write the results of known queries: by the query in DuckDB's SQL, and by its
# parameters' types.
_Selects = dict[str, dict[tuple[type, ...], str]]


class _Translations:
    """Parses and translates as the emulator does, a query that comes again but once.

    A translation depends on the columns of the tables that are read, which are looked up each time.
    What depends on more is translated anew: scripts, what reads the catalog or many tables by one
    name, and anything where there are policies for rows.
    """

    def __init__(self, selects: _Selects) -> None:
        from local_bigquery.jobs import query
        from local_bigquery.sql import script

        self._selects = selects
        self._parse, self._parse_script = script.parse, script.parse_script
        self._translate = query.translate
        self._trees: dict[str, Any] = {}
        self._kept: dict[Any, tuple[str, set[str], set[Reference], Any]] = {}

    def parse(self, text: str) -> Any:
        if tree := self._trees.get(text):
            return [tree]
        parsed = self._parse(text)
        if len(parsed) == 1 and _is_plain(parsed[0], text):
            if len(self._trees) >= _QUERIES:
                for each in (self._trees, self._kept, self._selects):
                    each.clear()
            parsed[0].meta["text"] = text
            self._trees[text] = parsed[0]
        return parsed

    def parse_script(self, text: str) -> Any:
        from local_bigquery.sql import script

        return [script.Statement("SQL", text)] if text in self._trees else self._parse_script(text)

    def translate(self, tree: Any, context: Any) -> tuple[str, dict[str, Any]]:
        from local_bigquery.errors import BigQueryError

        if not self._is_kept(tree, context):
            anew: tuple[str, dict[str, Any]] = self._translate(tree, context)
            return anew
        parameters = (*sorted(context.parameters.items()),)
        key = tree.meta["text"], context.project_id, context.dataset_id, parameters
        if known := self._kept.get(key):  # another thread may forget them all
            translated, used, references, columns = known
            with suppress(BigQueryError):  # a table that is gone
                if _columns_of(references) == columns:
                    context.referenced.update(references)
                    return translated, {name: context.values[name] for name in used}
        translated, values = self._translate(tree, context)
        references = {*context.referenced}
        self._kept[key] = translated, {*values}, references, _columns_of(references)
        self._selects[translated] = {}
        return translated, values

    def _is_kept(self, tree: Any, context: Any) -> bool:
        from local_bigquery.catalog import row_access

        return (
            self._trees.get(tree.meta.get("text")) is tree
            and not (context.temporary or context.functions or context.variables)
            and not row_access.secured()
        )


def _is_plain(tree: Any, text: str) -> bool:
    from sqlglot import exp

    return (
        isinstance(tree, exp.Select)
        and "@@" not in text
        and "INFORMATION_SCHEMA" not in text.upper()
        and not any("*" in table.name for table in tree.find_all(exp.Table))
        and tree.find(exp.Anonymous) is None  # a routine, which may be replaced
    )


def _columns_of(references: set[Reference]) -> Any:
    from local_bigquery.catalog import tables

    return [[field.dump() for field in tables.columns(*each)] for each in sorted(references)]


class _Results:
    """Writes a query's rows into a result that is new by one statement.

    Old results are dropped, since whatever lists tables lists them, too.
    """

    def __init__(self, selects: _Selects) -> None:
        from local_bigquery.catalog import tabledata, tables

        self._selects = selects
        self._write, self._list_rows = tables.write, tabledata.list_rows
        self._load = tabledata.load
        self._read_at: dict[Reference, float] = {}  # the one that was read last comes last
        self._lock = Lock()

    def write(
        self,
        cursor: "DuckDBPyConnection",
        query: str,
        params: Any,
        reference: Reference,
        config: Any,
        *args: Any,
        isolated: bool = False,
        **kwargs: Any,
    ) -> bool:
        from local_bigquery.catalog import tables
        from local_bigquery.engine import database

        laid_out = any(getattr(config, name, None) for name in tables.LAYOUT)
        if reference[1] != tables.RESULTS or isolated or laid_out:
            created: bool = self._write(
                cursor, query, params, reference, config, *args, isolated=isolated, **kwargs
            )
            return created
        select = self._select_of(cursor, query, params)
        cursor.execute(f"CREATE OR REPLACE TABLE {tables.name(*reference)} AS {select}", params)
        self._note_reading(reference)
        for old in self._forget():
            database.execute(f"DROP TABLE IF EXISTS {tables.name(*old)}")
        return True

    def list_rows(self, project: str, dataset: str, table: str, *args: Any, **kwargs: Any) -> Any:
        from local_bigquery.catalog import tables

        if dataset == tables.RESULTS:
            self._note_reading((project, dataset, table))
        return self._list_rows(project, dataset, table, *args, **kwargs)

    def load(self, project: str, dataset: str, table: str) -> Any:
        from local_bigquery.catalog import tables

        # of a result only its columns are used, which are read next
        return None if dataset == tables.RESULTS else self._load(project, dataset, table)

    def _select_of(self, cursor: "DuckDBPyConnection", query: str, params: Any) -> str:
        from local_bigquery.engine import results, types
        from local_bigquery.engine.database import quote

        known = self._selects.get(query, {})
        key = (*(type(params[name]) for name in sorted(params or {})),)
        if key not in known:
            relation = cursor.sql(query, params=params)
            positions = [f"c{number}" for number in range(len(relation.columns))]
            columns = ", ".join(
                f"{results._without_null_elements(types.cast(position, kind), name, kind)} "
                f"AS {quote(name)}"
                for position, name, kind in zip(
                    positions, results.unique(relation.columns), relation.types, strict=True
                )
            )
            known[key] = f"SELECT {columns} FROM ({query}) AS q({', '.join(positions)})"  # noqa: S608
        return known[key]

    def _note_reading(self, reference: Reference) -> None:
        with self._lock:
            self._read_at.pop(reference, None)
            self._read_at[reference] = monotonic()

    def _forget(self) -> list[Reference]:
        """Forget old results; return them."""
        with self._lock:
            before = monotonic() - _RESULT_SECONDS
            more = [*self._read_at][:-_RESULTS]
            old = [reference for reference in more if self._read_at[reference] < before]
            for reference in old:
                del self._read_at[reference]
            return old
