"""What people are told of the real jobs, from a published file to the message that arrives."""

from collections.abc import Iterator

import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.automation.notifications import notification_sensors
from taxi_pipeline.definitions import build_definitions
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.conftest import Platform, Publish, with_resources
from taxi_pipeline_tests.support.daemon import Daemon
from taxi_pipeline_tests.support.http import receiving
from taxi_pipeline_tests.support.instances import sqlite_instance
from taxi_pipeline_tests.support.lake import LosingLake
from taxi_pipeline_tests.support.source_files import MIRRORED, YELLOW_HEADER, csv_gz, in_month

JOB = YELLOW.trips.name
SENSORS = [sensor.name for sensor in notification_sensors()]
UI = "https://dagster.example.org"

type Told = tuple[Daemon, list[dict[str, str]]]


@pytest.fixture
def platform(platform: Platform) -> Iterator[Platform]:
    """Return the platform with a Dagster that remembers no month: what is told depends on that."""
    with sqlite_instance() as instance:
        yield Platform(platform.resources, instance)


@pytest.fixture
def told(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Return a daemon that tells of what comes after, and the messages that have arrived."""
    monkeypatch.setenv("TAXI_DAGSTER_URL", UI)
    with receiving() as (url, received):
        resources = {**platform.resources.by_name(), "notifier": Notifier(url=url)}
        daemon = Daemon(build_definitions(resources), platform.instance, SENSORS)
        daemon.tick()
        yield daemon, received


def test_a_month_that_is_not_published_is_one_message(told: Told, publish: Publish) -> None:
    daemon, received = told
    platform, _ = publish({})
    result = platform.run(JOB, "2010-01")
    daemon.tick()
    daemon.tick()
    (message,) = received
    assert message["title"] == "yellow 2010-01 failed"
    error, link = message["message"].splitlines()
    step = "yellow 2010-01, step yellow_raw"
    assert error.startswith(f"{step}: yellow 2010-01 is not published: http://127.0.0.1:")
    assert link == f"{UI}/runs/{result.run_id}"
    password = platform.resources.postgres.url.split(":")[2].split("@")[0]
    assert password not in repr(message)


def test_a_month_is_published_then_unchanged_then_republished(told: Told, publish: Publish) -> None:
    daemon, received = told
    path, month = MIRRORED.format("2010-02"), "2010-02"
    trips = [in_month(month)] * 39
    platform, _ = publish({path: csv_gz(*trips, in_month(month, passenger_count="0"))})
    first = platform.run(JOB, month)
    daemon.tick()
    (message,) = received
    assert message["title"] == "yellow 2010-02 published"
    assert message["message"].splitlines() == [
        "Rows: raw 40, cleaned 39, bigquery 39, postgres 39",
        f"{UI}/runs/{first.run_id}",
    ]
    assert platform.run(JOB, month).success
    assert platform.run(f"{JOB}_checks", month).success
    daemon.tick()
    assert len(received) == 1
    republished, _ = publish({path: csv_gz(*trips)})
    assert republished.run(JOB, month).success
    daemon.tick()
    assert [message["title"] for message in received[1:]] == ["yellow 2010-02 republished"]


def test_checks_that_warn_are_one_message_also_when_they_run_alone(
    told: Told, publish: Publish
) -> None:
    daemon, received = told
    month = "2012-02"
    content = csv_gz(f"{in_month(month, VendorID='77')},?", header=f"{YELLOW_HEADER},surprise")
    platform, _ = publish({MIRRORED.format(month): content})
    assert platform.run(JOB, month).success
    assert platform.run(f"{JOB}_checks", month).success
    daemon.tick()
    assert [message["title"] for message in received] == [
        "yellow 2012-02 published: 2 checks failed",
        "yellow 2012-02: 2 checks failed",
    ]
    for message in received:
        assert message["message"].splitlines()[-3:-1] == [
            "yellow_cleaned, check unknown_columns (WARN): Not declared: surprise. They stay in "
            "raw; declare them in tlc/services/.",
            "yellow_cleaned, check unknown_codes (WARN): Not declared: vendor_id=77 (rows: 1). "
            "The trips keep them; declare them in tlc/services/.",
        ]


def test_a_check_that_stops_a_run_is_one_message_that_names_it(
    told: Told, publish: Publish
) -> None:
    daemon, received = told
    month = "2010-04"
    platform, _ = publish({MIRRORED.format(month): csv_gz(in_month(month), "garbage")})
    lake = platform.resources.lake
    forgetful = LosingLake(bucket=lake.bucket, project=lake.project)
    resources = with_resources(platform, lake=forgetful).resources
    assert not Platform(resources, platform.instance).run(JOB, month).success
    daemon.tick()
    (message,) = received
    assert message["title"] == "yellow 2010-04 failed"
    assert (
        "yellow_cleaned, check every_row_accounted_for (ERROR): The published file has 2 rows, the "
        "lake 1: 1 kept and 0 rejected." in message["message"].splitlines()
    )


def test_assets_that_are_materialized_by_hand_are_told_of(told: Told, publish: Publish) -> None:
    daemon, received = told
    platform, _ = publish({})
    everything = build_definitions(
        platform.resources.by_name()
    ).resolve_implicit_global_asset_job_def()
    result = everything.execute_in_process(
        instance=platform.instance,
        asset_selection=[asset_key(JOB, "raw")],
        partition_key="2010-05",
        raise_on_error=False,
    )
    assert result.dagster_run.job_name == "__ASSET_JOB"
    daemon.tick()
    assert [message["title"] for message in received] == ["yellow 2010-05 failed"]


def test_a_backfill_is_one_message(told: Told, publish: Publish) -> None:
    daemon, received = told
    months = ("2010-06", "2010-07", "2010-08")
    platform, _ = publish({MIRRORED.format(key): csv_gz(in_month(key)) for key in months[:2]})
    for month in months:
        platform.run(JOB, month, tags={"dagster/backfill": "by-hand"})
    platform.instance.add_backfill(
        PartitionBackfill(
            backfill_id="by-hand",
            status=BulkActionStatus.COMPLETED_FAILED,
            from_failure=False,
            tags={},
            backfill_timestamp=1.0,
            backfill_end_timestamp=2.0,
            asset_selection=[asset_key(JOB, "raw")],
        )
    )
    daemon.tick()
    daemon.tick()
    (message,) = received
    assert message["title"] == "Backfill of yellow ended: 2 succeeded, 1 failed"
    assets, failed, link = message["message"].splitlines()
    assert assets == "Assets: yellow_raw"
    assert failed.startswith("yellow 2010-08, step yellow_raw: yellow 2010-08 is not published: ")
    assert link == f"{UI}/runs/b/by-hand"
