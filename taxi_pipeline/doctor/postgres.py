"""PostgreSQL: whether it is reached, may be written to, and lets a run end what it begins."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, LiteralString

from taxi_pipeline.doctor.context import ANSWER_SECONDS, Context
from taxi_pipeline.doctor.finding import Finding, failed, ok
from taxi_pipeline.io.classification import classified
from taxi_pipeline.marts import TRIPS
from taxi_pipeline.resources.postgres.errors import ADVICE, diagnose
from taxi_pipeline.resources.postgres.statements import SCHEMA
from taxi_pipeline.tlc.services import PUBLISHED_TABLES

if TYPE_CHECKING:
    from taxi_pipeline.resources.postgres.connection import Connection

_OLDEST = 14
_SHOWN = 5  # of tables of others, which may be hundreds of months

_RIGHTS: LiteralString = """
SELECT current_user, current_database(),
  has_database_privilege(current_database(), 'CREATE'),
  has_schema_privilege(to_regnamespace(%(schema)s), 'CREATE'),
  has_schema_privilege(to_regnamespace(%(schema)s), 'USAGE'),
  (SELECT array_agg(relname::text ORDER BY relname) FROM pg_class
    WHERE relnamespace = to_regnamespace(%(schema)s) AND NOT pg_has_role(relowner, 'USAGE')
      AND (relname = ANY (%(names)s) OR oid IN (
        SELECT inhrelid FROM pg_inherits JOIN pg_class AS parents ON parents.oid = inhparent
        WHERE relnamespace = to_regnamespace(%(schema)s) AND relname = ANY (%(names)s))))"""

# The role's and the database's own limits count, too; -1 is none.
_FIGURES: LiteralString = """
SELECT pg_database_size(current_database()),
  current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0),
  (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
  (SELECT datconnlimit FROM pg_database WHERE datname = current_database()),
  current_setting('max_wal_size'),
  (SELECT setting::bigint FROM pg_settings WHERE name = 'transaction_timeout')"""


def check_server(context: Context) -> Finding:
    """Check that the server lets us in, is of a version that we know, and takes writes."""
    place = context.postgres.place()
    where = f"{place['host']}:{place['port']}/{place['database']}"
    with _connected(context) as connection:
        version = connection.info.server_version
        (standby, read_only), *_ = connection.execute(
            "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'"
        ).fetchall()
    name = f"PostgreSQL {version // 10000}.{version % 10000}"
    if version // 10000 < _OLDEST:
        return failed(
            f"{where} is {name}: upgrade it to {_OLDEST} or later.", blocking=False, version=version
        )
    if standby:
        return failed(
            f"{where} is a standby, which takes no writes: name the primary in TAXI_POSTGRES_URL.",
            blocking=False,
        )
    if read_only:
        return failed(
            f"{where} takes no writes: ALTER ROLE … or ALTER DATABASE … RESET "
            "default_transaction_read_only; or the server's disk is full.",
            blocking=False,
        )
    return ok(f"{name} at {where}", version=version)


def check_rights(context: Context) -> Finding:
    """Check that we may make our tables and the view, and own those that are there.

    A month is a table of its own, whose owner an ALTER TABLE of the whole one leaves as it was.
    """
    names = [*(table.name for table in PUBLISHED_TABLES), TRIPS.name]
    values = {"schema": SCHEMA, "names": names}
    with _connected(context) as connection:
        rows = connection.execute(_RIGHTS, values).fetchall()
    ((role, database, may_create_schema, may_create_tables, may_use, foreign),) = rows
    problems = []
    if may_create_tables is None and not may_create_schema:
        problems.append(
            f"there is no schema {SCHEMA}, and the role may make none: CREATE SCHEMA {SCHEMA} "
            f'AUTHORIZATION "{role}", or GRANT CREATE ON DATABASE "{database}" TO "{role}".'
        )
    if may_create_tables is not None and not (may_create_tables and may_use):
        problems.append(f'GRANT CREATE, USAGE ON SCHEMA {SCHEMA} TO "{role}".')
    if foreign:
        listed = ", ".join(foreign[:_SHOWN]) + (" …" if len(foreign) > _SHOWN else "")
        problems.append(
            f"of others, {len(foreign)} in all: {listed}. Of each: ALTER TABLE {SCHEMA}.… OWNER TO "
            f'"{role}".'
        )
    if problems:
        return failed(f"the role {role}: {' '.join(problems)}", problems=problems)
    return ok(f"the role {role} may make and replace the tables of {SCHEMA}")


def check_limits(context: Context) -> Finding:
    """Check that there are connections for the runs, and that none is ended by the server."""
    timeout = context.postgres.timeout
    with _connected(context) as connection:
        (row,) = connection.execute(_FIGURES).fetchall()
    size, places, *limits, wal, transaction_ms = row
    connections = min([places, *(limit for limit in limits if limit >= 0)])
    figures = {"database_bytes": size, "connections": connections, "max_wal_size": wal}
    problems = []
    if connections < context.concurrent_runs:
        problems.append(
            f"{connections} connections, where {context.concurrent_runs} runs may ask for one "
            "each: raise max_connections or the role's CONNECTION LIMIT, or let fewer runs go on "
            "at once."
        )
    if transaction_ms and transaction_ms < timeout * 1000:
        problems.append(
            f"transaction_timeout is {transaction_ms // 1000} s, where the copying of a month may "
            f"take {timeout} s (TAXI_POSTGRES_TIMEOUT): raise it for the role."
        )
    if problems:
        return failed(" ".join(problems), problems=problems, **figures)
    return ok(
        f"{connections} connections, max_wal_size {wal}; the database has {size:,} bytes (what is "
        "free on its disk, SQL does not say)",
        **figures,
    )


@contextmanager
def _connected(context: Context) -> "Iterator[Connection]":
    """Connect, for statements that write nothing and end soon."""
    from taxi_pipeline.resources.postgres.connection import Connection

    postgres = context.postgres
    seconds = min(postgres.connect_timeout, ANSWER_SECONDS)
    with classified("PostgreSQL cannot be reached (check TAXI_POSTGRES_URL)", diagnose=diagnose):
        connection = Connection.open(postgres.url, seconds, ANSWER_SECONDS)
    with connection, classified("PostgreSQL", ADVICE, diagnose):
        connection.read_only = True
        connection.begin(ANSWER_SECONDS)
        yield connection
