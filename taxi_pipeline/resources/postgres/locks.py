"""Locks in PostgreSQL: of a name, for our own runs, and of tables, which others read meanwhile.

Whoever has to give up says who holds what is needed.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic, sleep
from typing import TYPE_CHECKING, LiteralString

from taxi_pipeline.errors import TransientError
from taxi_pipeline.resources.postgres.statements import SCHEMA, execute

if TYPE_CHECKING:
    import psycopg

# While one waits for the readers of a table, new readers wait for it: so it waits in turns. A turn
# is longer than deadlock_timeout (1 s), after which PostgreSQL makes an autovacuum give way, and it
# ends half a second before a reader who came later looks for a deadlock, and would be its victim.
_TURN_SECONDS = 1.5
_PAUSE_SECONDS = 1

# an advisory lock's 64 bits, and how pg_locks shows them
_KEY: LiteralString = "hashtextextended('taxi_pipeline tlc.' || {lock}, 0)"
_HOLD_ADVISORY: LiteralString = (
    f"locktype = 'advisory' AND objsubid = 1 AND (classid::bigint << 32 | objid::bigint) = {_KEY}"
)
_HOLD_TABLES: LiteralString = (
    "relation IN (SELECT to_regclass(name) FROM unnest({tables}::text[]) AS tables (name))"
)


class TablesHeldError(TransientError):
    """Others have held a table for longer than the transaction waits; it can go on without."""


@contextmanager
def locked(connection: "psycopg.Connection", name: str, lock_timeout: int) -> Iterator[None]:
    """Hold the lock of a name to the end of the transaction.

    Args:
        connection: A connection in a transaction.
        name: A relation of our schema, or whatever runs of ours agree on.
        lock_timeout: How many seconds the transaction waits for a lock, for the message.

    Raises:
        TransientError: Others hold it for longer than that.
    """
    from psycopg.errors import LockNotAvailable

    try:
        with connection.transaction():
            execute(connection, f"SELECT pg_advisory_xact_lock({_KEY})", {}, {"lock": name})
    except LockNotAvailable:
        holders = _holders(connection, _HOLD_ADVISORY, {"lock": name})
        raise TransientError(_held(name, holders, lock_timeout)) from None
    yield


def in_turns(
    connection: "psycopg.Connection", work: Callable[[], object], lock_timeout: int, *tables: str
) -> None:
    """Do what needs tables for itself, without making their readers wait for long.

    Args:
        connection: A connection in a transaction.
        work: What to do; it is rolled back and done again until it gets its locks.
        lock_timeout: For how many seconds it is tried.
        tables: The tables that it locks, for the message.

    Raises:
        TablesHeldError: Others hold one of them for longer than that.
    """
    from psycopg.errors import DeadlockDetected, LockNotAvailable

    end = monotonic() + lock_timeout
    turn = min(_TURN_SECONDS, lock_timeout)
    execute(connection, "SET LOCAL lock_timeout = {turn}", {}, {"turn": f"{turn * 1000:.0f}ms"})
    while True:
        try:
            with connection.transaction():
                work()
            return
        except (LockNotAvailable, DeadlockDetected):
            if monotonic() >= end:
                values = {"tables": [f"{SCHEMA}.{table}" for table in tables]}
                holders = _holders(connection, _HOLD_TABLES, values)
                raise TablesHeldError(_held(tables[-1], holders, lock_timeout)) from None
        sleep(_PAUSE_SECONDS)


def _held(name: str, holders: str, lock_timeout: int) -> str:
    return (
        f"PostgreSQL: {SCHEMA}.{name} was in use for {lock_timeout} s "
        f"(TAXI_POSTGRES_LOCK_TIMEOUT), by {holders}. Nothing was changed."
    )


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
    ((holders,),) = execute(connection, statement + hold, {}, values).fetchall()
    return holders or "somebody who has just ended"
