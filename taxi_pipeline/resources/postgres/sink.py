"""The Dagster resource for PostgreSQL, which is a sink."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, LiteralString

from pydantic import Field

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.classification import classified
from taxi_pipeline.io.sql import SUM_OF_CENTS, fingerprint_terms, tallies_of_row, tally_aggregates
from taxi_pipeline.marts import View
from taxi_pipeline.resources.postgres.catalog import (
    PARTITIONED,
    ExistingColumn,
    check_columns,
    check_kind,
    existing_columns,
    month_place,
)
from taxi_pipeline.resources.postgres.errors import ADVICE, diagnose
from taxi_pipeline.resources.postgres.locks import TablesHeldError, in_turns, locked
from taxi_pipeline.resources.postgres.planner import (
    analyze_parent,
    create_day_index,
    has_day_index,
)
from taxi_pipeline.resources.postgres.rows import (
    copy_month,
    copy_rows,
    drop_other_waiting_rows,
    has_waiting_rows,
)
from taxi_pipeline.resources.postgres.stamps import read_stamps, write_stamp_if_owner
from taxi_pipeline.resources.postgres.statements import (
    DIALECT,
    SCHEMA,
    TYPES,
    column_definitions,
    composed,
    execute,
    identifier,
    incoming_name,
    partition_name,
    rows_name,
)
from taxi_pipeline.resources.postgres.swap import swap_in
from taxi_pipeline.resources.postgres.views import replace_view
from taxi_pipeline.sink import CleanedFile, Sink, Stamp
from taxi_pipeline.tlc.column_tallies import ColumnTallies
from taxi_pipeline.tlc.fingerprint import MODULUS
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Table
from taxi_pipeline.tlc.tally import Tally

if TYPE_CHECKING:
    import pyarrow as pa
    from psycopg import sql

    from taxi_pipeline.resources.postgres.connection import Connection

# OFFSET 0 keeps PostgreSQL from computing a residue twice, for each of its two uses.
_SUM_OF_SQUARES: LiteralString = (
    f"SELECT SUM(MOD(residue * residue, {MODULUS})) "  # noqa: S608 - a number of ours
    "FROM ({rows} OFFSET 0) AS residues"
)


class Postgres(Sink):
    """A database in PostgreSQL, whose tables lie in the schema `tlc`.

    Raises, from every method that asks the server, `TransientError` where trying again can help;
    else `PermanentError`.
    """

    name = "postgres"
    title = "Postgres"
    kinds = frozenset({"postgres", "table"})
    pool = "postgres"
    types = TYPES
    keeps_views = True
    variables: ClassVar = {
        "url": "TAXI_POSTGRES_URL",
        "connect_timeout": "TAXI_POSTGRES_CONNECT_TIMEOUT",
        "lock_timeout": "TAXI_POSTGRES_LOCK_TIMEOUT",
        "timeout": "TAXI_POSTGRES_TIMEOUT",
    }

    url: str = Field(
        repr=False,
        exclude=True,
        json_schema_extra={"dagster__is_secret": True},
        description="postgresql://USER:PASSWORD@HOST:PORT/DB (TAXI_POSTGRES_URL).",
    )
    connect_timeout: int = Field(
        default=10, description="Seconds to wait for a connection (TAXI_POSTGRES_CONNECT_TIMEOUT)."
    )
    lock_timeout: int = Field(
        default=60,
        description="Seconds to wait for readers and writers of the same table "
        "(TAXI_POSTGRES_LOCK_TIMEOUT).",
    )
    timeout: int = Field(
        default=3600,
        description="Seconds that a statement may take, the copying of a month's rows included "
        "(TAXI_POSTGRES_TIMEOUT).",
    )

    def uri(self, table: Table) -> str:
        """Return the table's address as Dagster's catalog shows it, without user and password."""
        where = self.place()
        database = f"{where['host']}:{where['port']}/{where['database']}"
        return f"postgresql://{database}/{self.sql_name(table)}"

    def sql_name(self, table: Table) -> str:
        """Return the table's name as a query writes it."""
        return f"{SCHEMA}.{table.name}"

    def place(self) -> Mapping[str, str | int]:
        """Return the host, the port, the database and the schema; of several hosts the first."""
        from psycopg.conninfo import conninfo_to_dict

        where = conninfo_to_dict(self._conninfo())
        host, port = (str(where.get(name, "")).split(",")[0] for name in ("host", "port"))
        return {
            "host": host or "localhost",
            "port": int(port or 5432),
            "database": where.get("dbname") or where.get("user") or "",
            "schema": SCHEMA,
        }

    def replace(self, cleaned: CleanedFile, run_id: str) -> None:
        """Copy a file's rows in place of its month's, or of all rows of the table.

        One transaction makes the table or extends it, and another replaces the rows. A month that
        is not there yet is made. A last one takes the table's statistics, if they are wanting.
        Where readers of the month keep its new rows from being swapped in, these wait in a table of
        their own, and the same call made again need not copy them.
        """
        batches = cleaned.batches()  # which fetches the file, while no lock is held
        if cleaned.month is None:
            self._ensure(cleaned.table)
            with self._transaction(cleaned.table.name) as connection:
                table = identifier(cleaned.table.name)
                execute(connection, "DELETE FROM {table}", {"table": table})
                copy_rows(connection, cleaned, batches, table, frozen=False)
                write_stamp_if_owner(connection, cleaned.table, cleaned.stamp)
        else:
            columns = self._ensure(cleaned.table, PARTITIONED)
            self._replace_month(cleaned, batches, cleaned.month, columns)
            # the rows are there: what keeps the statistics from being taken is no reason to fail
            with suppress(PermanentError, TransientError), self._connected() as connection:
                analyze_parent(connection, cleaned.table, cleaned.month)

    def replace_view(self, view: View) -> None:
        """Make the view, or replace its definition in one transaction; who may read it stays."""
        for source in view.sources:
            self._ensure(source, PARTITIONED if source.partitioned_by else "")
        with self._transaction(view.name) as connection:
            replace_view(connection, view, self.lock_timeout)

    def _replace_month(
        self,
        cleaned: CleanedFile,
        batches: "Iterator[pa.RecordBatch]",
        month: Month,
        columns: list[ExistingColumn],
    ) -> None:
        """Copy a month's rows, and swap them in; only copied, they stay for the next try."""
        table, held = cleaned.table, None
        partition = partition_name(table, month)
        with self._transaction(partition) as connection:
            # committed before others are copied, for which the disk may have no room beside them
            drop_other_waiting_rows(connection, cleaned, month, columns)
        with self._transaction(partition) as connection:
            month_place(connection, table, month)  # or raises, before any row is copied
            if not has_waiting_rows(connection, cleaned, month, columns):
                copy_month(connection, cleaned, batches, month, columns)
            swap = partial(swap_in, connection, cleaned, month, columns)
            tables = (table.name, rows_name(table, month), partition)
            try:
                in_turns(connection, swap, self.lock_timeout, *tables)
            except TablesHeldError as error:
                held = error
        if held:
            incoming = f"{SCHEMA}.{incoming_name(table, month)}"
            raise TransientError(f"{held} The new rows wait in {incoming} for the next try.")

    def tallies(
        self,
        table: Table,
        total: str | None,
        first: Month | None = None,
        last: Month | None = None,
    ) -> dict[Month, Tally]:
        """Tally a month-partitioned table by month; only the partitions of the months are read.

        Rows without a pick-up time, which only a DEFAULT partition of somebody's can have, do not
        count.
        """
        from psycopg import errors, sql

        statement: LiteralString = (
            "SELECT extract(year FROM {month})::int, extract(month FROM {month})::int, "
            "count(*), {cents} FROM {table} WHERE pickup_datetime IS NOT NULL"
        )
        if first:
            statement += " AND pickup_datetime >= {first}"
        if last:
            statement += " AND pickup_datetime < {end}"
        names = {
            "table": identifier(table.name),
            "cents": sql.SQL(SUM_OF_CENTS).format(sql.Identifier(total)) if total else sql.NULL,
            # a month alone is one group, which PostgreSQL tallies four times as fast
            "month": sql.Literal(first.start)
            if first and first == last
            else sql.SQL("date_trunc('month', pickup_datetime)"),
        }
        with self._connected() as connection:
            try:
                rows = execute(
                    connection,
                    statement + " GROUP BY {month}",
                    names,
                    {"first": first and first.start, "end": last and last.end},
                ).fetchall()
            except errors.UndefinedTable:
                return {}
        return {Month(year, month): Tally(*figures) for year, month, *figures in rows}

    def tally(self, table: Table) -> Tally:
        """Tally the rows of an unpartitioned table; a missing one has none."""
        from psycopg import errors

        with self._connected() as connection:
            try:
                ((rows,),) = execute(
                    connection, "SELECT count(*) FROM {table}", {"table": identifier(table.name)}
                ).fetchall()
            except errors.UndefinedTable:
                rows = 0
        return Tally(rows, None)

    def stamps(self, table: Table) -> dict[Month | None, Stamp]:
        """Return what each month was loaded from: a comment on its partition says it."""
        with self._connected() as connection:
            return read_stamps(connection, table)

    def column_tallies(self, table: Table, month: Month | None) -> ColumnTallies:
        """Tally every column in one scan of the month's partition, or of the whole table."""
        from psycopg import sql

        with self._connected() as connection:
            columns = {column.name for column in existing_columns(connection, table.name)}
            if not columns:
                return ColumnTallies.of_no_rows(table)
            aggregates = sql.SQL(", ").join(
                composed(aggregate, column, columns)
                for column, aggregate in tally_aggregates(table, DIALECT)
            )
            selected = sql.SQL("count(*), {}").format(aggregates)
            row = _row_of_month(connection, selected, table, month)
        return tallies_of_row(table, row)

    def fingerprint(self, table: Table, month: Month | None) -> int:
        """Return the fingerprint of the rows, computed in one scan of them."""
        from psycopg import sql

        with self._connected() as connection:
            columns = {column.name for column in existing_columns(connection, table.name)}
            if not columns:
                return 0
            terms = sql.SQL(" + ").join(
                composed(expression, column, columns)
                for column, expression in fingerprint_terms(table, DIALECT)
            )
            residue = sql.SQL("MOD({}, {}) AS residue").format(terms, sql.Literal(MODULUS))
            row = _row_of_month(connection, residue, table, month, _SUM_OF_SQUARES)
        return int(row[0] or 0) if row else 0

    def _ensure(self, table: Table, partitioning: LiteralString = "") -> list[ExistingColumn]:
        """Create the table if it is not there; add what was declared, or described anew, since.

        A table of months gets an index of the pick-up time, unless it has one of somebody's.

        Return the columns that it has. Raises `PermanentError` where one is another than is
        declared, or where rows of ours could not be put into it.
        """
        from psycopg import sql

        names: dict[str, sql.Composable] = {
            "schema": sql.Identifier(SCHEMA),
            "table": identifier(table.name),
        }
        # two first months at once, of any service: the second waits here and finds what it needs
        with self._transaction("definitions") as connection:
            described = {
                column.name: column.description
                for column in existing_columns(connection, table.name)
            }
            if not described:
                schema = connection.execute("SELECT to_regnamespace(%s)", [SCHEMA]).fetchone()
                if schema == (None,):
                    execute(connection, "CREATE SCHEMA {schema}", names)
                created = {**names, "columns": column_definitions(table.columns)}
                execute(connection, "CREATE TABLE {table} ({columns}) " + partitioning, created)
                comment = {"comment": table.description}
                execute(connection, "COMMENT ON TABLE {table} IS {comment}", names, comment)
            check_kind(connection, table.name, partitioning)
            for column in table.columns:
                identifiers = {
                    **names,
                    "column": sql.Identifier(column.name),
                    "added": column_definitions([column]),
                }
                if described and column.name not in described:
                    statement: LiteralString = "ALTER TABLE {table} ADD COLUMN {added}"
                    add = partial(execute, connection, statement, identifiers)
                    in_turns(connection, add, self.lock_timeout, table.name)
                if described.get(column.name) != column.description:
                    comment = {"comment": column.description}
                    statement = "COMMENT ON COLUMN {table}.{column} IS {comment}"
                    execute(connection, statement, identifiers, comment)
            columns = existing_columns(connection, table.name)
            check_columns(table, columns, partitioning)
            if partitioning and not has_day_index(connection, table):
                create = partial(create_day_index, connection, table)
                in_turns(connection, create, self.lock_timeout, table.name)
            return columns

    @contextmanager
    def _transaction(self, lock: str) -> "Iterator[Connection]":
        """Open a transaction that holds the lock of that name to its end."""
        with self._connected() as connection, locked(connection, lock, self.lock_timeout):
            yield connection

    @contextmanager
    def _connected(self) -> "Iterator[Connection]":
        """Connect; commit at the end. An error says whether trying again can help."""
        from taxi_pipeline.resources.postgres.connection import Connection

        conninfo = self._conninfo()
        unreachable = "PostgreSQL cannot be reached (check TAXI_POSTGRES_URL)"
        with classified(unreachable, diagnose=diagnose):
            connection = Connection.open(conninfo, self.connect_timeout, self.timeout)
        at_commit = "PostgreSQL broke off at the commit, so all of it was done or nothing"
        with (
            classified(at_commit, diagnose=diagnose),
            connection,
            classified("PostgreSQL failed and changed nothing", ADVICE, diagnose),
        ):
            connection.begin(self.lock_timeout)
            yield connection

    def _conninfo(self) -> str:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        try:
            parts = conninfo_to_dict(self.url)
        except psycopg.ProgrammingError:
            parts = {}
        # what stands in the wrong place may be a part of the password: it is not shown
        host, port, dbname = (str(parts.get(name, "")) for name in ("host", "port", "dbname"))
        socket = host.startswith("/")
        misplaced = set("@:/") & {*dbname, *("" if socket else host)} or {*port} - {*"0123456789,"}
        if not self.url.startswith(("postgresql://", "postgres://")) or not parts or misplaced:
            raise PermanentError(
                "TAXI_POSTGRES_URL is malformed: write it as "
                "postgresql://USER:PASSWORD@HOST:PORT/DB, with the password percent-encoded."
            ) from None
        return make_conninfo(self.url)


def _row_of_month(
    connection: "Connection",
    selected: "sql.Composed",
    table: Table,
    month: Month | None,
    around: LiteralString = "{rows}",
) -> "tuple[Any, ...] | None":
    """Return what is selected of a month's rows, or of all of a table.

    `around` is a statement in which {rows} stands for that selection.
    """
    statement: LiteralString = "SELECT {selected} FROM {table}"
    if month:
        statement += " WHERE pickup_datetime >= {start} AND pickup_datetime < {end}"
    bounds = {"start": month.start, "end": month.end} if month else {}
    names = {"selected": selected, "table": identifier(table.name)}
    return execute(connection, around.replace("{rows}", statement), names, bounds).fetchone()
