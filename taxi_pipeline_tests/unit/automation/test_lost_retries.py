"""Runs that Dagster gives up as it cannot launch them again: by its own code, without a daemon."""

from collections.abc import Iterator, Mapping

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from taxi_pipeline.automation.lost_retries import RELAUNCHES
from taxi_pipeline_tests.support.daemon import Daemon
from taxi_pipeline_tests.support.failed_runs import (
    BACKFILL,
    CHECK,
    CLEANED,
    FAILS,
    GREEN,
    OF_MONTH,
    RAW,
    backfill_of,
    backfill_tags,
    code_location,
    give_up,
    lose,
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
    return Daemon(code_location(), instance, ["lost_retries"])


def test_a_run_that_was_given_up_is_requested_again(
    instance: dg.DagsterInstance, daemon: Daemon
) -> None:
    tags = {"dagster/priority": "-10", "taxi/replace_raw": "true", "docker/container_id": "c0ffee"}
    run_id = run(instance, "yellow_raw", tags=tags)
    assert requested(daemon) == []  # which Dagster is to launch again
    give_up(instance, run_id)
    (request,) = requested(daemon)
    of_run = {FAILS: "yellow_raw", "dagster/priority": "-10", "taxi/replace_raw": "true"}
    of_sensor = {"dagster/sensor_name": "lost_retries"}
    assert request.tags == {**OF_MONTH, **of_run, **of_sensor, RELAUNCHES: "1"}
    # two ticks that see the same run: Dagster launches a key once
    assert [again.run_key for again in requested(daemon)] == [request.run_key]


@pytest.mark.parametrize(
    ("fails", "job", "left"),
    [
        ("yellow_raw", "yellow_trips", ({RAW, CLEANED}, {CHECK})),
        ("yellow_cleaned", "yellow_trips", ({CLEANED}, set())),
        ("counts", "yellow_trips", (set(), {CHECK})),
        ("counts", "yellow_trips_checks", (set(), {CHECK})),
    ],
)
def test_what_is_left_of_the_run_is_requested_and_can_be_run(
    instance: dg.DagsterInstance,
    daemon: Daemon,
    fails: str,
    job: str,
    left: tuple[set[dg.AssetKey], set[dg.AssetCheckKey]],
) -> None:
    lose(instance, fails, job)
    (request,) = requested(daemon)
    assert request.job_name == job
    assets, checks = {*(request.asset_selection or ())}, {*(request.asset_check_keys or ())}
    assert (assets, checks) == left
    whole = code_location().resolve_job_def(job)
    subset = whole.get_subset(asset_selection=assets, asset_check_selection=checks)
    tags = {name: value for name, value in request.tags.items() if name != FAILS}
    assert subset.execute_in_process(instance=instance, tags=tags).success


def test_of_a_run_of_which_only_the_end_was_lost_nothing_is_left(
    instance: dg.DagsterInstance, daemon: Daemon
) -> None:
    run_id = run(instance, "")
    done = instance.get_run_by_id(run_id)
    assert done
    instance.report_run_failed(done, "Its container has ended.")
    give_up(instance, run_id)
    assert requested(daemon) == []


def test_assets_of_several_tables_are_a_run_of_each(
    instance: dg.DagsterInstance, daemon: Daemon
) -> None:
    lose(instance, "all", assets=[RAW, GREEN])
    assert [(job, assets) for job, assets, _ in selected(daemon)] == [
        ("green_trips", {GREEN}),
        ("yellow_trips", {RAW}),
    ]
    assert len({one.run_key for one in requested(daemon)}) == 2


def test_what_the_code_location_has_no_longer_is_left_out(instance: dg.DagsterInstance) -> None:
    lose(instance, "yellow_raw")
    without = Daemon(code_location(has_cleaned=False), instance, ["lost_retries"])
    assert selected(without) == [("yellow_trips", {RAW}, {CHECK})]


def test_a_run_that_a_person_has_configured_is_left_to_them(
    instance: dg.DagsterInstance, daemon: Daemon
) -> None:
    lose(instance, config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}})
    assert requested(daemon) == []


@pytest.mark.parametrize(
    ("tags", "retried"),
    [
        pytest.param({"dagster/max_retries": "0"}, False, id="a run that has no tries left"),
        pytest.param({}, True, id="a run that is to be launched again"),
    ],
)
def test_what_dagster_decides_itself_is_left_alone(
    instance: dg.DagsterInstance, daemon: Daemon, tags: Mapping[str, str], retried: bool
) -> None:
    failed = instance.get_run_by_id(run(instance, "yellow_raw", tags=tags))
    assert failed
    assert failed.tags["dagster/will_retry"] == str(retried).lower()
    assert requested(daemon) == []


def test_a_run_that_was_made_and_not_launched_is_left_alone(
    instance: dg.DagsterInstance, daemon: Daemon
) -> None:
    instance.add_run_tags(lose(instance), {"dagster/auto_retry_run_id": "made"})
    assert requested(daemon) == []


@pytest.mark.parametrize(
    ("assets", "tags", "wanted"),
    [
        pytest.param(None, OF_MONTH, 0, id="the job"),
        pytest.param([RAW], OF_MONTH, 0, id="an asset of the table"),
        pytest.param([GREEN], OF_MONTH, 1, id="another table"),
        pytest.param(None, {"dagster/partition": "2021-04"}, 1, id="another month"),
    ],
)
def test_a_month_that_was_run_since_is_left_to_that_run(
    instance: dg.DagsterInstance,
    daemon: Daemon,
    assets: list[dg.AssetKey] | None,
    tags: Mapping[str, str],
    wanted: int,
) -> None:
    lose(instance)
    run(instance, "", assets=assets, tags=tags)
    assert len(requested(daemon)) == wanted


def test_of_two_runs_of_a_month_the_last_counts(
    instance: dg.DagsterInstance, daemon: Daemon
) -> None:
    lose(instance)
    last = lose(instance)
    assert [request.run_key for request in requested(daemon)] == [f"{last}/yellow_trips"]


@pytest.mark.parametrize(
    ("status", "wanted"),
    [
        (BulkActionStatus.REQUESTED, [{BACKFILL: "b"}]),
        (BulkActionStatus.COMPLETED_FAILED, [{}]),
        (BulkActionStatus.CANCELING, []),
        (BulkActionStatus.CANCELED, []),
        (BulkActionStatus.FAILING, []),
    ],
)
def test_a_run_stays_in_its_backfill_while_that_goes_on(
    instance: dg.DagsterInstance,
    daemon: Daemon,
    status: BulkActionStatus,
    wanted: list[dict[str, str]],
) -> None:
    instance.add_backfill(backfill_of(BulkActionStatus.REQUESTED))
    lose(instance, tags={BACKFILL: "b"})
    instance.update_backfill(backfill_of(status))
    assert backfill_tags(daemon) == wanted


@pytest.mark.parametrize(
    ("before", "wanted"), [("2", ["3"]), ("3", []), ("many", [])], ids=["2", "3", "many"]
)
def test_a_month_is_not_requested_for_ever(
    instance: dg.DagsterInstance, daemon: Daemon, before: str, wanted: list[str]
) -> None:
    lose(instance, tags={RELAUNCHES: before})
    assert [request.tags[RELAUNCHES] for request in requested(daemon)] == wanted


@pytest.mark.parametrize("cursor", [None, "damaged", '{"looked_at": "2100-01-01T00:00:00Z"}'])
def test_what_is_given_up_between_two_ticks_is_seen_by_the_second(
    instance: dg.DagsterInstance, daemon: Daemon, cursor: str | None
) -> None:
    assert requested(daemon) == []
    lose(instance)
    if cursor:
        daemon.cursors["lost_retries"] = cursor
    assert len(requested(daemon)) == 1
