"""What people are told: the sensors, evaluated as the daemon does, of runs that have really run."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from taxi_pipeline.definitions import build_definitions
from taxi_pipeline.resources.environment import Resources
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.support.http import body, receiving
from taxi_pipeline_tests.support.published import YELLOW_HEADER

from .conftest import Platform, Publish
from .test_checks import Forgetful
from .test_jobs import MIRRORED, csv_gz, in_month

JOB = YELLOW.trips.name
SENSORS = ("failed_runs", "finished_runs", "finished_backfills")
UI = "https://dagster.example.org"


@pytest.fixture(autouse=True)
def _dagster_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXI_DAGSTER_URL", UI)


@dataclass
class Daemon:
    """Evaluates the sensors on an instance, and keeps their cursors, as Dagster's daemon does."""

    instance: dg.DagsterInstance
    url: str
    cursors: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tick()

    def tick(self, *sensors: str, started_at: float | None = None) -> dict[str, Any]:
        """Evaluate the sensors, all unless named; return what each said to Dagster."""
        definitions = build_definitions({"notifier": Notifier(url=self.url)})
        repository = definitions.get_repository_def()
        said = {}
        for name in sensors or SENSORS:
            with dg.SensorEvaluationContext(
                instance_ref=None,
                instance=self.instance,
                last_tick_completion_time=1.0 if name in self.cursors else None,
                last_sensor_start_time=started_at,
                cursor=self.cursors.get(name),
                repository_def=repository,
                sensor_name=name,
                resources={"notifier": repository.get_top_level_resources()["notifier"]},
            ) as context:
                said[name] = repository.get_sensor_def(name).evaluate_tick(context)
                self.cursors[name] = said[name].cursor
        return said


type Told = tuple[Daemon, list[dict[str, str]]]


@pytest.fixture
def told(platform: Platform) -> Iterator[Told]:
    """Return a daemon, and the messages that people got of what came after it had begun."""
    with receiving() as (url, received):
        yield Daemon(platform.instance, url), received


def test_a_failed_month_is_one_message(told: Told, publish: Publish) -> None:
    daemon, received = told
    platform, _ = publish({})
    result = platform.run(JOB, "2010-01")
    daemon.tick()
    daemon.tick()
    (message,) = received
    assert message["title"] == "yellow 2010-01 failed"
    step, link = message["message"].splitlines()
    assert step.startswith(
        f"yellow 2010-01, step raw__{JOB}: yellow 2010-01 is not published: http://127.0.0.1:"
    )
    assert link == f"{UI}/runs/{result.run_id}"
    password = platform.resources.database.url.split(":")[2].split("@")[0]
    assert password not in repr(message)


def test_an_error_that_is_none_of_ours_is_told_by_its_name(told: Told, publish: Publish) -> None:
    daemon, received = told
    platform, _ = publish({MIRRORED.format("2010-02"): csv_gz(in_month("2010-02"))})

    class Broken(Forgetful):
        def find(self, prefix: str) -> list[Any]:
            raise KeyError(f"no {prefix}\nsecond line")

    lake = platform.resources.lake
    broken = replace(platform.resources, lake=Broken(bucket=lake.bucket, project=lake.project))
    definitions = build_definitions(vars(broken))
    result = definitions.resolve_job_def(JOB).execute_in_process(
        instance=platform.instance,
        tags={"dagster/partition": "2010-02", "dagster/max_retries": "0"},
        raise_on_error=False,
    )
    assert not result.success
    daemon.tick()
    (message,) = received
    assert "step raw__yellow_trips: KeyError: " in message["message"]
