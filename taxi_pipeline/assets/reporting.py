"""How assets speak to Dagster: metadata, retries, and failures that read well.

Only the form of a report belongs here; nothing in it moves data.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import sleep
from typing import TYPE_CHECKING

import dagster as dg

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.settings import find_sink, retries, retry_seconds
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Table
from taxi_pipeline.tlc.text import printable

if TYPE_CHECKING:
    import pyarrow as pa

PREVIEW_ROWS = 5
_CHARACTERS = 100  # of a cell or a name that is shown
_COLUMNS = 200  # of a file that are shown

OWNERS = ("team:taxi-data",)

# By default some 2, 6, 14 and 30 seconds: a database that is restarted is back by then.
RETRIES = dg.RetryPolicy(
    max_retries=retries(),
    delay=retry_seconds(),
    backoff=dg.Backoff.EXPONENTIAL,
    jitter=dg.Jitter.PLUS_MINUS,
)

_PATIENCE_SECONDS = 600  # a run that waits holds its places in the pools


class _Interrupted(dg.DagsterError, dg.DagsterExecutionInterruptedError):
    """The interrupt that ends a run, as one of Dagster's own errors, which it does not retry."""


@contextmanager
def retried_if_transient(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
) -> Iterator[None]:
    """Try a step again that ends with a `TransientError`, up to `RETRIES` times.

    It waits by that policy, and beyond it for as long as the server asks. A `PermanentError`, or
    the last try's error, becomes a failure that shows its sentence and is not retried, nor is its
    run; nor is a step whose run is terminated, which Dagster would start again by its policy.
    """
    try:
        try:
            yield
        except PermanentError as error:
            raise _failure(context, str(error)) from error
        except TransientError as error:
            _wait_for_next_try(context, error)
            raise dg.RetryRequested(RETRIES.max_retries) from error
    except dg.DagsterExecutionInterruptedError as error:
        raise _Interrupted("The run was interrupted.") from error


def _wait_for_next_try(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, error: TransientError
) -> None:
    """Wait until the step may be tried again; raise `dg.Failure` where it may not."""
    tried = context.op_execution_context.retry_number + 1
    wanted = error.retry_after or 0.0
    if wanted > _PATIENCE_SECONDS:
        advice = f"It asks to wait for {wanted:,.0f} s: run it again then."
        raise _failure(context, f"{error} {advice}") from error
    if tried > RETRIES.max_retries:
        raise _failure(context, f"{error} It was tried {tried} times.") from error
    seconds = wanted + RETRIES.calculate_delay(tried)
    context.log.warning(
        f"Try {tried} of {RETRIES.max_retries + 1} failed, the next is in {seconds:.0f} s: {error}"
    )
    # not in Dagster, which while it waits does not hear of a termination
    sleep(seconds)


def _failure(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, sentence: str
) -> dg.Failure:
    """Return a failure that nothing retries by itself, neither the step nor its run."""
    do_not_retry_run(context)
    return dg.Failure(sentence, allow_retries=False)


def do_not_retry_run(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> None:
    """Let the run fail for good if its step fails now: it would fail in the same way again.

    Dagster retries other runs whose step failed. So it is where its own storage was away at the
    moment when it noted what the step did.
    """
    context.instance.add_run_tags(
        context.run.run_id, {"dagster/retry_on_asset_or_op_failure": "false"}
    )


def column_lineage(origins: Mapping[str, Mapping[str, str]], layer: str) -> dg.TableColumnLineage:
    """Return the lineage of columns that are made of published tables' columns.

    Args:
        origins: The column of each table that a column is made of, by column and by table.
        layer: The layer of the tables' assets.
    """
    return dg.TableColumnLineage(
        {
            column: [
                dg.TableColumnDep(asset_key(source, layer), origin)
                for source, origin in by_source.items()
            ]
            for column, by_source in origins.items()
            if by_source
        }
    )


def table_name(sink: type[Sink], table: Table) -> dict[str, str]:
    """Return what Dagster's catalog knows a table by, before any run of its asset.

    Args:
        sink: The store.
        table: The table.

    Returns:
        The name as metadata; nothing where the environment does not say where the store is, or
        says it wrongly, which the first run explains.
    """
    with suppress(PermanentError):
        if store := find_sink(sink):
            return {"dagster/table_name": store.sql_name(table).strip("`")}
    return {}


def table_columns(table: Table) -> dg.TableSchema:
    """Return a declared table's columns as Dagster's catalog shows them."""
    return dg.TableSchema(
        [
            dg.TableColumn(column.name, BigQuery.types[column.type], column.description)
            for column in table.columns
        ]
    )


def file_columns(schema: "pa.Schema") -> dg.TableSchema:
    """Return a file's own columns as Dagster's catalog shows them."""
    fields = [schema.field(index) for index in range(min(len(schema), _COLUMNS))]
    return dg.TableSchema(
        [
            dg.TableColumn(
                printable(field.name, _CHARACTERS), printable(str(field.type), _CHARACTERS)
            )
            for field in fields
        ]
    )


def columns_from(
    layer: str, table: Table, origins: Iterable[tuple[str, str]]
) -> dg.TableColumnLineage:
    """Return which columns of the table's asset in `layer` each column was made of.

    `origins` are pairs: a column's name, and the name of a column that it was made of.
    """
    dependencies: dict[str, list[dg.TableColumnDep]] = {}
    for column, origin in origins:
        dep = dg.TableColumnDep(asset_key(table.name, layer), printable(origin, _CHARACTERS))
        dependencies.setdefault(column, []).append(dep)
    return dg.TableColumnLineage(dependencies)


def preview(rows: Sequence[Mapping[str, object]], schema: "pa.Schema") -> dg.TableMetadataValue:
    """Return a few rows as a table, printable and cut, for Dagster keeps it with the event.

    A row that is cut short has no value in the last columns.
    """
    names = {name: printable(name, _CHARACTERS) for name in schema.names[:_COLUMNS]}
    printable_rows = [{shown: row.get(name) for name, shown in names.items()} for row in rows]
    texts = [
        {k: None if v is None else printable(str(v), _CHARACTERS) for k, v in row.items()}
        for row in printable_rows
    ]
    return table(dict.fromkeys(names.values(), "string"), texts)


def query(name: str, month: Month | None) -> dg.MarkdownMetadataValue:
    """Return SQL that shows some rows of a table, of the month if it has months, for people.

    `name` is the table's as its store writes it; PostgreSQL and BigQuery both take the rest.
    """
    lines = ["SELECT *", f"FROM {name}"]
    if month:
        lines.append(
            f"WHERE pickup_datetime >= '{month}-01' AND pickup_datetime < '{month.next}-01'"
        )
    return dg.MetadataValue.md("\n".join(["```sql", *lines, "LIMIT 100", "```"]))


def counts(label: str, rows: Mapping[str, int]) -> dg.TableMetadataValue:
    """Return counts of rows by name as a table, the largest first."""
    ordered = sorted(rows.items(), key=lambda item: -item[1])
    return table(
        {label: "string", "rows": "int"}, [{label: name, "rows": count} for name, count in ordered]
    )


def figures(row: Mapping[str, int]) -> dg.TableMetadataValue:
    """Return figures by name as a table of one row."""
    return table(dict.fromkeys(row, "int"), [row])


def compared(
    expected: Mapping[str, float | None], actual: Mapping[str, float | None]
) -> dg.TableMetadataValue:
    """Return what was expected and what there is, figure by figure, as a table."""
    return table(
        {"figure": "string", "expected": "number", "actual": "number"},
        [
            {"figure": name, "expected": expected.get(name), "actual": actual.get(name)}
            for name in {**expected, **actual}
        ],
    )


def table(
    columns: Mapping[str, str], rows: Iterable[Mapping[str, str | float | None]]
) -> dg.TableMetadataValue:
    """Return rows as a table, with its columns' types by name."""
    return dg.MetadataValue.table(
        [dg.TableRecord(dict(row)) for row in rows],
        dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()]),
    )
