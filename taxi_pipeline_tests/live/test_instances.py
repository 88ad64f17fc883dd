"""Dagster's two instances: the one for development and the documented one for production."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import dagster as dg
import psycopg
import pytest
from dagster._core.instance.config import PoolGranularity

from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.postgres_server import losing_events
from taxi_pipeline_tests.support.processes import PATIENCE, until

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def production(platform: Platform) -> Iterator[dg.DagsterInstance]:
    """Return the instance of deploy/dagster.yaml, on a real PostgreSQL."""
    url = platform.resources.postgres.url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE dagster")
    its = urlsplit(url)._replace(path="/dagster").geturl()
    with (
        patch.dict(os.environ, {"DAGSTER_POSTGRES_URL": its}),
        dg.DagsterInstance.from_config(str(DEPLOY)) as instance,
    ):
        yield instance


@pytest.fixture(scope="module")
def development(stack: Path) -> Iterator[dg.DagsterInstance]:
    """Return the instance of the embedded stack, whose storage is SQLite."""
    with dg.DagsterInstance.get() as instance:
        yield instance


def waiting(instance: dg.DagsterInstance, pool: str) -> set[str]:
    found = instance.event_log_storage.get_concurrency_info(pool)
    return {step.run_id for step in found.pending_steps}


def test_productions_instance_runs_a_month(
    platform: Platform, production: dg.DagsterInstance
) -> None:
    assert Platform(platform.resources, production).run("green_trips", "2021-04").success
    assert platform.entry("green", "2021-04").adds_up
    assert {pool.name: pool.limit for pool in production.event_log_storage.get_pool_limits()} == {
        "publisher": 2,
        "bigquery": 2,
        "postgres": 2,
    }


def test_a_step_of_production_waits_for_a_place_in_its_pool(
    platform: Platform, production: dg.DagsterInstance
) -> None:
    storage = production.event_log_storage
    storage.set_concurrency_slots("publisher", 1)
    assert storage.claim_concurrency_slot("publisher", "another_run", "raw").is_claimed
    done: list[bool] = []
    run = threading.Thread(
        target=lambda: done.append(
            Platform(platform.resources, production).run("green_trips", "2021-05").success
        )
    )
    run.start()
    try:
        until(lambda: waiting(production, "publisher"))
        assert done == []
    finally:
        storage.free_concurrency_slots_for_run("another_run")
        run.join(PATIENCE)
    assert done == [True]


def test_in_development_no_killed_run_keeps_a_place_from_the_command_line(
    platform: Platform, development: dg.DagsterInstance
) -> None:
    storage = development.event_log_storage
    assert storage.get_pool_config().pool_granularity is PoolGranularity.RUN
    storage.set_concurrency_slots("publisher", 1)
    storage.claim_concurrency_slot("publisher", "a_killed_run", "raw")
    try:
        assert Platform(platform.resources, development).run("green_trips", "2021-04").success
    finally:
        storage.free_concurrency_slots_for_run("a_killed_run")
        storage.delete_concurrency_limit("publisher")


def test_in_development_two_runs_go_on_at_once(development: dg.DagsterInstance) -> None:
    limits = development.get_concurrency_config()
    assert limits.run_queue_config
    assert limits.run_queue_config.max_concurrent_runs == 2
    assert limits.pool_config.default_pool_limit == 2


def test_a_run_is_run_again_whose_events_dagsters_storage_lost(
    platform: Platform, production: dg.DagsterInstance
) -> None:
    there = Platform(platform.resources, production)
    with losing_events(os.environ["DAGSTER_POSTGRES_URL"], "ASSET_MATERIALIZATION"):
        lost = there.run("green_trips", "2021-06")
    (failed,) = lost.get_step_failure_events()
    assert failed.step_key == "green_raw"
    assert failed.step_failure_data.error
    assert "server closed the connection" in failed.step_failure_data.error.message
    assert there.will_retry(lost)


@pytest.mark.parametrize("retries", ["development", "production"])
def test_a_run_is_retried_unless_its_step_failed_for_good(
    request: pytest.FixtureRequest, platform: Platform, retries: str
) -> None:
    there = Platform(platform.resources, request.getfixturevalue(retries))
    assert there.instance.run_monitoring_enabled
    assert there.instance.run_retries_enabled
    assert there.instance.run_retries_max_retries >= 1
    failed = there.run("green_trips")  # of no month
    assert not failed.success
    assert not there.will_retry(failed)
