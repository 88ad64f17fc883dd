"""Terminating runs, each where one of the `PHASES` wants it.

The runs are launched and terminated by the UI's own requests. All of them go on at once, each with
a month of its own, held where it is to be terminated. What must come of it is said by the tests.
"""

import gzip
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, LiteralString

import dagster as dg
import psutil
import psycopg

from taxi_pipeline.ledger import read_ledger
from taxi_pipeline.local.generator import write_csv_gz
from taxi_pipeline.resources.postgres.statements import partition_name
from taxi_pipeline.settings import Resources
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV, FHVHV, GREEN, YELLOW, Service
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.http import Answer, body, status
from taxi_pipeline_tests.support.processes import until
from taxi_pipeline_tests.support.relays import Exchange, Point, passing
from taxi_pipeline_tests.support.source_files import YELLOW_HEADER, trip

from .scene import Scene

SECONDS = 30  # of a machine that has much else to do
EVERY = 0.3  # seconds between two looks at the UI

type Stored = Mapping[str, object]  # by store, what it has of a month


@dataclass(frozen=True)
class Phase:
    """Where a run is terminated: the month it has, and what of it was `replaced` by then."""

    name: str
    service: Service
    month: Month
    is_reached: "Callable[[Runs, Phase], object]"
    replaced: tuple[str, ...] = ()

    @property
    def table(self) -> str:
        """The name of the month's table, which is the job's too."""
        return self.service.trips.name

    @property
    def file(self) -> str:
        """The name of the month's published file."""
        return f"{self.service.name}_tripdata_{self.month}.csv.gz"

    def stored(self, resources: Resources) -> Stored:
        """Return what each store has of the month, and whether its ledger adds up."""
        (entry,) = read_ledger(self.service, resources, self.month, self.month)
        return {
            "raw": entry.lake.sha256,
            "cleaned": (entry.lake.kept, entry.lake.rejected),
            **{sink.name: tally for sink, tally in entry.tables.items()},
            "adds up": entry.adds_up,
        }

    def run(self, resources: Resources) -> bool:
        """Run the month in this process; return whether it succeeded."""
        with dg.DagsterInstance.ephemeral() as instance:
            return Platform(resources, instance).run(self.table, self.month.key).success

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Terminated:
    """What came of terminating a run, and of running its month again.

    `starts`, `tables` and `stored` are from before and after: how often steps were started, what is
    in PostgreSQL's schema, and what the stores have of the month.
    """

    status: str
    starts: tuple[int, int]
    files_left: list[Path]
    tables: tuple[set[str], set[str]]
    stored: tuple[Stored, Stored]
    ran_again: bool
    stored_again: Stored


@dataclass(frozen=True)
class Runs:
    """The runs to be terminated, by phase, and what holds them; what there was before them."""

    scene: Scene
    reader: psycopg.Connection
    held_jobs: Point[Exchange]
    cleaning_may_begin: Event
    tables: set[str]
    stored: Mapping[str, Stored]
    launched: dict[str, str] = field(default_factory=dict)

    def launch(self) -> None:
        """Launch them all."""
        for phase in PHASES:
            run = self.scene.live.dev.launch(phase.table, phase.month.key)
            self.launched[phase.name] = run

    def terminate(self, phase: Phase, resources: Resources) -> Terminated:
        """Terminate a phase's run once it is there, then run its month again."""
        dev, run = self.scene.live.dev, self.launched[phase.name]
        until(lambda: phase.is_reached(self, phase), every=EVERY)
        worker, starts = self._worker(phase), self._starts(phase)
        waiting = self.waiting_sessions(POSTGRES)
        dev.terminate(run)
        ended = dev.await_ended(run, SECONDS)
        until(lambda: not worker.is_running(), SECONDS)
        if phase is POSTGRES:
            until(lambda: not self._open(waiting), SECONDS)
            self.reader.rollback()
        starts_after = self._starts(phase)
        files_left = [*self.scene.scratch.rglob(f"*{phase.file}")]
        tables_after, stored_after = tables(resources), phase.stored(resources)
        self.scene.answers[f"/{phase.file}"] = [_generated(phase, 300)]
        return Terminated(
            ended,
            (starts, starts_after),
            files_left,
            (self.tables, tables_after),
            (self.stored[phase.name], stored_after),
            phase.run(resources),
            phase.stored(resources),
        )

    def events(self, phase: Phase, *kinds: str) -> list[str]:
        """Return what the events of a phase's run say, of all kinds or of some."""
        return self.scene.live.dev.events(self.launched[phase.name], kinds)

    def waiting_sessions(self, phase: Phase) -> list[int]:
        """Return the sessions of ours in PostgreSQL that wait for a lock on the phase's month."""
        query = (
            "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted "
            "AND application_name = 'taxi_pipeline' AND relation = %s::regclass"
        )
        return [
            pid
            for (pid,) in self._asked(
                query, f"tlc.{partition_name(phase.service.trips, phase.month)}"
            )
        ]

    def _open(self, sessions: list[int]) -> list[object]:
        return self._asked("SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)", sessions)

    def _asked(self, query: LiteralString, parameter: object) -> list[Any]:
        with psycopg.connect(self.scene.live.variables["TAXI_POSTGRES_URL"]) as connection:
            return connection.execute(query, [parameter]).fetchall()

    def _worker(self, phase: Phase) -> psutil.Process:
        """Return the process that executes a phase's run."""
        (pid,) = [
            int(message.partition("(pid: ")[2].rstrip(")."))
            for message in self.events(phase, "EngineEvent")
            if message.startswith("Started process for run")
        ]
        return psutil.Process(pid)

    def _starts(self, phase: Phase) -> int:
        """Return how often steps of a phase's run were started."""
        return len(self.events(phase, "ExecutionStepStartEvent", "ExecutionStepRestartEvent"))


def _is_downloading(runs: Runs, phase: Phase) -> object:
    return f"/{phase.file}" in runs.scene.asked


def _waits_for_a_retry(runs: Runs, phase: Phase) -> object:
    return any("the next is in" in message for message in runs.events(phase, "LogMessageEvent"))


def _loads_into_bigquery(runs: Runs, _: Phase) -> object:
    return runs.held_jobs.reached


def _waits_for_readers(runs: Runs, phase: Phase) -> object:
    return runs.waiting_sessions(phase)


def _cleans(runs: Runs, phase: Phase) -> object:
    runs.cleaning_may_begin.set()  # not before, since nothing would hold it
    beside = (found.parent / phase.file for found in runs.scene.scratch.rglob("kept.parquet"))
    return any(path.exists() for path in beside)


PHASES = [
    Phase("downloading", YELLOW, Month(2021, 2), _is_downloading),
    Phase("waiting for a retry", YELLOW, Month(2021, 3), _waits_for_a_retry),
    Phase(
        "loading into BigQuery",
        YELLOW,
        Month(2021, 4),
        _loads_into_bigquery,
        ("raw", "cleaned", "adds up"),
    ),
    Phase(
        "waiting for PostgreSQL's readers",
        FHVHV,
        Month(2021, 5),
        _waits_for_readers,
        ("raw", "cleaned", "bigquery", "adds up"),
    ),
    Phase("cleaning", YELLOW, Month(2021, 1), _cleans, ("raw", "adds up")),
]
DOWNLOADING, RETRYING, BIGQUERY, POSTGRES, CLEANING = PHASES
SERVICES = {phase.service.name for phase in PHASES}


@contextmanager
def months_loaded(scene: Scene) -> Iterator[Runs]:
    """Load all phases' months, then publish what the runs will find, and hold them there."""
    with scene.in_this_process() as resources:
        for phase in PHASES:
            scene.answers[f"/{phase.file}"] = [_generated(phase, 100)]
            assert phase.run(resources)
        there = tables(resources)
        stored = {phase.name: phase.stored(resources) for phase in PHASES}
    cleaning_may_begin = Event()
    large = _published_trips(3_000_000)

    def cleaned_when_wanted(request: BaseHTTPRequestHandler) -> None:
        cleaning_may_begin.wait()
        large(request)

    scene.answers.update(
        {
            f"/{DOWNLOADING.file}": [scene.hold],
            f"/{RETRYING.file}": [status(503, **{"Retry-After": "600"})],
            f"/{BIGQUERY.file}": [_generated(BIGQUERY, 200)],
            f"/{POSTGRES.file}": [_generated(POSTGRES, 200)],
            f"/{CLEANING.file}": [cleaned_when_wanted],
        }
    )
    scene.asked.clear()
    held_jobs = Point(_starts_the_held_job, scene.hold, times=None)
    scene.points.append(held_jobs)
    with psycopg.connect(scene.live.variables["TAXI_POSTGRES_URL"]) as reader:
        reader.execute(f"SELECT count(*) FROM tlc.{POSTGRES.table}".encode())
        yield Runs(scene, reader, held_jobs, cleaning_may_begin, there, stored)
    cleaning_may_begin.set()


def tables(resources: Resources) -> set[str]:
    """Return the names of what is in PostgreSQL's schema, but for the other stories' tables."""
    with psycopg.connect(resources.postgres.url) as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'tlc'::regnamespace"
        )
        others = (GREEN.trips.name, FHV.trips.name)
        return {name for (name,) in names if not name.startswith(others)}


def _starts_the_held_job(exchange: Exchange) -> bool:
    """Whether a request to BigQuery starts a job that replaces the month of its phase."""
    started = passing("POST", r"/jobs\b")
    return started(exchange) and f'"{BIGQUERY.month}"'.encode() in exchange.body


def _generated(phase: Phase, rows: int) -> Answer:
    """Answer with a generated month."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / phase.file
        write_csv_gz(phase.service, phase.month, rows, path)
        return body(path.read_bytes(), f'"{rows}"')


def _published_trips(rows: int) -> Answer:
    """Answer with one trip, hundreds of thousands of times."""
    some = 100_000
    head, trips = f"{YELLOW_HEADER}\r\n".encode(), f"{trip()}\r\n".encode() * some
    return body(gzip.compress(head) + gzip.compress(trips) * (rows // some), f'"{rows}"')
