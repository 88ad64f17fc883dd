"""What --write tries, on stores that fail at each of its steps: nothing of it is left behind."""

from typing import Any

import pytest

from taxi_pipeline.doctor.bigquery import TABLES as SCRATCH
from taxi_pipeline.doctor.bigquery import check_load
from taxi_pipeline.doctor.context import Context
from taxi_pipeline.doctor.finding import Check, Finding, Status, examine
from taxi_pipeline.doctor.storage import check_object
from taxi_pipeline_tests.support.google import (
    BUCKET,
    PROJECT,
    STORAGE,
    TABLES,
    FakeGoogle,
    Request,
    error,
)

JOBS = f"/bigquery/v2/projects/{PROJECT}/jobs"


class Store:
    """A bucket in memory, which keeps to preconditions as far as a test lets it."""

    def __init__(self, fake: FakeGoogle) -> None:
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.written: list[str] = []
        self.keeps_preconditions = True
        self.damages = False
        self.takes_deletions = True
        self._fake, self._generation = fake, 0
        fake[f"POST /upload{STORAGE}/o"] = self._put

    def _put(self, request: Request) -> tuple[int, Any]:
        rest = request.body.partition(b'"name": "')[2]
        name = rest.partition(b'"')[0].decode()
        wanted = int(request.query["ifGenerationMatch"][0])
        if self.keeps_preconditions and wanted != self.objects.get(name, (0, b""))[0]:
            return error(412, "conditionNotMet")
        content = rest.partition(b"text/plain\r\n\r\n")[2].partition(b"\r\n--")[0]
        self._generation += 1
        self.objects[name] = (self._generation, content)
        self.written.append(name)
        escaped = name.replace("/", "%2F")
        self._fake[f"GET /download{STORAGE}/o/{escaped}"] = lambda _: (
            200,
            b"?????" if self.damages else self.objects[name][1],
        )
        self._fake[f"DELETE {STORAGE}/o/{escaped}"] = lambda _: self._delete(name)
        return 200, {"name": name, "bucket": BUCKET, "generation": str(self._generation)}

    def _delete(self, name: str) -> tuple[int, Any]:
        if not self.takes_deletions:
            return error(403, "forbidden")
        del self.objects[name]
        return 204, b""


@pytest.fixture
def store(fake: FakeGoogle) -> Store:
    return Store(fake)


def run_check(check: Any, context: Context) -> Finding:
    ((_, finding),) = examine([Check("it", check)], context)
    return finding


def test_an_object_is_put_read_replaced_and_deleted(context: Context, store: Store) -> None:
    finding = run_check(check_object, context)
    assert finding.status is Status.OK
    (name,) = {*store.written}
    assert finding.message == f"gs://{BUCKET}/{name} put, read, replaced and deleted"
    assert name.startswith("doctor/")
    assert len(store.written) == 2
    assert store.objects == {}


def test_a_store_that_takes_a_stale_precondition_fails(context: Context, store: Store) -> None:
    store.keeps_preconditions = False
    finding = run_check(check_object, context)
    assert finding.status is Status.FAILED
    assert "does not keep to preconditions" in finding.message
    assert store.objects == {}


def test_bytes_that_are_read_otherwise_fail(context: Context, store: Store) -> None:
    store.damages = True
    finding = run_check(check_object, context)
    assert finding.status is Status.FAILED
    assert "other bytes were read" in finding.message
    assert store.objects == {}


def test_a_bucket_that_takes_no_object_fails(context: Context, fake: FakeGoogle) -> None:
    fake.refuse(f"POST /upload{STORAGE}/o", 403)
    finding = run_check(check_object, context)
    assert finding.status is Status.FAILED
    assert "See the check bucket permissions." in finding.message
    assert not [each for each in fake.asked if each.startswith("DELETE")]


def test_an_object_whose_writing_has_no_answer_is_deleted(
    context: Context, store: Store, fake: FakeGoogle
) -> None:
    put = fake.answers[f"POST /upload{STORAGE}/o"]

    def lose_the_answer(request: Request) -> tuple[int, Any]:
        put(request)
        return error(503, "backendError")

    fake[f"POST /upload{STORAGE}/o"] = lose_the_answer
    assert run_check(check_object, context).status is Status.FAILED
    assert store.written
    assert store.objects == {}


def test_an_object_that_cannot_be_deleted_is_named(context: Context, store: Store) -> None:
    store.takes_deletions = False
    finding = run_check(check_object, context)
    assert finding.status is Status.FAILED
    (name,) = store.objects
    assert f"gs://{BUCKET}/{name}" in finding.message
    assert finding.message.endswith("It was left behind: delete it.")


# --- the load ---


class Warehouse:
    """A dataset in memory, whose load jobs end as a test says."""

    def __init__(self, fake: FakeGoogle) -> None:
        self.tables: list[str] = []
        self.made: list[dict[str, Any]] = []
        self.loads: list[dict[str, Any]] = []
        self.status: dict[str, Any] = {"state": "DONE"}
        self.takes_drops = True
        self.rows = "0"
        self._fake = fake
        fake[f"POST {TABLES}/tables"] = self._create
        fake[f"GET {JOBS}"] = {"jobs": []}
        fake[f"POST {JOBS}"] = self._load

    def _create(self, request: Request) -> tuple[int, Any]:
        name = request.body["tableReference"]["tableId"]
        self.tables.append(name)
        self.made.append(request.body)
        self._fake[f"DELETE {TABLES}/tables/{name}"] = lambda _: self._drop(name)
        return 200, {**request.body, "location": "us-east4"}

    def _load(self, request: Request) -> tuple[int, Any]:
        self.loads.append(request.body["configuration"]["load"])
        job = {
            **request.body,
            "status": self.status,
            "statistics": {"load": {"outputRows": self.rows}},
        }
        self._fake[f"GET {JOBS}/{request.body['jobReference']['jobId']}"] = job
        return 200, job

    def _drop(self, name: str) -> tuple[int, Any]:
        if not self.takes_drops:
            return error(403, "accessDenied")
        self.tables.remove(name)
        return 200, {}


@pytest.fixture
def warehouse(fake: FakeGoogle) -> Warehouse:
    return Warehouse(fake)


@pytest.mark.usefixtures("store")
def test_a_file_without_rows_is_loaded_into_a_partition(
    context: Context, store: Store, warehouse: Warehouse
) -> None:
    finding = run_check(check_load, context)
    assert finding.status is Status.OK
    ((made,), (load,)) = warehouse.made, warehouse.loads
    name = made["tableReference"]["tableId"]
    assert name.startswith(SCRATCH)
    assert made["timePartitioning"] == {"type": "MONTH", "field": "pickup_datetime"}
    assert int(made["expirationTime"]) > 0  # should the process be killed
    assert load["destinationTable"]["tableId"] == f"{name}$202101"
    assert load["writeDisposition"] == "WRITE_TRUNCATE"
    (written,) = store.written
    assert load["sourceUris"] == [f"gs://{BUCKET}/{written}"]
    assert (warehouse.tables, store.objects) == ([], {})


def test_a_load_that_fails_leaves_nothing_behind(
    context: Context, store: Store, warehouse: Warehouse
) -> None:
    wrong = {"reason": "invalid", "message": "Parquet without row groups"}
    warehouse.status = {"state": "DONE", "errorResult": wrong, "errors": [wrong]}
    finding = run_check(check_load, context)
    assert finding.status is Status.FAILED
    assert "Parquet without row groups" in finding.message
    assert warehouse.made
    assert (warehouse.tables, store.objects) == ([], {})


def test_rows_out_of_nowhere_fail(context: Context, store: Store, warehouse: Warehouse) -> None:
    warehouse.rows = "3"
    finding = run_check(check_load, context)
    assert (finding.status, finding.message) == (
        Status.FAILED,
        "3 rows arrived of a file that has none.",
    )
    assert (warehouse.tables, store.objects) == ([], {})


def test_a_dataset_that_takes_no_table_fails_and_the_file_is_deleted(
    context: Context, store: Store, fake: FakeGoogle
) -> None:
    fake.refuse(f"POST {TABLES}/tables", 403, "accessDenied")
    finding = run_check(check_load, context)
    assert finding.status is Status.FAILED
    assert "Grant the credentials in use the right" in finding.message
    assert store.written
    assert store.objects == {}


def test_a_table_that_cannot_be_dropped_is_named(
    context: Context, store: Store, warehouse: Warehouse
) -> None:
    warehouse.takes_drops = False
    finding = run_check(check_load, context)
    assert finding.status is Status.FAILED
    (name,) = warehouse.tables
    assert f"{name} was left behind for an hour." in finding.message
    assert store.objects == {}
