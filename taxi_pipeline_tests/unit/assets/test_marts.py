"""The marts' queries, their place among the assets, and when Dagster asks for a month or a view."""

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from taxi_pipeline.assets import keys
from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.marts import MONTHS, mart_asset
from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.assets.views import view_assets
from taxi_pipeline.definitions import defs
from taxi_pipeline.io.sql import CENTS
from taxi_pipeline.marts import DAILY_TRIPS, MARTS, MONTHLY_ZONE_REVENUE, TRIPS, Mart, View
from taxi_pipeline.resources import SINKS
from taxi_pipeline.tlc.services import FHV, FHVHV, GREEN, SERVICES, TAXI_ZONES, YELLOW, Service

KEYS = [dg.AssetKey(mart.name) for mart in MARTS]
VIEWS = [asset_key(TRIPS.name, sink.name) for sink in SINKS]


def table_of(service: Service) -> dg.AssetKey:
    return asset_key(service.trips.name, "bigquery")


FROM_PICKUP = {service.trips.name: "pickup_datetime" for service in SERVICES.values()}
FIGURES = {
    "revenue": {of.trips.name: of.total for of in SERVICES.values() if of.total},
    "median_distance": {of.trips.name: of.distance for of in SERVICES.values() if of.distance},
    "tips": {"yellow_trips": "tip_amount", "green_trips": "tip_amount", "fhvhv_trips": "tips"},
    "median_minutes": {service.trips.name: "dropoff_datetime" for service in SERVICES.values()},
}


def test_the_months_by_zone_are_made_of_what_the_services_declare() -> None:
    trips = tuple(service.trips for service in SERVICES.values())
    assert MONTHLY_ZONE_REVENUE.sources == (*trips, TAXI_ZONES)
    assert MONTHLY_ZONE_REVENUE.grain == ("service", "month", "pickup_location_id")
    assert {name: of for name, of in MONTHLY_ZONE_REVENUE.origins.items() if of} == {
        "month": FROM_PICKUP,
        "pickup_location_id": {table.name: "pickup_location_id" for table in trips},
        "pickup_zone": {"taxi_zones": "zone"},
        "pickup_borough": {"taxi_zones": "borough"},
        **FIGURES,
    }


def test_the_daily_trips_are_made_of_what_the_services_declare() -> None:
    assert DAILY_TRIPS.sources == tuple(service.trips for service in SERVICES.values())
    assert DAILY_TRIPS.grain == ("service", "day")
    assert {name: origin for name, origin in DAILY_TRIPS.origins.items() if origin} == {
        "day": FROM_PICKUP,
        **FIGURES,
    }
    parts = DAILY_TRIPS.query.partition("\n),\n")[0].split("UNION ALL")
    for part, service in zip(parts, SERVICES.values(), strict=True):
        assert f"'{service.name}'" in part
        assert f"FROM {service.trips.name}\n" in part
        tip = FIGURES["tips"].get(service.trips.name)
        for column in (service.total, service.distance, tip):
            assert column is None or re.search(rf"\b{column}\b", part)
        missing = [service.total, service.distance, tip].count(None)
        assert part.count("CAST(NULL AS FLOAT64)") == missing
        assert "WHERE pickup_datetime >= @start AND pickup_datetime < @end" in part
    cents = CENTS.format("total").replace("BIGINT", "INT64")  # as the ledger counts them
    assert f"SUM({cents}) / 100 AS revenue" in DAILY_TRIPS.query


GOOD = """/*
description = "Trips a day."
grain = ["day"]
partition = "day"
sources = ["fhv_trips"]
[columns.day]
type = "date"
meaning = "The day."
from.fhv_trips = "pickup_datetime"
[columns.service]
type = "text"
meaning = "The service."
[columns.trips]
type = "integer"
meaning = "The trips."
[columns.revenue]
type = "number"
meaning = "The dollars."
*/
SELECT DATE(pickup_datetime) AS day FROM fhv_trips
"""


def test_a_mart_is_its_file(tmp_path: Path) -> None:
    path = tmp_path / "fhv_days.sql"
    path.write_text(GOOD)
    mart = Mart.read(path)
    assert mart.name == "fhv_days"
    assert mart.table.partitioned_by == "day"
    assert [column.name for column in mart.table.columns] == ["day", "service", "trips", "revenue"]
    assert mart.sources == (FHV.trips,)
    assert mart.query == "SELECT DATE(pickup_datetime) AS day FROM fhv_trips\n"
    (spec,) = mart_asset(mart).specs
    assert spec.key == dg.AssetKey("fhv_days")
    assert [dep.asset_key for dep in spec.deps] == [table_of(FHV)]


@pytest.mark.parametrize(
    ("good", "bad", "what"),
    [
        ("/*", "--", "file has no header"),
        ('grain = ["day"]', "grain = [day]", "TOMLDecodeError"),
        ('partition = "day"\n', "", "header lacks partition"),
        ('grain = ["day"]\n', "", "header lacks grain"),
        ('partition = "day"', 'partition = "month"', r"there is no column fhv_days\.month"),
        ('grain = ["day"]', 'grain = ["hour"]', r"there is no column fhv_days\.hour"),
        ("[columns.revenue]", "[columns.dollars]", r"there is no column fhv_days\.revenue"),
        ('["fhv_trips"]', '["blue_trips"]', "KeyError 'blue_trips'"),
        ('type = "date"', 'type = "day"', "KeyError 'day'"),
        ('meaning = "The day."\n', "", "KeyError 'meaning'"),
        ('"pickup_datetime"\n', '"pickup"\n', r"there is no column fhv_trips\.pickup"),
    ],
)
def test_a_header_that_declares_no_mart_is_named(
    tmp_path: Path, good: str, bad: str, what: str
) -> None:
    assert good in GOOD
    path = tmp_path / "fhv_days.sql"
    path.write_text(GOOD.replace(good, bad, 1))
    with pytest.raises(ValueError, match=rf"^fhv_days\.sql: the .*{what}"):
        Mart.read(path)


@pytest.mark.parametrize("mart", MARTS, ids=lambda mart: mart.name)
def test_a_marts_months_are_those_of_any_service(mart: Mart) -> None:
    assert MONTHS.get_first_partition_key() == YELLOW.first_month.key
    assert MONTHS.get_last_partition_key() == months_of(YELLOW).get_last_partition_key()
    node = defs.resolve_asset_graph().get(dg.AssetKey(mart.name))
    assert node.partitions_def == MONTHS
    assert node.parent_keys == {asset_key(source.name, "bigquery") for source in mart.sources}


class Ticks:
    """An instance whose automation conditions are evaluated tick by tick, as the sensor does."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.last: dg.EvaluateAutomationConditionsResult | None = None
        self.by_mart: dict[dg.AssetKey, set[str | None]] = {}  # what the last tick asked for
        self.views: list[dg.AssetKey] = []  # that the last tick asked for
        self.lacks_zones = True

    def load(self, service: Service, *months: str) -> None:
        """Record that months of a service's table were replaced."""
        self._record(table_of(service), months)

    def compute(self, *months: str) -> None:
        """Record that months of the marts were computed."""
        for key in KEYS:
            self._record(key, months)

    def load_zones(self) -> None:
        """Record that the zones were replaced in each store."""
        self.lacks_zones = False
        for sink in SINKS:
            self._record(asset_key(TAXI_ZONES.name, sink.name), (None,))

    def record(self, key: dg.AssetKey) -> None:
        """Record that an asset without months was materialized."""
        self._record(key, (None,))

    def _record(self, key: dg.AssetKey, months: Iterable[str | None]) -> None:
        for month in months:
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(asset_key=key, partition=month)
            )

    def requested(self) -> set[str | None]:
        """Return the months that the next tick asks for, which are the same of all marts."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # of Dagster's own tester
            self.last = dg.evaluate_automation_conditions(
                defs, self.instance, cursor=self.last.cursor if self.last else None
            )
        self.by_mart = {key: {*self.last.get_requested_partitions(key)} for key in KEYS}
        months = self.by_mart[KEYS[0]]
        assert {*map(frozenset, self.by_mart.values())} == {frozenset(months)} or self.lacks_zones
        self.views = [key for key in VIEWS if self.last.get_requested_partitions(key)]
        of_marts = sum(map(len, self.by_mart.values()))
        assert self.last.total_requested == of_marts + len(self.views)
        return months


@pytest.fixture
def before_zones(instance: dg.DagsterInstance) -> Ticks:
    """Return the ticks of an instance that nothing was loaded in."""
    return Ticks(instance)


@pytest.fixture
def ticks(before_zones: Ticks) -> Ticks:
    """Return the ticks of an instance whose stores have the zones."""
    before_zones.load_zones()
    return before_zones


def test_nothing_is_asked_for_while_nothing_is_loaded(ticks: Ticks) -> None:
    assert ticks.requested() == set()
    assert ticks.requested() == set()


def test_a_loaded_month_is_asked_for_once(ticks: Ticks) -> None:
    ticks.requested()
    ticks.load(GREEN, "2021-01")
    assert ticks.requested() == {"2021-01"}
    assert ticks.requested() == set()
    ticks.compute("2021-01")
    assert ticks.requested() == set()


def test_a_month_that_is_loaded_again_is_computed_again(ticks: Ticks) -> None:
    ticks.load(GREEN, "2021-01", "2021-02")
    ticks.compute("2021-01", "2021-02")
    assert ticks.requested() == set()
    ticks.load(GREEN, "2021-01")
    assert ticks.requested() == {"2021-01"}
    ticks.compute("2021-01")
    assert ticks.requested() == set()


def test_an_old_month_does_not_wait_for_services_that_have_no_such_month(ticks: Ticks) -> None:
    ticks.requested()
    ticks.load(YELLOW, "2009-01")
    assert ticks.requested() == {"2009-01"}


def test_services_loaded_at_once_make_one_request(ticks: Ticks) -> None:
    ticks.requested()
    for service in SERVICES.values():
        ticks.load(service, "2021-01")
    assert ticks.requested() == {"2021-01"}
    assert ticks.requested() == set()


def test_months_loaded_before_the_first_tick_are_requested_where_the_mart_lacks_them(
    ticks: Ticks,
) -> None:
    ticks.load(YELLOW, "2009-01", "2021-01")
    ticks.load(FHVHV, "2021-01", "2021-02")
    ticks.compute("2021-01")
    assert ticks.requested() == {"2009-01", "2021-02"}
    assert ticks.requested() == set()


def test_a_month_that_failed_is_not_asked_for_again(ticks: Ticks) -> None:
    ticks.load(FHV, "2021-01")
    assert ticks.requested() == {"2021-01"}
    assert [ticks.requested() for _ in range(3)] == [set()] * 3
    ticks.load(FHV, "2021-01")
    assert ticks.requested() == {"2021-01"}


def test_a_month_computed_while_its_table_was_replaced_is_computed_again(ticks: Ticks) -> None:
    ticks.requested()
    ticks.load(GREEN, "2021-01")
    assert ticks.requested() == {"2021-01"}
    ticks.load(GREEN, "2021-01")  # the run for the request may have read the table before
    ticks.compute("2021-01")
    assert ticks.requested() == {"2021-01"}


@pytest.mark.parametrize("busy", [[table_of(YELLOW)], KEYS], ids=["a table", "the marts"])
def test_a_month_in_progress_is_waited_for_and_no_other(
    ticks: Ticks, busy: Sequence[dg.AssetKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    for system in ("BUCKET", "GCP_PROJECT", "POSTGRES_URL", "PUBLISHER_URLS", "ZONES_URL"):
        monkeypatch.setenv(f"TAXI_{system}", "never reached")
    ticks.requested()
    runs = [
        ticks.instance.create_run_for_job(
            defs.resolve_job_def(keys.table_of(key)),
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": "2021-01"},
            asset_selection=frozenset({key}),
        )
        for key in busy
    ]
    ticks.load(GREEN, "2021-01", "2021-02")
    assert ticks.requested() == {"2021-02"}
    assert ticks.requested() == set()
    for run in runs:
        ticks.instance.report_run_canceled(run)
    assert ticks.requested() == {"2021-01"}


def test_new_zones_make_no_month_due(ticks: Ticks) -> None:
    ticks.load(GREEN, "2021-01")
    ticks.compute("2021-01")
    ticks.requested()
    ticks.load_zones()
    assert ticks.requested() == set()


def test_a_mart_with_the_zones_names_waits_for_the_zones(before_zones: Ticks) -> None:
    daily, by_zone = KEYS
    before_zones.requested()
    before_zones.load(GREEN, "2021-01", "2021-02")
    before_zones.requested()
    assert before_zones.by_mart == {daily: {"2021-01", "2021-02"}, by_zone: set()}
    before_zones.load_zones()
    before_zones.lacks_zones = True  # the marts differ this once
    before_zones.requested()
    assert before_zones.by_mart == {daily: set(), by_zone: {"2021-01", "2021-02"}}


def test_a_view_that_could_not_be_made_is_asked_for_with_the_next_month(
    before_zones: Ticks,
) -> None:
    before_zones.requested()
    before_zones.load(GREEN, "2021-01")
    before_zones.requested()
    assert before_zones.views == VIEWS[:1]
    before_zones.requested()  # its run fails, and the view is missing
    assert before_zones.views == []
    before_zones.load(GREEN, "2021-02")
    before_zones.requested()
    assert before_zones.views == VIEWS[:1]


def test_a_view_is_asked_for_once_there_is_a_table(before_zones: Ticks) -> None:
    ticks = before_zones
    ticks.requested()
    assert ticks.views == []
    ticks.load(GREEN, "2021-01")
    ticks.requested()
    assert ticks.views == VIEWS[:1]  # the tables that ticks load are BigQuery's
    for key in VIEWS[:1]:
        ticks.record(key)
    ticks.load_zones()
    ticks.lacks_zones = True  # the marts differ this once
    ticks.requested()
    assert ticks.views == VIEWS[1:]
    for key in VIEWS[1:]:
        ticks.record(key)
    ticks.load(GREEN, "2021-02")
    ticks.requested()
    assert ticks.views == []


def test_a_view_that_is_declared_otherwise_is_asked_for_again(ticks: Ticks) -> None:
    other = replace(TRIPS, query=f"{TRIPS.query} WHERE TRUE")

    def definitions(view: View) -> dg.Definitions:
        zones = [dg.AssetSpec(asset_key(TAXI_ZONES.name, sink.name)) for sink in SINKS]
        return dg.Definitions([*view_assets(view, SINKS), *zones], resources=defs.resources)

    def requested(view: View, cursor: Any) -> tuple[set[dg.AssetKey], Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            result = dg.evaluate_automation_conditions(
                definitions(view), ticks.instance, cursor=cursor
            )
        return {key for key in VIEWS if result.get_requested_partitions(key)}, result.cursor

    for key in VIEWS:
        ticks.instance.report_runless_asset_event(dg.AssetMaterialization(asset_key=key))
    due, cursor = requested(TRIPS, None)
    assert due == set()
    due, cursor = requested(other, cursor)
    assert due == {*VIEWS}
    due, cursor = requested(other, cursor)
    assert due == set()
