"""When the status page is due, as Dagster's daemon finds it out."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.status_page import KEY, status_page
from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.resources import SINKS
from taxi_pipeline.status import Facts
from taxi_pipeline.tlc.services import SERVICES, YELLOW

NOON = datetime(2026, 11, 29, 17, 1, tzinfo=UTC)
RAW, TABLE = (asset_key(YELLOW.trips.name, layer) for layer in ("raw", "postgres"))


@dataclass
class Ticks:
    """The daemon's looks at the page's condition, each some minutes after the last."""

    instance: dg.DagsterInstance
    now: datetime = NOON
    cursor: Any = None

    def due(self, minutes: float) -> bool:
        """Look again after some minutes, and record the page's run where it is requested."""
        self.now += timedelta(minutes=minutes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            result = dg.evaluate_automation_conditions(
                DEFINITIONS,
                self.instance,
                asset_selection=dg.AssetSelection.assets(KEY),
                evaluation_time=self.now,
                cursor=self.cursor,
            )
        self.cursor = result.cursor
        requested = result.total_requested == 1
        if requested:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
        return requested

    def replace(self, month: str, asset: dg.AssetKey = TABLE) -> None:
        event = dg.AssetMaterialization(asset, partition=month)
        self.instance.report_runless_asset_event(event)


def definitions() -> dg.Definitions:
    """Return the page and the tables that it follows, and a raw asset that fails before one."""

    @dg.asset(key=RAW, partitions_def=months_of(YELLOW))
    def raw() -> None:
        raise dg.Failure("broken")

    @dg.asset(key=TABLE, deps=[RAW], partitions_def=months_of(YELLOW))
    def table() -> None: ...

    others = [
        dg.AssetSpec(key, partitions_def=months_of(service))
        for service in SERVICES.values()
        for sink in SINKS
        if (key := asset_key(service.trips.name, sink.name)) != TABLE
    ]
    return dg.Definitions(
        [status_page(SINKS, lambda _: Facts()), raw, table, *others],
        jobs=[dg.define_asset_job("load", [raw, table])],
        resources=dict.fromkeys(("lake", *(sink.name for sink in SINKS)), object()),
    )


DEFINITIONS = definitions()


@pytest.fixture
def ticks() -> Iterator[Ticks]:
    with dg.DagsterInstance.ephemeral() as instance:
        ticks = Ticks(instance)
        assert not ticks.due(0)
        yield ticks


def test_a_burst_of_changes_makes_one_page_at_the_next_tenth_minute(ticks: Ticks) -> None:
    for month in ("2021-01", "2021-02", "2021-03"):
        ticks.replace(month)
        assert not ticks.due(1)  # 17:02 to 17:04
    assert ticks.due(6.5)  # 17:10:30
    assert not ticks.due(10)  # nothing has changed since
    ticks.replace("2021-04")
    assert not ticks.due(1)
    assert ticks.due(10)


def test_what_changes_while_the_page_is_written_makes_another(ticks: Ticks) -> None:
    ticks.replace("2021-01")
    assert ticks.due(9.5)
    ticks.replace("2021-02")
    assert not ticks.due(0.5)
    assert ticks.due(10)


def test_a_month_that_failed_makes_a_page_though_nothing_was_replaced(ticks: Ticks) -> None:
    job = DEFINITIONS.resolve_job_def("load")
    done = job.execute_in_process(
        instance=ticks.instance, partition_key="2021-01", raise_on_error=False
    )
    assert not done.success
    assert ticks.due(9.5)
    assert not ticks.due(10)


def test_it_is_written_once_a_day_whatever_happens(ticks: Ticks) -> None:
    due = [ticks.due(60) for _ in range(24)]
    assert due.count(True) == 1
    assert due.index(True) == 18  # from 17:01 on: 12:01, 7:00 in New York is past
