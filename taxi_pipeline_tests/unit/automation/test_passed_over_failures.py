"""Failures that Dagster's daemon passes over: by its own code, one iteration at a time."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from taxi_pipeline.automation.lost_retries import lost_retries
from taxi_pipeline_tests.support.daemon import Daemon
from taxi_pipeline_tests.support.failed_runs import (
    BACKFILL,
    CHECK,
    CLEANED,
    GREEN,
    RAW,
    backfill_of,
    backfill_tags,
    code_location,
    read_failures,
    requested,
    retrying_instance,
    run,
    selected,
    wipe,
)


@pytest.fixture(scope="module")
def own_instance() -> Iterator[dg.DagsterInstance]:
    with retrying_instance() as instance:
        yield instance


@pytest.fixture
def instance(own_instance: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    """Return an instance that runs failed runs again, and has none."""
    yield own_instance
    wipe(own_instance)


@pytest.fixture
def daemon(instance: dg.DagsterInstance) -> Daemon:
    """Return a daemon that has evaluated the sensor before anything failed."""
    daemon = Daemon(code_location(), instance, ["lost_retries"])
    assert requested(daemon) == []
    return daemon


def fail_as_it_is_read(
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    tags: Mapping[str, str] | None = None,
    assets: list[dg.AssetKey] | None = None,
) -> str:
    """Run what fails, and is read between its last event and its new status; return its id."""
    read_failures(instance)  # where the daemon begins, it reads no older ones
    storage, change_status = instance.run_storage, instance.run_storage.handle_run_event

    def read_first(run_id: str, event: dg.DagsterEvent, *moment: Any) -> None:
        if event.is_run_failure:
            read_failures(instance)
        change_status(run_id, event, *moment)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "handle_run_event", read_first)
        return run(instance, "all", tags=tags, assets=assets)


def fail_as_the_storage_goes_away(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Run what fails, and is read as the storage goes away for a moment; return its id."""
    read_failures(instance)
    run_id = run(instance, "all")

    def no_answer(*_: Any, **__: Any) -> NoReturn:
        raise OSError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(instance, "report_engine_event", no_answer)
        read_failures(instance)
    return run_id


def will_retry(instance: dg.DagsterInstance, run_id: str) -> str:
    failed = instance.get_run_by_id(run_id)
    assert failed
    return failed.tags["dagster/will_retry"]


@pytest.mark.parametrize("fail", [fail_as_it_is_read, fail_as_the_storage_goes_away])
def test_a_run_whose_failure_the_daemon_has_passed_over_is_requested_again(
    fail: Callable[[dg.DagsterInstance, pytest.MonkeyPatch], str],
    instance: dg.DagsterInstance,
    daemon: Daemon,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = fail(instance, monkeypatch)
    assert will_retry(instance, run_id) == "true"
    read_failures(instance)  # which does not read it twice
    assert will_retry(instance, run_id) == "true"
    assert selected(daemon) == [("yellow_trips", {RAW, CLEANED}, {CHECK})]
    assert will_retry(instance, run_id) == "false"  # so its backfill waits for it no longer
    engine_events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    assert "has not launched the run again" in engine_events[-1].message


def test_what_failed_before_the_sensors_first_tick_is_left_alone(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = fail_as_it_is_read(instance, monkeypatch)
    daemon = Daemon(code_location(), instance, ["lost_retries"])
    assert requested(daemon) == requested(daemon) == []
    assert will_retry(instance, run_id) == "true"


def test_a_failure_that_the_daemon_has_not_read_yet_is_left_to_it(
    instance: dg.DagsterInstance, daemon: Daemon
) -> None:
    read_failures(instance)
    run_id = run(instance, "yellow_cleaned")
    assert requested(daemon) == []
    assert will_retry(instance, run_id) == "true"


@pytest.mark.parametrize(
    ("status", "wanted", "waits"),
    [
        (BulkActionStatus.REQUESTED, [{BACKFILL: "b"}], "false"),
        (BulkActionStatus.CANCELED, [], "true"),
        (BulkActionStatus.FAILED, [], "true"),
    ],
)
def test_a_run_that_was_passed_over_is_left_alone_where_its_backfill_was_ended(
    instance: dg.DagsterInstance,
    daemon: Daemon,
    monkeypatch: pytest.MonkeyPatch,
    status: BulkActionStatus,
    wanted: list[dict[str, str]],
    waits: str,
) -> None:
    instance.add_backfill(backfill_of(status))
    run_id = fail_as_it_is_read(instance, monkeypatch, {BACKFILL: "b"})
    assert backfill_tags(daemon) == wanted
    assert will_retry(instance, run_id) == waits


@pytest.mark.parametrize("assets", [None, [RAW]], ids=["a job", "assets of the catalog"])
def test_a_run_that_was_passed_over_of_another_code_location_is_left_alone(
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    assets: list[dg.AssetKey] | None,
) -> None:
    job = dg.define_asset_job("green_trips", dg.AssetSelection.assets(GREEN))
    ours = dg.Definitions(
        assets=[dg.AssetsDefinition(specs=[dg.AssetSpec(GREEN)])], sensors=[lost_retries([job])]
    )
    daemon = Daemon(ours, instance, ["lost_retries"])
    assert requested(daemon) == []
    run_id = fail_as_it_is_read(instance, monkeypatch, assets=assets)
    assert requested(daemon) == []
    assert will_retry(instance, run_id) == "true"
