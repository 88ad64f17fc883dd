"""The mart's query, its place among the assets, and when Dagster asks for a month of it."""

import re
import warnings

import dagster as dg
import pytest

from taxi_pipeline.assets.daily_trips import MONTHS, daily_trips_query
from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.definitions import defs
from taxi_pipeline.tlc.services import DAILY_TRIPS, FHV, FHVHV, GREEN, SERVICES, YELLOW, Service

MART = dg.AssetKey("daily_trips")


def table_of(service: Service) -> dg.AssetKey:
    return asset_key(service.trips.name, "bigquery")


def test_the_query_reads_every_service_and_names_what_is_declared_alone() -> None:
    query = daily_trips_query()
    assert re.findall(r"'(\w+)' AS service", query) == [*SERVICES]
    for part, service in zip(query.split("UNION ALL"), SERVICES.values(), strict=True):
        declared = {column.name for column in service.trips.columns}
        used = {service.trips.name, service.total, service.distance} - {None}
        assert {*re.findall("`(.+?)`", part)} == used
        assert used <= declared | {service.trips.name}
        assert part.count("CAST(NULL AS FLOAT64)") == (2 if service is FHV else 0)
        assert "WHERE pickup_datetime >= @start AND pickup_datetime < @end" in part
        made = re.findall(r"^  .*?(\w+),?$", part.split("FROM (")[0], re.MULTILINE)
        assert made == [column.name for column in DAILY_TRIPS.columns]


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
        assert self.last.total_requested == len(months)
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
