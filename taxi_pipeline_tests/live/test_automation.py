"""The platform left alone, with automation on: what is published or arrives, and what has failed.

Two stories go on side by side. A month of green trips is published, rewritten, and then the
publisher is away. Of other services a month lies in the lake that somebody else put there, and one
has failed that `taxi retry-failed` runs again. All of them are the newest month, whose mart is
then computed once. A script has started the platform in the background; SIGINT ends it.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from taxi_pipeline.assets.keys import LAYERS, asset_key
from taxi_pipeline.automation.failures import failed_partitions
from taxi_pipeline.cli import main
from taxi_pipeline.definitions import defs
from taxi_pipeline.local.generator import write_parquet
from taxi_pipeline.local.publisher import ZONES, application, url_templates
from taxi_pipeline.marts import DAILY_TRIPS
from taxi_pipeline.resources.gcs import LakeObject
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV, GREEN, YELLOW, Service
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.dagster_dev import OF_A_SCRIPT, TAXI
from taxi_pipeline_tests.support.http import receiving, serving_application
from taxi_pipeline_tests.support.lake import put
from taxi_pipeline_tests.support.live_platform import LivePlatform, live_platform
from taxi_pipeline_tests.support.processes import PATIENCE, until
from taxi_pipeline_tests.support.results import checks_of
from taxi_pipeline_tests.support.webserver import REPOSITORY

NEWEST = Month.newest_published(date.today())  # noqa: DTZ011 - a day more or less is no matter
PUBLISHED, ARRIVED, FAILED = GREEN, FHV, YELLOW

EVERY = 1  # seconds between two looks: no person's page asks more often
PEOPLES = "https://dagster.example.org"  # which no program here reaches
FAILED_MONTH = f"{FAILED.trips.name} {NEWEST}"
LATER = [asset_key(ARRIVED.trips.name, layer) for layer in LAYERS[1:]]
_TICKS = """
query ($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) { ... on Sensor { sensorState { ticks { status } } } }
}
"""


class Publisher:
    """A publisher of a folder's files; one that is `hidden` is there for downloads, not for looks.

    So it is not taken up as soon as it is published.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "trip-data"
        self._folder.mkdir(parents=True)
        self._application = application(folder, rows=None)
        self._hidden: set[str] = set()

    def publish(self, service: Service, rows: int, *, hidden: bool = False) -> None:
        """Put the service's newest month there in one step, as a publisher does."""
        name = _file(service)
        if hidden:
            self._hidden.add(f"/{self._folder.name}/{name}")
        write_parquet(service, NEWEST, rows, unfinished := self._folder / "unfinished")
        unfinished.replace(self._folder / name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_look = scope["type"] == "http" and scope["method"] == "HEAD"
        answer: ASGIApp = self._application
        if is_look and scope["path"] in self._hidden:
            answer = Response(status_code=404)
        await answer(scope, receive, send)


@dataclass(frozen=True)
class Stage:
    """The platform and its publisher, which is there until its `presence` ends.

    And the messages that people get, and what has `arrived` in the lake.
    """

    live: LivePlatform
    publisher: Publisher
    presence: ExitStack
    urls: Mapping[str, str]
    messages: Sequence[Mapping[str, str]]
    arrived: LakeObject

    @contextmanager
    def in_this_process(self) -> Iterator[Platform]:
        """Yield the platform in this process, with the live one's memory of runs."""
        dagster = {"TAXI_DAGSTER_URL": PEOPLES, "TAXI_DAGSTER_API_URL": self.live.dev.url}
        settings = {**self.urls, **dagster}
        with (
            self.live.in_this_process(**settings) as resources,
            dg.DagsterInstance.get() as instance,
        ):
            yield Platform(resources, instance)

    def await_entry(self, service: Service, rows: int) -> None:
        """Wait until so many rows of the service's newest month are published, and add up."""

        def accounted_for() -> bool:
            entry = platform.entry(service.name, NEWEST.key)
            return entry.adds_up and entry.lake.published == rows

        with self.in_this_process() as platform:
            until(accounted_for, every=EVERY)

    def statuses(self, table: str) -> list[str]:
        """Return how the runs of a table's newest month are."""
        runs = self.live.dev.runs()
        return [run.status for run in runs if run.month == (table, NEWEST.key)]

    def await_statuses(self, table: str, *statuses: str) -> None:
        """Wait until the runs of a table's newest month, the newest first, are as expected."""
        until(lambda: self.statuses(table) == [*statuses], every=EVERY)

    def titles(self) -> list[str]:
        """Return the titles of the messages about the publisher and the month that it publishes."""
        ours = (f"{PUBLISHED.name} ", "The publisher ")
        return [one["title"] for one in self.messages if one["title"].startswith(ours)]

    def await_ticks(self, number: int) -> None:
        """Wait until the sensor has asked the publisher so many times."""
        until(lambda: self.ticks() >= number, every=EVERY)

    def ticks(self) -> int:
        """Return how often the sensor has asked the publisher."""
        selector = {**REPOSITORY, "sensorName": "published_months"}
        found = self.live.dev.graphql(_TICKS, selector=selector)["sensorOrError"]["sensorState"]
        return sum(tick["status"] in ("SKIPPED", "SUCCESS") for tick in found["ticks"])


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Let a month fail and put another into the lake; then let Dagster start."""
    with (
        receiving() as (told_at, messages),
        live_platform(OF_A_SCRIPT) as live,
        ExitStack() as presence,
    ):
        publisher = Publisher(live.folder / "published")
        served = Starlette(routes=[Mount("/", publisher)])
        base = presence.enter_context(serving_application(served))
        urls = {"TAXI_PUBLISHER_URLS": url_templates(base), "TAXI_ZONES_URL": f"{base}/{ZONES}"}
        # before Dagster starts, whose first tick then finds it
        with (
            live.in_this_process(**urls) as resources,
            dg.DagsterInstance.get() as instance,
        ):
            platform = Platform(resources, instance)
            assert not platform.run(FAILED.trips.name, NEWEST.key).success
            write_parquet(ARRIVED, NEWEST, 300, file := live.folder / "arrived.parquet")
            put(resources.lake, f"raw/{ARRIVED.name}/{_file(ARRIVED)}", file)
            (arrived,) = resources.lake.find("raw/")
        live.start_dagster(
            {
                **urls,
                "TAXI_AUTOMATION": "on",
                "TAXI_NOTIFY_URL": told_at,
                "TAXI_PUBLISHED_EVERY_SECONDS": "1",
            }
        )
        live.dev.await_answer()
        yield Stage(live, publisher, presence, urls, messages, arrived)


@dataclass(frozen=True)
class BeforePublication:
    """What there was of the month before it was published, after the publisher had been asked."""

    statuses: list[str]
    titles: list[str]


@dataclass(frozen=True)
class Retried:
    """What the command line printed: while the month had failed, as it launched it, and after."""

    would_run: str
    for_programs: str
    of_another_service: str
    launched: str
    after: str


@pytest.fixture(scope="module")
def before_publication(stage: Stage) -> BeforePublication:
    """Publish the month once the publisher was asked for it."""
    stage.await_ticks(2)
    before = BeforePublication(stage.statuses(PUBLISHED.trips.name), stage.titles())
    stage.publisher.publish(PUBLISHED, 500)
    return before


@pytest.fixture(scope="module")
def retried(stage: Stage, before_publication: BeforePublication) -> Retried:
    """Run the failed month again, while the published one is taken up."""
    with stage.in_this_process():
        would_run = _retry_failed("--dry-run")
        for_programs = _retry_failed("--dry-run", "--json")
        of_another_service = _retry_failed("--service", ARRIVED.name)
        stage.publisher.publish(FAILED, 400, hidden=True)
        launched = subprocess.run(
            [*TAXI, "retry-failed"], capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        return Retried(
            would_run, for_programs, of_another_service, launched.stdout, _retry_failed()
        )


@pytest.fixture(scope="module")
def taken_up(stage: Stage, retried: Retried) -> int:
    """Rewrite the month once it was taken up; return how often it was asked for until that was."""
    stage.await_statuses(PUBLISHED.trips.name, "SUCCESS")
    stage.await_entry(PUBLISHED, 500)
    stage.publisher.publish(PUBLISHED, 700)
    stage.await_statuses(PUBLISHED.trips.name, "SUCCESS", "SUCCESS")
    ticks = stage.ticks()
    stage.await_statuses(ARRIVED.trips.name, "SUCCESS")
    stage.await_statuses(FAILED.trips.name, "SUCCESS", "FAILURE")
    return ticks


@pytest.fixture(scope="module")
def settled(stage: Stage, taken_up: int) -> list[str]:
    """Wait for messages and the mart, and for what may come besides; return the messages."""
    until(lambda: len(stage.titles()) >= 2, every=EVERY)
    until(lambda: {*stage.statuses(DAILY_TRIPS.name)} == {"SUCCESS"}, every=EVERY)
    stage.await_entry(PUBLISHED, 700)  # and in the mart
    stage.await_ticks(taken_up + 3)
    return stage.titles()


@pytest.fixture(scope="module")
def told_while_away(stage: Stage, settled: list[str]) -> list[str]:
    """Let the publisher be away; return the messages about it after some ticks."""
    stage.presence.close()
    until(lambda: len(stage.titles()) > len(settled), every=EVERY)
    stage.await_ticks(stage.ticks() + 3)
    return stage.titles()[len(settled) :]


def test_what_somebody_puts_into_the_lake_goes_the_rest_of_its_way(
    stage: Stage, taken_up: int
) -> None:
    with stage.in_this_process() as platform:
        key = f"{ARRIVED.name}/{NEWEST}/{stage.arrived.generation}"
        (run,) = _succeeded(platform, {"dagster/run_key": key})
        assert run.asset_selection == {*LATER}
        assert _count(platform, run, dg.DagsterEventType.ASSET_MATERIALIZATION) == 3
        assert _count(platform, run, dg.DagsterEventType.ASSET_CHECK_EVALUATION) == len(
            checks_of(ARRIVED)
        )
        assert platform.entry(ARRIVED.name, NEWEST.key).adds_up


def test_a_month_that_failed_runs_again(stage: Stage, retried: Retried, settled: list[str]) -> None:
    assets = ", ".join(f"{FAILED.name}_{layer}" for layer in LAYERS)
    assert retried.would_run == f"{FAILED_MONTH}: would run {assets}\n"
    assert json.loads(retried.for_programs) == [
        {
            "job": FAILED.trips.name,
            "month": NEWEST.key,
            "assets": assets.split(", "),
            "run": None,
            "url": None,
        }
    ]
    assert retried.of_another_service == "No month has failed.\n"
    launched = re.fullmatch(rf"{FAILED_MONTH}: {PEOPLES}/runs/(\S+)\n", retried.launched)
    assert launched
    assert retried.after == "No month has failed.\n"  # it runs, or has succeeded
    with stage.in_this_process() as platform:
        (run,) = _succeeded(platform, {"dagster/partition": NEWEST.key}, FAILED.trips.name)
        assert run.run_id == launched[1]
        assert _count(platform, run, dg.DagsterEventType.ASSET_MATERIALIZATION) == 4
        assert _count(platform, run, dg.DagsterEventType.ASSET_CHECK_EVALUATION) == len(
            checks_of(FAILED)
        )
        jobs = defs.resolve_all_job_defs()
        assert failed_partitions(platform.instance, jobs) == []
        assert platform.entry(FAILED.name, NEWEST.key).adds_up


def test_a_month_runs_once_when_published_and_once_when_rewritten_with_messages(
    stage: Stage, before_publication: BeforePublication, settled: list[str]
) -> None:
    assert before_publication == BeforePublication([], [])
    month = f"{PUBLISHED.name} {NEWEST}"
    assert settled == [f"{month} published", f"{month} republished"]
    assert stage.statuses(PUBLISHED.trips.name) == ["SUCCESS", "SUCCESS"]


def test_all_that_runs_by_itself_leaves_the_queue_before_backfills(
    stage: Stage, settled: list[str]
) -> None:
    runs = [run for run in stage.live.dev.runs() if run.status == "SUCCESS"]
    tables = {service.trips.name for service in (PUBLISHED, ARRIVED, FAILED)}
    assert {run.month[0] for run in runs} >= {*tables, DAILY_TRIPS.name}
    assert {run.tags.get("dagster/priority") for run in runs} == {"10"}


def test_that_the_publisher_is_away_is_told_once(told_while_away: list[str]) -> None:
    assert told_while_away == ["The publisher of TLC's trips cannot be asked"]


def _file(service: Service) -> str:
    return f"{service.name}_tripdata_{NEWEST}.parquet"


def _retry_failed(*arguments: str) -> str:
    """Return what the command prints, which launches nothing."""
    done = CliRunner().invoke(main, ["retry-failed", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def _succeeded(
    platform: Platform, tags: Mapping[str, str], job: str | None = None
) -> Sequence[dg.DagsterRun]:
    success = [dg.DagsterRunStatus.SUCCESS]
    return platform.instance.get_runs(dg.RunsFilter(job_name=job, tags=tags, statuses=success))


def _count(platform: Platform, run: dg.DagsterRun, event: dg.DagsterEventType) -> int:
    return len(platform.instance.all_logs(run.run_id, of_type=event))
