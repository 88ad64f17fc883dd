"""The BigQuery emulator as production code meets it: a process of its own and Google's client."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from pathlib import Path

import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, NotFound
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from taxi_pipeline.tlc.month import Month
from taxi_pipeline_tests.support.contracts.edge import emulator_alone
from taxi_pipeline_tests.support.processes import until

PROJECT = "test-project"
DATASET = "taxi"
JANUARY, FEBRUARY = Month(2021, 1), Month(2021, 2)
SCHEMA = [
    bigquery.SchemaField("pickup_datetime", "DATETIME", description="When the meter started"),
    bigquery.SchemaField("total_amount", "FLOAT64"),
]
PARTITIONING = bigquery.TimePartitioning(type_="MONTH", field="pickup_datetime")
NO_RETRY = Retry(predicate=lambda error: False)


@dataclass
class Emulator:
    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def client(self) -> bigquery.Client:
        return bigquery.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": f"http://127.0.0.1:{self.port}"},
        )

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        url = f"http://127.0.0.1:{self.port}/bigquery/v2/projects/{PROJECT}/datasets"
        with suppress(urllib.error.URLError), urllib.request.urlopen(url):
            return True
        return False

    def put(self, name: str, pickups: list[datetime | None], *extra: str) -> str:
        """Store a Parquet file of these pickups where the GCS emulator would."""
        path = self.folder / "gcs" / "lake" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {
            "pickup_datetime": pa.array(pickups, pa.timestamp("us")),
            "total_amount": pa.array([12.5] * len(pickups), pa.float64()),
        }
        columns |= {column: pa.array([1] * len(pickups), pa.int64()) for column in extra}
        pq.write_table(pa.table(columns), path)
        return f"gs://lake/{name}.parquet"


@contextmanager
def running(folder: Path) -> Iterator[Emulator]:
    (folder / "home").mkdir(exist_ok=True)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    command = [sys.executable, "-m", "taxi_pipeline.local.bigquery"]
    command += ["--data-dir", str(folder / "data"), "--gcs-root", str(folder / "gcs")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--project", PROJECT]
    environment = os.environ | {"HOME": str(folder / "home")}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            emulator = Emulator(process, port, folder)
            until(emulator.answers)
            yield emulator
        finally:
            process.kill()


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("bigquery")) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def client(emulator: Emulator) -> Iterator[bigquery.Client]:
    with emulator.client() as client:
        client.create_dataset(DATASET)
        yield client


@pytest.fixture
def table(client: bigquery.Client) -> str:
    return create_table(client, f"trips_{uuid.uuid4().hex}")


def create_table(
    client: bigquery.Client,
    table: str,
    partitioning: bigquery.TimePartitioning | None = PARTITIONING,
) -> str:
    resource = bigquery.Table(f"{PROJECT}.{DATASET}.{table}", schema=SCHEMA)
    resource.time_partitioning = partitioning
    client.create_table(resource)
    return table


def pickups(month: Month, count: int) -> list[datetime | None]:
    """Give pickups from the first of the month's instants to its last."""
    last = month.end - timedelta(microseconds=1)
    return [last if i == 0 else month.start + timedelta(seconds=i - 1) for i in range(count)]


def start_load(
    client: bigquery.Client,
    uri: str,
    table: str,
    partition: str = "202101",
    disposition: str = "WRITE_TRUNCATE",
    job_id: str | None = None,
    schema: list[bigquery.SchemaField] | None = SCHEMA,
    retry: Retry = bigquery.DEFAULT_RETRY,
    *,
    ignore_unknown: bool = False,
) -> bigquery.LoadJob:
    config = bigquery.LoadJobConfig(
        source_format="PARQUET",
        schema=schema,
        write_disposition=disposition,
        create_disposition="CREATE_NEVER",
        ignore_unknown_values=ignore_unknown,
        labels={"month": partition},
    )
    destination = f"{DATASET}.{table}${partition}"
    return client.load_table_from_uri(
        uri, destination, job_id=job_id, job_config=config, retry=retry
    )


def load(
    client: bigquery.Client,
    uri: str,
    table: str,
    partition: str = "202101",
    disposition: str = "WRITE_TRUNCATE",
    schema: list[bigquery.SchemaField] | None = SCHEMA,
) -> int:
    job = start_load(client, uri, table, partition, disposition, schema=schema)
    job.result()
    return int(job.output_rows or 0)


def months(client: bigquery.Client, table: str) -> dict[str | None, int]:
    query = (
        "SELECT DATE_TRUNC(pickup_datetime, MONTH) AS month, COUNT(*) AS trips "
        f"FROM {DATASET}.{table} GROUP BY month"
    )
    return {
        f"{row.month:%Y-%m}" if row.month else None: row.trips
        for row in client.query(query).result()
    }


def tables(client: bigquery.Client) -> set[str]:
    return {item.table_id for item in client.list_tables(DATASET)}


def test_replacing_a_month_keeps_the_others(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    assert load(client, emulator.put("jan", pickups(JANUARY, 3)), table) == 3
    assert load(client, emulator.put("feb", pickups(FEBRUARY, 4)), table, "202102") == 4
    assert load(client, emulator.put("jan", pickups(JANUARY, 2)), table) == 2

    assert months(client, table) == {"2021-01": 2, "2021-02": 4}
    assert [name for name in tables(client) if name.startswith(table)] == [table]


def test_loading_the_same_file_again_changes_nothing(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    uri = emulator.put("again", pickups(JANUARY, 5))

    assert [load(client, uri, table), load(client, uri, table)] == [5, 5]
    assert months(client, table) == {"2021-01": 5}


def test_a_file_just_overwritten_is_read_anew(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    for _ in range(3):
        assert load(client, emulator.put("overwritten", [JANUARY.start] * 9), table) == 9
        with pytest.raises(BadRequest, match="Some rows belong to different partitions"):
            load(client, emulator.put("overwritten", [FEBRUARY.start] * 9), table)
    assert months(client, table) == {"2021-01": 9}


def test_an_empty_file_empties_the_month(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    load(client, emulator.put("full", pickups(JANUARY, 3)), table)
    load(client, emulator.put("feb", pickups(FEBRUARY, 1)), table, "202102")

    assert load(client, emulator.put("empty", []), table) == 0
    assert months(client, table) == {"2021-02": 1}


def test_the_job_names_the_partition_and_its_id_cannot_be_used_twice(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    uri, job_id = emulator.put("job", pickups(JANUARY, 3)), f"load-{table}"
    start_load(client, uri, table, job_id=job_id).result()

    job = client.get_job(job_id)
    assert isinstance(job, bigquery.LoadJob)
    assert job.destination.table_id == f"{table}$202101"
    assert (job.state, job.output_rows, job.labels) == ("DONE", 3, {"month": "202101"})
    with pytest.raises(Conflict, match="Already Exists: Job"):
        start_load(client, uri, table, job_id=job_id)


def test_of_two_that_start_a_job_of_one_id_at_once_one_is_refused(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    uri, begin = emulator.put("once", pickups(JANUARY, 3)), threading.Barrier(4)

    def starts(job_id: str) -> bool:
        begin.wait(10)
        with suppress(Conflict):
            start_load(client, uri, table, disposition="WRITE_APPEND", job_id=job_id).result()
            return True
        return False

    with ThreadPoolExecutor(4) as pool:
        for number in range(5):
            assert sum(pool.map(starts, [f"{table}-{number}"] * 4)) == 1
    assert months(client, table) == {"2021-01": 15}


def test_a_job_that_has_ended_is_listed_as_done_whoever_asks(client: bigquery.Client) -> None:
    job_id = client.query_and_wait("SELECT 1 AS one").job_id
    by_state = {
        state: {job.job_id for job in client.list_jobs(state_filter=state)}
        for state in ("pending", "running", "done")
    }
    assert [state for state, ids in by_state.items() if job_id in ids] == ["done"]
    states = client.query_and_wait(
        f"SELECT state FROM `{PROJECT}`.`region-us`.INFORMATION_SCHEMA.JOBS "
        f"WHERE job_id = '{job_id}'"
    )
    assert [tuple(row.values()) for row in states] == [("DONE",)]


@pytest.mark.parametrize(
    ("stray", "disposition"),
    [
        (FEBRUARY.start, "WRITE_TRUNCATE"),
        (JANUARY.start - timedelta(microseconds=1), "WRITE_TRUNCATE"),
        (JANUARY.start.replace(year=2022), "WRITE_TRUNCATE"),
        (None, "WRITE_TRUNCATE"),
        (FEBRUARY.start, "WRITE_APPEND"),
    ],
)
def test_a_row_of_another_partition_is_refused_and_the_old_rows_stay(
    emulator: Emulator,
    client: bigquery.Client,
    table: str,
    stray: datetime | None,
    disposition: str,
) -> None:
    load(client, emulator.put("good", pickups(JANUARY, 3)), table)
    uri = emulator.put("stray", [*pickups(JANUARY, 5), stray])

    with pytest.raises(BadRequest) as failure:
        load(client, uri, table, disposition=disposition)

    assert (
        f"Some rows belong to different partitions rather than destination partition {table}$202101"
    ) in str(failure.value)
    assert failure.value.errors[0]["reason"] == "invalid"
    assert months(client, table) == {"2021-01": 3}


def test_append_adds_and_write_empty_wants_the_partition_empty(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    uri = emulator.put("some", pickups(JANUARY, 3))
    load(client, emulator.put("feb", pickups(FEBRUARY, 1)), table, "202102")

    assert load(client, uri, table, disposition="WRITE_EMPTY") == 3
    assert load(client, uri, table, disposition="WRITE_APPEND") == 3
    with pytest.raises(Conflict, match="Already Exists: Table"):
        load(client, uri, table, disposition="WRITE_EMPTY")
    assert months(client, table) == {"2021-01": 6, "2021-02": 1}


@pytest.mark.parametrize("decorator", ["2021", "20211", "202113", "20210101", "january", ""])
def test_a_decorator_that_is_no_month_is_refused(
    emulator: Emulator, client: bigquery.Client, table: str, decorator: str
) -> None:
    uri = emulator.put("jan", pickups(JANUARY, 3))

    refused = pytest.raises(BadRequest, match=f"Invalid partition id '{decorator}'")
    with emulator_alone(), refused:
        load(client, uri, table, decorator)

    assert months(client, table) == {}
    assert f"{table}${decorator}" not in tables(client)


@pytest.mark.parametrize(
    ("kind", "decorator"), [("HOUR", "2021010100"), ("DAY", "20210101"), ("YEAR", "2021")]
)
def test_every_kind_of_time_partition_has_its_decorator(
    emulator: Emulator, client: bigquery.Client, kind: str, decorator: str
) -> None:
    partitioning = bigquery.TimePartitioning(type_=kind, field="pickup_datetime")
    table = create_table(client, f"trips_by_{kind}", partitioning)
    uri = emulator.put("first", [JANUARY.start, JANUARY.start + timedelta(minutes=59)])

    assert [load(client, uri, table, decorator), load(client, uri, table, decorator)] == [2, 2]
    assert months(client, table) == {"2021-01": 2}


def test_a_table_without_partitions_has_none_to_load(
    emulator: Emulator, client: bigquery.Client
) -> None:
    table = create_table(client, "plain", partitioning=None)

    with pytest.raises(BadRequest, match="non-partitioned table"):
        load(client, emulator.put("jan", pickups(JANUARY, 3)), table)
    assert months(client, table) == {}


def test_of_two_that_create_a_table_at_once_one_finds_it_there(client: bigquery.Client) -> None:
    begin = threading.Barrier(4)

    def creates(name: str) -> bool:
        begin.wait(10)
        with suppress(Conflict):
            create_table(client, name)
            return True
        assert client.get_table(f"{DATASET}.{name}").time_partitioning == PARTITIONING
        return False

    with ThreadPoolExecutor(4) as pool:
        for number in range(25):
            assert sum(pool.map(creates, [f"raced_{number}"] * 4)) == 1


def test_a_query_that_comes_again_sees_what_has_become_of_its_table(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    name = f"`{PROJECT}.{DATASET}.{table}`"
    load(client, emulator.put("jan", pickups(JANUARY, 3)), table)

    def asked(above: float) -> list[tuple[object, ...]]:
        config = bigquery.QueryJobConfig(
            query_parameters=[bigquery.ScalarQueryParameter("above", "FLOAT64", above)]
        )
        query = f"SELECT *, total_amount / 2 AS half FROM {name} WHERE total_amount > @above"
        return [tuple(row.values())[1:] for row in client.query_and_wait(query, job_config=config)]

    assert asked(0) == asked(0) == [(12.5, 6.25)] * 3
    assert asked(20) == []  # the same text with another value
    client.query_and_wait(f"ALTER TABLE {name} ADD COLUMN more INT64")
    assert asked(0) == [(12.5, None, 6.25)] * 3
    client.query_and_wait(f"UPDATE {name} SET more = 7 WHERE TRUE")
    assert asked(0) == [(12.5, 7, 6.25)] * 3
    client.query_and_wait(f"CREATE OR REPLACE TABLE {name} AS SELECT 1 AS id, 5 AS total_amount")
    assert asked(0) == [(5, 2.5)]  # an integer, which BigQuery divides as a number
    client.delete_table(f"{DATASET}.{table}")
    with pytest.raises(NotFound):
        asked(0)
    with pytest.raises(NotFound):
        asked(0)


def test_a_query_that_comes_again_sees_what_has_become_of_a_routine(
    client: bigquery.Client,
) -> None:
    name = f"`{PROJECT}.{DATASET}.rows_of`"

    def asked(body: str) -> list[tuple[object, ...]]:
        client.query_and_wait(f"CREATE OR REPLACE TABLE FUNCTION {name}() AS ({body})")
        return [tuple(row.values()) for row in client.query_and_wait(f"SELECT * FROM {name}()")]

    assert asked("SELECT 1 AS a") == [(1,)]
    assert asked("SELECT 1.5 AS a") == [(1.5,)]
    assert asked("SELECT 'q' AS b") == [("q",)]


def test_a_missing_table_is_not_created(emulator: Emulator, client: bigquery.Client) -> None:
    with pytest.raises(NotFound, match=rf"Not found: Table {PROJECT}:{DATASET}\.missing"):
        load(client, emulator.put("jan", pickups(JANUARY, 3)), "missing")
    assert not {name for name in tables(client) if name.startswith("missing")}


@pytest.mark.parametrize(
    "schema", [SCHEMA, [*SCHEMA, bigquery.SchemaField("tolls", "INT64")], None]
)
def test_a_field_that_the_table_lacks_is_refused(
    emulator: Emulator,
    client: bigquery.Client,
    table: str,
    schema: list[bigquery.SchemaField] | None,
) -> None:
    load(client, emulator.put("good", pickups(JANUARY, 3)), table)
    uri = emulator.put("wide", pickups(JANUARY, 1), "tolls")

    with pytest.raises(BadRequest, match=r"Cannot add fields \(field: tolls\)"):
        load(client, uri, table, schema=schema)

    assert months(client, table) == {"2021-01": 3}
    assert [field.name for field in client.get_table(f"{DATASET}.{table}").schema] == [
        field.name for field in SCHEMA
    ]


def test_a_field_of_another_type_is_refused(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    schema = [SCHEMA[0], bigquery.SchemaField("total_amount", "STRING")]

    with pytest.raises(BadRequest, match="total_amount has changed type from FLOAT to STRING"):
        load(client, emulator.put("jan", pickups(JANUARY, 3)), table, schema=schema)
    assert months(client, table) == {}


def test_a_field_that_the_job_does_not_name_may_be_ignored(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    uri = emulator.put("ignored", pickups(JANUARY, 3), "tolls")
    start_load(client, uri, table, ignore_unknown=True).result()
    assert months(client, table) == {"2021-01": 3}
    named = [*SCHEMA, bigquery.SchemaField("tolls", "INT64")]
    with pytest.raises(BadRequest, match=r"Cannot add fields \(field: tolls\)"):
        start_load(client, uri, table, schema=named, ignore_unknown=True).result()


def test_a_field_that_the_file_lacks_is_null(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    schema = [SCHEMA[0], bigquery.SchemaField("tolls", "INT64"), SCHEMA[1]]
    resource = client.get_table(f"{DATASET}.{table}")
    resource.schema = [*SCHEMA, schema[1]]
    client.update_table(resource, ["schema"])

    assert load(client, emulator.put("narrow", pickups(JANUARY, 3)), table, schema=schema) == 3

    query = f"SELECT DISTINCT total_amount, tolls FROM {DATASET}.{table}"
    assert [tuple(row) for row in client.query(query).result()] == [(12.5, None)]


def test_a_field_added_to_the_table_can_be_loaded(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    load(client, emulator.put("feb", pickups(FEBRUARY, 2)), table, "202102")
    schema = [*SCHEMA, bigquery.SchemaField("tolls", "INT64")]
    resource = client.get_table(f"{DATASET}.{table}")
    resource.schema = schema
    client.update_table(resource, ["schema"])

    load(client, emulator.put("wide", pickups(JANUARY, 3), "tolls"), table, schema=schema)

    query = f"SELECT COUNT(*) AS trips, SUM(tolls) AS tolls FROM {DATASET}.{table}"
    assert [tuple(row) for row in client.query(query).result()] == [(5, 3)]


def replace_by_query(
    client: bigquery.Client,
    table: str,
    query: str,
    start: datetime,
    partition: str = "202101",
    disposition: str | None = "WRITE_TRUNCATE",
) -> list[tuple[object, ...]]:
    """Run a query, which gets @start, into a partition; return what the job lists as its rows."""
    config = bigquery.QueryJobConfig(
        destination=f"{PROJECT}.{DATASET}.{table}${partition}",
        create_disposition="CREATE_NEVER",
        default_dataset=f"{PROJECT}.{DATASET}",
        query_parameters=[bigquery.ScalarQueryParameter("start", "DATETIME", start)],
    )
    if disposition:
        config.write_disposition = disposition
    rows = client.query(query, config).result()
    listed = [tuple(row) for row in rows]
    assert rows.total_rows == len(listed)
    return listed


TWO_TRIPS = (
    "SELECT @start AS pickup_datetime, 1.5 AS total_amount UNION ALL "
    "SELECT DATETIME_ADD(@start, INTERVAL 30 DAY), 2.5"
)


def test_a_query_replaces_its_partition_and_no_other(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    load(client, emulator.put("jan", pickups(JANUARY, 3)), table)
    load(client, emulator.put("feb", pickups(FEBRUARY, 4)), table, "202102")

    for _ in range(2):
        listed = replace_by_query(client, table, TWO_TRIPS, JANUARY.start)
        assert listed == [(JANUARY.start, 1.5), (JANUARY.start + timedelta(days=30), 2.5)]
        assert months(client, table) == {"2021-01": 2, "2021-02": 4}

    nothing = f"SELECT * FROM {table} WHERE pickup_datetime < @start"
    assert replace_by_query(client, table, nothing, JANUARY.start) == []
    assert months(client, table) == {"2021-02": 4}
    assert [name for name in tables(client) if name.startswith(table)] == [table]
    described = {field.name: field.description for field in SCHEMA}
    schema = client.get_table(f"{DATASET}.{table}").schema
    assert {field.name: field.description for field in schema} == described


def test_a_querys_months_may_be_of_a_date(client: bigquery.Client) -> None:
    resource = bigquery.Table(
        f"{PROJECT}.{DATASET}.days", schema=[bigquery.SchemaField("day", "DATE")]
    )
    resource.time_partitioning = bigquery.TimePartitioning(type_="MONTH", field="day")
    client.create_table(resource)
    query = "SELECT DATE(@start) AS day"

    for month in (JANUARY, FEBRUARY):
        partition = month.key.replace("-", "")
        assert replace_by_query(client, "days", query, month.start, partition) == [
            (month.start.date(),)
        ]
    with pytest.raises(BadRequest, match="Some rows belong to different partitions"):
        replace_by_query(client, "days", query, FEBRUARY.start)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (TWO_TRIPS.replace("30 DAY", "31 DAY"), "Some rows belong to different partitions"),
        (TWO_TRIPS.replace("1.5", "ERROR('stop')"), "stop"),
        ("SELECT @start AS pickup_datetime, 1 AS tolls", "Cannot add fields (field: tolls)"),
        (
            "SELECT @start AS pickup_datetime, 'much' AS total_amount",
            "total_amount has changed type from FLOAT to STRING",
        ),
    ],
    ids=["another month", "an error", "another field", "another type"],
)
def test_a_query_that_fails_leaves_the_old_rows(
    emulator: Emulator, client: bigquery.Client, table: str, query: str, said: str
) -> None:
    load(client, emulator.put("good", pickups(JANUARY, 3)), table)

    with pytest.raises(BadRequest) as failure:
        replace_by_query(client, table, query, JANUARY.start)

    assert said in str(failure.value)
    assert months(client, table) == {"2021-01": 3}


def test_a_query_into_a_partition_wants_it_empty_unless_told_otherwise(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    load(client, emulator.put("feb", pickups(FEBRUARY, 1)), table, "202102")

    replace_by_query(client, table, TWO_TRIPS, JANUARY.start, disposition=None)
    with pytest.raises(Conflict, match="Already Exists: Table"):
        replace_by_query(client, table, TWO_TRIPS, JANUARY.start, disposition=None)
    replace_by_query(client, table, TWO_TRIPS, JANUARY.start, disposition="WRITE_APPEND")
    assert months(client, table) == {"2021-01": 4, "2021-02": 1}


def test_loads_at_once_all_land(emulator: Emulator, client: bigquery.Client, table: str) -> None:
    january = emulator.put("many-jan", pickups(JANUARY, 20_000))
    february = emulator.put("many-feb", pickups(FEBRUARY, 30_000))
    together = threading.Barrier(3)

    def replace(uri: str, partition: str) -> int:
        with emulator.client() as own_client:
            together.wait(timeout=60)
            return load(own_client, uri, table, partition)

    with ThreadPoolExecutor() as executor:
        uris, partitions = (january, january, february), ("202101", "202101", "202102")
        loaded = list(executor.map(replace, uris, partitions))

    assert loaded == [20_000, 20_000, 30_000]
    assert months(client, table) == {"2021-01": 20_000, "2021-02": 30_000}


def test_a_reader_sees_the_old_month_or_the_new_one(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    # Large enough for a reader to look between a delete and an insert that were not one.
    sizes = (200_000, 400_000)
    uris = [emulator.put(f"{size}-trips", [JANUARY.start] * size) for size in sizes]
    load(client, uris[1], table)
    seen: list[dict[str | None, int]] = []
    stop, looked = threading.Event(), threading.Semaphore(0)

    def read() -> None:
        with emulator.client() as own_client:
            while not stop.is_set():
                seen.append(months(own_client, table))
                looked.release()

    with ThreadPoolExecutor() as executor:
        reader = executor.submit(read)
        try:
            for turn in range(10):
                load(client, uris[turn % 2], table)
                assert looked.acquire(timeout=30)
        finally:
            stop.set()
    reader.result()

    assert len(seen) >= 10
    assert all(counts in [{"2021-01": size} for size in sizes] for counts in seen)


def test_a_view_is_one_and_has_its_tables_rows(
    emulator: Emulator, client: bigquery.Client, table: str
) -> None:
    load(client, emulator.put("jan", pickups(JANUARY, 3)), table)
    view = f"{table}_seen"
    client.query_and_wait(f"CREATE VIEW {DATASET}.{view} AS SELECT * FROM {DATASET}.{table}")

    assert client.get_table(f"{DATASET}.{view}").table_type == "VIEW"
    assert client.get_table(f"{DATASET}.{table}").table_type == "TABLE"
    assert months(client, view) == {"2021-01": 3}


def test_a_view_whose_table_is_gone_can_be_deleted_and_made_again(
    client: bigquery.Client, table: str
) -> None:
    view = bigquery.Table(f"{PROJECT}.{DATASET}.of_{table}")
    view.view_query = f"SELECT * FROM `{PROJECT}.{DATASET}.{table}`"
    client.create_table(view)
    client.delete_table(f"{DATASET}.{table}")
    client.delete_table(view)
    create_table(client, table)
    assert client.create_table(view).table_type == "VIEW"
    client.delete_table(view)


def test_a_name_in_another_case_is_another_tables(client: bigquery.Client, table: str) -> None:
    for name in (f"{DATASET}.{table.upper()}", f"{DATASET.upper()}.{table}"):
        with pytest.raises(NotFound):
            client.get_table(name)


def test_a_folder_of_an_earlier_release_keeps_its_tables(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    extension = files("duckdb_extension_ducklake") / "extensions" / f"v{duckdb.__version__}"
    with duckdb.connect() as connection:
        connection.load_extension(str(extension / "ducklake.duckdb_extension"))
        lake = f"ducklake:{data / PROJECT}.ducklake"
        connection.execute(f"ATTACH '{lake}' AS lake (DATA_PATH '{data / PROJECT}/')")
        connection.execute(f"CREATE SCHEMA lake.{DATASET}")
        trips = "SELECT TIMESTAMP '2021-01-01' AS pickup_datetime, 12.5::DOUBLE AS total_amount"
        connection.execute(f"CREATE TABLE lake.{DATASET}.trips AS {trips}")

    with running(tmp_path) as emulator, emulator.client() as client:
        assert months(client, "trips") == {"2021-01": 1}
        assert client.get_table(f"{DATASET}.trips").num_rows == 1


def test_it_listens_on_the_loopback_interface_only(
    emulator: Emulator, client: bigquery.Client
) -> None:
    connections = psutil.Process(emulator.process.pid).net_connections()
    listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN]

    assert listening == [("127.0.0.1", emulator.port)]


def test_the_home_directory_stays_clean(emulator: Emulator, client: bigquery.Client) -> None:
    assert list((emulator.folder / "home").iterdir()) == []


def underway(client: bigquery.Client, job_id: str) -> bool:
    with suppress(NotFound):
        return client.get_job(job_id).state in {"RUNNING", "DONE"}
    return False


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_data_and_jobs_outlive_the_process(tmp_path: Path, signum: signal.Signals) -> None:
    with ExitStack() as stack:
        emulator = stack.enter_context(running(tmp_path))
        client = stack.enter_context(emulator.client())
        client.create_dataset(DATASET)
        create_table(client, "trips")
        load(client, emulator.put("jan", pickups(JANUARY, 3)), "trips")
        load(client, emulator.put("feb", pickups(FEBRUARY, 4)), "trips", "202102")

        uri = emulator.put("big", [JANUARY.start] * 2_000_000)

        def replace() -> None:
            with suppress(GoogleAPICallError, OSError), emulator.client() as own_client:
                start_load(own_client, uri, "trips", job_id="interrupted", retry=NO_RETRY)

        executor = stack.enter_context(ThreadPoolExecutor())
        executor.submit(replace)
        until(lambda: underway(client, "interrupted"))
        emulator.process.send_signal(signum)
        asked = time.monotonic()
        code = emulator.process.wait(timeout=30)
        assert time.monotonic() - asked < 10
        assert code == (0 if signum == signal.SIGTERM else -signal.SIGKILL)
        closed = not list((tmp_path / "data").glob("*.wal"))
        assert closed or signum == signal.SIGKILL
        executor.shutdown()

    with running(tmp_path) as emulator, emulator.client() as client:
        job = client.get_job("interrupted")
        assert job.state == "DONE"
        # Asked to stop, it finishes the load; killed in the middle, it leaves the old month.
        replaced = job.error_result is None
        assert replaced or signum == signal.SIGKILL
        january = 2_000_000 if replaced else 3
        assert months(client, "trips") == {"2021-01": january, "2021-02": 4}
        assert client.get_table(f"{DATASET}.trips").time_partitioning == PARTITIONING
        assert load(client, emulator.put("jan", pickups(JANUARY, 5)), "trips") == 5
        assert tables(client) == {"trips"}
