"""What the BigQuery emulator does again for each query, and need not.

It parses and translates a query that comes again, asks DuckDB three times for the columns of its
result, and lists the results of all earlier queries before each new one. Most of a query's time
goes there. None of it changes what a query gives. Of many results, one that nobody has read for a
minute is dropped, where BigQuery keeps it for a day.
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
    selects: _Selects = {}
    _keep_translations(selects)
    _write_results_at_once(selects)


# The statements that write the results of known queries: by the query in DuckDB's SQL, and by its
# parameters' types.
_Selects = dict[str, dict[tuple[type, ...], str]]


def _keep_translations(selects: _Selects) -> None:
    """Wrap the functions that parse and translate: a query that comes again is known.

    A translation depends on the columns of the tables that are read, which are looked up each time.
    What depends on more is translated anew: scripts, what reads the catalog or many tables by one
    name, and anything where there are policies for rows.
    """
    from local_bigquery.catalog import tables
    from local_bigquery.engine import database
    from local_bigquery.errors import BigQueryError
    from local_bigquery.jobs import query
    from local_bigquery.sql import script
    from sqlglot import exp

    parse, parse_script, translate = script.parse, script.parse_script, query.translate
    trees: dict[str, Any] = {}
    kept: dict[Any, tuple[str, set[str], set[Reference], Any]] = {}

    def is_plain(tree: Any, text: str) -> bool:
        return (
            isinstance(tree, exp.Select)
            and "@@" not in text
            and "INFORMATION_SCHEMA" not in text.upper()
            and not any("*" in table.name for table in tree.find_all(exp.Table))
            and tree.find(exp.Anonymous) is None  # a routine, which may be replaced
        )

    def parse_once(text: str) -> Any:
        if tree := trees.get(text):
            return [tree]
        parsed = parse(text)
        if len(parsed) == 1 and is_plain(parsed[0], text):
            if len(trees) >= _QUERIES:
                for each in (trees, kept, selects):
                    each.clear()
            parsed[0].meta["text"] = text
            trees[text] = parsed[0]
        return parsed

    def parse_script_once(text: str) -> Any:
        return [script.Statement("SQL", text)] if text in trees else parse_script(text)

    def columns_of(references: set[Reference]) -> Any:
        return [[field.dump() for field in tables.columns(*each)] for each in sorted(references)]

    def is_kept(tree: Any, context: Any) -> bool:
        return (
            trees.get(tree.meta.get("text")) is tree
            and not (context.temporary or context.functions or context.variables)
            and not database.fetch("SELECT 1 FROM emulator.row_access_policies LIMIT 1")
        )

    def translate_once(tree: Any, context: Any) -> tuple[str, dict[str, Any]]:
        if not is_kept(tree, context):
            anew: tuple[str, dict[str, Any]] = translate(tree, context)
            return anew
        parameters = (*sorted(context.parameters.items()),)
        key = tree.meta["text"], context.project_id, context.dataset_id, parameters
        if known := kept.get(key):  # another thread may forget them all
            translated, used, references, columns = known
            with suppress(BigQueryError):  # a table that is gone
                if columns_of(references) == columns:
                    context.referenced.update(references)
                    return translated, {name: context.values[name] for name in used}
        translated, values = translate(tree, context)
        references = {*context.referenced}
        kept[key] = translated, {*values}, references, columns_of(references)
        selects[translated] = {}
        return translated, values

    script.parse, script.parse_script = parse_once, parse_script_once
    query.translate = translate_once


def _write_results_at_once(selects: _Selects) -> None:
    """Wrap the function that writes a query's rows: into a result that is new, by one statement.

    Old results are dropped, since DuckDB lists the tables of them all for each query.
    """
    from local_bigquery.catalog import tabledata, tables
    from local_bigquery.engine import database, results, types
    from local_bigquery.engine.database import quote

    write_table, list_rows_of = tables.write, tabledata.list_rows
    read_at: dict[Reference, float] = {}  # the one that was read last comes last
    lock = Lock()

    def select_of(cursor: "DuckDBPyConnection", query: str, params: Any) -> str:
        known = selects.get(query, {})
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

    def write(
        cursor: "DuckDBPyConnection",
        query: str,
        params: Any,
        reference: Reference,
        config: Any,
        *args: Any,
        isolated: bool = False,
        **kwargs: Any,
    ) -> bool:
        laid_out = any(getattr(config, name, None) for name in tables.LAYOUT)
        if reference[1] != tables.RESULTS or isolated or laid_out:
            created: bool = write_table(
                cursor, query, params, reference, config, *args, isolated=isolated, **kwargs
            )
            return created
        select = select_of(cursor, query, params)
        cursor.execute(f"CREATE OR REPLACE TABLE {tables.name(*reference)} AS {select}", params)
        note_reading(reference)
        for old in forgotten():
            database.execute(f"DROP TABLE IF EXISTS {tables.name(*old)}")
        return True

    def list_rows(project: str, dataset: str, table: str, *args: Any, **kwargs: Any) -> Any:
        if dataset == tables.RESULTS:
            note_reading((project, dataset, table))
        return list_rows_of(project, dataset, table, *args, **kwargs)

    def note_reading(reference: Reference) -> None:
        with lock:
            read_at.pop(reference, None)
            read_at[reference] = monotonic()

    def forgotten() -> list[Reference]:
        with lock:
            before = monotonic() - _RESULT_SECONDS
            more = [*read_at][:-_RESULTS]
            old = [reference for reference in more if read_at[reference] < before]
            for reference in old:
                del read_at[reference]
            return old

    tables.write, tabledata.list_rows = write, list_rows
