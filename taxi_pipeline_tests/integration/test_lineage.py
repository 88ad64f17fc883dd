"""The lineage of a real month, by OpenLineage's client to a server that keeps what arrives."""

import gzip
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from unittest.mock import patch

import dagster as dg
import pytest

from taxi_pipeline.definitions import build_definitions
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.marts import DAILY_TRIPS
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.conftest import Platform, with_publisher
from taxi_pipeline_tests.support.daemon import Daemon
from taxi_pipeline_tests.support.http import body, listening, serving, status
from taxi_pipeline_tests.support.instances import sqlite_instance
from taxi_pipeline_tests.support.source_files import MIRRORED, csv_gz, in_month

JOB = YELLOW.trips.name
MONTH = "2016-03"
KEY = "s3cr3t-t0k3n"

type Event = Mapping[str, Any]


@dataclass
class Catalog:
    """A catalog of lineage: the events that it has taken, and how it answers, also by run."""

    url: str = ""
    code: int = 201
    codes: dict[str, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)


@contextmanager
def serving_catalog() -> Iterator[Catalog]:
    catalog = Catalog()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                content = gzip.decompress(content)
            event = json.loads(content)
            code = catalog.codes.get(event["run"]["runId"], catalog.code)
            if code == 201:
                assert self.path == "/api/v1/lineage"
                catalog.events.append(event)
                catalog.keys.add(self.headers.get("Authorization"))
            status(code)(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with listening(Handler) as address:
        catalog.url = f"http://{address}"
        yield catalog


@dataclass
class Sent:
    """A run of a month, and what the catalog got of it."""

    run: dg.ExecuteInProcessResult
    platform: Platform
    catalog: Catalog
    daemon: Daemon
    publisher: str
    events: Sequence[Event]

    def of_job(self, name: str) -> list[Event]:
        return [event for event in self.events if event["job"]["name"] == name]


@pytest.fixture(scope="module")
def sent(platform: Platform) -> Iterator[Sent]:
    """Let a month run while the sensor is there, and send it."""
    path = f"/{MIRRORED.format(MONTH)}"
    with (
        serving({path: [body(csv_gz(*[in_month(MONTH)] * 40))]}) as (base, _),
        serving_catalog() as catalog,
        patch.dict(os.environ, OPENLINEAGE_URL=catalog.url, OPENLINEAGE_API_KEY=KEY),
        sqlite_instance() as instance,
    ):
        there = Platform(with_publisher(platform, base).resources, instance)
        daemon = Daemon(build_definitions(), there.instance, ["lineage"])
        said = daemon.tick()["lineage"].skip_message
        assert said == "The lineage of runs that end from now on will be sent."
        run = there.run(JOB, MONTH)
        assert run.success
        assert daemon.tick()["lineage"].skip_message == "The lineage of 1 runs was sent."
        yield Sent(run, there, catalog, daemon, base, [*catalog.events])


def names(datasets: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in datasets]


def test_a_month_is_a_run_with_a_run_of_each_asset_from_the_published_file_to_the_tables(
    sent: Sent,
) -> None:
    resources, catalog = sent.platform.resources, sent.catalog
    start, end = sent.of_job(JOB)
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert start["eventTime"] < end["eventTime"]
    assert {event["run"]["runId"] for event in (start, end)} == {sent.run.run_id}
    assert end["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2016-03-01T00:00:00Z"

    lake = f"gs://{resources.lake.bucket}"
    published = (sent.publisher, MIRRORED.format(MONTH))
    where = resources.postgres.place()
    bigquery = f"{resources.bigquery.project}.{resources.bigquery.dataset}.yellow_trips"
    expected = {
        "yellow_raw": (published, (lake, "raw/yellow")),
        "yellow_cleaned": ((lake, "raw/yellow"), (lake, "cleaned/yellow")),
        "yellow_bigquery": ((lake, "cleaned/yellow"), ("bigquery", bigquery)),
        "yellow_postgres": (
            (lake, "cleaned/yellow"),
            (
                f"postgres://{where['host']}:{where['port']}",
                f"{where['database']}.tlc.yellow_trips",
            ),
        ),
    }
    runs = set()
    for name, (source, made) in expected.items():
        start, end = sent.of_job(name)
        assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
        assert names(end["inputs"]) == [source]
        assert names(end["outputs"]) == [made]
        assert end["run"]["facets"]["parent"]["run"]["runId"] == sent.run.run_id
        (output,) = end["outputs"]
        assert output["outputFacets"]["outputStatistics"]["rowCount"] == 40
        runs.add(end["run"]["runId"])
    assert len(runs) == 4
    assert len(sent.events) == 10
    assert catalog.keys == {f"Bearer {KEY}"}


def test_each_column_is_followed_from_the_published_file_to_the_table(sent: Sent) -> None:
    def origin(job: str, column: str) -> tuple[tuple[str, str], str]:
        _, end = sent.of_job(job)
        (output,) = end["outputs"]
        lineage = output["facets"]["columnLineage"]["fields"]
        (found,) = lineage[column]["inputFields"]
        return (found["namespace"], found["name"]), found["field"]

    lake = f"gs://{sent.platform.resources.lake.bucket}"
    followed = []
    column = "pickup_datetime"
    for job in ("yellow_postgres", "yellow_cleaned", "yellow_raw"):
        (dataset, column) = origin(job, column)
        followed.append((dataset, column))
    assert followed == [
        ((lake, "cleaned/yellow"), "pickup_datetime"),
        ((lake, "raw/yellow"), "tpep_pickup_datetime"),
        ((sent.publisher, MIRRORED.format(MONTH)), "tpep_pickup_datetime"),
    ]
    _, end = sent.of_job("yellow_bigquery")
    fields = end["outputs"][0]["facets"]["schema"]["fields"]
    assert [one["name"] for one in fields] == [column.name for column in YELLOW.trips.columns]
    assert fields[0]["description"]


def test_a_mart_comes_from_the_tables_that_have_the_month(sent: Sent) -> None:
    sent.catalog.events.clear()
    assert sent.platform.run(DAILY_TRIPS.name, MONTH).success
    sent.daemon.tick()
    *_, end = (
        e for e in sent.catalog.events if e["job"]["facets"]["jobType"]["jobType"] == "ASSET"
    )
    where = sent.platform.resources.bigquery.place()
    tables = ("bigquery", "{project}.{dataset}.yellow_trips".format(**where))
    assert names(end["inputs"]) == [tables]
    (output,) = end["outputs"]
    assert output["name"] == "{project}.{dataset}.daily_trips".format(**where)
    revenue = output["facets"]["columnLineage"]["fields"]["revenue"]["inputFields"]
    assert [(one["name"], one["field"]) for one in revenue] == [(tables[1], "total_amount")]


def test_a_run_is_sent_once_and_one_that_failed_says_why(sent: Sent) -> None:
    sent.catalog.events.clear()
    assert sent.daemon.tick()["lineage"].skip_message == "The lineage of 0 runs was sent."
    failed = sent.platform.run(JOB, "2016-04")  # which is not published
    sent.daemon.tick()
    start, end = sent.catalog.events
    assert (start["eventType"], end["eventType"]) == ("START", "FAIL")
    assert end["run"]["runId"] == failed.run_id
    said = end["run"]["facets"]["errorMessage"]["message"]
    assert said.startswith("yellow 2016-04, step yellow_raw: yellow 2016-04 is not published")


@pytest.mark.parametrize("code", [503, 404])
def test_a_catalog_that_does_not_take_a_run_gets_it_at_the_next_tick(sent: Sent, code: int) -> None:
    sent.platform.run(JOB, MONTH)
    sent.catalog.events.clear()
    sent.catalog.code = code
    said = rf"The lineage could not be sent \(OPENLINEAGE_URL\): {code} "
    with pytest.raises((PermanentError, TransientError), match=said) as caught:
        sent.daemon.tick()
    assert KEY not in str(caught.getrepr(chain=True))
    sent.catalog.code = 201
    assert sent.daemon.tick()["lineage"].skip_message == "The lineage of 1 runs was sent."
    assert len(sent.catalog.events) == 10


def test_a_run_that_the_catalog_refuses_is_left_out_and_the_next_one_is_sent(sent: Sent) -> None:
    refused, taken = (sent.platform.run(JOB, "2016-04").run_id for _ in range(2))
    sent.catalog.events.clear()
    sent.catalog.codes = {refused: 422}
    said = sent.daemon.tick()["lineage"].skip_message or ""
    assert said.startswith(f"The lineage of 1 runs was sent. Run {refused} is left out. ")
    assert "(OPENLINEAGE_URL): 422 " in said
    sent.catalog.codes = {}
    assert sent.daemon.tick()["lineage"].skip_message == "The lineage of 0 runs was sent."
    assert {event["run"]["runId"] for event in sent.catalog.events} == {taken}


def test_what_a_catalog_has_taken_before_it_went_away_is_not_sent_again(sent: Sent) -> None:
    taken, missed = (sent.platform.run(JOB, "2016-04").run_id for _ in range(2))
    sent.platform.instance.add_run_tags(taken, {"note": "by hand"})
    sent.catalog.events.clear()
    sent.catalog.codes = {missed: 503}
    said = sent.daemon.tick()["lineage"].skip_message or ""
    assert said.startswith("The lineage of 1 runs was sent. The lineage could not be sent ")
    with pytest.raises(TransientError):
        sent.daemon.tick()
    sent.catalog.codes = {}
    assert sent.daemon.tick()["lineage"].skip_message == "The lineage of 1 runs was sent."
    ids = [event["run"]["runId"] for event in sent.catalog.events]
    assert ids == [taken, taken, missed, missed]


def test_a_run_that_somebody_tags_later_is_not_sent_again(sent: Sent) -> None:
    run = sent.platform.run(JOB, "2016-04").run_id
    sent.daemon.tick()
    record = sent.platform.instance.get_run_record_by_id(run)
    assert record
    assert record.end_time
    # as after a run that ended a minute later
    since = record.end_time + 60.001
    sent.daemon.cursors["lineage"] = json.dumps({"since": since, "sent": []})
    sent.platform.instance.add_run_tags(run, {"note": "by hand"})
    assert sent.daemon.tick()["lineage"].skip_message == "The lineage of 0 runs was sent."


def test_without_the_client_the_code_location_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:5000")
    monkeypatch.setitem(sys.modules, "openlineage", None)
    with pytest.raises(PermanentError, match="openlineage-python is not installed: install"):
        build_definitions()


def test_without_a_url_there_is_no_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", "")
    names = {sensor.name for sensor in build_definitions().get_repository_def().sensor_defs}
    assert "failed_runs" in names
    assert "lineage" not in names
