"""When the status page is written anew, as Dagster's daemon finds it out; the clock is made up."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from taxi_pipeline.assets.status_page import KEY
from taxi_pipeline.automation.page_sensor import page_sensor
from taxi_pipeline.tlc.services import GREEN

PAGE = KEY.path[-1]


@dataclass
class Ticks:
    """The sensor's ticks, each some time after the last."""

    instance: dg.DagsterInstance
    now: datetime
    cursor: str | None = None

    def is_due(self, minutes: float = 10) -> bool:
        """Tick again; return whether the page is requested."""
        self.now += timedelta(minutes=minutes)
        job = dg.define_asset_job(PAGE, dg.AssetSelection.assets(KEY))
        sensor = page_sensor(job, lambda: self.now)
        context = dg.build_sensor_context(self.instance, self.cursor)
        result = sensor.evaluate_tick(context)
        self.cursor = result.cursor or self.cursor
        return len(result.run_requests or []) == 1

    def end_run(self, status: dg.DagsterRunStatus, job: str = GREEN.trips.name) -> None:
        """Let a run end now, by the instance's clock, which is the machine's."""
        create_run_for_test(self.instance, job_name=job, status=status)


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    """Return ticks of today, of which the daily page is written already."""
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(instance, datetime.now(UTC) - timedelta(hours=1))
        day = '{{"requested": {}, "day": "{}"}}'
        ticks.cursor = day.format(ticks.now.timestamp(), "2999-01-01")
        yield ticks


@pytest.fixture
def without_daily(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taxi_pipeline.automation.page_sensor._FIRST_HOUR", 24)


@pytest.mark.usefixtures("without_daily")
@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "CANCELED"])
def test_runs_that_have_ended_make_one_page(ticks: Ticks, status: str) -> None:
    assert not ticks.is_due()
    for _ in range(3):
        ticks.end_run(dg.DagsterRunStatus(status))
    assert ticks.is_due(50)  # which is now
    assert not ticks.is_due()


@pytest.mark.usefixtures("without_daily")
@pytest.mark.parametrize("status", ["STARTING", "STARTED", "CANCELING"])
def test_a_run_that_goes_on_makes_none(ticks: Ticks, status: str) -> None:
    ticks.end_run(dg.DagsterRunStatus(status))
    assert not ticks.is_due()


@pytest.mark.usefixtures("without_daily")
def test_the_run_of_the_page_itself_makes_none(ticks: Ticks) -> None:
    ticks.end_run(dg.DagsterRunStatus.SUCCESS, PAGE)
    create_run_for_test(
        ticks.instance,
        job_name="__ASSET_JOB",
        status=dg.DagsterRunStatus.SUCCESS,
        asset_selection=frozenset({KEY}),
    )
    assert not ticks.is_due()


@pytest.mark.usefixtures("without_daily")
def test_what_ends_while_the_page_is_written_makes_another(ticks: Ticks) -> None:
    page = create_run_for_test(ticks.instance, job_name=PAGE, status=dg.DagsterRunStatus.STARTED)
    ticks.end_run(dg.DagsterRunStatus.SUCCESS)
    assert not ticks.is_due()
    ticks.instance.report_run_failed(page)
    assert ticks.is_due()


def test_it_is_written_once_a_day_whatever_happens(ticks: Ticks) -> None:
    ticks.now, ticks.cursor = datetime(2026, 11, 29, 17, 1, tzinfo=UTC), None
    due = [ticks.is_due(60) for _ in range(48)]
    assert [number for number, is_due in enumerate(due) if is_due] == [0, 18, 42]
    assert ticks.now == datetime(2026, 12, 1, 17, 1, tzinfo=UTC)  # 12:01 in New York, from 7:00 on


def test_a_damaged_cursor_starts_over(ticks: Ticks) -> None:
    ticks.now, ticks.cursor = datetime(2026, 11, 29, 17, 1, tzinfo=UTC), "{"
    assert ticks.is_due()
    assert not ticks.is_due()
