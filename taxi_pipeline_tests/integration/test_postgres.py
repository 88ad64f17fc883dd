"""A month's replacement in PostgreSQL, whatever breaks: silence, interrupts, rivals, readers."""

import os
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from multiprocessing.process import BaseProcess
from threading import Barrier
from time import monotonic
from typing import Any

import psutil
import psycopg
import pyarrow as pa
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._utils.interrupts import capture_interrupts, raise_interrupts_as

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.gcs import LakeObject
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.resources.postgres.connection import Connection
from taxi_pipeline.resources.postgres.statements import partition_name
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import SERVICES, TAXI_ZONES, YELLOW, Table
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.cleaned import NOT_IN_LAKE, cleaned_file
from taxi_pipeline_tests.support.forked import forked
from taxi_pipeline_tests.support.processes import until

TRIPS = replace(YELLOW.trips, name="tested_trips")
MONTH = Month(2015, 3)
OLD, NEW = 1_000, 1_700
COUNT = "SELECT count(*) FROM tlc.tested_trips"
PARTITION = "tlc.tested_trips_2015_03"
ROWS, INCOMING = f"{PARTITION}_rows", f"{PARTITION}_incoming"
OTHER_FILE = replace(NOT_IN_LAKE, generation=2, crc32c="BBBBBB==")


def some(rows: int, month: Month = MONTH, table: Table = TRIPS) -> pa.RecordBatch:
    """Return so many trips, of which only the pick-up is known."""
    schema = arrow_schema(table)
    known = {"pickup_datetime": month.start}
    return pa.RecordBatch.from_arrays(
        [pa.array([known.get(field.name)] * rows, field.type) for field in schema], schema=schema
    )


def replace_month(
    database: Postgres,
    month: Month,
    batches: Iterable[pa.RecordBatch],
    rows: int,
    table: Table = TRIPS,
) -> None:
    database.replace(cleaned_file(table, month, batches, rows), "a-run")


def replace_all(database: Postgres, table: Table, batches: list[pa.RecordBatch], rows: int) -> None:
    database.replace(cleaned_file(table, None, batches, rows), "a-run")


def put(database: Postgres, rows: int, month: Month = MONTH) -> None:
    replace_month(database, month, [some(rows, month)], rows)


@pytest.fixture
def admin(platform: Platform) -> Iterator[psycopg.Connection]:
    """Return a connection to look at the server with."""
    with psycopg.connect(platform.resources.postgres.url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def database(platform: Platform, admin: psycopg.Connection) -> Iterator[Postgres]:
    """Return a database whose table has the month's old rows alone."""
    put(platform.resources.postgres, OLD)
    yield platform.resources.postgres
    admin.execute(
        f"DROP TABLE IF EXISTS tlc.tested_trips, {PARTITION}, {ROWS}, {INCOMING}, tlc.archive "
        "CASCADE".encode()
    )


def with_(database: Postgres, **timeouts: int) -> Postgres:
    return Postgres(url=database.url, **timeouts)


def backend(admin: psycopg.Connection, condition: str) -> int | None:
    """Return the process that serves the pipeline's connection of which the condition holds."""
    found = admin.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'taxi_pipeline' "
        f"AND {condition}".encode()
    ).fetchone()
    return int(found[0]) if found else None


def nothing_is_left(admin: psycopg.Connection) -> bool:
    """Return whether no session, no lock and no unfinished table of the pipeline's is there."""
    left = admin.execute(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taxi_pipeline'), "
        "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), "
        "(SELECT count(*) FROM pg_class WHERE relname LIKE '%incoming')"
    ).fetchone()
    return left == (0, 0, 0)


def count(admin: psycopg.Connection) -> int:
    ((rows,),) = admin.execute(COUNT).fetchall()
    return int(rows)


def of(month: Month) -> str:
    """Return the condition of a month, by which the planner finds its partition."""
    return f"pickup_datetime >= '{month.start}' AND pickup_datetime < '{month.end}'"


def count_of(admin: psycopg.Connection, month: Month) -> int:
    ((rows,),) = admin.execute(f"{COUNT} WHERE {of(month)}".encode()).fetchall()
    return int(rows)


COPYING = "query LIKE 'COPY%'"
WAITING = "wait_event_type = 'Lock'"
SWAPPING = f"{WAITING} AND query ~ '^(LOCK|DROP)'"


# --- what the server says ---


def test_a_role_without_rights_is_told_so(database: Postgres, admin: psycopg.Connection) -> None:
    admin.execute("DROP ROLE IF EXISTS nobody_much")
    admin.execute("CREATE ROLE nobody_much LOGIN PASSWORD 'p'")
    taxi = database.url.split("//")[1].split("@")[0]
    poor = Postgres(url=database.url.replace(taxi, "nobody_much:p"))
    with pytest.raises(PermanentError, match=r"changed nothing: permission denied.*role's rights"):
        poor.tallies(TRIPS, None)
    admin.execute("DROP ROLE nobody_much")


def test_what_else_needs_the_table_of_the_rows_is_named(
    database: Postgres, admin: psycopg.Connection
) -> None:
    admin.execute(f"CREATE VIEW tlc.tested_view AS SELECT * FROM {ROWS}".encode())
    with pytest.raises(
        PermanentError, match=r"view tlc\.tested_view depends on .*what else uses the schema tlc"
    ):
        put(database, NEW)
    until(lambda: nothing_is_left(admin))
    assert count(admin) == OLD


def test_a_session_that_the_server_ends_is_a_reason_to_try_again(
    database: Postgres, admin: psycopg.Connection
) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        pid = backend(admin, COPYING)
        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        until(lambda: not backend(admin, COPYING))
        yield some(NEW)

    with pytest.raises(TransientError, match="changed nothing"):
        replace_month(database, MONTH, batches(), NEW)
    until(lambda: nothing_is_left(admin))
    assert count(admin) == OLD
    put(database, NEW)
    assert count(admin) == NEW


def test_a_connection_that_breaks_at_the_commit_says_what_is_in_doubt(
    database: Postgres, admin: psycopg.Connection
) -> None:
    with (
        pytest.raises(TransientError, match="at the commit, so all of it was done or nothing"),
        database._connected() as connection,
    ):
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])


def test_the_urls_own_options_count(database: Postgres) -> None:
    url = f"{database.url}&options=-c%20work_mem%3D5MB&keepalives_idle=7&application_name=ours"
    with Connection.open(url, 10, 100) as connection:
        connection.begin(60)
        shown = [
            *connection.execute("SHOW work_mem"),
            *connection.execute("SHOW application_name"),
            *connection.execute("SHOW statement_timeout"),
            *connection.execute("SHOW tcp_keepalives_idle"),
        ]
        assert shown == [("5MB",), ("ours",), ("100s",), ("60",)]
        assert connection.info.get_parameters()["keepalives_idle"] == "7"
        assert connection.info.get_parameters()["keepalives_count"] == "6"


# --- what people do to the table ---


def refused(database: Postgres, admin: psycopg.Connection, words: str) -> None:
    """Hold that the month cannot be replaced, for the reason given, and nothing was changed."""
    before = catalog(admin)
    with pytest.raises(PermanentError, match=words):
        put(database, NEW)
    until(lambda: nothing_is_left(admin))
    assert catalog(admin) == before


def catalog(admin: psycopg.Connection) -> list[tuple[object, ...]]:
    """Return the relations of the schema, each with its rows and its place in a table."""
    relations = admin.execute(
        "SELECT relname, relkind, relispartition, pg_get_expr(relpartbound, 0), pg_class.oid FROM "
        "pg_class WHERE relnamespace = 'tlc'::regnamespace AND relname ~ '^(tested|archive)' "
        "ORDER BY relname"
    ).fetchall()
    return [
        (*relation, admin.execute(f"SELECT count(*) FROM tlc.{relation[0]}".encode()).fetchone())
        for relation in relations
        if relation[1] in "rpv"
    ]


@pytest.fixture
def run(admin: psycopg.Connection) -> "Run":
    """Return what executes a statement of somebody's."""
    return lambda statement: admin.execute(statement.encode())


type Run = Callable[[str], object]


def test_a_detached_partition_keeps_its_rows(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    run(f"ALTER TABLE tlc.tested_trips DETACH PARTITION {PARTITION}")
    run(f"INSERT INTO {PARTITION} (pickup_datetime, vendor_id) VALUES ('2015-03-05', 777)")
    refused(
        database,
        admin,
        rf"{PARTITION} is there, and is not tlc\.tested_trips's partition of 2015-03.*rename it or "
        "drop it, or attach it again by ALTER TABLE",
    )
    assert admin.execute(f"SELECT count(*) FROM {PARTITION}".encode()).fetchall() == [(OLD + 1,)]


def test_the_advice_to_attach_a_partition_again_can_be_followed(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    run(f"ALTER TABLE tlc.tested_trips DETACH PARTITION {PARTITION}")
    with pytest.raises(PermanentError) as refusal:
        put(database, NEW)
    run(str(refusal.value).partition("again by ")[2].removesuffix("."))
    put(database, NEW)
    assert count(admin) == NEW


@pytest.mark.parametrize("kind", ["TABLE", "VIEW"])
def test_a_relation_that_somebody_made_under_a_partitions_name_is_kept(
    database: Postgres, admin: psycopg.Connection, run: Run, kind: str
) -> None:
    run(f"DROP TABLE {PARTITION}")
    run(f"CREATE {kind} {PARTITION} AS SELECT 1 AS mine")
    try:
        refused(database, admin, f"{PARTITION} is there, and is not .* or made it")
    finally:
        run(f"DROP {kind} {PARTITION}")


def test_a_partition_that_is_detached_while_its_rows_are_copied_is_kept(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield some(NEW)
        run(f"ALTER TABLE tlc.tested_trips DETACH PARTITION {PARTITION}")

    with pytest.raises(PermanentError, match="somebody has detached it"):
        replace_month(database, MONTH, batches(), NEW)
    assert admin.execute(f"SELECT count(*) FROM {PARTITION}".encode()).fetchall() == [(OLD,)]


def test_a_partition_that_is_detached_while_the_swap_waits_is_kept(
    database: Postgres, admin: psycopg.Connection
) -> None:
    with ThreadPoolExecutor() as pool, psycopg.connect(database.url) as person:

        def batches() -> Iterator[pa.RecordBatch]:
            person.execute(f"ALTER TABLE tlc.tested_trips DETACH PARTITION {PARTITION}".encode())
            yield some(NEW)

        writer = pool.submit(replace_month, database, MONTH, batches(), NEW)
        until(lambda: backend(admin, SWAPPING))
        person.commit()
        with pytest.raises(PermanentError, match="somebody has detached it"):
            writer.result()
    assert admin.execute(f"SELECT count(*) FROM {PARTITION}".encode()).fetchall() == [(OLD,)]


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ("'2015-03-01') TO ('2015-04-01'", f"under another name than ours, {PARTITION}"),
        ("'2015-01-01') TO ('2016-01-01'", "with 2015-03 and more, or a part of it"),
        ("MINVALUE) TO ('2015-03-02'", "with 2015-03 and more, or a part of it"),
        ("'2015-03-31') TO (MAXVALUE", "with 2015-03 and more, or a part of it"),
    ],
)
@pytest.mark.parametrize("datestyle", ["ISO", "German", "SQL,DMY"])
def test_a_partition_of_other_bounds_or_another_name_is_named_and_kept(
    database: Postgres,
    admin: psycopg.Connection,
    run: Run,
    bounds: str,
    words: str,
    datestyle: str,
) -> None:
    run(f"ALTER TABLE tlc.tested_trips DETACH PARTITION {PARTITION}")
    run(f"TRUNCATE {PARTITION}")
    run(f"ALTER TABLE {PARTITION} RENAME TO archive")
    run(f"ALTER TABLE tlc.tested_trips ATTACH PARTITION tlc.archive FOR VALUES FROM ({bounds})")
    styled = f"{database.url}&options=-c%20datestyle%3D{datestyle}"
    refused(Postgres(url=styled), admin, rf"tlc\.archive is a partition of .*{words}")


def test_a_month_of_ours_beside_partitions_of_other_months_is_replaced(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    run(
        "CREATE TABLE tlc.archive PARTITION OF tlc.tested_trips "
        "FOR VALUES FROM (MINVALUE) TO ('2015-03-01')"
    )
    put(database, NEW)
    assert count(admin) == NEW


def test_a_partition_that_is_being_detached_is_named(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    run(  # as a DETACH … CONCURRENTLY leaves it that was killed
        f"UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = '{PARTITION}'::regclass"
    )
    refused(database, admin, rf"{PARTITION} is a partition .* being detached.* FINALIZE")
    run(f"ALTER TABLE tlc.tested_trips DETACH PARTITION {PARTITION} FINALIZE")


@pytest.mark.parametrize("made", ["TABLE {} (mine int)", "TYPE {} AS ENUM ('mine')"])
def test_the_name_of_the_incoming_table_may_be_somebodys(
    database: Postgres, admin: psycopg.Connection, run: Run, made: str
) -> None:
    name = f"{PARTITION}_incoming"
    run(f"CREATE {made.format(name)}")
    before = catalog(admin)
    try:
        with pytest.raises(PermanentError, match=f"there is a {name} of somebody's.*rename it"):
            put(database, NEW)
        assert catalog(admin) == before
    finally:
        run(f"DROP {made.split()[0]} {name}")


def test_a_default_partition_with_rows_of_the_month_is_named_and_kept(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    run(f"DROP TABLE {PARTITION}")
    run("CREATE TABLE tlc.archive PARTITION OF tlc.tested_trips DEFAULT")
    run("INSERT INTO tlc.tested_trips (pickup_datetime) VALUES ('2015-03-05'), ('2010-01-01')")
    refused(database, admin, r"tlc\.archive, the DEFAULT partition of .*, has rows of 2015-03")
    run("DELETE FROM tlc.archive WHERE pickup_datetime > '2015-01-01'")
    put(database, NEW)
    assert count(admin) == NEW + 1


def test_what_people_put_on_the_table_survives_a_replace(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    admin.execute("DROP ROLE IF EXISTS tested_reader")
    run("CREATE ROLE tested_reader LOGIN PASSWORD 'p'")
    run("GRANT USAGE ON SCHEMA tlc TO tested_reader")
    run("GRANT SELECT ON tlc.tested_trips TO tested_reader")
    run("CREATE INDEX tested_index ON tlc.tested_trips (pickup_location_id)")
    run("CREATE VIEW tlc.tested_view AS SELECT * FROM tlc.tested_trips")
    run("CREATE MATERIALIZED VIEW tlc.tested_matview AS SELECT t FROM tlc.tested_trips t")
    run("CREATE PUBLICATION tested_publication FOR TABLE tlc.tested_trips")
    put(database, NEW)
    assert admin.execute("SELECT count(*) FROM tlc.tested_view").fetchall() == [(NEW,)]
    run("REFRESH MATERIALIZED VIEW tlc.tested_matview")
    assert admin.execute("SELECT count(*) FROM tlc.tested_matview").fetchall() == [(NEW,)]
    published = admin.execute(
        "SELECT tablename FROM pg_publication_tables WHERE pubname = 'tested_publication'"
    )
    assert published.fetchall() == [("tested_trips_2015_03_rows",)]
    taxi = database.url.split("//")[1].split("@")[0]
    with psycopg.connect(database.url.replace(taxi, "tested_reader:p")) as reader:
        assert count(reader) == NEW
    run("DROP PUBLICATION tested_publication")
    # one row that the index is for
    run("UPDATE tlc.tested_trips SET pickup_location_id = 7 WHERE ctid = '(0,1)'")
    run(f"ANALYZE {ROWS}")
    plan = admin.execute("EXPLAIN SELECT * FROM tlc.tested_trips WHERE pickup_location_id = 7")
    assert "Index Scan using tested_trips_2015_03_rows_pickup_location_id_idx" in str(
        plan.fetchall()
    )
    run("DROP OWNED BY tested_reader")
    run("DROP ROLE tested_reader")


def test_what_people_put_on_a_month_survives_a_replace(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    admin.execute("DROP ROLE IF EXISTS tested_reader")
    run("CREATE ROLE tested_reader")
    run(f"GRANT SELECT ON {PARTITION} TO tested_reader")
    run(f"CREATE INDEX ON {PARTITION} (pickup_location_id)")
    run("CREATE INDEX ON tlc.tested_trips (dropoff_location_id)")
    run(f"CREATE VIEW tlc.tested_view AS SELECT * FROM {PARTITION}")
    put(database, NEW)
    assert admin.execute("SELECT count(*) FROM tlc.tested_view").fetchall() == [(NEW,)]
    granted = admin.execute(
        "SELECT has_table_privilege('tested_reader', %s, 'SELECT')", [PARTITION]
    )
    assert granted.fetchall() == [(True,)]
    indexes = admin.execute(
        "SELECT indexname FROM pg_indexes WHERE 'tlc.' || tablename = %s ORDER BY 1", [ROWS]
    )
    assert [name.removeprefix("tested_trips_2015_03_rows_") for (name,) in indexes] == [
        "dropoff_location_id_idx",
        "pickup_datetime_idx",
        "pickup_location_id_idx",
    ]
    run("DROP OWNED BY tested_reader")
    run("DROP ROLE tested_reader")


# --- what people do to a month, and months of an earlier release ---


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (
            [f"ALTER TABLE {PARTITION} DETACH PARTITION {ROWS}"],
            rf"{ROWS} is there, and is not {PARTITION}'s partition of 2015-03: somebody has",
        ),
        (
            [
                f"ALTER TABLE {PARTITION} DETACH PARTITION {ROWS}",
                f"DROP TABLE {PARTITION}",
            ],
            rf"{ROWS} is there, and is not {PARTITION}'s partition of 2015-03: somebody has",
        ),
        (
            [f"ALTER TABLE {ROWS} RENAME TO archive"],
            rf"tlc\.archive is a partition of {PARTITION} with 2015-03, under another name than",
        ),
        (
            [
                f"DROP TABLE {ROWS}",
                f"CREATE TABLE tlc.archive PARTITION OF {PARTITION} "
                "FOR VALUES FROM ('2015-03-01') TO ('2015-03-02')",
            ],
            rf"tlc\.archive is a partition of {PARTITION} with 2015-03 and more, or a part of it",
        ),
        (
            [
                f"DROP TABLE {ROWS}",
                f"CREATE TABLE tlc.archive PARTITION OF {PARTITION} DEFAULT",
                "INSERT INTO tlc.tested_trips (pickup_datetime) VALUES ('2015-03-05')",
            ],
            rf"tlc\.archive, the DEFAULT partition of {PARTITION}, has rows of 2015-03",
        ),
        (
            [
                f"DROP TABLE {PARTITION}",
                f"CREATE TABLE {PARTITION} PARTITION OF tlc.tested_trips "
                "FOR VALUES FROM ('2015-03-01') TO ('2015-04-01') PARTITION BY LIST (vendor_id)",
                f"CREATE TABLE tlc.archive PARTITION OF {PARTITION} FOR VALUES IN (1)",
            ],
            rf"{PARTITION} is there, but is not a table PARTITION BY RANGE \(pickup_datetime\)",
        ),
        (
            [f"ALTER TABLE {PARTITION} ADD CONSTRAINT own CHECK (trip_distance < 9)"],
            rf"{PARTITION} has the constraint own, which new partitions would not have",
        ),
    ],
)
def test_what_people_do_to_a_month_is_named_and_kept(
    database: Postgres,
    admin: psycopg.Connection,
    run: Run,
    statements: list[str],
    words: str,
) -> None:
    for statement in statements:
        run(statement)
    refused(database, admin, words)


def test_a_month_whose_rows_somebody_has_dropped_gets_new_ones(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    run(f"DROP TABLE {ROWS}")
    put(database, NEW)
    assert count(admin) == NEW


def test_what_another_makes_under_the_same_name_at_the_same_moment_is_no_end(
    database: Postgres, admin: psycopg.Connection
) -> None:
    with ThreadPoolExecutor() as pool, psycopg.connect(database.url) as rival:
        rival.execute(f"CREATE TABLE {INCOMING} (number int)".encode())
        writer = pool.submit(put, database, NEW)
        until(lambda: backend(admin, f"{WAITING} AND query LIKE 'CREATE TABLE%'"))
        rival.commit()
        with pytest.raises(TransientError, match=r'duplicate key .* "pg_\w+"'):
            writer.result()
        rival.execute(f"DROP TABLE {INCOMING}".encode())
    put(database, NEW)
    assert count(admin) == NEW
    until(lambda: nothing_is_left(admin))


def test_rows_that_are_detached_while_the_swap_waits_are_kept(
    database: Postgres, admin: psycopg.Connection
) -> None:
    with ThreadPoolExecutor() as pool, psycopg.connect(database.url) as person:
        person.execute(f"ALTER TABLE {PARTITION} DETACH PARTITION {ROWS}".encode())
        writer = pool.submit(put, database, NEW)
        until(lambda: backend(admin, SWAPPING))
        person.commit()
        with pytest.raises(PermanentError, match=f"{ROWS} is there, .*somebody has detached it"):
            writer.result()
    assert admin.execute(f"SELECT count(*) FROM {ROWS}".encode()).fetchall() == [(OLD,)]
    until(lambda: nothing_is_left(admin))


def as_an_earlier_release(run: Run, month: Month = MONTH) -> None:
    """Make the month's partition the table of its rows."""
    name = partition_name(TRIPS, month)
    for statement in (
        f"ALTER TABLE tlc.tested_trips DETACH PARTITION tlc.{name}",
        f"ALTER TABLE tlc.{name} DETACH PARTITION tlc.{name}_rows",
        f"DROP TABLE tlc.{name}",
        f"ALTER TABLE tlc.{name}_rows RENAME TO {name}",
        f"ALTER TABLE tlc.tested_trips ATTACH PARTITION tlc.{name} "
        f"FOR VALUES FROM ('{month.start}') TO ('{month.end}')",
    ):
        run(statement)


def test_a_month_of_an_earlier_release_is_read_and_replaced(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    run("CREATE INDEX tested_index ON tlc.tested_trips (pickup_location_id)")
    as_an_earlier_release(run)
    stamp = cleaned_file(TRIPS, MONTH, [], 0).stamp
    put(database, OLD, neighbour := Month(2015, 4))
    for rows in (OLD, NEW):
        tallies = database.tallies(TRIPS, None)
        assert {month: tally.rows for month, tally in tallies.items()} == {
            MONTH: rows,
            neighbour: OLD,
        }
        assert database.stamps(TRIPS) == {MONTH: stamp, neighbour: stamp}
        put(database, NEW)
    kinds = admin.execute(
        "SELECT relname, relkind FROM pg_class WHERE relname ~ '^tested_trips_2015_03' "
        "AND relkind IN ('r', 'p') ORDER BY 1"
    )
    assert kinds.fetchall() == [("tested_trips_2015_03", "p"), ("tested_trips_2015_03_rows", "r")]


def test_a_month_of_an_earlier_release_waits_for_readers_of_any_month_once(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    as_an_earlier_release(run)
    put(database, OLD, neighbour := Month(2015, 4))
    with psycopg.connect(database.url) as reader:
        assert count_of(reader, neighbour) == OLD
        with pytest.raises(TransientError, match=rf"in use .*by pid {reader.info.backend_pid}"):
            put(with_(database, lock_timeout=1), NEW)
    put(database, NEW)
    with psycopg.connect(database.url) as reader:
        assert count_of(reader, neighbour) == OLD
        put(with_(database, lock_timeout=1), OLD)
    assert count_of(admin, MONTH) == OLD


def test_two_months_of_an_earlier_release_are_replaced_side_by_side(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    months, both = (MONTH, Month(2015, 4)), Barrier(2, timeout=60)
    put(database, OLD, months[1])
    for month in months:
        as_an_earlier_release(run, month)

    def batches(month: Month) -> Iterator[pa.RecordBatch]:
        both.wait()  # so that each has begun when the other swaps
        yield some(NEW, month)

    with ThreadPoolExecutor() as pool:
        impatient = with_(database, lock_timeout=5)
        works = [
            pool.submit(replace_month, impatient, month, batches(month), NEW) for month in months
        ]
        for work in works:
            work.result()
    assert count(admin) == NEW + NEW


# --- columns that differ from the declared ---


def column_of(admin: psycopg.Connection, name: str) -> list[Any]:
    """Return the distinct values of a column of the month."""
    query = f'SELECT DISTINCT "{name}" FROM {PARTITION}'
    return [value for (value,) in admin.execute(query.encode())]


OWN = [
    '"their note" text',
    '"Sum" numeric(8, 2)',
    "tags text[]",
    'mood tlc."tested {} mood"',
    'code text COLLATE "C"',
    "filled integer DEFAULT 7",
    '"quoted""name" integer',
]


def test_columns_of_somebodys_are_kept_and_null_in_new_rows(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    run("""CREATE TYPE tlc."tested {} mood" AS ENUM ('good')""")
    try:
        for column in OWN:
            run(f"ALTER TABLE tlc.tested_trips ADD COLUMN {column}")
        run("UPDATE tlc.tested_trips SET \"their note\" = 'x', tags = '{y}', mood = 'good'")
        put(database, OLD, neighbour := Month(2015, 4))
        put(database, NEW)
        assert count(admin) == NEW + OLD
        for name in ("their note", "Sum", "tags", "mood", "code", "filled", 'quoted""name'):
            assert column_of(admin, name) == [None]
        run("UPDATE tlc.tested_trips SET mood = 'good'")
        put(database, OLD, neighbour)
        assert column_of(admin, "mood") == ["good"]
    finally:
        run("DROP TABLE tlc.tested_trips")
        run('DROP TYPE tlc."tested {} mood"')


def test_a_column_that_is_no_longer_declared_is_somebodys(
    database: Postgres, admin: psycopg.Connection
) -> None:
    fewer = replace(TRIPS, columns=tuple(each for each in TRIPS.columns if each.name != "extra"))
    replace_month(database, MONTH, [some(NEW, table=fewer)], NEW, fewer)
    assert count(admin) == NEW
    assert column_of(admin, "extra") == [None]


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        ("ADD own integer NOT NULL DEFAULT 1", "column own of .* is NOT NULL, but is not declared"),
        ("ADD own integer GENERATED ALWAYS AS (1) STORED", "own of .* is generated, or an ident"),
        ("ADD own integer GENERATED BY DEFAULT AS IDENTITY", "own of .* is generated, or an ident"),
        ("ADD CONSTRAINT own CHECK (trip_distance < 9)", "has the constraint own, which new part"),
        ("ALTER vendor_id TYPE bigint", "column vendor_id of .* is bigint, and is declared as int"),
        ("ALTER fare_amount TYPE numeric(9, 2)", r"fare_amount of .* is numeric\(9,2\), and is "),
        ("ALTER dropoff_datetime TYPE timestamp(0)", "dropoff_datetime .* declared as timestamp w"),
        ("ALTER dropoff_datetime TYPE timestamptz", "dropoff_datetime .* declared as timestamp w"),
    ],
)
def test_what_a_new_partition_cannot_have_is_named(
    database: Postgres, admin: psycopg.Connection, run: Run, alter: str, words: str
) -> None:
    run(f"ALTER TABLE tlc.tested_trips {alter}")
    refused(database, admin, words)


def test_a_month_whose_column_alone_is_not_null_is_named_before_any_row_is_copied(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    run(f"ALTER TABLE {PARTITION} ALTER pickup_datetime SET NOT NULL")
    refused(database, admin, f"column pickup_datetime of {PARTITION} is NOT NULL, which the new")
    run(f"ALTER TABLE {PARTITION} ALTER COLUMN pickup_datetime DROP NOT NULL")
    put(database, NEW)
    assert count(admin) == NEW


@pytest.mark.parametrize(
    "alter",
    [
        "ADD own integer NOT NULL DEFAULT 1",
        "ADD CONSTRAINT own CHECK (trip_distance < 9)",
        "ALTER vendor_id TYPE bigint",
        "ALTER dropoff_datetime TYPE timestamptz",
    ],
)
def test_the_advice_on_a_column_can_be_followed(
    database: Postgres, admin: psycopg.Connection, run: Run, alter: str
) -> None:
    run(f"ALTER TABLE tlc.tested_trips {alter}")
    with pytest.raises(PermanentError) as refusal:
        put(database, NEW)
    advice = str(refusal.value).partition("changed: run ")[2]
    run(advice.partition(". ")[0].removesuffix("."))
    put(database, NEW)
    assert count(admin) == NEW


def test_nothing_is_added_where_another_column_is_wrong(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    run("ALTER TABLE tlc.tested_trips DROP COLUMN extra")
    run("ALTER TABLE tlc.tested_trips ALTER vendor_id TYPE bigint")
    refused(database, admin, "vendor_id")
    assert not admin.execute(
        "SELECT 1 FROM pg_attribute WHERE attrelid = 'tlc.tested_trips'::regclass "
        "AND attname = 'extra'"
    ).fetchall()


def test_a_declared_column_may_be_not_null_and_collated(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    run("ALTER TABLE tlc.tested_trips ALTER pickup_datetime SET NOT NULL")
    run('ALTER TABLE tlc.tested_trips ALTER request_source TYPE text COLLATE "C"')
    run("ALTER TABLE tlc.tested_trips ADD UNIQUE (pickup_datetime, vendor_id, unknown_words)")
    put(database, NEW)
    assert count(admin) == NEW
    run("DELETE FROM tlc.tested_trips")
    run("ALTER TABLE tlc.tested_trips ALTER vendor_id SET NOT NULL")
    with pytest.raises(PermanentError, match=r'"vendor_id" .*Drop the constraint that'):
        put(database, NEW)


ADDED, DROPPED = "ADD COLUMN own text", "DROP COLUMN own"


@pytest.mark.parametrize("alters", [ADDED, DROPPED])
def test_a_table_altered_while_rows_are_copied_is_a_transient_error(
    database: Postgres, admin: psycopg.Connection, run: Run, alters: str
) -> None:
    alters_back = DROPPED if alters == ADDED else ADDED
    if alters == DROPPED:
        run(f"ALTER TABLE tlc.tested_trips {ADDED}")

    def batches(month: Month) -> Iterator[pa.RecordBatch]:
        yield some(NEW, month)
        run(f"ALTER TABLE tlc.tested_trips {alters}")

    for month in (MONTH, Month(2015, 5)):  # one that is there, one that is not
        with pytest.raises(TransientError, match="tested_trips was altered while the month's rows"):
            replace_month(database, month, batches(month), NEW)
        assert count(admin) == OLD
        run(f"ALTER TABLE tlc.tested_trips {alters_back}")
    put(database, NEW)
    assert count(admin) == NEW


@pytest.mark.parametrize(
    "made",
    [
        "TABLE {} (LIKE tlc.archive)",
        "VIEW {} AS SELECT * FROM tlc.archive",
        "TABLE {} (LIKE tlc.archive) PARTITION BY RANGE (dropoff_datetime)",
        "TABLE {} (LIKE tlc.archive) PARTITION BY LIST (pickup_datetime)",
    ],
)
def test_something_else_under_the_tables_name_is_named(
    database: Postgres, admin: psycopg.Connection, run: Run, made: str
) -> None:
    run("ALTER TABLE tlc.tested_trips RENAME TO archive")
    run(f"CREATE {made.format('tlc.tested_trips')}")
    try:
        refused(
            database, admin, r"tlc\.tested_trips is there, but is not a table PARTITION BY RANGE"
        )
    finally:
        run(f"DROP {made.split()[0]} tlc.tested_trips")


def test_zones_are_not_deleted_from_a_view_of_somebodys(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    zones = replace(TAXI_ZONES, name="tested_trips")
    run("ALTER TABLE tlc.tested_trips RENAME TO archive")
    names = [
        "request_source AS borough",
        "request_source AS zone",
        "request_source AS service_zone",
    ]
    columns = ", ".join(["vendor_id AS location_id", *names])
    run(f"CREATE VIEW tlc.tested_trips AS SELECT {columns} FROM tlc.archive")
    try:
        with pytest.raises(PermanentError, match=r"tested_trips is there, but is not a table\."):
            replace_all(database, zones, [some(5, MONTH, zones)], 5)
        assert admin.execute("SELECT count(*) FROM tlc.archive").fetchall() == [(OLD,)]
    finally:
        run("DROP VIEW tlc.tested_trips")


def test_zones_may_have_columns_of_somebodys_that_fill_themselves(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    zones = replace(TAXI_ZONES, name="archive")
    replace_all(database, zones, [some(5, MONTH, zones)], 5)
    for column in (
        "note text",
        "own integer NOT NULL DEFAULT 1",
        "id integer GENERATED ALWAYS AS IDENTITY",
    ):
        run(f"ALTER TABLE tlc.archive ADD COLUMN {column}")
    replace_all(database, zones, [some(7, MONTH, zones)], 7)
    assert admin.execute("SELECT count(*), min(own) FROM tlc.archive").fetchall() == [(7, 1)]
    run("ALTER TABLE tlc.archive ALTER own DROP DEFAULT")
    with pytest.raises(PermanentError, match=r"column own of .* is NOT NULL, but is not declared"):
        replace_all(database, zones, [some(5, MONTH, zones)], 5)


# --- silence ---


def test_nothing_of_ours_stays_in_a_session(database: Postgres) -> None:
    with Connection.open(database.url, 10, 100) as connection:
        connection.begin(lock_timeout=10)
        for _ in range(10):  # as a swap that waits in turns
            connection.execute("SELECT 1")
        left = connection.execute("SELECT name FROM pg_prepared_statements").fetchall()
    assert left == []


def test_a_server_that_accepts_and_never_answers_is_given_up(database: Postgres) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://u:p@127.0.0.1:{server.getsockname()[1]}/d"
        with pytest.raises(TransientError, match=r"cannot be reached.*timeout"):
            Postgres(url=url, connect_timeout=2).tallies(TRIPS, None)


@pytest.mark.parametrize("batches", [1, 10_000], ids=["at the end", "in the middle"])
def test_a_server_that_stops_answering_in_a_copy_is_given_up(
    database: Postgres, admin: psycopg.Connection, batches: int
) -> None:
    stopped: list[int] = []

    def stopping() -> Iterator[pa.RecordBatch]:
        pid = backend(admin, COPYING)
        assert pid
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)
        yield from repeat(some(NEW), batches)

    try:
        with pytest.raises(TransientError, match=r"does not answer.*TAXI_POSTGRES_TIMEOUT"):
            replace_month(with_(database, timeout=1), MONTH, stopping(), NEW * batches)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    until(lambda: nothing_is_left(admin))
    assert count(admin) == OLD


@pytest.mark.parametrize(
    ("timeout", "said"),
    [
        ("timeout", r"statement timeout\. TAXI_POSTGRES_TIMEOUT is"),
        ("lock_timeout", r"lock timeout\. TAXI_POSTGRES_LOCK_TIMEOUT is"),
    ],
)
def test_a_statement_that_takes_too_long_is_ended_by_the_server(
    database: Postgres, admin: psycopg.Connection, timeout: str, said: str
) -> None:
    with admin.transaction():
        admin.execute("LOCK TABLE tlc.tested_trips")
        with pytest.raises(TransientError, match=said):
            with_(database, **{timeout: 1}).tallies(TRIPS, None)


# --- interrupts ---


def load_for_ever(url: str) -> None:
    """Replace the month by rows without end, in a step that Dagster may interrupt."""
    database, rows = Postgres(url=url), some(NEW)
    with capture_interrupts(), raise_interrupts_as(DagsterExecutionInterruptedError):
        replace_month(database, MONTH, repeat(rows), 0)


def load(url: str) -> None:
    """Replace the month, in a step that Dagster may interrupt."""
    with capture_interrupts(), raise_interrupts_as(DagsterExecutionInterruptedError):
        put(Postgres(url=url), NEW)


@contextmanager
def loading(work: Callable[[str], None], database: Postgres) -> Iterator[BaseProcess]:
    """Run the work in a process of its own; kill it if the test has not ended it."""
    process = forked().Process(target=work, args=[database.url])
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def ended_by(number: int, process: BaseProcess, admin: psycopg.Connection) -> float:
    """Send the signal; return how many seconds pass until process and all its traces are gone."""
    began = monotonic()
    assert process.pid
    os.kill(process.pid, number)
    until(lambda: nothing_is_left(admin), 10)
    process.join(10)
    assert process.exitcode
    return monotonic() - began


signals = pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name
)


@signals
def test_a_copy_that_is_interrupted_leaves_nothing(
    database: Postgres,
    admin: psycopg.Connection,
    number: int,
    record_property: Callable[[str, object], None],
) -> None:
    with loading(load_for_ever, database) as process:
        until(lambda: backend(admin, COPYING))
        record_property("seconds", ended_by(number, process, admin))
    assert count(admin) == OLD


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_copy_to_a_silent_server_can_be_interrupted(
    database: Postgres, admin: psycopg.Connection, number: int
) -> None:
    with loading(load_for_ever, database) as process:
        server = until(lambda: backend(admin, COPYING))
        assert server
        assert process.pid
        client = psutil.Process(process.pid)
        os.kill(server, signal.SIGSTOP)
        try:
            until(lambda: client.status() == psutil.STATUS_SLEEPING)
            os.kill(process.pid, number)
            process.join(10)
            assert process.exitcode
        finally:
            os.kill(server, signal.SIGCONT)
    until(lambda: nothing_is_left(admin))
    assert count(admin) == OLD


def test_an_interrupt_between_two_batches_does_not_wait_for_a_silent_server(
    database: Postgres, admin: psycopg.Connection
) -> None:
    stopped: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        yield some(NEW)
        stopped.append(until(lambda: backend(admin, COPYING)) or 0)
        os.kill(stopped[0], signal.SIGSTOP)
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            replace_month(database, MONTH, batches(), NEW)
    finally:
        os.kill(stopped[0], signal.SIGCONT)
    until(lambda: nothing_is_left(admin))
    assert count(admin) == OLD


@signals
def test_a_wait_for_the_month_that_is_interrupted_leaves_nothing(
    database: Postgres,
    admin: psycopg.Connection,
    number: int,
    record_property: Callable[[str, object], None],
) -> None:
    rival = Postgres(url=database.url)
    with psycopg.connect(database.url) as holder:
        key = "taxi_pipeline tlc.tested_trips_2015_03"
        holder.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
        with loading(load, rival) as process:
            until(lambda: backend(admin, WAITING))
            assert process.pid
            os.kill(process.pid, number)
            began = monotonic()
            until(lambda: not backend(admin, "true"), 10)
            record_property("seconds", monotonic() - began)
            process.join(10)
            assert process.exitcode
    until(lambda: nothing_is_left(admin))
    assert count(admin) == OLD


@signals
def test_a_swap_that_is_interrupted_leaves_nothing(
    database: Postgres,
    admin: psycopg.Connection,
    number: int,
    record_property: Callable[[str, object], None],
) -> None:
    with psycopg.connect(database.url) as reader:
        assert count(reader) == OLD
        with loading(load, database) as process:
            until(lambda: backend(admin, SWAPPING))
            record_property("seconds", ended_by(number, process, admin))
        assert count(reader) == OLD
    put(database, NEW)
    assert count(admin) == NEW


# --- rivals ---


def test_a_second_run_of_a_month_says_who_has_it(
    database: Postgres, admin: psycopg.Connection
) -> None:
    def rival() -> Iterator[pa.RecordBatch]:
        pid = backend(admin, COPYING)
        with pytest.raises(
            TransientError, match=rf"{PARTITION} was in use .*by pid {pid} taxi_pipeline since 20"
        ):
            put(with_(database, lock_timeout=1), 1)
        yield some(NEW)

    replace_month(database, MONTH, rival(), NEW)
    assert count(admin) == NEW


def test_a_second_run_of_a_month_waits_for_the_first(
    database: Postgres, admin: psycopg.Connection
) -> None:
    with ThreadPoolExecutor() as pool:

        def rival() -> Iterator[pa.RecordBatch]:
            second.append(pool.submit(put, database, NEW))
            until(lambda: backend(admin, f"{WAITING} AND query LIKE '%advisory%'"))
            yield some(1)

        second: list[object] = []
        replace_month(database, MONTH, rival(), 1)
    assert count(admin) == NEW


def test_first_months_of_all_services_and_the_zones_land_at_once(
    database: Postgres, admin: psycopg.Connection
) -> None:
    admin.execute("DROP SCHEMA tlc CASCADE")
    months = [Month(2015, number) for number in range(1, 4)]
    works: list[Callable[[], None]] = [
        *(
            lambda table=service.trips, month=month: replace_month(
                database, month, [some(OLD, month, table)], OLD, table
            )
            for month in months
            for service in SERVICES.values()
        ),
        *[lambda: replace_all(database, TAXI_ZONES, [some(5, MONTH, TAXI_ZONES)], 5)] * 3,
    ]
    with ThreadPoolExecutor(len(works)) as pool:
        for done in [pool.submit(work) for work in works]:
            done.result()
    for service in SERVICES.values():
        tallies = database.tallies(service.trips, None)
        assert {month: tally.rows for month, tally in tallies.items()} == dict.fromkeys(months, OLD)
    assert admin.execute("SELECT count(*) FROM tlc.taxi_zones").fetchall() == [(5,)]


# --- rows that wait for the next try ---


def never() -> Iterator[pa.RecordBatch]:
    """Return rows that nobody may ask for."""
    raise AssertionError("the rows are copied a second time")
    yield


@pytest.fixture
def reader(database: Postgres) -> Iterator[psycopg.Connection]:
    """Return a session that has read the month, for which a try has given up waiting."""
    with psycopg.connect(database.url) as reader:
        assert count(reader) == OLD
        with pytest.raises(TransientError, match=f"in use .* wait in {INCOMING} for the next try"):
            put(with_(database, lock_timeout=1), NEW)
        yield reader


def test_a_wait_for_readers_costs_no_second_copy(
    database: Postgres, admin: psycopg.Connection, reader: psycopg.Connection
) -> None:
    for _ in range(2):
        with pytest.raises(TransientError, match=f"in use .* wait in {INCOMING} for the next try"):
            replace_month(with_(database, lock_timeout=1), MONTH, never(), NEW)
        assert count(admin) == OLD
    reader.rollback()
    replace_month(database, MONTH, never(), NEW)
    assert count(admin) == NEW
    until(lambda: nothing_is_left(admin))
    assert database.stamps(TRIPS) == {MONTH: NOT_IN_LAKE.stamp}


def test_a_wait_for_who_alters_the_table_comes_before_the_copy(
    database: Postgres, admin: psycopg.Connection
) -> None:
    with psycopg.connect(database.url) as person:
        person.execute("LOCK TABLE tlc.tested_trips IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TransientError, match=r"lock timeout\. TAXI_POSTGRES_LOCK_TIMEOUT is"):
            replace_month(with_(database, lock_timeout=1), MONTH, never(), NEW)
    until(lambda: nothing_is_left(admin))


@signals
def test_rows_that_wait_outlive_a_try_that_is_interrupted(
    database: Postgres, admin: psycopg.Connection, reader: psycopg.Connection, number: int
) -> None:
    with loading(load, database) as process:
        until(lambda: backend(admin, SWAPPING))
        assert process.pid
        os.kill(process.pid, number)
        until(lambda: not backend(admin, "true"), 10)
        process.join(10)
        assert process.exitcode
    reader.rollback()
    replace_month(database, MONTH, never(), NEW)
    assert count(admin) == NEW
    until(lambda: nothing_is_left(admin))


@pytest.mark.parametrize(
    ("statement", "stored"),
    [
        ("SELECT 1", OTHER_FILE),
        (f"DELETE FROM {INCOMING} WHERE ctid = '(0,1)'", NOT_IN_LAKE),
        ("ALTER TABLE tlc.tested_trips ADD COLUMN own text", NOT_IN_LAKE),
    ],
    ids=["another file", "a row that somebody deleted", "a table that was altered"],
)
def test_rows_that_wait_and_are_not_the_files_are_dropped_first(
    database: Postgres,
    admin: psycopg.Connection,
    reader: psycopg.Connection,
    statement: str,
    stored: LakeObject,
) -> None:
    reader.rollback()
    admin.execute(statement.encode())

    def batches() -> Iterator[pa.RecordBatch]:
        # the disk has room again: what is copied now, nobody else sees yet
        assert admin.execute("SELECT to_regclass(%s)", [INCOMING]).fetchall() == [(None,)]
        yield some(NEW)

    database.replace(cleaned_file(TRIPS, MONTH, batches(), NEW, stored), "a-run")
    assert count(admin) == NEW
    until(lambda: nothing_is_left(admin))
    assert database.stamps(TRIPS) == {MONTH: stored.stamp}


def test_rows_of_the_month_that_somebody_has_put_aside_are_no_waiting_ones(
    database: Postgres, admin: psycopg.Connection, run: Run
) -> None:
    run(f"ALTER TABLE {PARTITION} DETACH PARTITION {ROWS}")
    run(f"ALTER TABLE {ROWS} RENAME TO {INCOMING.partition('.')[2]}")
    before = catalog(admin)
    with pytest.raises(PermanentError, match=f"there is a {INCOMING} of somebody's"):
        put(database, OLD)
    assert catalog(admin) == before


# --- readers ---


def read(url: str, query: str, going: Callable[[], bool]) -> list[tuple[float, int]]:
    """Ask the query over and over; return the seconds of each answer, and the answer."""
    answers = []
    with psycopg.connect(url, autocommit=True) as reader:
        while going():
            began = monotonic()
            ((rows,),) = reader.execute(query.encode()).fetchall()
            answers.append((monotonic() - began, rows))
    return answers


def latencies(answers: list[tuple[float, int]]) -> str:
    """Return how long answers took."""
    milliseconds = sorted(seconds * 1000 for seconds, _ in answers)
    middle, high = (milliseconds[int(len(milliseconds) * part)] for part in (0.5, 0.99))
    return (
        f"{len(answers)} queries: p50 {middle:.1f} ms, p99 {high:.1f} ms, "
        f"max {milliseconds[-1]:.1f} ms"
    )


def test_readers_see_the_old_month_or_the_new_one(
    database: Postgres, record_property: Callable[[str, object], None]
) -> None:
    readers, queries, replacements = 4, 1_000, 20
    put(database, OLD, neighbour := Month(2015, 4))

    def asked(going: Callable[[], bool]) -> list[tuple[float, int]]:
        works = [pool.submit(read, database.url, COUNT, going) for _ in range(readers)]
        return [answer for work in works for answer in work.result()]

    with ThreadPoolExecutor(readers + 1) as pool:
        numbers = iter(range(queries))
        record_property(
            "without a writer", latencies(asked(lambda: next(numbers, None) is not None))
        )

        def replacing() -> None:
            for _ in range(replacements // 2):
                put(database, NEW)
                put(database, OLD)

        writer, more = pool.submit(replacing), iter(range(queries))
        during = asked(lambda: not writer.done() or next(more, None) is not None)
        record_property("with a writer", latencies(during))
        writer.result()
    assert len(during) >= queries
    assert {rows for _, rows in during} == {OLD + OLD, NEW + OLD}
    assert database.tallies(TRIPS, None)[neighbour].rows == OLD


NEIGHBOUR, LATER = Month(2015, 4), Month(2015, 5)


def impatient(database: Postgres) -> str:
    """Return a URL whose sessions fail where they wait for a lock."""
    return f"{database.url}&options=-c%20lock_timeout%3D1ms"


def test_a_session_that_has_read_another_month_keeps_none_from_being_loaded(
    database: Postgres, admin: psycopg.Connection
) -> None:
    put(database, OLD, NEIGHBOUR)
    with psycopg.connect(database.url) as reader:
        assert count_of(reader, NEIGHBOUR) == OLD
        put(with_(database, lock_timeout=1), NEW)
        put(with_(database, lock_timeout=1), NEW, LATER)  # which was not there
        assert count_of(reader, NEIGHBOUR) == OLD
        assert count_of(reader, MONTH) == count_of(reader, LATER) == NEW


def test_long_queries_of_another_month_overlap_with_replaces_and_neither_waits(
    database: Postgres, admin: psycopg.Connection
) -> None:
    put(database, OLD, NEIGHBOUR)
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"

    def read_slowly(seconds: float) -> list[tuple[float, int]]:
        numbers = iter(range(2))
        slowly = f"(SELECT pg_sleep({seconds})) AS sleep, tlc.tested_trips"
        query = f"SELECT count(*) FROM {slowly} WHERE {of(NEIGHBOUR)}"
        return read(impatient(database), query, lambda: next(numbers, None) is not None)

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read_slowly, seconds) for seconds in (1.2, 1.6, 2)]
        until(lambda: admin.execute(asleep.encode()).fetchone() == (3,))
        while not all(reader.done() for reader in readers):
            put(with_(database, lock_timeout=1), NEW)
        answers = [rows for reader in readers for _, rows in reader.result()]
    assert answers == [OLD] * 6
    assert count_of(admin, MONTH) == NEW


def test_readers_of_other_months_never_wait_while_a_swap_waits(
    database: Postgres, admin: psycopg.Connection, record_property: Callable[[str, object], None]
) -> None:
    put(database, OLD, NEIGHBOUR)
    with ThreadPoolExecutor() as pool, psycopg.connect(database.url) as long_reader:
        assert count_of(long_reader, MONTH) == OLD
        writer = pool.submit(put, database, NEW)
        until(lambda: backend(admin, SWAPPING))
        numbers = iter(range(1_000))
        query = f"{COUNT} WHERE {of(NEIGHBOUR)}"
        answers = read(impatient(database), query, lambda: next(numbers, None) is not None)
        record_property("of another month", latencies(answers))
        assert {rows for _, rows in answers} == {OLD}
        assert not writer.done()
        long_reader.rollback()
        writer.result()
    assert count_of(admin, MONTH) == NEW


def test_readers_of_one_month_each_see_it_whole_and_those_of_others_never_wait(
    database: Postgres, record_property: Callable[[str, object], None]
) -> None:
    put(database, OLD, NEIGHBOUR)
    queries, replacements = 1_000, 20
    with ThreadPoolExecutor(5) as pool:

        def replacing() -> None:
            for _ in range(replacements // 2):
                put(database, NEW)
                put(database, OLD)

        writer = pool.submit(replacing)

        def asked(url: str, month: Month) -> list[Future[list[tuple[float, int]]]]:
            numbers, query = iter(range(queries)), f"{COUNT} WHERE {of(month)}"
            going = lambda: next(numbers, None) is not None or not writer.done()  # noqa: E731
            return [pool.submit(read, url, query, going) for _ in range(2)]

        works = {
            MONTH: asked(database.url, MONTH),
            NEIGHBOUR: asked(impatient(database), NEIGHBOUR),
        }
        writer.result()
        for month, expected in ((MONTH, {OLD, NEW}), (NEIGHBOUR, {OLD})):
            answers = [answer for work in works[month] for answer in work.result()]
            record_property(str(month), latencies(answers))
            assert len(answers) >= queries
            assert {rows for _, rows in answers} == expected


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_older_than_the_swap_sees_the_new_month(
    database: Postgres, isolation: str
) -> None:
    with psycopg.connect(database.url) as reader:
        reader.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}".encode())
        reader.execute("SELECT count(*) FROM pg_class")  # from here on it has a snapshot
        put(database, NEW)
        assert count(reader) == NEW
        assert count(reader) == NEW


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_that_has_read_the_month_keeps_it(database: Postgres, isolation: str) -> None:
    with psycopg.connect(database.url) as reader:
        reader.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}".encode())
        assert count(reader) == OLD
        with pytest.raises(
            TransientError, match=rf"in use .*by pid {reader.info.backend_pid} since"
        ):
            put(with_(database, lock_timeout=1), NEW)
        assert count(reader) == OLD
    put(database, NEW)


# PostgreSQL looks for a deadlock when somebody has waited for a second
@pytest.mark.parametrize("waited", [0, 0.9, 1.1, 1.3])
@pytest.mark.parametrize("partition", [PARTITION, ROWS])
def test_a_reader_of_partition_and_then_table_meets_no_deadlock(
    database: Postgres, admin: psycopg.Connection, partition: str, waited: float
) -> None:
    has_waited = (
        f"{SWAPPING} AND pid IN (SELECT pid FROM pg_locks "
        f"WHERE clock_timestamp() - waitstart > '{waited} s')"
    )
    with ThreadPoolExecutor() as pool, psycopg.connect(database.url) as reader:
        reader.execute(f"SELECT count(*) FROM {partition}".encode())
        writer = pool.submit(put, database, NEW)
        until(lambda: backend(admin, has_waited))
        assert count(reader) == OLD
        reader.rollback()
        writer.result()
    assert count(admin) == NEW


def test_a_prepared_query_goes_on_across_swaps(database: Postgres) -> None:
    with psycopg.connect(database.url, autocommit=True) as reader:
        for rows in (NEW, OLD) * 4:  # the sixth has a plan for good
            put(database, rows)
            query = "SELECT count(*) FROM tlc.tested_trips WHERE pickup_datetime >= %s"
            found = reader.execute(query, [MONTH.start], prepare=True).fetchall()
            assert found == [(rows,)]


def test_readers_go_on_while_a_swap_waits_for_a_long_one(
    database: Postgres, admin: psycopg.Connection, record_property: Callable[[str, object], None]
) -> None:
    with ThreadPoolExecutor() as pool, psycopg.connect(database.url) as long_reader:
        assert count(long_reader) == OLD
        writer = pool.submit(put, database, NEW)
        until(lambda: backend(admin, SWAPPING))
        numbers = iter(range(1_000))
        answers = read(database.url, COUNT, lambda: next(numbers, None) is not None)
        record_property("with a waiting swap", latencies(answers))
        assert {rows for _, rows in answers} == {OLD}
        assert not writer.done()
        long_reader.rollback()
        writer.result()
    assert count(admin) == NEW
