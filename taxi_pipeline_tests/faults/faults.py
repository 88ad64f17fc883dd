"""The faults: where each is placed, and what every store must hold after it.

One table, `FAULTS`: the tests run it, and the table that people read is made of it. How a fault is
placed is said here, what a place is made of in `scene`.
"""

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler
from signal import SIGKILL, SIGTERM
from typing import Any, Literal

from taxi_pipeline_tests.faults.scene import ROWS, STORES, Scene, Version
from taxi_pipeline_tests.support.disks import small_disk
from taxi_pipeline_tests.support.http import Answer, body, status
from taxi_pipeline_tests.support.postgres_server import full_disk, restart
from taxi_pipeline_tests.support.relays import Exchange, Message, Point, Reply, passing, reset

type Held = Literal["old", "new"]
type Strike = Callable[[], None]
type ObjectPaths = Callable[[Scene], None]


@dataclass(frozen=True)
class Fault:
    """A fault in words and in deed, and what it must lead to.

    `raw`, `cleaned`, `bigquery` and `postgres` say which version of the month each holds when the
    run has ended; `ends_well` whether the run did, by its retries; `leaves` what is left for the
    next run to remove. `rows` is how many trips the month has; `make test-live` runs a `quick` one.
    """

    name: str
    words: str
    place: ObjectPaths
    raw: Held = "new"
    cleaned: Held = "new"
    bigquery: Held = "new"
    postgres: Held = "new"
    ends_well: bool = True
    leaves: frozenset[str] = frozenset()
    rows: int = ROWS
    quick: bool = False

    @property
    def held(self) -> dict[str, str]:
        """Which version each store must hold, by its name in the scene."""
        return {store: getattr(self, store) for store in STORES}


def _downloading(scene: Scene, strike: Strike) -> None:
    def half(request: BaseHTTPRequestHandler) -> None:
        _half(scene.new)(request)
        strike()

    scene.publisher.append(Point(_any, half))


def _cleaning(scene: Scene, strike: Strike) -> None:
    # the writers of both files are open from the first row to the last
    scene.files.append(Point(lambda path: path.name == "kept.parquet", lambda _: strike()))


def _uploading(scene: Scene, strike: Strike) -> None:
    def half(upload: Exchange) -> None:
        upload.begin()
        strike()

    scene.lake.append(Point(uploads("raw"), half))


def _between_uploads(scene: Scene, strike: Strike) -> None:
    scene.lake.append(Point(uploads("cleaned"), lambda _: strike()))


def _uploaded(scene: Scene, strike: Strike) -> None:
    def stored(upload: Exchange) -> None:
        assert upload.asked().status == 200
        strike()

    scene.lake.append(Point(uploads("cleaned"), stored))


def _loading(scene: Scene, strike: Strike) -> None:
    def accepted(insert: Exchange) -> None:
        assert insert.asked().status == 200
        strike()

    scene.warehouse.append(Point(loads, accepted))


def _copying(scene: Scene, strike: Strike) -> None:
    _in_database(scene, _midway, strike)


def _midway(message: Message) -> bool:
    """Whether 170,000 bytes of rows have come, with these: of 2,000 rows that is half."""
    return message.is_row_data and message.session.copied > 170_000


def _before_swap(scene: Scene, strike: Strike) -> None:
    _in_database(scene, lambda message: message.says("DROP TABLE"), strike)


def _before_commit(scene: Scene, strike: Strike) -> None:
    _in_database(scene, lambda message: message.says("COMMIT") and _swapped(message), strike)


def _after_commit(scene: Scene, strike: Strike) -> None:
    _in_database(scene, lambda message: message.reports("COMMIT") and _swapped(message), strike)


def _swapped(message: Message) -> bool:
    return any(said.startswith("DROP TABLE") for said in message.session.statements)


def _in_database(scene: Scene, matches: Callable[[Message], bool], strike: Strike) -> None:
    def hold(message: Message) -> None:
        strike()
        if scene.run.ended.is_set():
            message.session.close()

    scene.database.append(Point(matches, hold))


@dataclass(frozen=True)
class _Moment:
    """A moment at which a run may die: its words, which stores are new then, and what is left.

    It is `held` until the run has ended, unless a run that tidies up waits for what would follow.
    """

    name: str
    words: str
    place: Callable[[Scene, Strike], None]
    new: tuple[str, ...]
    leaves: tuple[str, ...] = ("scratch",)
    rows: int = ROWS
    held: bool = True


_MOMENTS = (
    _Moment("download", "half of the published file has arrived", _downloading, ()),
    _Moment("cleaning", "its rows are being cleaned", _cleaning, ("raw",), rows=150_000),
    _Moment("upload", "half of the raw file has been sent to Cloud Storage", _uploading, ()),
    _Moment(
        "between-uploads",
        "the rejected rows are in the lake, the trips are not",
        _between_uploads,
        ("raw",),
        leaves=("scratch", "rejected"),
    ),
    _Moment(
        "uploaded",
        "Cloud Storage has the trips, its answer is on its way",
        _uploaded,
        ("raw", "cleaned"),
        leaves=("scratch", "rejected"),
    ),
    _Moment(
        "load-job",
        "BigQuery has accepted the load job, its answer is on its way",
        _loading,
        ("raw", "cleaned", "bigquery"),
        leaves=(),
    ),
    _Moment(
        "copy",
        "half of the rows have been sent to PostgreSQL",
        _copying,
        ("raw", "cleaned", "bigquery"),
        held=False,
    ),
    _Moment(
        "before-swap",
        "all rows are in PostgreSQL, the old partition is about to be dropped",
        _before_swap,
        ("raw", "cleaned", "bigquery"),
    ),
    _Moment(
        "before-commit",
        "the partitions are swapped, the COMMIT is about to be sent",
        _before_commit,
        ("raw", "cleaned", "bigquery"),
    ),
    _Moment(
        "after-commit",
        "PostgreSQL has committed, its answer is on its way",
        _after_commit,
        ("raw", "cleaned", "bigquery", "postgres"),
    ),
)


def _dies(moment: _Moment, number: signal.Signals) -> Fault:
    """Return the fault of a run that a signal ends at a moment: SIGTERM lets it tidy up."""

    def place(scene: Scene) -> None:
        strike = scene.run.end if moment.held or number is SIGKILL else scene.run.tell
        moment.place(scene, partial(strike, number))

    tidied = () if number is SIGKILL else ("scratch",)
    held: dict[str, Any] = {store: "new" if store in moment.new else "old" for store in STORES}
    return Fault(
        f"{number.name.lower()}-{moment.name}",
        f"The run gets {number.name}: {moment.words}",
        place,
        **held,
        ends_well=False,
        leaves=frozenset(moment.leaves).difference(tidied),
        rows=moment.rows,
        quick=(number, moment.name) in _QUICK,
    )


_QUICK = ((SIGKILL, "between-uploads"), (SIGKILL, "after-commit"), (SIGTERM, "copy"))


def _answers(*first: Callable[[Scene], Answer]) -> ObjectPaths:
    """Place answers of the publisher, one after the other; then it works."""

    def place(scene: Scene) -> None:
        scene.publisher += [Point(_any, answer(scene)) for answer in first]

    return place


def _always(answer: Callable[[Scene], Answer]) -> ObjectPaths:
    """Place an answer that the publisher gives to every request."""
    return lambda scene: scene.publisher.append(Point(_any, answer(scene), times=None))


def _half(version: Version) -> Answer:
    """Send half of the file, of which all was promised."""
    return body(version.file[: len(version.file) // 2], version.etag, len(version.file))


def _reset_after_half(scene: Scene) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        _half(scene.new)(request)
        request.wfile.flush()
        reset(request.connection)

    return answer


def _stalled_after_half(scene: Scene) -> Answer:
    scene.settings["TAXI_PUBLISHER_READ_TIMEOUT"] = "1"

    def answer(request: BaseHTTPRequestHandler) -> None:
        _half(scene.new)(request)
        request.wfile.flush()
        request.connection.recv(1)  # until the other side has had enough

    return answer


def _half_of_another(scene: Scene) -> Answer:
    return _half(scene.other)


def _promised(scene: Scene, more: int) -> Answer:
    return body(scene.new.file, scene.new.etag, len(scene.new.file) + more)


def _lake(matches: Callable[[Exchange], bool], answer: Callable[[Exchange], None]) -> ObjectPaths:
    """Place what Cloud Storage does, once."""
    return lambda scene: scene.lake.append(Point(matches, answer))


def uploads(folder: str) -> Callable[[Exchange], bool]:
    """Return whether a request uploads an object of that folder of the lake."""
    asked = passing("POST", "^/upload/storage/.*/o")
    name = f'"name": "{folder}/yellow/'.encode()
    return lambda exchange: asked(exchange) and name in exchange.opening


def _download(folder: str) -> Callable[[Exchange], bool]:
    """Return whether a request downloads a whole object of that folder of the lake."""
    asked = passing("GET", f"^/download/storage/.*/o/{folder}/yellow/")
    return lambda exchange: asked(exchange)


def _unavailable(exchange: Exchange) -> None:
    exchange.answer_json(503, {"error": {"code": 503, "message": "Service Unavailable"}})


def _reset_midway(exchange: Exchange) -> None:
    exchange.begin()
    exchange.reset()


def _stored_with_wrong_checksum(exchange: Exchange) -> None:
    reply = exchange.asked()
    exchange.answer_json(reply.status, reply.json | {"crc32c": "AAAAAA=="})


def _sent_with_wrong_checksum(exchange: Exchange) -> None:
    reply = exchange.asked()
    headers = [
        (
            name,
            "crc32c=AAAAAA==,md5=AAAAAAAAAAAAAAAAAAAAAA=="
            if name.lower() == "x-goog-hash"
            else value,
        )
        for name, value in reply.headers
    ]
    assert headers != list(reply.headers)
    exchange.answer(Reply(reply.status, headers, reply.body))


_RETRY_AFTER = 2  # seconds


def _too_many_requests(scene: Scene) -> None:
    """Refuse the upload of the trips with Retry-After, and see when it comes again."""
    came: list[float] = []

    def refuse(upload: Exchange) -> None:
        came.append(time.monotonic())
        too_many = {"error": {"code": 429, "message": "Too Many Requests"}}
        upload.answer_json(429, too_many, **{"Retry-After": str(_RETRY_AFTER)})

    def take(upload: Exchange) -> None:
        came.append(time.monotonic())
        upload.answer(upload.asked())

    def it_waited() -> None:
        waited = came[1] - came[0]
        assert waited >= _RETRY_AFTER, f"it came again after {waited:.2f} s"

    scene.lake += [Point(uploads("cleaned"), refuse), Point(uploads("cleaned"), take)]
    scene.checks.append(it_waited)


_jobs = passing("POST", r"/jobs(\?|$)")


def loads(exchange: Exchange) -> bool:
    """Whether a request inserts a load job."""
    return _jobs(exchange) and "load" in exchange.json["configuration"]


def _job_fails(reason: str, jobs: int | None) -> ObjectPaths:
    """Let so many load jobs fail (None: all), for want of their file, and report another reason."""

    def place(scene: Scene) -> None:
        failed: set[str] = set()

        def matches(exchange: Exchange) -> bool:
            if loads(exchange):
                return jobs is None or len(failed) < jobs
            return any(f"/jobs/{job}" in exchange.path for job in failed)

        def happens(exchange: Exchange) -> None:
            asked = exchange.json if exchange.method == "POST" else None
            if asked:
                failed.add(asked["jobReference"]["jobId"])
                asked["configuration"]["load"]["sourceUris"][0] += ".missing"
            reply = exchange.asked(json.dumps(asked).encode() if asked else None)
            job = reply.json
            for error in (job["status"].get("errorResult"), *job["status"].get("errors", ())):
                if error:
                    error["reason"] = reason
            exchange.answer_json(reply.status, job)

        scene.warehouse.append(Point(matches, happens, times=None))

    return place


def _job_never_ends(scene: Scene) -> None:
    """Say of the month's load jobs that they run, whoever asks, and do nothing of the kind."""
    scene.settings |= {"TAXI_BIGQUERY_JOB_TIMEOUT": "1", "TAXI_RETRIES": "1"}
    running: dict[str, Any] = {}

    def job_of(exchange: Exchange) -> str | None:
        return next((job for job in running if f"/jobs/{job}" in exchange.path), None)

    def run_on(exchange: Exchange) -> None:
        job = job_of(exchange)
        if job is None:
            asked = exchange.json
            job = asked["jobReference"]["jobId"]
            if job in running:
                exists = {"code": 409, "message": f"Already Exists: Job {job}"}
                exchange.answer_json(409, {"error": exists | {"errors": [{"reason": "duplicate"}]}})
                return
            running[job] = asked | {"status": {"state": "RUNNING"}, "statistics": {}}
        found = running[job]
        exchange.answer_json(200, {"job": found} if "/cancel" in exchange.path else found)

    def concerns(exchange: Exchange) -> bool:
        return loads(exchange) or job_of(exchange) is not None

    scene.warehouse.append(Point(concerns, run_on, times=None))


def _reply_lost(scene: Scene) -> None:
    """Reset the connection when the load job is accepted, and count the jobs."""
    before = len(scene.load_jobs())

    def lose(insert: Exchange) -> None:
        assert insert.asked().status == 200
        insert.reset()

    def it_was_loaded_once() -> None:
        loaded = len(scene.load_jobs()) - before
        assert loaded == 1, f"it was loaded {loaded} times"

    scene.warehouse.append(Point(loads, lose))
    scene.checks.append(it_was_loaded_once)


def _connection_cut(scene: Scene) -> None:
    scene.database.append(Point(_midway, lambda message: message.session.reset()))


def _restarted(scene: Scene) -> None:
    scene.settings["TAXI_RETRIES"] = "4"
    url = os.environ["TAXI_POSTGRES_URL"]
    scene.database.append(Point(_midway, lambda _: restart(scene.stack, url)))


def _database_disk_full(scene: Scene) -> None:
    scene.undo.enter_context(full_disk(scene.stack, os.environ["TAXI_POSTGRES_URL"], 1 << 20))


def _scratch_disk_full(scene: Scene) -> None:
    scene.undo.enter_context(small_disk(scene.scratch, 256 << 10))


def _any(_: object) -> bool:
    return True


_UNCHANGED: dict[str, Any] = dict.fromkeys(STORES, "old")

FAULTS = (
    *(_dies(moment, number) for moment in _MOMENTS for number in (SIGKILL, SIGTERM)),
    Fault(
        "publisher-500",
        "The publisher answers 500 twice",
        _answers(lambda _: status(500), lambda _: status(500)),
    ),
    Fault(
        "publisher-reset",
        "The publisher resets the connection when half of the file was sent",
        _answers(_reset_after_half),
    ),
    Fault(
        "publisher-stall",
        "The publisher sends half of the file and no more, and keeps the connection",
        _answers(_stalled_after_half),
    ),
    Fault(
        "publisher-changes",
        "The publisher breaks off, and has another file when it is asked again",
        _answers(_half_of_another),
        quick=True,
    ),
    Fault(
        "publisher-promises-more",
        "The publisher always promises more bytes than it sends",
        _always(partial(_promised, more=1_000)),
        **_UNCHANGED,
        ends_well=False,
    ),
    Fault(
        "publisher-promises-less",
        "The publisher always promises fewer bytes than it sends",
        _always(partial(_promised, more=-1_000)),
        **_UNCHANGED,
        ends_well=False,
    ),
    Fault(
        "scratch-disk-full",
        "The disk of the run's scratch folder is full",
        _scratch_disk_full,
        **_UNCHANGED,
        ends_well=False,
        rows=5_000,
    ),
    Fault(
        "gcs-503", "Cloud Storage answers an upload with 503", _lake(uploads("raw"), _unavailable)
    ),
    Fault(
        "gcs-503-download",
        "Cloud Storage answers a download with 503",
        _lake(_download("raw"), _unavailable),
    ),
    Fault(
        "gcs-429",
        f"Cloud Storage answers an upload with 429 and Retry-After: {_RETRY_AFTER}: it is obeyed",
        _too_many_requests,
    ),
    Fault(
        "gcs-reset",
        "Cloud Storage resets the connection in the middle of an upload",
        _lake(uploads("cleaned"), _reset_midway),
        quick=True,
    ),
    Fault(
        "gcs-upload-checksum",
        "Cloud Storage reports another checksum of an upload than its bytes have",
        _lake(uploads("cleaned"), _stored_with_wrong_checksum),
    ),
    Fault(
        "gcs-download-checksum",
        "Cloud Storage sends an object with a checksum that its bytes do not have",
        _lake(_download("raw"), _sent_with_wrong_checksum),
    ),
    Fault(
        "bigquery-job-fails-once",
        "A load job of BigQuery ends with backendError",
        _job_fails("backendError", jobs=1),
    ),
    Fault(
        "bigquery-job-fails",
        "Every load job of BigQuery ends with invalid",
        _job_fails("invalid", jobs=None),
        bigquery="old",
        ends_well=False,
    ),
    Fault(
        "bigquery-job-never-ends",
        "A load job of BigQuery runs for ever",
        _job_never_ends,
        bigquery="old",
        ends_well=False,
    ),
    Fault(
        "bigquery-reply-lost",
        "BigQuery accepts the load job and its answer is lost: it is not loaded twice",
        _reply_lost,
    ),
    Fault(
        "postgres-restart",
        "PostgreSQL is stopped during COPY, and started again",
        _restarted,
    ),
    Fault(
        "postgres-connection-cut",
        "The connection to PostgreSQL is reset during COPY",
        _connection_cut,
    ),
    Fault(
        "postgres-disk-full",
        "The disk of PostgreSQL is full during COPY",
        _database_disk_full,
        postgres="old",
        ends_well=False,
        rows=12_000,
    ),
)
