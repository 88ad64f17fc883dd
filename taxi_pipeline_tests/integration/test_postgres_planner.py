"""What PostgreSQL's planner has after a load: indexes, built before the swap, and statistics."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.lake.cleaned import conformed_batches
from taxi_pipeline.resources.postgres import Postgres, planner
from taxi_pipeline.resources.postgres.statements import partition_name
from taxi_pipeline.tlc.cleaning import clean_trips
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import open_published
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import GREEN, Table
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.cleaned import cleaned_file
from taxi_pipeline_tests.support.processes import until
from taxi_pipeline_tests.support.real_files import NOT_THERE, found, service_and_month

JANUARY, FEBRUARY = Month(2021, 1), Month(2021, 2)
DAYS = 28
GREEN_MONTHS = found("trip-data/green_*.parquet")[::4]
LOCK = 1_234_567


@pytest.fixture
def admin(platform: Platform) -> Iterator[psycopg.Connection]:
    with psycopg.connect(platform.resources.postgres.url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def table() -> Table:
    """Return a declared table that no other test has."""
    return replace(GREEN.trips, name=f"p_{uuid4().hex[:8]}")


def put(database: Postgres, table: Table, month: Month, *, a_day: int = 10) -> None:
    """Load so many trips a day, more each day, whose drop-off zones are 0, 1, 2, …"""
    pickups = [
        month.start + timedelta(days=day, minutes=minute)
        for day in range(DAYS)
        for minute in range(a_day * (day + 1))
    ]
    known = {"pickup_datetime": pickups, "dropoff_location_id": [*range(len(pickups))]}
    schema = arrow_schema(table)
    columns = [
        pa.array(known.get(field.name, [None] * len(pickups)), field.type) for field in schema
    ]
    batch = pa.RecordBatch.from_arrays(columns, schema=schema)
    database.replace(cleaned_file(table, month, [batch], len(pickups)), "a-run")


def run(admin: psycopg.Connection, statement: str, table: Table) -> list[Any]:
    """Execute a statement in which {} stands for the table; return its rows."""
    named = sql.SQL(statement).format(sql.Identifier("tlc", table.name))
    cursor = admin.execute(named)
    return cursor.fetchall() if cursor.description else []


def indexes_of(admin: psycopg.Connection, partition: str) -> dict[str, bool]:
    """Return the names of a partition's indexes, and whether one of the table's has adopted it."""
    query = (
        "SELECT relname, EXISTS (SELECT FROM pg_inherits WHERE inhrelid = indexrelid) "
        "FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indrelid = %s::regclass"
    )
    return dict(admin.execute(query, [f"tlc.{partition}"]).fetchall())


def test_a_new_partition_has_the_tables_indexes_and_constraints_under_its_own_names(
    platform: Platform, admin: psycopg.Connection, table: Table
) -> None:
    database, partition = platform.resources.postgres, f"{table.name}_2021_01"
    put(database, table, JANUARY)
    for statement in (
        "CREATE INDEX ON {} (pickup_location_id) INCLUDE (trip_distance)",
        'CREATE INDEX ON {} (lower(store_and_fwd_flag) COLLATE "C" DESC NULLS LAST)',
        "CREATE INDEX ON {} USING brin (pickup_datetime) WHERE vendor_id = 2",
        "CREATE UNIQUE INDEX ON {} (pickup_datetime, trip_distance) NULLS NOT DISTINCT",
        # whose name PostgreSQL shortens
        "ALTER TABLE {} ADD UNIQUE (pickup_datetime, dropoff_location_id, trip_distance)",
        "ALTER TABLE {} ADD PRIMARY KEY (pickup_datetime, dropoff_location_id)",
    ):
        run(admin, statement, table)
    created = {name: indexes_of(admin, name) for name in (partition, f"{partition}_rows")}
    for _ in range(2):
        put(database, table, JANUARY, a_day=11)
        for name, indexes in created.items():
            assert indexes_of(admin, name) == indexes == dict.fromkeys(indexes, True)
            assert len(indexes) == 7  # with ours
    put(database, table, FEBRUARY)
    for name in (f"{table.name}_2021_02", f"{table.name}_2021_02_rows"):
        new = indexes_of(admin, name)
        assert new == dict.fromkeys(new, True)
        assert len(new) == 7
        assert f"{name}_pkey" in new


def test_an_index_that_our_role_may_not_create_is_left_to_attach(
    platform: Platform, admin: psycopg.Connection, table: Table
) -> None:
    admin.execute("CREATE ROLE tested_loader LOGIN PASSWORD 'p'")
    admin.execute("CREATE DATABASE tested_rights OWNER tested_loader")
    url = urlsplit(platform.resources.postgres.url)._replace(path="/tested_rights")
    user = url._replace(netloc=f"tested_loader:p@{url.netloc.rpartition('@')[2]}")
    loader = Postgres(url=user.geturl())
    try:
        put(loader, table, JANUARY)
        with psycopg.connect(url.geturl(), autocommit=True) as owner:
            owner.execute("CREATE SCHEMA private")
            owner.execute(
                "CREATE FUNCTION private.f(integer) RETURNS integer IMMUTABLE LANGUAGE sql "
                "RETURN $1 + 1"
            )
            run(owner, "CREATE INDEX ON {} (private.f(pickup_location_id))", table)
            run(owner, "CREATE INDEX ON {} (pickup_location_id)", table)
            put(loader, table, JANUARY, a_day=11)
            assert [*indexes_of(owner, f"{table.name}_2021_01").values()] == [True] * 3
    finally:
        admin.execute("DROP DATABASE tested_rights WITH (FORCE)")
        admin.execute("DROP ROLE tested_loader")


def test_the_storage_options_of_a_key_stay(
    platform: Platform, admin: psycopg.Connection, table: Table
) -> None:
    put(platform.resources.postgres, table, JANUARY)
    key = "PRIMARY KEY (pickup_datetime, dropoff_location_id) WITH (fillfactor = 50)"
    run(admin, f"ALTER TABLE {{}} ADD {key}", table)
    put(platform.resources.postgres, table, JANUARY, a_day=11)
    query = "SELECT reloptions FROM pg_class WHERE oid = %s::regclass"
    options = admin.execute(query, [f"tlc.{table.name}_2021_01_pkey"]).fetchone()
    assert options == (["fillfactor=50"],)


def test_rows_that_break_a_constraint_of_somebodys_change_nothing(
    platform: Platform, admin: psycopg.Connection, table: Table
) -> None:
    database = platform.resources.postgres
    put(database, table, JANUARY)
    before = run(admin, "SELECT count(*) FROM {}", table)
    run(admin, "CREATE UNIQUE INDEX ON {} (pickup_datetime, dropoff_location_id)", table)
    same = {"pickup_datetime": JANUARY.start, "dropoff_location_id": 1}
    batch = pa.RecordBatch.from_pylist([same, same], arrow_schema(table))
    with pytest.raises(PermanentError, match="Drop the constraint that these rows break"):
        database.replace(cleaned_file(table, JANUARY, [batch], 2), "a-run")
    assert run(admin, "SELECT count(*) FROM {}", table) == before
    assert run(admin, "SELECT to_regclass('{}_incoming')", table) == [(None,)]


def test_nobody_waits_while_an_index_of_somebodys_is_built(
    platform: Platform, admin: psycopg.Connection, table: Table
) -> None:
    """The index calls a function that waits for a lock which this test holds."""
    database = platform.resources.postgres
    put(database, table, JANUARY)
    admin.execute(
        "CREATE OR REPLACE FUNCTION waited(zone integer) RETURNS integer IMMUTABLE LANGUAGE sql AS "
        f"'SELECT CASE WHEN pg_advisory_xact_lock_shared({LOCK}) IS NULL THEN zone ELSE zone END'"
    )
    run(admin, "CREATE INDEX ON {} (waited(dropoff_location_id))", table)
    rows = run(admin, "SELECT count(*) FROM {}", table)
    building = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
        f"AND objid = {LOCK}"
    )
    with ThreadPoolExecutor() as pool, psycopg.connect(database.url) as holder:
        holder.execute(f"SELECT pg_advisory_xact_lock({LOCK})".encode())
        replacing = pool.submit(put, database, table, JANUARY, a_day=11)
        until(lambda: admin.execute(building.encode()).fetchone() == (1,))
        admin.execute("SET lock_timeout = '1s'")
        assert run(admin, "SELECT count(*) FROM {}", table) == rows
        assert not replacing.done()
        holder.rollback()
        replacing.result()
    assert run(admin, "SELECT count(*) FROM {}", table) != rows


def plan_of_day(
    admin: psycopg.Connection, table: Table, month: Month, day: int
) -> tuple[dict[str, Any], int]:
    """Return how the trips of a day were read, without workers, and how many pages that took."""
    first = month.start + timedelta(days=day)
    with admin.transaction():
        admin.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        ((plan,),) = run(
            admin,
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM {} WHERE "
            f"pickup_datetime >= '{first}' AND pickup_datetime < '{first + timedelta(days=1)}'",
            table,
        )
    node = plan[0]["Plan"]
    return node, node["Shared Hit Blocks"] + node["Shared Read Blocks"]


def pages_of(admin: psycopg.Connection, partition: str) -> int:
    query = "SELECT pg_relation_size(%s::regclass) / current_setting('block_size')::int"
    ((pages,),) = admin.execute(query, [f"tlc.{partition}"]).fetchall()
    return int(pages)


def test_a_days_query_reads_a_part_of_the_month_by_our_index(
    platform: Platform, admin: psycopg.Connection, table: Table
) -> None:
    put(platform.resources.postgres, table, JANUARY, a_day=50)
    rows = f"{table.name}_2021_01_rows"
    for day in (0, 13, DAYS - 1):
        plan, pages = plan_of_day(admin, table, JANUARY, day)
        assert plan["Node Type"] == "Bitmap Heap Scan"
        assert plan["Plans"][0]["Index Name"] == f"{rows}_pickup_datetime_idx"
        assert plan["Actual Rows"] == 50 * (day + 1)
        assert pages < pages_of(admin, rows) / 5


@pytest.mark.skipif(not GREEN_MONTHS, reason=NOT_THERE)
def test_a_days_query_reads_a_fifth_of_a_real_month_at_most(
    platform: Platform, admin: psycopg.Connection, table: Table, tmp_path: Path
) -> None:
    for path in GREEN_MONTHS:
        month = Month.parse(service_and_month(path)[1])
        kept = tmp_path / path.name
        clean_trips(month, open_published(path, GREEN.trips), kept, tmp_path / "rejected.parquet")
        rows = pq.ParquetFile(kept).metadata.num_rows
        batches = conformed_batches(kept, table, str(kept))
        platform.resources.postgres.replace(cleaned_file(table, month, batches, rows), "a-run")
        all_pages = pages_of(admin, f"{partition_name(table, month)}_rows")
        for day in range(0, DAYS, 9):
            plan, pages = plan_of_day(admin, table, month, day)
            assert plan["Node Type"] == "Bitmap Heap Scan", (path.name, day)
            assert pages < all_pages / 5, (path.name, day)


def test_an_index_of_somebodys_that_finds_a_day_makes_ours_needless(
    platform: Platform, admin: psycopg.Connection, table: Table
) -> None:
    database = platform.resources.postgres
    put(database, table, JANUARY)
    assert [*indexes_of(admin, table.name)] == [f"{table.name}_pickup_datetime_idx"]
    for own, ours in (
        ("(pickup_datetime, vendor_id)", 0),
        ("USING brin (pickup_datetime)", 0),
        ("(vendor_id, pickup_datetime)", 1),
        ("USING hash (pickup_datetime)", 1),
        ("(pickup_datetime) WHERE vendor_id = 2", 1),
    ):
        for index in indexes_of(admin, table.name):
            admin.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier("tlc", index)))
        run(admin, f"CREATE INDEX ON {{}} {own}", table)
        put(database, table, JANUARY)
        assert len(indexes_of(admin, table.name)) == 1 + ours, own
        assert len(indexes_of(admin, f"{table.name}_2021_01_rows")) == 1 + ours, own


def test_a_table_of_an_earlier_release_gets_our_index_and_its_months_as_they_are_replaced(
    platform: Platform, admin: psycopg.Connection, table: Table
) -> None:
    database, index = platform.resources.postgres, f"{table.name}_pickup_datetime_idx"
    for month in (JANUARY, FEBRUARY):
        put(database, table, month)
    admin.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier("tlc", index)))
    with psycopg.connect(database.url) as reader:
        run(reader, "SELECT count(*) FROM {}", table)
        put(Postgres(url=database.url, lock_timeout=1), table, march := Month(2021, 3))
    assert [*indexes_of(admin, table.name)] == [index]
    put(database, table, JANUARY, a_day=11)
    for month, expected in ((JANUARY, 1), (FEBRUARY, 0), (march, 1)):
        name = f"{partition_name(table, month)}_rows"
        assert len(indexes_of(admin, name)) == expected, month
    assert "Bitmap" in plan_of_day(admin, table, march, 0)[0]["Node Type"]


def planned_rows(admin: psycopg.Connection, table: Table, day: int) -> int:
    """Return how many trips of a day of January the planner expects."""
    date = (JANUARY.start + timedelta(days=day)).date()
    ((plan,),) = run(
        admin,
        "EXPLAIN (FORMAT JSON) SELECT * FROM {} "
        f"WHERE pickup_datetime >= '{date}' AND pickup_datetime < '{date + timedelta(days=1)}'",
        table,
    )
    node = json.loads(plan) if isinstance(plan, str) else plan
    return int(node[0]["Plan"]["Plan Rows"])


def test_the_planner_knows_a_days_rows_right_after_a_load(
    platform: Platform, admin: psycopg.Connection, table: Table
) -> None:
    database = platform.resources.postgres
    for a_day in (10, 40):
        put(database, table, JANUARY, a_day=a_day)
        for day in (0, 13, DAYS - 1):
            rows = a_day * (day + 1)
            assert rows / 2 <= planned_rows(admin, table, day) <= rows * 2, day


def test_the_table_has_statistics_over_its_months(
    platform: Platform, admin: psycopg.Connection, table: Table
) -> None:
    database = platform.resources.postgres
    query = (
        "SELECT histogram_bounds::text::timestamp[] FROM pg_stats WHERE schemaname = 'tlc' AND "
        f"tablename = '{table.name}' AND attname = 'pickup_datetime' AND inherited"
    )

    def bounds() -> Any:
        return admin.execute(query.encode()).fetchone()

    put(database, table, JANUARY)
    ((*_, last),) = bounds()
    assert last < JANUARY.end
    before = bounds()
    put(database, table, JANUARY, a_day=50)  # as a month that is published again
    assert bounds() == before
    put(database, table, FEBRUARY)
    ((*_, last),) = bounds()
    assert last >= FEBRUARY.start


def test_statistics_that_cannot_be_taken_fail_no_load_and_are_taken_with_the_next(
    platform: Platform,
    admin: psycopg.Connection,
    table: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = platform.resources.postgres
    put(database, table, JANUARY)
    query = (
        "SELECT (histogram_bounds::text::timestamp[])[1] FROM pg_stats WHERE inherited AND "
        f"tablename = '{table.name}' AND attname = 'pickup_datetime'"
    )
    december = Month(2020, 12)
    with monkeypatch.context() as patched:
        failing = "SELECT FROM nowhere WHERE {start} < {end}"
        patched.setattr(planner, "_KNOWS_MONTH", failing)
        put(database, table, december)
    ((first,),) = admin.execute(query.encode()).fetchall()
    assert first >= JANUARY.start
    put(database, table, december)
    ((first,),) = admin.execute(query.encode()).fetchall()
    assert first < december.end


def test_a_server_without_analyze_only_reads_the_partitions_once(
    platform: Platform,
    admin: psycopg.Connection,
    table: Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = platform.resources.postgres
    monkeypatch.setattr(planner, "_ANALYZE_ONLY", 10**9)

    def when() -> Any:
        query = f"SELECT last_analyze FROM pg_stat_user_tables WHERE relname = '{table.name}'"
        return admin.execute(query.encode()).fetchone()

    put(database, table, JANUARY)
    until(lambda: when() not in (None, (None,)))
    first = when()
    put(database, table, FEBRUARY)
    assert when() == first
