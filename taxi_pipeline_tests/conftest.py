"""One embedded stack for the whole session, and ways to give a test its own publisher."""

import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.sensor_definition import SensorExecutionData
from xdist.scheduler import LoadScopeScheduling

from taxi_pipeline.assets import published as assets
from taxi_pipeline.checks import published as checks
from taxi_pipeline.definitions import build_definitions, defs
from taxi_pipeline.lake.cleaned import open_cleaned, store_cleaned
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.lake.raw import store_raw
from taxi_pipeline.ledger import Entry, read_ledger
from taxi_pipeline.local.publisher import ZONES, application, url_templates
from taxi_pipeline.local.stack import PublisherOptions, running
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.settings import Resources, load_resources
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES
from taxi_pipeline.tlc.shrinkage import Comparison
from taxi_pipeline_tests.support.contracts import edge
from taxi_pipeline_tests.support.http import Answer, body, serving, serving_application
from taxi_pipeline_tests.support.real_files import NOT_THERE, REAL_FILES

# In whatever imports this: processes that tests fork do, too.
edge.install()

# A shell ignores it in what a script puts into the background; tests end processes by it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# What is caught, and not ignored as under nohup, has its default in what tests start.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


class ByFolderOrFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Lets one worker run all tests of a file, and of a folder of `live/`: they share fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        folder, _, _ = file.rpartition("/")
        return folder if "/live/" in folder else file


_OF_PROCESSES = ("containers", "faults", "live", "ui")
_OF_PROCESSES_SECONDS = 1500  # the first of a module waits for a whole platform, too


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolderOrFile:
    """Hand tests to workers so that what a file's fixtures make is made once."""
    return ByFolderOrFile(config, log)


ROWS = 2_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests that wait for processes the time that only what hangs takes."""
    for item in items:
        folder, *_ = item.path.relative_to(Path(__file__).parent).parts
        if folder in _OF_PROCESSES and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_OF_PROCESSES_SECONDS))


@pytest.fixture(scope="session")
def stack() -> Iterator[Path]:
    """Start the stack and put its variables into our environment; return its folder."""
    # pytest's own folders are closed to other users, and root's PostgreSQL runs as another
    with (
        TemporaryDirectory(prefix="taxi-") as folder,
        running(Path(folder), PublisherOptions(None, ROWS)) as variables,
        patch.dict(os.environ, variables),
    ):
        yield Path(folder)


@pytest.fixture(autouse=True)
def no_refusals() -> Iterator[None]:
    """Fail a test that sends what Google would refuse, or what docs/requests.md has not."""
    with edge.no_refusals():
        yield


@pytest.fixture(autouse=True)
def compared_months() -> Iterator[None]:
    """Compare no month with what it replaces, nor with the months beside it.

    Tests share a stack, where these are other tests'. test_fewer_rows, which compares them, has a
    fixture of this name.
    """

    def alone(
        month: Month,
        trips: int,
        replaced: int | None,
        neighbours: Mapping[Month, int],
        empty_days: Sequence[int] = (),
    ) -> Comparison:
        return Comparison(month, trips, None, {}, empty_days)

    with patch.object(checks, "Comparison", alone), patch.object(assets, "Comparison", alone):
        yield


@dataclass(frozen=True)
class Platform:
    """The whole platform, in this process and on the stack."""

    resources: Resources
    instance: dg.DagsterInstance

    def run(
        self,
        job: str,
        month: str | None = None,
        assets: Sequence[dg.AssetKey] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run a job, or some of its assets, as `dagster job execute` does, but in this process."""
        resources = self.resources.by_name()
        if assets is not None:  # Dagster takes no other resources for a part of a job
            definitions, resources = build_definitions(resources), {}
        else:
            definitions = defs
        return definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            resources=resources,
            tags={**(tags or {}), **({"dagster/partition": month} if month else {})},
            raise_on_error=False,
            asset_selection=assets,
        )

    def load(self, service: str, month: str, *, replace_raw: bool = False) -> None:
        """Load a month into the lake and both tables: its assets' steps, in no run of Dagster."""
        from taxi_pipeline.tlc.cleaning import clean_trips
        from taxi_pipeline.tlc.daily import trips_by_day

        log, of, to = logging.getLogger(), Month.parse(month), self.resources
        table, place = SERVICES[service].trips, object_paths(SERVICES[service], of)
        fetch = partial(to.publisher.fetch_month, SERVICES[service], of)
        store_raw(to.lake, place, table, fetch, log, replace=replace_raw)
        days = partial(trips_by_day, month=of)
        total = SERVICES[service].total
        store_cleaned(to.lake, place, table, partial(clean_trips, of), log, days, total)
        with open_cleaned(to.lake, place, table, of, log) as trips:
            for sink in to.sinks.values():
                sink.replace(trips.file, uuid4().hex)

    def will_retry(self, failed: dg.ExecuteInProcessResult) -> bool:
        """Return whether Dagster's daemon would run the failed run again by itself."""
        run = self.instance.get_run_by_id(failed.run_id)
        assert run
        return {"true": True, "false": False}[run.tags["dagster/will_retry"]]

    def tick(self, sensor: str, cursor: str | None = None) -> SensorExecutionData:
        """Evaluate a sensor as Dagster's daemon does, but launch nothing."""
        with dg.build_sensor_context(
            self.instance, cursor, definitions=defs, resources=self.resources.by_name()
        ) as context:
            return defs.resolve_sensor_def(sensor).evaluate_tick(context)

    def entry(self, service: str, month: str) -> Entry:
        """Return the ledger's entry for a month."""
        its = Month.parse(month)
        (entry,) = read_ledger(SERVICES[service], self.resources, its, its)
        return entry

    def execute(self, sink: Sink, statement: str) -> None:
        """Execute a statement of a sink's own SQL, as somebody who tampers with a table does."""
        {"bigquery": self.bigquery, "postgres": self._execute_in_postgres}[sink.name](statement)

    def _execute_in_postgres(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.resources.postgres.url) as connection:
            connection.execute(statement.encode())

    def postgres(self, query: str) -> list[Any]:
        """Return the rows of a query."""
        import psycopg

        with psycopg.connect(self.resources.postgres.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def bigquery(self, query: str) -> list[Any]:
        """Return the rows of a query, in the dataset."""
        from google.cloud import bigquery

        from taxi_pipeline.io.google import GoogleBigQuery

        warehouse = self.resources.bigquery
        with GoogleBigQuery(project=warehouse.project).get_client() as client:
            config = bigquery.QueryJobConfig(
                default_dataset=f"{warehouse.project}.{warehouse.dataset}"
            )
            return [tuple(row) for row in client.query_and_wait(query, job_config=config)]


def in_memory_instance(stack: Path) -> dg.DagsterInstance:
    """Return an instance with the development instance's settings, whose storage is in memory.

    test_instances and what runs in processes has the real storages.
    """
    dagster_yaml = yaml.safe_load((stack / "dagster" / "dagster.yaml").read_text())
    instance_settings = {name: dagster_yaml[name] for name in ("run_monitoring", "run_retries")}
    return dg.DagsterInstance.ephemeral(settings=instance_settings)


@pytest.fixture(scope="session")
def platform(stack: Path) -> Iterator[Platform]:
    """Return the platform on the stack."""
    with in_memory_instance(stack) as instance:
        yield Platform(load_resources(), instance)


type Publish = Callable[[Mapping[str, bytes | Answer]], tuple[Platform, list[str]]]


@pytest.fixture
def publish(platform: Platform) -> Iterator[Publish]:
    """Return a function that makes a platform whose publisher has just these files, by path."""
    with ExitStack() as servers:

        def published(files: Mapping[str, bytes | Answer]) -> tuple[Platform, list[str]]:
            answers = {
                f"/{path}": [body(file, f'"{hash(file)}"') if isinstance(file, bytes) else file]
                for path, file in files.items()
            }
            base, asked = servers.enter_context(serving(answers))
            return with_publisher(platform, base), asked

        yield published


@pytest.fixture(scope="session")
def _real_publisher() -> Iterator[str]:
    if not REAL_FILES.is_dir():
        pytest.skip(NOT_THERE)
    with serving_application(application(REAL_FILES, None)) as base:
        yield base


@pytest.fixture
def real_platform(platform: Platform, _real_publisher: str) -> Platform:
    """Return a platform whose publisher has TLC's real files."""
    return with_publisher(platform, _real_publisher)


def with_resources(platform: Platform, **others: object) -> Platform:
    """Return a platform some of whose resources, sinks included, are others, by name."""
    own = {field.name for field in fields(Resources)}
    sinks: Any = {name: other for name, other in others.items() if name not in own}
    rest: Any = {name: other for name, other in others.items() if name in own}
    resources = replace(platform.resources, sinks={**platform.resources.sinks, **sinks}, **rest)
    return Platform(resources, platform.instance)


def with_publisher(platform: Platform, base: str) -> Platform:
    """Return a platform whose publisher is the one at `base`."""
    publisher = Publisher(urls=url_templates(base), zones_url=f"{base}/{ZONES}")
    resources = replace(platform.resources, publisher=publisher)
    return Platform(resources, platform.instance)
