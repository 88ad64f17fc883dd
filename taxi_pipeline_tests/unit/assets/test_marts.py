"""The mart's query, its place among the assets, and when Dagster asks for a month of it."""

import re
import warnings
from pathlib import Path

import dagster as dg
import pytest

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.marts import MONTHS, mart_asset
from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.definitions import defs
from taxi_pipeline.io.sql import CENTS
from taxi_pipeline.marts import DAILY_TRIPS, MARTS, Mart
from taxi_pipeline.tlc.services import FHV, FHVHV, GREEN, SERVICES, YELLOW, Service

MART = dg.AssetKey("daily_trips")


def table_of(service: Service) -> dg.AssetKey:
    return asset_key(service.trips.name, "bigquery")


def test_the_daily_trips_are_made_of_what_the_services_declare() -> None:
    assert DAILY_TRIPS.sources == tuple(service.trips for service in SERVICES.values())
    assert DAILY_TRIPS.grain == ("service", "day")
    declared = {
        "day": {service.trips.name: "pickup_datetime" for service in SERVICES.values()},
        "revenue": {of.trips.name: of.total for of in SERVICES.values() if of.total},
        "median_distance": {of.trips.name: of.distance for of in SERVICES.values() if of.distance},
    }
    assert {name: origin for name, origin in DAILY_TRIPS.origins.items() if origin} == declared
    parts = DAILY_TRIPS.query.partition("),\n")[0].split("UNION ALL")
    for part, service in zip(parts, SERVICES.values(), strict=True):
        assert f"'{service.name}'" in part
        assert f"FROM {service.trips.name}\n" in part
        for column in (service.total, service.distance):
            assert column is None or re.search(rf"\b{column}\b", part)
        assert part.count("CAST(NULL AS FLOAT64)") == [service.total, service.distance].count(None)
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
*/
SELECT DATE(pickup_datetime) AS day FROM fhv_trips
"""


def test_a_mart_is_its_file(tmp_path: Path) -> None:
    path = tmp_path / "fhv_days.sql"
    path.write_text(GOOD)
    mart = Mart.read(path)
    assert mart.name == "fhv_days"
    assert mart.table.partitioned_by == "day"
    assert [column.name for column in mart.table.columns] == ["day"]
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
        ('partition = "day"\n', "", "KeyError 'partition'"),
        ('partition = "day"', 'partition = "month"', "KeyError 'fhv_days.month'"),
        ('grain = ["day"]', 'grain = ["hour"]', "KeyError 'fhv_days.hour'"),
        ('["fhv_trips"]', '["blue_trips"]', "KeyError 'blue_trips'"),
        ('type = "date"', 'type = "day"', "KeyError 'day'"),
        ('meaning = "The day."\n', "", "KeyError 'meaning'"),
        ('"pickup_datetime"\n*/', '"pickup"\n*/', "KeyError 'fhv_trips.pickup'"),
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


def test_its_months_are_those_of_any_service() -> None:
    assert MONTHS.get_first_partition_key() == YELLOW.first_month.key
    assert MONTHS.get_last_partition_key() == months_of(YELLOW).get_last_partition_key()
    mart = defs.resolve_asset_graph().get(MART)
    assert mart.partitions_def == MONTHS
    assert mart.parent_keys == {table_of(service) for service in SERVICES.values()}


class Ticks:
    """An instance whose automation conditions are evaluated tick by tick, as the sensor does."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.last: dg.EvaluateAutomationConditionsResult | None = None

    def load(self, service: Service, *months: str) -> None:
        """Record that months of a service's table were replaced."""
        self._record(table_of(service), months)

    def compute(self, *months: str) -> None:
        """Record that months of the mart were computed."""
        self._record(MART, months)

    def _record(self, key: dg.AssetKey, months: tuple[str, ...]) -> None:
        for month in months:
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(asset_key=key, partition=month)
            )

    def requested(self) -> set[str | None]:
        """Return the months of the mart that the next tick asks for."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # of Dagster's own tester
            self.last = dg.evaluate_automation_conditions(
                defs, self.instance, cursor=self.last.cursor if self.last else None
            )
        months = {*self.last.get_requested_partitions(MART)}
        of_all = [self.last.get_requested_partitions(dg.AssetKey(mart.name)) for mart in MARTS]
        assert self.last.total_requested == sum(map(len, of_all))
        return months


@pytest.fixture
def ticks(instance: dg.DagsterInstance) -> Ticks:
    return Ticks(instance)


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


@pytest.mark.parametrize("busy", [table_of(YELLOW), MART], ids=["a table", "the mart"])
def test_a_month_in_progress_is_waited_for_and_no_other(
    ticks: Ticks, busy: dg.AssetKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    for system in ("BUCKET", "GCP_PROJECT", "POSTGRES_URL", "PUBLISHER_URLS", "ZONES_URL"):
        monkeypatch.setenv(f"TAXI_{system}", "never reached")
    ticks.requested()
    run = ticks.instance.create_run_for_job(
        defs.resolve_job_def("yellow_trips" if busy == table_of(YELLOW) else "daily_trips"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": "2021-01"},
        asset_selection=frozenset({busy}),
    )
    ticks.load(GREEN, "2021-01", "2021-02")
    assert ticks.requested() == {"2021-02"}
    assert ticks.requested() == set()
    ticks.instance.report_run_canceled(run)
    assert ticks.requested() == {"2021-01"}
