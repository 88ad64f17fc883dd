"""The database: tables in PostgreSQL, the trips' partitioned by month.

A month is replaced in one transaction: its rows stream into a table of their own, which at the end
takes the old partition's place. A reader sees the old month or the new one, and a crash at any
point leaves the old one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, ClassVar, LiteralString

import dagster as dg
from pydantic import Field

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.classification import classified
from taxi_pipeline.resources.sql import SUM_OF_CENTS
from taxi_pipeline.tlc.concurrency import ordered_parallel_map
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import DATE, DATETIME, INTEGER, NUMBER, TEXT, Column, Table
from taxi_pipeline.tlc.tally import Tally

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from psycopg import sql

    from taxi_pipeline.resources.connection import Connection

SCHEMA = "tlc"
_PARTITIONED: LiteralString = "PARTITION BY RANGE (pickup_datetime)"

# While one waits for the readers of a table, new readers wait for it: so it waits in turns. A turn
# is longer than deadlock_timeout (1 s), after which PostgreSQL makes an autovacuum give way.
_TURN_SECONDS = 2
_PAUSE_SECONDS = 1

# The declared types as PostgreSQL's catalog spells them. The timestamp has no zone, as TLC's times
# have none.
TYPES: "dict[pa.DataType, LiteralString]" = {
    INTEGER: "integer",
    NUMBER: "double precision",
    TEXT: "text",
    DATETIME: "timestamp without time zone",
    DATE: "date",
}

_ADVICE = {
    # a bound of ours is none that anybody could drop
    **dict.fromkeys(("23502", "23503", "23505"), "Drop the constraint that these rows break."),
    "42": f"Check the role's rights and what else uses the schema {SCHEMA}.",
    "2B": f"Check what else uses the schema {SCHEMA}.",
    "53": "See to the server's disk, memory and max_connections.",
    "55P03": "TAXI_POSTGRES_LOCK_TIMEOUT is how many seconds others are waited for.",
    "57014": "TAXI_POSTGRES_TIMEOUT is how many seconds a statement may take.",
}


@dataclass(frozen=True)
class _ExistingColumn:
    """A column that a table has, as the catalog says it: its type as SQL writes it.

    `collation` is its schema and name, where it is not the type's. `filled` says whether a row that
    leaves the column out gets a value, `computed` whether no row may give one.
    """

    name: str
    type: str
    collation: tuple[str, str] | None
    not_null: bool
    filled: bool
    computed: bool
    description: str | None = field(compare=False)


class Database(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The database, whose tables lie in the schema `tlc`."""

    title: ClassVar[str] = "Postgres"  # as the ledger calls it

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
        from psycopg.conninfo import conninfo_to_dict

        where = conninfo_to_dict(self._conninfo())
        host, port = where.get("host", "localhost"), where.get("port", 5432)
        return f"postgresql://{host}:{port}/{where.get('dbname', '')}/{SCHEMA}.{table.name}"

    def sql_name(self, table: Table) -> str:
        """Return the table's name as a query writes it."""
        return f"{SCHEMA}.{table.name}"

    def replace_month(
        self, table: Table, month: Month, batches: "Iterable[pa.RecordBatch]", rows: int
    ) -> None:
        """Copy the batches in place of the month's partition, in one transaction.

        `rows` is the number that must arrive; raises `PermanentError` if another does, or where
        something of somebody's is in the partition's place.
        """
        from psycopg import errors, sql

        name = _partition(table, month)
        bounds = {"start": month.start, "end": month.end}
        names = {
            "parent": _identifier(table.name),
            "partition": _identifier(name),
            "partition_name": sql.Identifier(name),
            "incoming": _identifier(f"{name}_incoming"),
            "bounds_check": sql.Identifier(f"{name}_bounds"),
        }
        columns = self._ensure(table, _PARTITIONED)
        with self._transaction(name) as connection:
            _has_partition(connection, table, month)  # or raises, before any row is copied
            try:
                # not LIKE the parent: its lock, held to the end, would deadlock two months at the
                # swap
                _run(
                    connection,
                    "CREATE TABLE {incoming} ({columns})",
                    {**names, "columns": sql.SQL(", ").join(map(_definition, columns))},
                )
            except (errors.DuplicateTable, errors.DuplicateObject):
                raise PermanentError(
                    f"PostgreSQL: there is a {SCHEMA}.{name}_incoming of somebody's, a name that "
                    "the month's rows are copied under. Nothing was changed: rename it, or drop it."
                ) from None
            # frozen, or a transaction that began before the swap would find no rows after it
            _copy(connection, table, names["incoming"], batches, rows, frozen=True)
            # proved here, while nobody waits, the bounds need no scan when the partition is swapped
            _run(
                connection,
                "ALTER TABLE {incoming} ADD CONSTRAINT {bounds_check} CHECK "
                "(pickup_datetime IS NOT NULL AND pickup_datetime >= {start} "
                "AND pickup_datetime < {end})",
                names,
                bounds,
            )

            def swap() -> None:
                old = _has_partition(connection, table, month)
                mode = "ACCESS EXCLUSIVE" if old else "SHARE UPDATE EXCLUSIVE"
                # from here to the commit nobody alters the table or detaches a partition; if there
                # is an old one, readers of the table wait
                _run(connection, f"LOCK TABLE ONLY {{parent}} IN {mode} MODE", names)
                if _catalog(connection, table) != columns:
                    raise TransientError(
                        f"PostgreSQL: {SCHEMA}.{table.name} was altered while the month's rows "
                        "were copied. Nothing was changed: run the month again."
                    )
                if old and _has_partition(connection, table, month):
                    _run(connection, "DROP TABLE {partition}", names)
                _run(connection, "ALTER TABLE {incoming} RENAME TO {partition_name}", names)
                try:
                    _run(
                        connection,
                        "ALTER TABLE {parent} ATTACH PARTITION {partition} "
                        "FOR VALUES FROM ({start}) TO ({end})",
                        names,
                        bounds,
                    )
                except errors.CheckViolation as error:  # our rows are within the bounds
                    raise PermanentError(
                        f"PostgreSQL: {error.diag.schema_name}.{error.diag.table_name}, the "
                        f"DEFAULT partition of {SCHEMA}.{table.name}, has rows of {month}. Nothing "
                        "was changed: move them to another table, or delete them."
                    ) from None
                _run(connection, "ALTER TABLE {partition} DROP CONSTRAINT {bounds_check}", names)

            self._in_turns(connection, swap, table.name, name)

    def replace(self, table: Table, batches: "Iterable[pa.RecordBatch]", rows: int) -> None:
        """Copy the batches in place of all rows of an unpartitioned table, in one transaction."""
        names = {"table": _identifier(table.name)}
        self._ensure(table)
        with self._transaction(table.name) as connection:
            _run(connection, "DELETE FROM {table}", names)
            _copy(connection, table, names["table"], batches, rows, frozen=False)

    def tallies(
        self,
        table: Table,
        total: str | None,
        first: Month | None = None,
        last: Month | None = None,
    ) -> dict[Month, Tally]:
        """Tally a month-partitioned table by month, from `first` to `last`; a missing one has none.

        `total` is the column to sum up. Only the partitions of those months are read.
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
            "table": _identifier(table.name),
            "cents": sql.SQL(SUM_OF_CENTS).format(sql.Identifier(total)) if total else sql.NULL,
            # a month alone is one group, which PostgreSQL tallies four times as fast
            "month": sql.Literal(first.start)
            if first and first == last
            else sql.SQL("date_trunc('month', pickup_datetime)"),
        }
        with self._connected() as connection:
            try:
                rows = _run(
                    connection,
                    statement + " GROUP BY {month}",
                    names,
                    {"first": first and first.start, "end": last and last.end},
                ).fetchall()
            except errors.UndefinedTable:
                return {}
        return {Month(year, month): Tally(*figures) for year, month, *figures in rows}

    def _ensure(self, table: Table, partitioning: LiteralString = "") -> "list[_ExistingColumn]":
        """Create the table if it is not there; add what was declared, or described anew, since.

        Return the columns that it has. Raises `PermanentError` where one is another than is
        declared, or where rows of ours could not be put into it.
        """
        from psycopg import sql

        names: dict[str, sql.Composable] = {
            "schema": sql.Identifier(SCHEMA),
            "table": _identifier(table.name),
        }
        # two first months at once, of any service: the second waits here and finds what it needs
        with self._transaction("definitions") as connection:
            described = {column.name: column.description for column in _catalog(connection, table)}
            if not described:
                schema = connection.execute("SELECT to_regnamespace(%s)", [SCHEMA]).fetchone()
                if schema == (None,):
                    _run(connection, "CREATE SCHEMA {schema}", names)
                created = {**names, "columns": _columns(table.columns)}
                _run(connection, "CREATE TABLE {table} ({columns}) " + partitioning, created)
                comment = {"comment": table.description}
                _run(connection, "COMMENT ON TABLE {table} IS {comment}", names, comment)
            _check_kind(connection, table, partitioning)
            for column in table.columns:
                identifiers = {
                    **names,
                    "column": sql.Identifier(column.name),
                    "added": _columns([column]),
                }
                if described and column.name not in described:
                    statement: LiteralString = "ALTER TABLE {table} ADD COLUMN {added}"
                    self._in_turns(
                        connection, partial(_run, connection, statement, identifiers), table.name
                    )
                if described.get(column.name) != column.description:
                    comment = {"comment": column.description}
                    statement = "COMMENT ON COLUMN {table}.{column} IS {comment}"
                    _run(connection, statement, identifiers, comment)
            columns = _catalog(connection, table)
            _check_columns(table, columns, partitioning)
            return columns

    @contextmanager
    def _transaction(self, lock: str) -> "Iterator[Connection]":
        """Open a transaction that holds the lock of that name to its end."""
        from psycopg.errors import LockNotAvailable

        with self._connected() as connection:
            try:
                with connection.transaction():
                    _run(connection, f"SELECT pg_advisory_xact_lock({_KEY})", {}, {"lock": lock})
            except LockNotAvailable:
                holders = _holders(connection, _HOLD_ADVISORY, {"lock": lock})
                raise self._held(lock, holders) from None
            yield connection

    def _in_turns(self, connection: "Connection", work: Callable[[], object], *tables: str) -> None:
        """Do what needs the tables for itself, without making their readers wait for long."""
        from psycopg.errors import DeadlockDetected, LockNotAvailable

        end = monotonic() + self.lock_timeout
        turn = min(_TURN_SECONDS, self.lock_timeout)
        _run(connection, "SET LOCAL lock_timeout = {turn}", {}, {"turn": f"{turn}s"})
        while True:
            try:
                with connection.transaction():
                    work()
                return
            except (LockNotAvailable, DeadlockDetected):
                if monotonic() >= end:
                    values = {"tables": [f"{SCHEMA}.{table}" for table in tables]}
                    holders = _holders(connection, _HOLD_TABLES, values)
                    raise self._held(tables[-1], holders) from None
            sleep(_PAUSE_SECONDS)

    def _held(self, name: str, holders: str) -> TransientError:
        return TransientError(
            f"PostgreSQL: {SCHEMA}.{name} was in use for {self.lock_timeout} s "
            f"(TAXI_POSTGRES_LOCK_TIMEOUT), by {holders}. Nothing was changed."
        )

    @contextmanager
    def _connected(self) -> "Iterator[Connection]":
        """Connect; commit at the end. An error says whether trying again can help."""
        from taxi_pipeline.resources.connection import Connection

        conninfo = self._conninfo()
        with classified("PostgreSQL cannot be reached (check TAXI_POSTGRES_URL)"):
            connection = Connection.open(conninfo, self.connect_timeout, self.timeout)
        with (
            classified("PostgreSQL broke off at the commit, so all of it was done or nothing"),
            connection,
            classified("PostgreSQL failed and changed nothing", _ADVICE),
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

    def tally(self, table: Table) -> Tally:
        """Tally the rows of an unpartitioned table; a missing one has none."""
        from psycopg import errors

        with self._connected() as connection:
            try:
                ((rows,),) = _run(
                    connection, "SELECT count(*) FROM {table}", {"table": _identifier(table.name)}
                ).fetchall()
            except errors.UndefinedTable:
                rows = 0
        return Tally(rows, None)


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

# an advisory lock's 64 bits, and how pg_locks shows them
_KEY: LiteralString = "hashtextextended('taxi_pipeline tlc.' || {lock}, 0)"
_HOLD_ADVISORY: LiteralString = (
    f"locktype = 'advisory' AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = {_KEY}"
)
_HOLD_TABLES: LiteralString = (
    "relation IN (SELECT to_regclass(name) FROM unnest({tables}::text[]) AS tables (name))"
)


def _identifier(name: str) -> "sql.Identifier":
    from psycopg import sql

    return sql.Identifier(SCHEMA, name)


def _catalog(connection: "psycopg.Connection", table: Table) -> list[_ExistingColumn]:
    """Return the columns that the table has; none where there is no table."""
    columns = _run(connection, _CATALOG, {}, {"table": f"{SCHEMA}.{table.name}"})
    return [
        _ExistingColumn(name, type_, (schema, collation) if collation else None, *rest)
        for name, type_, schema, collation, *rest in columns.fetchall()
    ]


def _definition(column: _ExistingColumn) -> "sql.Composed":
    """Return the definition of a column like that one, without which none can be attached."""
    from psycopg import sql

    # the catalog has quoted the type
    defined = sql.SQL("{} {}").format(sql.Identifier(column.name), sql.SQL(column.type))
    if column.collation:
        defined += sql.SQL(" COLLATE {}").format(sql.Identifier(*column.collation))
    return defined + sql.SQL(" NOT NULL") if column.not_null else defined


def _check_kind(connection: "psycopg.Connection", table: Table, partitioning: str) -> None:
    """Raise `PermanentError` where something else has the table's name, or new partitions fail."""
    name = f"{SCHEMA}.{table.name}"
    rows = _run(connection, _KIND, {}, {"table": name}).fetchall()
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


def _check_columns(table: Table, columns: Iterable[_ExistingColumn], partitioning: str) -> None:
    """Raise `PermanentError` where a column cannot hold what is declared, and say what to run."""
    types = {column.name: TYPES[column.type] for column in table.columns}
    for column in columns:
        name, declared = f"{SCHEMA}.{table.name}", types.get(column.name)
        where = f"PostgreSQL: the column {column.name} of {name}"
        change = f"Nothing was changed: run ALTER TABLE {name} ALTER COLUMN {column.name}"
        if declared and declared != column.type:
            raise PermanentError(
                f"{where} is {column.type}, and is declared as {declared}. "
                f"{change} TYPE {declared} USING {column.name}::{declared}."
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


def _partition(table: Table, month: Month) -> str:
    """Return the name of the month's partition."""
    return f"{table.name}_{month.year:04}_{month.month:02}"


def _has_partition(connection: "psycopg.Connection", table: Table, month: Month) -> bool:
    """Return whether the table has a partition of the month, of the name that we give it.

    Raises `PermanentError` where somebody's relation has that name, or another partition the
    month's rows.
    """
    expected, parent = (SCHEMA, _partition(table, month)), f"{SCHEMA}.{table.name}"
    partition = ".".join(expected)
    bounds = f"FOR VALUES FROM ('{month.start}') TO ('{month.end}')"
    _run(connection, "SET LOCAL datestyle = 'ISO'", {})  # in which the bounds are written
    values = {"parent": parent, "start": month.start, "end": month.end}
    overlapping = _run(connection, _OVERLAPPING, {}, values).fetchall()
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
        if (schema, name) != expected:
            raise PermanentError(
                f"{where} with {month}, under another name than ours, {partition}. Nothing was "
                "changed: rename it to that, or drop it."
            )
    if overlapping:
        return True
    relation = _run(connection, "SELECT to_regclass({name})", {}, {"name": partition}).fetchone()
    if relation != (None,):
        raise PermanentError(
            f"PostgreSQL: {partition} is there, and is not {parent}'s partition of {month}: "
            "somebody has detached it, or made it. Nothing was changed: rename it or drop it, or "
            f"attach it again by ALTER TABLE {parent} ATTACH PARTITION {partition} {bounds}."
        )
    return False


def _columns(columns: Iterable[Column]) -> "sql.Composed":
    """Return the columns' definitions: names and types, as in CREATE TABLE."""
    from psycopg import sql

    return sql.SQL(", ").join(
        sql.SQL("{} " + TYPES[column.type]).format(sql.Identifier(column.name))
        for column in columns
    )


def _run(
    connection: "psycopg.Connection",
    statement: LiteralString,
    names: "Mapping[str, sql.Composable]",
    values: Mapping[str, object] | None = None,
) -> "psycopg.Cursor":
    """Execute a statement whose names and values the driver quotes: DDL takes no parameters."""
    from psycopg import sql

    literals = {name: sql.Literal(value) for name, value in (values or {}).items()}
    return connection.execute(sql.SQL(statement).format(**names, **literals))


def _holders(
    connection: "psycopg.Connection", hold: LiteralString, values: Mapping[str, object]
) -> str:
    """Return who holds such locks in this database: process, application and since when."""
    statement: LiteralString = (
        "SELECT string_agg(DISTINCT concat_ws(' ', 'pid', pid, nullif(application_name, ''), "
        "to_char(xact_start, '\"since\" YYYY-MM-DD HH24:MI:SS TZ')), ', ') "
        "FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE granted "
        "AND pid <> pg_backend_pid() AND datname = current_database() AND "
    )
    ((holders,),) = _run(connection, statement + hold, {}, values).fetchall()
    return holders or "somebody who has just ended"


def _copy(
    connection: "Connection",
    table: Table,
    into: "sql.Identifier",
    batches: "Iterable[pa.RecordBatch]",
    rows: int,
    *,
    frozen: bool,
) -> None:
    """Stream the batches into a table by binary COPY, and check that all rows arrived.

    Frozen rows are seen by whoever sees the table, which this transaction must have made.
    """
    from pgpq import ArrowToPostgresBinaryEncoder
    from psycopg import sql

    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
    statement = sql.SQL(
        "COPY {into} ({columns}) FROM STDIN (FORMAT binary, FREEZE {frozen})"
    ).format(into=into, columns=columns, frozen=sql.Literal(frozen))
    encoder = ArrowToPostgresBinaryEncoder(arrow_schema(table))
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy, connection.closed_if_interrupted():
            copy.write(encoder.write_header())
            # the next rows are encoded while PostgreSQL stores these
            for encoded in ordered_parallel_map(encoder.write_batch, batches, threads=1):
                copy.write(encoded)
            copy.write(encoder.finish())
        if cursor.rowcount != rows:
            raise PermanentError(
                f"{SCHEMA}.{table.name}: {cursor.rowcount} rows arrived of {rows}; nothing was "
                "changed. Materialize the month again from `cleaned` on."
            )
