"""The platform left alone: a daemon, a publisher that publishes, and no hand on a button."""

import json
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from taxi_pipeline.local.publisher import ZONES, application, url_templates
from taxi_pipeline.tlc.generator import write_parquet
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN
from taxi_pipeline_tests.support.dagster_dev import DagsterDev, dagster_dev
from taxi_pipeline_tests.support.http import receiving, serving_application
from taxi_pipeline_tests.support.processes import until

NEWEST = Month.newest_published(date.today())  # noqa: DTZ011 - a day more or less is no matter

TICKS = """
query ($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) { ... on Sensor { sensorState { ticks { status } } } }
}
"""
RUNS = "query { runsOrError { ... on Runs { results { status assets { key { path } } } } } }"
PUBLISHED_MONTHS = {
    "repositoryLocationName": "taxi_pipeline",
    "repositoryName": "__repository__",
    "sensorName": "published_months",
}


@pytest.mark.timeout(400)
def test_a_month_is_taken_up_when_published_and_once_when_rewritten_and_one_is_told() -> None:
    with (
        TemporaryDirectory(prefix="taxi-") as name,
        receiving() as (told_at, told),
        ExitStack() as publisher,
    ):
        folder = Path(name)
        folder.chmod(0o755)  # root's PostgreSQL runs as another user
        files = folder / "published" / "trip-data"
        files.mkdir(parents=True)
        its = application(files.parent, rows=None)
        base = publisher.enter_context(serving_application(its))
        settings = {
            "TAXI_AUTOMATION": "on",
            "TAXI_NOTIFY_URL": told_at,
            "TAXI_PUBLISHED_EVERY_SECONDS": "1",
            "TAXI_PUBLISHER_URLS": url_templates(base),
            "TAXI_ZONES_URL": f"{base}/{ZONES}",
        }
        with dagster_dev(folder, "env", *(f"{k}={v}" for k, v in settings.items())) as dev:
            await_ticks(dev, 2)
            assert (runs(dev, "green_trips"), told) == ([], [])

            publish(files, rows=500)
            until(lambda: runs(dev, "green_trips") == ["SUCCESS"], 120)
            until(lambda: rows_in_every_store(dev) == 500, 100)

            publish(files, rows=700)
            until(lambda: runs(dev, "green_trips") == ["SUCCESS", "SUCCESS"], 120)
            until(lambda: rows_in_every_store(dev) == 700, 100)  # and in the mart
            until(lambda: len(told) == 2, 60)
            assert titles(told) == [f"green {NEWEST} published", f"green {NEWEST} republished"]
            until(lambda: {*runs(dev, "daily_trips")} == {"SUCCESS"}, 100)
            await_ticks(dev, 3)
            assert len(runs(dev, "green_trips")) == 2

            publisher.close()
            until(lambda: len(told) == 3, 60)
            assert titles(told)[2] == "The publisher of TLC's trips cannot be asked"
            await_ticks(dev, 3)
            assert len(told) == 3


def publish(files: Path, rows: int) -> None:
    """Put the newest month there in one step, as a publisher does."""
    unfinished = files / "unfinished"
    write_parquet(GREEN, NEWEST, rows, unfinished)
    unfinished.replace(files / f"green_tripdata_{NEWEST}.parquet")


def rows_in_every_store(dev: DagsterDev) -> int | None:
    """Return the newest month's published rows; None while they are not all accounted for."""
    (entry,) = json.loads(dev.ledger("--service", "green", "--json").stdout)
    assert entry["month"] == str(NEWEST)
    return int(entry["published"]) if entry["adds_up"] else None


def runs(dev: DagsterDev, table: str) -> list[str]:
    """Return the states of the runs that load BigQuery's table."""
    found = dev.graphql(RUNS)["runsOrError"]["results"]
    its = {"key": {"path": ["bigquery", table]}}
    return [run["status"] for run in found if its in run["assets"]]


def await_ticks(dev: DagsterDev, number: int) -> None:
    """Wait until the sensor has asked the publisher that many times more."""

    def ticks() -> int:
        found: Any = dev.graphql(TICKS, selector=PUBLISHED_MONTHS)
        return sum(
            tick["status"] in ("SKIPPED", "SUCCESS")
            for tick in found["sensorOrError"]["sensorState"]["ticks"]
        )

    before = ticks()
    until(lambda: ticks() >= before + number, 100)


def titles(told: list[dict[str, str]]) -> list[str]:
    return [message["title"] for message in told]
