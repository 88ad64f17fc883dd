"""`taxi doctor` on the embedded stack, and each fault of PostgreSQL that it is to find."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql

from taxi_pipeline.cli import main
from taxi_pipeline.doctor import checks, postgres
from taxi_pipeline.doctor.context import Context
from taxi_pipeline.doctor.finding import Check, Finding, Status, examine
from taxi_pipeline.doctor.storage import written_object
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.google import CloudStorage, GoogleBigQuery
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.marked import MARK


def run_check(check: Callable[[Context], Finding]) -> Finding:
    with Context().closed() as context:
        ((_, finding),) = examine([Check("it", check)], context)
    return finding


@pytest.fixture(scope="module")
def loaded(platform: Platform) -> Platform:
    """Return a platform that has two months."""
    for month in ("2021-01", "2021-02"):
        platform.load("green", month)
    return platform


def contents(platform: Platform) -> tuple[set[str], set[str]]:
    """Return the names of the objects and of the tables that are there."""
    lake, warehouse = platform.resources.lake, platform.resources.bigquery
    bucket = CloudStorage(project=lake.project).get_client().bucket(lake.bucket)
    with GoogleBigQuery(project=warehouse.project).get_client() as client:
        tables = {table.table_id for table in client.list_tables(warehouse.dataset)}
    return {blob.name for blob in bucket.list_blobs()}, tables


def test_all_is_well_on_the_embedded_stack_and_nothing_is_left_behind(
    loaded: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXI_DAGSTER_URL", "http://127.0.0.1:1")
    before = contents(loaded)
    assert "green_trips" in before[1]
    began = time.monotonic()
    shown = CliRunner().invoke(main, ["doctor", "--write", "--json"])
    took = time.monotonic() - began
    checks = {each["check"]: each for each in json.loads(shown.stdout)}
    assert shown.exit_code == 0, shown.output
    assert took < 30
    statuses = {name: each["status"] for name, each in checks.items()}
    assert {name for name, status in statuses.items() if status == "skipped"} == {
        "bucket permissions",
        "dataset permissions",
        "project permissions",
        "location",
        "partitions",  # the emulator's dry run counts nothing
        "Dagster's daemon",
        "Dagster's webserver",
    } | ({"scratch disk"} if statuses["scratch disk"] == "skipped" else set())
    assert {*statuses.values()} == {"ok", "skipped"}
    assert all(each["message"] for each in checks.values())
    assert checks["credentials"]["message"] == "anonymous: an emulator"
    assert checks["PostgreSQL"]["version"] >= 140_000
    assert contents(loaded) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_behind_where_a_signal_ends_it(
    loaded: Platform, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    written = []

    def killed(context: Context) -> Finding:
        with written_object(context, b"content") as blob:
            written.append(blob.exists())
            os.kill(os.getpid(), number)
        raise AssertionError("the signal was ignored")

    monkeypatch.setattr(checks, "READING", ())
    monkeypatch.setattr(checks, "WRITING", (Check("write an object", killed),))
    handler = signal.signal(number, signal.SIG_DFL)
    try:
        shown = CliRunner().invoke(main, ["doctor", "--write"])
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, handler)
    assert shown.exit_code == 128 + number
    assert written == [True]
    assert loaded.resources.lake.find("doctor/") == []


# --- PostgreSQL ---


@pytest.fixture
def operator(loaded: Platform) -> Iterator[psycopg.Connection]:
    url = loaded.resources.postgres.url
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def role(
    operator: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """Return a function that makes a role, sets it so, and lets TAXI_POSTGRES_URL name it."""
    name, password = f"doctor_{uuid4().hex}", uuid4().hex
    names = {"role": sql.Identifier(name), "password": sql.Literal(password)}
    operator.execute(sql.SQL("CREATE ROLE {role} LOGIN PASSWORD {password}").format(**names))

    def alter(*statements: str) -> str:
        for statement in statements:
            operator.execute(sql.SQL(statement).format(**names))
        url = f"postgresql://{name}:{password}@127.0.0.1:{operator.info.port}"
        monkeypatch.setenv("TAXI_POSTGRES_URL", f"{url}/{operator.info.dbname}?sslmode=disable")
        return name

    yield alter
    operator.execute(sql.SQL("DROP OWNED BY {role}; DROP ROLE {role}").format(**names))


def test_a_wrong_password_fails_and_is_not_shown(
    loaded: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = urlsplit(loaded.resources.postgres.url)
    wrong = parts._replace(netloc=f"taxi:{MARK}@{parts.hostname}:{parts.port}").geturl()
    monkeypatch.setenv("TAXI_POSTGRES_URL", wrong)
    shown = CliRunner().invoke(main, ["doctor", "--json"])
    checks = {each["check"]: each for each in json.loads(shown.stdout)}
    assert shown.exit_code == 1
    assert "password authentication failed" in checks["PostgreSQL"]["message"]
    assert "check TAXI_POSTGRES_URL" in checks["PostgreSQL"]["message"]
    for name in ("PostgreSQL's rights", "PostgreSQL's limits"):
        assert (checks[name]["status"], checks[name]["message"]) == ("skipped", "needs PostgreSQL")
    failed = {name for name, each in checks.items() if each["status"] == "failed"}
    assert failed == {"PostgreSQL"}
    assert MARK not in shown.output


@pytest.mark.usefixtures("loaded")
def test_a_server_that_is_too_old_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_OLDEST", 99)
    finding = run_check(postgres.check_server)
    assert finding.status is Status.FAILED
    assert finding.message.endswith("upgrade it to 99 or later.")


def test_a_server_that_takes_no_writes_fails(role: Callable[..., str]) -> None:
    role("ALTER ROLE {role} SET default_transaction_read_only = on")
    finding = run_check(postgres.check_server)
    assert finding.status is Status.FAILED
    assert "takes no writes: ALTER ROLE" in finding.message


def test_a_standby_fails(role: Callable[..., str]) -> None:
    """No standby is at hand: the role sees a function of that name in place of the server's."""
    role(
        "CREATE SCHEMA standby",
        "CREATE FUNCTION standby.pg_is_in_recovery() RETURNS boolean LANGUAGE sql AS 'SELECT true'",
        "GRANT USAGE ON SCHEMA standby TO {role}",
        "ALTER ROLE {role} SET search_path = standby, pg_catalog",
    )
    finding = run_check(postgres.check_server)
    assert finding.status is Status.FAILED
    assert "is a standby" in finding.message


def test_a_role_that_may_make_nothing_fails(role: Callable[..., str]) -> None:
    name = role()
    finding = run_check(postgres.check_rights)
    assert finding.status is Status.FAILED
    grant, own = finding.details["problems"]
    assert grant == f'GRANT CREATE, USAGE ON SCHEMA tlc TO "{name}".'
    assert own.startswith("of others, 3 in all: green_trips, green_trips_20")
    assert own.endswith(f'. Of each: ALTER TABLE tlc.… OWNER TO "{name}".')


def test_a_month_or_the_view_of_another_role_fails(
    operator: psycopg.Connection, role: Callable[..., str]
) -> None:
    """As after an ALTER TABLE of the whole table, which leaves its months."""
    name = role("GRANT CREATE, USAGE ON SCHEMA tlc TO {role}", "CREATE VIEW tlc.trips AS SELECT 1")
    owned = "ALTER TABLE tlc.green_trips OWNER TO "
    operator.execute(sql.SQL(owned + "{role}").format(role=sql.Identifier(name)))
    try:
        finding = run_check(postgres.check_rights)
    finally:
        operator.execute(sql.SQL(owned + "taxi"))
        operator.execute(sql.SQL("DROP VIEW tlc.trips"))
    assert finding.status is Status.FAILED
    (own,) = finding.details["problems"]
    assert own.startswith("of others, 3 in all: green_trips_20")
    assert ", trips. Of each: " in own


def test_a_role_that_owns_the_tables_is_right(role: Callable[..., str]) -> None:
    name = role("GRANT taxi TO {role}")
    finding = run_check(postgres.check_rights)
    assert (finding.status, finding.message) == (
        Status.OK,
        f"the role {name} may make and replace the tables of tlc",
    )


def test_a_database_without_our_schema_asks_for_the_right_to_make_one(
    operator: psycopg.Connection, role: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = role()
    empty = f"doctor_{uuid4().hex}"
    names = {"database": sql.Identifier(empty), "role": sql.Identifier(name)}
    operator.execute(sql.SQL("CREATE DATABASE {database}").format(**names))
    try:
        with Context().closed() as context:
            url = urlsplit(context.postgres.url)._replace(path=f"/{empty}").geturl()
        monkeypatch.setenv("TAXI_POSTGRES_URL", url)
        finding = run_check(postgres.check_rights)
        assert finding.status is Status.FAILED
        assert f'GRANT CREATE ON DATABASE "{empty}" TO "{name}".' in finding.message
        grant = "GRANT CREATE ON DATABASE {database} TO {role}"
        operator.execute(sql.SQL(grant).format(**names))
        assert run_check(postgres.check_rights).status is Status.OK
    finally:
        operator.execute(sql.SQL("DROP DATABASE {database}").format(**names))


def test_limits_that_runs_would_meet_fail(role: Callable[..., str]) -> None:
    role(
        "ALTER ROLE {role} CONNECTION LIMIT 5",
        "ALTER ROLE {role} SET transaction_timeout = '1min'",
    )
    finding = run_check(postgres.check_limits)
    assert finding.status is Status.FAILED
    connections, transaction = finding.details["problems"]
    assert connections.startswith("5 connections, where 20 runs may ask for one each")
    assert transaction.startswith("transaction_timeout is 60 s, where the copying of a month may")


@pytest.mark.usefixtures("loaded")
def test_limits_are_shown_where_they_suffice() -> None:
    finding = run_check(postgres.check_limits)
    assert finding.status is Status.OK
    assert "connections, max_wal_size 1GB; the database has " in finding.message
    assert finding.details["database_bytes"] > 1_000_000


def test_what_is_asked_of_postgres_writes_nothing(role: Callable[..., str]) -> None:
    role("GRANT taxi TO {role}")
    with (
        Context().closed() as context,
        pytest.raises(PermanentError, match="read-only transaction"),
        postgres._connected(context) as connection,
    ):
        connection.execute("CREATE SCHEMA made")
