"""Terminating a run from Dagster's UI: it ends within seconds, and the stores are as before.

Webserver, daemon and workers are real; the runs are launched and terminated by the UI's own
requests. All of them go on at once, each with a month of its own, held where the test wants it.
"""

import gzip
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any
from unittest.mock import patch

import dagster as dg
import psutil
import psycopg
import pytest

from taxi_pipeline.definitions import build_definitions
from taxi_pipeline.ledger import read_ledger
from taxi_pipeline.local.stack import Settings, running
from taxi_pipeline.resources import environment
from taxi_pipeline.resources.environment import Resources
from taxi_pipeline.tlc.generator import write_csv_gz
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN, YELLOW, Service
from taxi_pipeline_tests.support.dagster_dev import DagsterDev, dagster_dev
from taxi_pipeline_tests.support.http import Answer, body, serving, status
from taxi_pipeline_tests.support.processes import until
from taxi_pipeline_tests.support.published import YELLOW_HEADER, trip
from taxi_pipeline_tests.support.relays import Exchange, Point, http_relay, passing

LAYERS = ("raw", "cleaned", "bigquery", "postgres")
STACK = Settings(None, rows=500)
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
SECONDS = 30  # of a machine that has much else to do

LAUNCH = """
mutation ($tags: [ExecutionTag!]!, $assets: [AssetKeyInput!]!) {
  launchRun(executionParams: {
    mode: "default"
    executionMetadata: {tags: $tags}
    selector: {
      repositoryLocationName: "taxi_pipeline"
      repositoryName: "__repository__"
      jobName: "__ASSET_JOB"
      assetSelection: $assets
    }
  }) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
TERMINATE = """
mutation ($run: String!) {
  terminateRun(runId: $run, terminatePolicy: SAFE_TERMINATE) {
    __typename
    ... on TerminateRunFailure { message }
    ... on PythonError { message }
  }
}
"""
RUN = """
query ($run: ID!) {
  runOrError(runId: $run) {
    ... on Run {
      status
      eventConnection { events { __typename ... on MessageEvent { message stepKey } } }
    }
  }
}
"""
RUNS = "query { runsOrError { ... on Runs { results { runId } } } }"


@dataclass(frozen=True)
class Live:
    """The platform while the runs go on, and what holds them."""

    dev: DagsterDev
    resources: Resources
    scratch: Path
    answers: dict[str, list[Answer]]
    asked: list[str]
    reader: psycopg.Connection
    held_jobs: Point[Exchange]
    before: dict[str, dict[str, object]]
    tables: list[Any]
    launched: dict[str, str]

    def events(self, phase: "Phase", kind: str = "") -> list[str]:
        """Return what the events of a phase's run say, of all kinds or of one."""
        found = self.dev.graphql(RUN, run=self.launched[phase.name])["runOrError"]
        events = found["eventConnection"]["events"]
        return [event["message"] for event in events if kind in ("", event["__typename"])]

    def status(self, phase: "Phase") -> str:
        """Return how a phase's run is."""
        found: str = self.dev.graphql(RUN, run=self.launched[phase.name])["runOrError"]["status"]
        return found

    def worker(self, phase: "Phase") -> psutil.Process:
        """Return the process that executes a phase's run."""
        (pid,) = [
            int(message.partition("(pid: ")[2].rstrip(")."))
            for message in self.events(phase, "EngineEvent")
            if message.startswith("Started process for run")
        ]
        return psutil.Process(pid)

    def starts(self, phase: "Phase") -> int:
        """Return how often steps of a phase's run were started."""
        kinds = ("ExecutionStepStartEvent", "ExecutionStepRestartEvent")
        return sum(len(self.events(phase, kind)) for kind in kinds)

    def sessions(self) -> list[str | None]:
        """Return what our own connections to PostgreSQL wait for."""
        with psycopg.connect(self.resources.database.url) as connection:
            found = connection.execute(
                "SELECT wait_event_type FROM pg_stat_activity "
                "WHERE application_name = 'taxi_pipeline'"
            )
            return [kind for (kind,) in found]


@dataclass(frozen=True)
class Phase:
    """Where a run is terminated: the month it has, and what of it was `replaced` by then."""

    name: str
    service: Service
    month: Month
    reached: Callable[[Live, "Phase"], object]
    replaced: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The name of the month's published file."""
        return f"{self.service.name}_tripdata_{self.month}.csv.gz"

    def stored(self, resources: Resources) -> dict[str, object]:
        """Return what each store has of the month, whose ledger must add up."""
        (entry,) = read_ledger(self.service, resources, self.month, self.month)
        return {
            "raw": entry.lake.sha256,
            "cleaned": (entry.lake.kept, entry.lake.rejected),
            "bigquery": entry.bigquery,
            "postgres": entry.postgres,
            "adds up": entry.adds_up,
        }

    def __str__(self) -> str:
        return self.name


def downloading(live: Live, phase: Phase) -> object:
    return f"/{phase.file}" in live.asked


def waiting_for_a_retry(live: Live, phase: Phase) -> object:
    return any("the next is in" in said for said in live.events(phase, "LogMessageEvent"))


def cleaning(live: Live, phase: Phase) -> object:
    beside = (found.parent / phase.file for found in live.scratch.rglob("kept.parquet"))
    return any(path.exists() for path in beside)


def loading_into_bigquery(live: Live, _: Phase) -> object:
    return live.held_jobs.reached


def waiting_for_readers_of_postgres(live: Live, _: Phase) -> object:
    return "Lock" in live.sessions()


PHASES = [
    Phase("cleaning", YELLOW, Month(2021, 1), cleaning, ("raw", "adds up")),
    Phase("downloading", YELLOW, Month(2021, 2), downloading),
    Phase("waiting for a retry", YELLOW, Month(2021, 3), waiting_for_a_retry),
    Phase(
        "loading into BigQuery",
        YELLOW,
        Month(2021, 4),
        loading_into_bigquery,
        ("raw", "cleaned", "adds up"),
    ),
    Phase(
        "waiting for PostgreSQL's readers",
        GREEN,
        Month(2021, 5),
        waiting_for_readers_of_postgres,
        ("raw", "cleaned", "bigquery", "adds up"),
    ),
]
CLEANING, DOWNLOADING, RETRYING, BIGQUERY, POSTGRES = PHASES


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """Load all phases' months, then launch a run of each that finds another file published."""
    answers: dict[str, list[Answer]] = {}
    over = Event()

    def hold(_: object) -> None:
        over.wait()

    held_jobs = Point(of_month(BIGQUERY.month), hold, times=None)
    with ExitStack() as ends, ExitStack() as starting:
        # pytest's own folders are closed to other users, and root's PostgreSQL runs as another
        folder = Path(ends.enter_context(TemporaryDirectory(prefix="taxi-")))
        scratch = folder / "scratch"
        scratch.mkdir()
        publisher, asked = ends.enter_context(serving(answers))
        variables = starting.enter_context(running(folder / "data", STACK))
        published = {"TAXI_PUBLISHER_URLS": f"{publisher}/{{service}}_tripdata_{{month}}.csv.gz"}
        ends.enter_context(patch.dict(os.environ, variables | published))
        resources = environment.ready()
        for phase in PHASES:
            assert run_again(phase, answers, resources, rows=100)
        there = tables(resources)
        before = {phase.name: phase.stored(resources) for phase in PHASES}
        answers |= {
            f"/{CLEANING.file}": [published_trips(3_000_000)],
            f"/{DOWNLOADING.file}": [hold],
            f"/{RETRYING.file}": [status(503, **{"Retry-After": "60"})],
            f"/{BIGQUERY.file}": [generated(BIGQUERY, 200)],
            f"/{POSTGRES.file}": [generated(POSTGRES, 200)],
        }
        asked.clear()
        emulator = variables["BIGQUERY_EMULATOR_HOST"]
        settings = published | {
            "BIGQUERY_EMULATOR_HOST": ends.enter_context(http_relay(emulator, [held_jobs])),
            "TMPDIR": str(scratch),
        }
        ours = folder / "data" / "dagster" / "dagster.yaml"
        ours.write_text(
            re.sub("(max_concurrent_runs|default_limit): 2", r"\1: 9", ours.read_text())
        )
        wrapper = [f"{name}={value}" for name, value in settings.items()]
        dev = ends.enter_context(dagster_dev(folder, "env", *wrapper))
        ends.callback(over.set)
        starting.close()  # the stack ends with who joined it
        reader = ends.enter_context(psycopg.connect(resources.database.url))
        reader.execute("SELECT count(*) FROM tlc.green_trips")
        launched = {phase.name: launch(dev, phase) for phase in PHASES}
        yield Live(
            dev, resources, scratch, answers, asked, reader, held_jobs, before, there, launched
        )


def tables(resources: Resources) -> list[Any]:
    """Return the names of what is in PostgreSQL's schema."""
    with psycopg.connect(resources.database.url) as connection:
        return connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'tlc'::regnamespace ORDER BY 1"
        ).fetchall()


def of_month(month: Month) -> Callable[[Exchange], bool]:
    """Return whether a request starts a job that replaces the month."""
    started = passing("POST", r"/jobs\b")
    label = f'"{month}"'.encode()
    return lambda exchange: started(exchange) and label in exchange.body


def generated(phase: Phase, rows: int) -> Answer:
    """Answer with a generated month."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / phase.file
        write_csv_gz(phase.service, phase.month, rows, path)
        return body(path.read_bytes(), f'"{rows}"')


def published_trips(rows: int) -> Answer:
    """Answer with one trip, hundreds of thousands of times."""
    some = 100_000
    head, trips = f"{YELLOW_HEADER}\r\n".encode(), f"{trip()}\r\n".encode() * some
    return body(gzip.compress(head) + gzip.compress(trips) * (rows // some), f'"{rows}"')


def run_again(
    phase: Phase, answers: dict[str, list[Answer]], resources: Resources, rows: int
) -> bool:
    """Publish so many rows and run the month in this process; return whether it succeeded."""
    answers[f"/{phase.file}"] = [generated(phase, rows)]
    job = build_definitions(vars(resources)).resolve_job_def(phase.service.trips.name)
    tags = {"dagster/partition": phase.month.key}
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False).success


def launch(dev: DagsterDev, phase: Phase) -> str:
    """Launch a run of the month as the UI's "Materialize" does; return its id."""
    launched = dev.graphql(
        LAUNCH,
        tags=[{"key": "dagster/partition", "value": phase.month.key}],
        assets=[{"path": [layer, phase.service.trips.name]} for layer in LAYERS],
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run: str = launched["run"]["runId"]
    return run


@pytest.mark.timeout(300)  # the first of them starts the platform and all the runs
@pytest.mark.parametrize("phase", PHASES, ids=str)
def test_a_terminated_run_ends_within_seconds_and_leaves_the_stores_as_before(
    live: Live, phase: Phase
) -> None:
    until(lambda: phase.reached(live, phase), 100)
    worker, started = live.worker(phase), live.starts(phase)

    answer = live.dev.graphql(TERMINATE, run=live.launched[phase.name])["terminateRun"]
    assert answer["__typename"] == "TerminateRunSuccess", answer
    until(lambda: live.status(phase) in ENDED, SECONDS)
    assert live.status(phase) == "CANCELED"
    until(lambda: not worker.is_running(), SECONDS)
    assert live.starts(phase) == started
    assert [*live.scratch.rglob(f"*{phase.file}")] == []
    if phase is POSTGRES:
        until(lambda: live.sessions() == [], SECONDS)
        live.reader.rollback()
    assert tables(live.resources) == live.tables
    before, after = live.before[phase.name], phase.stored(live.resources)
    assert {store for store in after if after[store] != before[store]} == {*phase.replaced}

    assert run_again(phase, live.answers, live.resources, rows=300)
    assert phase.stored(live.resources)["adds up"]


def test_no_terminated_run_is_launched_again_and_the_ledger_adds_up(live: Live) -> None:
    launched = live.dev.graphql(RUNS)["runsOrError"]["results"]
    assert {run["runId"] for run in launched} == {*live.launched.values()}
    ledger = live.dev.ledger()
    assert (ledger.returncode, ledger.stdout.count("yes")) == (0, len(PHASES)), ledger.stderr
