"""The warehouse in the emulator, by way of Google's client: its jobs, and faults on their way."""

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError
from google.cloud import bigquery

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.google import GoogleBigQuery
from taxi_pipeline.marts import DAILY_TRIPS, TRIPS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.bigquery.tables import schema_of
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import GREEN, TAXI_ZONES, Table
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.cleaned import cleaned_file
from taxi_pipeline_tests.support.http import silent
from taxi_pipeline_tests.support.lake import overwrite
from taxi_pipeline_tests.support.processes import until
from taxi_pipeline_tests.support.relays import Exchange, Point, http_relay, passing

JANUARY, FEBRUARY = Month(2021, 1), Month(2021, 2)
RUN = {"run": "a-run"}
ONE_TRIP = "SELECT @start AS pickup_datetime"
ENDLESS = f"""{ONE_TRIP}
FROM UNNEST(GENERATE_ARRAY(1, 300000)) AS a CROSS JOIN UNNEST(GENERATE_ARRAY(1, 300000)) AS b
WHERE a * b = 0"""


@dataclass
class Scene:
    """A table of its own in the emulator, reached through a relay whose `points` may grow."""

    lake: Lake
    warehouse: BigQuery
    folder: Path
    table: Table
    points: list[Point[Exchange]] = field(default_factory=list)

    def stored(self, rows: int, month: Month = JANUARY) -> LakeObject:
        """Put so many trips of a month into the lake."""
        schema = arrow_schema(self.table)
        columns = [
            pa.array(
                [month.start if column.name == "pickup_datetime" else None] * rows, column.type
            )
            for column in schema
        ]
        path = self.folder / f"{uuid.uuid4()}.parquet"
        pq.write_table(pa.table(columns, schema=schema), path)
        return overwrite(self.lake, path, f"cleaned/{self.table.name}/{month}-{rows}.parquet", {})

    def load(
        self, source: LakeObject, rows: int, month: Month = JANUARY, run: str = "a-run"
    ) -> None:
        self.warehouse.replace(cleaned_file(self.table, month, (), rows, source), run)

    def compute(self, query: str, run: str = "a-run") -> int:
        return self.warehouse.replace_month_by_query(self.table, JANUARY, query, [], {"run": run})

    def rows(self) -> dict[Month, int]:
        """Return how many rows each month has."""
        return {
            month: tally.rows for month, tally in self.warehouse.tallies(self.table, None).items()
        }

    def jobs(self) -> dict[str, bigquery.LoadJob]:
        """Return the jobs that have written to the table, by what their ids end with."""
        prefix = f"taxi_{self.warehouse.dataset}_{self.table.name}_202101_"
        with GoogleBigQuery(project=self.warehouse.project).get_client() as client:
            found = {job.job_id: job for job in client.list_jobs()}
        return {
            name.removeprefix(prefix): job for name, job in found.items() if name.startswith(prefix)
        }

    def fault(self, method: str, path: str, happens: Callable[[Exchange], None]) -> Point[Exchange]:
        """Let it happen once to the next request for that path."""
        self.points.append(point := Point(passing(method, path), happens))
        return point


def scene_of(platform: Platform, folder: Path) -> Scene:
    table = replace(GREEN.trips, name=f"trips_{uuid.uuid4().hex}")
    there = platform.resources.bigquery
    warehouse = BigQuery(project=there.project, dataset=there.dataset)
    return Scene(platform.resources.lake, warehouse, folder, table)


@pytest.fixture
def scene(platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Scene]:
    scene = scene_of(platform, tmp_path)
    with http_relay(os.environ["BIGQUERY_EMULATOR_HOST"], scene.points) as url:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        yield scene


def with_limits(scene: Scene, **limits: float) -> Scene:
    """Return the scene with other timeouts, or with a limit of bytes."""
    return replace(scene, warehouse=scene.warehouse.model_copy(update=limits))


def lose_the_answer(exchange: Exchange) -> None:
    exchange.asked()
    exchange.reset()


def refuse(exchange: Exchange, status: int, message: str) -> None:
    assert exchange.body is not None  # what is not read would be taken for the next request
    exchange.answer_json(status, {"error": {"code": status, "message": message}})


def busy(exchange: Exchange) -> None:
    refuse(exchange, 503, "busy")


def say_it_runs(exchange: Exchange) -> None:
    reply = exchange.asked()
    exchange.answer_json(reply.status, reply.json | {"status": {"state": "RUNNING"}})


CALLS: dict[str, Callable[[BigQuery], object]] = {
    "replace": lambda warehouse: warehouse.replace(
        cleaned_file(GREEN.trips, JANUARY, (), 0), "a-run"
    ),
    "replace_month_by_query": lambda warehouse: warehouse.replace_month_by_query(
        GREEN.trips, JANUARY, ONE_TRIP, [], RUN
    ),
    "query_month": lambda warehouse: warehouse.query_month(ONE_TRIP, JANUARY, RUN),
    "tallies": lambda warehouse: warehouse.tallies(GREEN.trips, None),
    "tally": lambda warehouse: warehouse.tally(TAXI_ZONES),
    "stamps": lambda warehouse: warehouse.stamps(GREEN.trips),
    "column_tallies": lambda warehouse: warehouse.column_tallies(GREEN.trips, JANUARY),
    "fingerprint": lambda warehouse: warehouse.fingerprint(GREEN.trips, JANUARY),
    "mart_tallies": lambda warehouse: warehouse.mart_tallies(DAILY_TRIPS, GREEN),
    "replace_view": lambda warehouse: warehouse.replace_view(TRIPS),
}


def test_every_method_that_asks_the_server_is_tried_below() -> None:
    methods = {name for name, value in vars(BigQuery).items() if callable(value) and name[0] != "_"}
    assert methods - {"uri", "link", "sql_name", "place", "row_count"} == {*CALLS}


def test_a_server_that_never_answers_is_asked_for_its_number_of_rows_in_vain(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.load(scene.stored(3), 3)
    assert scene.warehouse.row_count(scene.table) == 3
    with silent() as url:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        warehouse = BigQuery(project="a-project", dataset="a_dataset", timeout=0.2)
        assert warehouse.row_count(scene.table) is None


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_never_answers_is_not_waited_for_longer_than_the_timeout(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with silent() as url:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        warehouse = BigQuery(project="a-project", dataset="a_dataset", timeout=0.2)
        began = time.monotonic()
        with pytest.raises(TransientError, match=r"BigQuery: .*timed? ?out"):
            CALLS[call](warehouse)
        assert time.monotonic() - began < 10  # the client's own timeouts are two minutes, or none


def test_calls_share_one_connection(scene: Scene) -> None:
    ports = []

    def look(exchange: Exchange) -> None:
        ports.append(exchange.client_port)
        exchange.answer(exchange.asked())

    scene.points.append(Point(lambda _: True, look, times=None))
    scene.load(scene.stored(3), 3)
    assert scene.rows() == {JANUARY: 3}
    assert len(ports) > 5
    assert len({*ports}) == 1


BEFORE_THE_JOB = [
    ("GET", "/tables/"),
    ("GET", r"/jobs\?.*pending"),
    ("GET", r"/jobs\?.*running"),
    ("POST", "/jobs"),
]


def test_a_load_at_a_busy_server_is_retried_by_its_step_alone(
    scene: Scene,
) -> None:
    source = scene.stored(3)
    for method, path in [*BEFORE_THE_JOB, ("GET", "/jobs/")]:
        if path == "/jobs/":
            scene.fault("POST", "/jobs", say_it_runs)
        point = scene.fault(method, path, busy)
        with pytest.raises(TransientError, match=r"BigQuery: .*busy"):
            scene.load(source, 3)
        assert point.reached == 1
    scene.load(source, 3)
    assert scene.rows() == {JANUARY: 3}
    assert [*scene.jobs()] == [f"{source.generation}_a-run_1"]


def test_a_query_at_a_busy_server_is_retried_by_its_step_alone(
    scene: Scene,
) -> None:
    for method, path in [*BEFORE_THE_JOB, ("GET", "/jobs/"), ("GET", r"/tables/.*/data")]:
        if path == "/jobs/":
            scene.fault("POST", "/jobs", say_it_runs)
        point = scene.fault(method, path, busy)
        with pytest.raises(TransientError, match=r"BigQuery: .*busy"):
            scene.compute(ONE_TRIP)
        assert point.reached == 1
    assert scene.compute(ONE_TRIP) == 1
    assert [*scene.jobs()] == ["a-run_1"]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/jobs"), ("GET", "/jobs/"), ("GET", "/data")]
)
def test_a_server_that_falls_silent_halfway_is_not_waited_for(
    scene: Scene, method: str, path: str
) -> None:
    over = threading.Event()

    def hold(exchange: Exchange) -> None:
        over.wait(60)

    scene.compute(ONE_TRIP)  # the table is there
    if path == "/jobs/":
        scene.fault("POST", "/jobs", say_it_runs)
    scene.fault(method, path, hold)
    began = time.monotonic()
    try:
        with pytest.raises(TransientError, match="BigQuery: "):
            with_limits(scene, timeout=3).compute(ONE_TRIP, run="another")
    finally:
        over.set()
    assert time.monotonic() - began < 30


def test_a_job_says_by_its_id_what_it_replaces_and_carries_its_limit(scene: Scene) -> None:
    source = scene.stored(2)
    limited = with_limits(scene, job_timeout=300)
    limited.load(source, 2)
    limited.compute(ONE_TRIP)
    found = scene.jobs()
    assert {*found} == {f"{source.generation}_a-run_1", "a-run_1"}
    assert {job.configuration.job_timeout_ms for job in found.values()} == {"300000"}
    assert {job.labels["run"] for job in found.values()} == {"a-run"}
    assert scene.rows() == {JANUARY: 1}


@pytest.mark.parametrize("kind", ["load", "query"])
def test_a_job_whose_answer_was_lost_is_found_and_not_run_twice(scene: Scene, kind: str) -> None:
    source = scene.stored(3)

    def run() -> None:
        scene.load(source, 3) if kind == "load" else scene.compute(ONE_TRIP)

    scene.fault("POST", "/jobs", lose_the_answer)
    with pytest.raises(TransientError, match="BigQuery: "):
        run()
    scene.fault("GET", "/jobs/", say_it_runs)
    run()
    assert [name[-7:] for name in scene.jobs()] == ["a-run_1"]
    assert scene.rows() == {JANUARY: 3 if kind == "load" else 1}


def test_a_job_that_exists_but_is_not_found_yet_is_asked_for_again(scene: Scene) -> None:
    source = scene.stored(3)
    scene.load(source, 3)
    missing = {"error": {"code": 404, "message": "Not found: Job"}}
    scene.fault("GET", "/jobs/", lambda exchange: exchange.answer_json(404, missing))
    with pytest.raises(TransientError, match=r"a-run_1 has been started, but cannot be found yet"):
        scene.load(source, 3)
    scene.load(source, 3)


def test_after_a_job_that_failed_the_next_try_starts_another(scene: Scene) -> None:
    source = scene.stored(3)

    def lose_the_object(exchange: Exchange) -> None:
        lost = exchange.body.replace(source.uri.encode(), source.uri.encode() + b".lost")
        exchange.answer(exchange.asked(lost))

    scene.fault("POST", "/jobs", lose_the_object)
    with pytest.raises(PermanentError, match=r"BigQuery: .*\.lost"):
        scene.load(source, 3)
    scene.load(source, 3)
    assert sorted(name[-1] for name in scene.jobs()) == ["1", "2"]
    assert scene.rows() == {JANUARY: 3}


def test_a_job_that_takes_too_long_is_cancelled(scene: Scene) -> None:
    scene.load(scene.stored(3), 3)
    with pytest.raises(
        TransientError, match="a-run_1 was cancelled: it took longer than 1 seconds"
    ):
        with_limits(scene, job_timeout=1).compute(ENDLESS)
    until(lambda: scene.jobs()["a-run_1"].state == "DONE")
    assert scene.jobs()["a-run_1"].error_result["reason"] == "stopped"
    assert scene.rows() == {JANUARY: 3}
    assert scene.compute(ONE_TRIP) == 1  # as the step would try again
    assert scene.jobs()["a-run_2"].error_result is None


def test_a_query_that_is_read_is_cancelled_too(scene: Scene) -> None:
    with pytest.raises(TransientError, match="was cancelled: it took longer than 1 seconds"):
        with_limits(scene, job_timeout=1).warehouse.query_month(ENDLESS, JANUARY, RUN)


@pytest.mark.parametrize("interrupt", [DagsterExecutionInterruptedError, KeyboardInterrupt])
def test_a_run_that_is_interrupted_cancels_its_job(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException]
) -> None:
    def sleep(_: float) -> None:
        raise interrupt

    monkeypatch.setattr("taxi_pipeline.resources.bigquery.jobs.sleep", sleep)
    with pytest.raises(interrupt):
        scene.compute(ENDLESS)
    until(lambda: scene.jobs()["a-run_1"].state == "DONE")
    assert scene.jobs()["a-run_1"].error_result["reason"] == "stopped"


@pytest.fixture
def left_by_a_killed_run(scene: Scene) -> Iterator[bigquery.QueryJob]:
    """Start a job of ours that writes to January and does not end by itself."""
    scene.compute(ONE_TRIP, run="before")
    reference = f"{scene.warehouse.uri(scene.table).removeprefix('bigquery://')}$202101"
    config = bigquery.QueryJobConfig(
        destination=reference,
        write_disposition="WRITE_TRUNCATE",
        query_parameters=[bigquery.ScalarQueryParameter("start", "DATETIME", JANUARY.start)],
    )
    with GoogleBigQuery(project=scene.warehouse.project).get_client() as client:
        job_id = f"taxi_{scene.warehouse.dataset}_{scene.table.name}_202101_killed_1"
        job = client.query(ENDLESS, config, job_id=job_id, job_retry=None)
        yield job
        job.cancel()


def test_a_job_left_by_a_killed_run_is_waited_for(
    scene: Scene, left_by_a_killed_run: bigquery.QueryJob
) -> None:
    source = scene.stored(3)
    with pytest.raises(TransientError, match="_killed_1 still replaces the same rows after 1 sec"):
        with_limits(scene, job_timeout=1).load(source, 3)
    scene.load(scene.stored(1, FEBRUARY), 1, FEBRUARY)  # another month is no matter of its

    asked = scene.fault("GET", r"/jobs/.*_killed_1", lambda each: each.answer(each.asked()))
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(scene.load, source, 3)
        until(lambda: asked.reached)
        left_by_a_killed_run.cancel()
        loading.result()
    left_by_a_killed_run.reload()
    (ours,) = (job for name, job in scene.jobs().items() if name.endswith("a-run_1"))
    assert ours.created >= left_by_a_killed_run.ended
    assert scene.rows() == {JANUARY: 3, FEBRUARY: 1}


def test_a_job_that_another_account_has_started_is_not_listed_and_not_waited_for(
    scene: Scene, left_by_a_killed_run: bigquery.QueryJob
) -> None:
    """BigQuery lists the caller's own jobs alone; the emulator has one caller."""

    def leave_it_out(exchange: Exchange) -> None:
        reply = exchange.asked()
        others = [job for job in reply.json.get("jobs", []) if "_killed_1" not in job["id"]]
        exchange.answer_json(reply.status, reply.json | {"jobs": others})

    asked = Point[Exchange](passing("GET", r"/jobs\?"), leave_it_out, times=None)
    scene.points.append(asked)
    source = scene.stored(3)
    scene.load(source, 3)
    assert asked.reached == 2
    assert scene.rows() == {JANUARY: 3}
    assert scene.warehouse.stamps(scene.table)[JANUARY] == source.stamp
    left_by_a_killed_run.reload()
    assert left_by_a_killed_run.state == "RUNNING"


def drop(scene: Scene) -> None:
    with GoogleBigQuery(project=scene.warehouse.project).get_client() as client:
        client.delete_table(f"{scene.warehouse.dataset}.{scene.table.name}")


def test_a_table_that_was_lost_has_no_stamps(scene: Scene) -> None:
    source = scene.stored(3)
    scene.load(source, 3)
    assert scene.warehouse.stamps(scene.table) == {JANUARY: source.stamp}
    drop(scene)
    assert scene.warehouse.stamps(scene.table) == {}
    # the emulator does not say when a table was made
    made = datetime.now(UTC)
    other = scene.stored(2, FEBRUARY)
    scene.load(other, 2, FEBRUARY, "another-run")

    def say_when(at: datetime) -> Callable[[Exchange], None]:
        def answer(exchange: Exchange) -> None:
            reply = exchange.asked()
            created = {"creationTime": str(int(at.timestamp() * 1000))}
            exchange.answer_json(reply.status, reply.json | created)

        return answer

    lost = scene.fault("GET", f"/tables/{scene.table.name}", say_when(made))
    assert scene.warehouse.stamps(scene.table) == {FEBRUARY: other.stamp}
    assert lost.reached == 1
    # so are the tables of a dataset that was copied, that of the stamps, too
    scene.fault("GET", f"/tables/{scene.table.name}", say_when(datetime.now(UTC)))
    scene.fault("GET", "/tables/taxi_loads", say_when(datetime.now(UTC)))
    assert scene.warehouse.stamps(scene.table) == {JANUARY: source.stamp, FEBRUARY: other.stamp}


def test_a_job_id_that_another_account_has_taken_is_said_and_nothing_is_loaded(
    scene: Scene,
) -> None:
    source = scene.stored(3)
    scene.load(source, 3)
    words = "Access Denied: Permission bigquery.jobs.get denied on job"
    scene.fault("GET", "/jobs/", partial(refuse, status=403, message=words))
    with pytest.raises(PermanentError, match=f"BigQuery: .*{words}.*Grant the credentials"):
        scene.load(source, 3)
    assert len(scene.jobs()) == 1


def test_a_job_of_another_dataset_is_no_matter_of_ours(scene: Scene) -> None:
    elsewhere = f"other_{uuid.uuid4().hex}"
    with GoogleBigQuery(project=scene.warehouse.project).get_client() as client:
        client.create_dataset(elsewhere)
    other = replace(scene, warehouse=BigQuery(project=scene.warehouse.project, dataset=elsewhere))
    with ThreadPoolExecutor(1) as pool:
        endless = pool.submit(other.compute, ENDLESS)
        until(lambda: "a-run_1" in other.jobs())
        try:
            with_limits(scene, job_timeout=5).load(scene.stored(3), 3)
        finally:
            other.jobs()["a-run_1"].cancel()
        with pytest.raises(TransientError):
            endless.result()
    assert scene.rows() == {JANUARY: 3}


def test_another_number_of_rows_than_the_object_has_is_an_error(scene: Scene) -> None:
    with pytest.raises(PermanentError, match=r"\$202101: 3 rows arrived of 4 in gs://"):
        scene.load(scene.stored(3), 4)


def test_a_month_without_rows_is_loaded_also_where_the_answer_leaves_its_number_out(
    scene: Scene,
) -> None:
    def leave_rows_out(exchange: Exchange) -> None:
        reply = exchange.asked()
        job = reply.json
        assert job["statistics"]["load"].pop("outputRows") == "0"
        exchange.answer_json(reply.status, job)

    scene.load(scene.stored(3), 3)
    empty = scene.stored(0)
    scene.fault("POST", "/jobs", leave_rows_out)
    scene.load(empty, 0)
    assert scene.rows() == {}
    assert scene.warehouse.stamps(scene.table) == {JANUARY: empty.stamp}


def test_a_table_that_two_runs_make_at_once_is_made_once(scene: Scene) -> None:
    source = scene.stored(3)
    scene.load(source, 3)
    missing = {"error": {"code": 404, "message": "Not found: Table"}}
    scene.fault("GET", "/tables/", lambda exchange: exchange.answer_json(404, missing))
    scene.load(source, 3, run="another")
    assert scene.rows() == {JANUARY: 3}


def test_a_table_that_another_run_changes_meanwhile_is_looked_at_again(scene: Scene) -> None:
    scene.load(scene.stored(3), 3)
    more = replace(
        scene.table, columns=(*scene.table.columns, replace(scene.table.columns[-1], name="new"))
    )
    scene.fault("PATCH", "/tables/", partial(refuse, status=412, message="Precondition failed."))
    changing = replace(scene, table=more)
    with pytest.raises(TransientError, match="was changed by another run"):
        changing.load(changing.stored(3), 3)
    changing.load(changing.stored(3), 3)


def make(scene: Scene, *changed: bigquery.SchemaField) -> None:
    """Make the table as it is declared, but for these columns."""
    fields = {field.name: field for field in (*schema_of(scene.table), *changed)}
    name = scene.warehouse.uri(scene.table).removeprefix("bigquery://")
    table = bigquery.Table(name, schema=[*fields.values()])
    table.time_partitioning = bigquery.TimePartitioning(
        type_=bigquery.TimePartitioningType.MONTH, field="pickup_datetime"
    )
    with GoogleBigQuery(project=scene.warehouse.project).get_client() as client:
        client.create_table(table)


def test_a_type_may_have_either_of_its_names(scene: Scene) -> None:
    make(
        scene,
        bigquery.SchemaField("vendor_id", "INTEGER"),
        bigquery.SchemaField("passenger_count", "INT64"),
        bigquery.SchemaField("fare_amount", "FLOAT"),
        bigquery.SchemaField("trip_distance", "FLOAT64"),
    )
    scene.load(scene.stored(3), 3)
    assert scene.rows() == {JANUARY: 3}


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (
            bigquery.SchemaField("vendor_id", "FLOAT64"),
            "vendor_id of .* is FLOAT64, and is declared as INT64.*BigQuery cannot change that, so",
        ),
        (
            bigquery.SchemaField("fare_amount", "INT64"),
            "fare_amount of .* is INT64, and is declared as FLOAT64.*run ALTER TABLE .* ALTER "
            "COLUMN `fare_amount` SET DATA TYPE FLOAT64",
        ),
        (
            bigquery.SchemaField("fare_amount", "FLOAT64", mode="REPEATED"),
            "fare_amount of .* is ARRAY<FLOAT64>, and is declared as FLOAT64",
        ),
        (
            bigquery.SchemaField("pickup_datetime", "TIMESTAMP"),
            "pickup_datetime of .* is TIMESTAMP, and is declared as DATETIME",
        ),
        (
            bigquery.SchemaField("vendor_id", "INT64", mode="REQUIRED"),
            "vendor_id of .* is INT64 and required.*ALTER COLUMN `vendor_id` DROP NOT NULL",
        ),
        (
            bigquery.SchemaField("own", "STRING", mode="REQUIRED"),
            "own of .* is STRING and required.*ALTER COLUMN `own` DROP NOT NULL",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, bigquery.SchemaField) else "",
)
def test_a_column_that_differs_from_its_declaration_is_named_before_any_job(
    scene: Scene, field: bigquery.SchemaField, words: str
) -> None:
    make(scene, field)
    with pytest.raises(PermanentError, match=f"^BigQuery: the column {words}"):
        scene.load(scene.stored(3), 3)
    with pytest.raises(PermanentError, match=f"^BigQuery: the column {words}"):
        scene.compute(ONE_TRIP)
    assert scene.jobs() == {}


def test_a_column_of_somebodys_is_kept(scene: Scene) -> None:
    make(scene, bigquery.SchemaField("own", "STRING"))
    scene.load(scene.stored(3), 3)
    scene.load(scene.stored(2, FEBRUARY), 2, FEBRUARY)
    assert scene.rows() == {JANUARY: 3, FEBRUARY: 2}


@pytest.mark.parametrize(
    "reads", [10, pytest.param(500, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
def test_readers_see_the_old_month_or_the_new_while_two_runs_replace_it(
    platform: Platform,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    reads: int,
) -> None:
    scene = scene_of(platform, tmp_path)
    sources = {rows: scene.stored(rows) for rows in (100, 3_000)}
    scene.load(scene.stored(7, FEBRUARY), 7, FEBRUARY)
    scene.load(sources[100], 100)
    query = f"SELECT COUNT(*) AS trips FROM {scene.warehouse.sql_name(scene.table)}"
    replaced = dict.fromkeys(sources, 0)

    def replace_on(rows: int) -> None:
        while replaced[rows] < 10 or not all(reader.done() for reader in readers):
            scene.load(sources[rows], rows, run=f"run-{rows}-{replaced[rows]}")
            replaced[rows] += 1

    def read() -> Iterator[tuple[int, float]]:
        """Yield what there is, and the seconds that it took to ask."""
        with GoogleBigQuery(project=scene.warehouse.project).get_client() as client:
            times = 0
            while times < reads or min(replaced.values()) < 10:
                assert not any(writer.done() for writer in writers)
                began = time.monotonic()
                ((trips,),) = client.query_and_wait(query)
                yield trips, time.monotonic() - began
                times += 1

    readers: list[Future[list[tuple[int, float]]]] = []
    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(replace_on, rows) for rows in sources]
        readers += [pool.submit(lambda: [*read()]) for _ in range(2)]
        found = [one for reader in readers for one in reader.result()]
        for writer in writers:
            writer.result()
    assert {trips for trips, _ in found} == {107, 3_007}
    seconds = sorted(took for _, took in found)
    record_property("reads", len(found))
    record_property("replacements", sum(replaced.values()))
    record_property("p50 s", seconds[len(seconds) // 2])
    record_property("p99 s", seconds[len(seconds) * 99 // 100])
