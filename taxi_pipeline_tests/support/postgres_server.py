"""A PostgreSQL as its operator sees it: stopped and started, its disk full, connections ended."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT

import psutil
import psycopg
from psycopg import sql

from taxi_pipeline.local import servers
from taxi_pipeline_tests.support.disks import small_disk
from taxi_pipeline_tests.support.processes import until


def restart(stack: Path, url: str) -> None:
    """Stop the server of the stack in that folder, ending every connection, and start it again."""
    state = json.loads((stack / "stack.json").read_text())
    (entry,) = (server for server in state["servers"] if server["name"] == "postgres")
    old = psutil.Process(entry["pid"])
    owner = old.username()
    old.send_signal(SIGINT)  # as "stop now", for PostgreSQL
    old.wait(30)
    with (stack / "logs" / "postgres.log").open("ab") as log:
        new = subprocess.Popen(
            entry["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **servers.as_user(owner if owner != psutil.Process().username() else None),
        )
    entry["pid"] = new.pid
    (stack / "stack.json").write_text(json.dumps(state))  # who stops the stack finds it there
    until(lambda: servers.accepts(url))


@contextmanager
def full_disk(folder: Path, url: str, size: int) -> Iterator[None]:
    """Let new tables lie on a disk of so many bytes, mounted below a folder the server reaches."""
    with psycopg.connect(url, autocommit=True) as operator:
        (data,) = operator.execute("SHOW data_directory").fetchone() or ()
        small = folder / "small"
        small.mkdir(mode=0o700)
        shutil.chown(small, Path(data).owner())
        place = {"small": sql.Literal(str(small)), "role": sql.Identifier(operator.info.user)}
        with small_disk(small, size):
            for statement in (
                "CREATE TABLESPACE small LOCATION {small}",
                "ALTER ROLE {role} SET default_tablespace = 'small'",
            ):
                operator.execute(sql.SQL(statement).format(**place))
            try:
                yield
            finally:
                for statement in (
                    "ALTER ROLE {role} RESET default_tablespace",
                    "DROP TABLESPACE small",
                ):
                    operator.execute(sql.SQL(statement).format(**place))
        small.rmdir()


@contextmanager
def losing_events(url: str, kind: str) -> Iterator[None]:
    """Let Dagster's storage end a connection that stores an event of the kind, as a restart may."""
    stores = sql.SQL("NEW.dagster_event_type = {}").format(kind)
    ends = sql.SQL("pg_terminate_backend(pg_backend_pid())")
    with _called_before(url, sql.SQL("INSERT ON event_logs"), stores, ends):
        yield


@contextmanager
def slow_failures(url: str, seconds: int) -> Iterator[None]:
    """Let Dagster's storage take its time to give a run the status FAILURE, as a busy one may.

    The run's last event, which says the same, is stored by then.
    """
    fails = sql.SQL("NEW.status = 'FAILURE' AND OLD.status <> 'FAILURE'")
    sleeps = sql.SQL("pg_sleep({})").format(seconds)
    with _called_before(url, sql.SQL("UPDATE ON runs"), fails, sleeps):
        yield


@contextmanager
def _called_before(
    url: str, change: sql.Composable, condition: sql.Composable, call: sql.Composable
) -> Iterator[None]:
    """Let a database call a function of its own before it makes some changes of a row."""
    function = sql.SQL(
        "CREATE FUNCTION called_before() RETURNS trigger LANGUAGE plpgsql "
        "AS $$ BEGIN PERFORM {}; RETURN NEW; END $$"
    )
    trigger = sql.SQL(
        "CREATE TRIGGER calls BEFORE {} FOR EACH ROW WHEN ({}) EXECUTE FUNCTION called_before()"
    )
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute(function.format(call))
        try:
            operator.execute(trigger.format(change, condition))
            yield
        finally:
            operator.execute("DROP FUNCTION called_before CASCADE")
