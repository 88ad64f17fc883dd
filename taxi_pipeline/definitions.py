"""The front door: everything that Dagster loads, put together in one place.

Assets, checks, jobs, automation, resources and settings meet here and nowhere else. What they do
belongs to their own modules.
"""

import atexit
import gc
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_pipeline.assets.marts import mart_asset, mart_month
from taxi_pipeline.assets.published import published_assets
from taxi_pipeline.assets.status_page import KEY as STATUS_PAGE
from taxi_pipeline.assets.status_page import status_page
from taxi_pipeline.assets.trips import published_trips
from taxi_pipeline.assets.views import view_assets
from taxi_pipeline.assets.zones import published_zone_shapes, published_zones
from taxi_pipeline.automation.arrivals import lake_arrivals
from taxi_pipeline.automation.conditions import automation_condition_sensor
from taxi_pipeline.automation.due_months import due_months
from taxi_pipeline.automation.facts import read_facts
from taxi_pipeline.automation.failures import failed_months
from taxi_pipeline.automation.lineage import lineage_sensors
from taxi_pipeline.automation.lost_retries import lost_retries
from taxi_pipeline.automation.notifications import notification_sensors
from taxi_pipeline.automation.page_sensor import page_sensor
from taxi_pipeline.automation.pods import pod_tags
from taxi_pipeline.automation.publisher_sensor import published_months
from taxi_pipeline.automation.schedules import newest_month_schedule, recount_schedule
from taxi_pipeline.automation.watching import failed_ticks, heartbeat_sensor
from taxi_pipeline.checks import mart_checks, published_checks
from taxi_pipeline.checks.results import MATCHES_LAKE
from taxi_pipeline.marts import MARTS, TRIPS
from taxi_pipeline.resources import SINKS
from taxi_pipeline.settings import resources_for_dagster
from taxi_pipeline.sink import Sink
from taxi_pipeline.status import Facts
from taxi_pipeline.tlc.services import SERVICES

if TYPE_CHECKING:
    from taxi_pipeline.automation.dagster_internals import UnresolvedAssetJobDefinition


def build_definitions(
    resources: Mapping[str, object] | None = None, sinks: Sequence[type[Sink]] = SINKS
) -> dg.Definitions:
    """Return the code location.

    Args:
        resources: What takes the place of the environment's resources, by name.
        sinks: The stores that get each table.
    """
    published = [
        *map(published_trips, SERVICES.values()),
        published_zones(),
        published_zone_shapes(),
    ]
    assets = {each.table.name: published_assets(each, sinks) for each in published}
    marts = {mart.name: [mart_asset(mart)] for mart in MARTS}
    views = {TRIPS.name: view_assets(TRIPS, sinks)}

    def facts(instance: dg.DagsterInstance) -> Facts:
        return read_facts(instance, definitions.get_repository_def().get_all_jobs())

    pages = {STATUS_PAGE.path[-1]: [status_page(sinks, facts)]}
    checks = {each.table.name: published_checks(each, sinks) for each in published}
    checks |= {mart.name: mart_checks(mart) for mart in MARTS}
    stores = ", ".join(sink.title for sink in sinks)
    jobs = (
        _jobs(assets, f"from the publisher to the lake and to {stores}")
        | _jobs(marts, "computed in BigQuery from the tables of trips")
        | _jobs(views, "a view of all services' trips, with names and words in place of codes")
        | _jobs(pages, "all months and what to do next, as a web page in the lake")
    )
    check_jobs = {
        name: _job(
            f"{name}_checks",
            dg.AssetSelection.checks(*group),
            f"{name}: its checks alone; nothing is materialized.",
        )
        for name, group in checks.items()
    }
    definitions = dg.Definitions(
        assets=_linked_to_code((assets | marts | views | pages).values()),
        asset_checks=[check for group in checks.values() for check in group],
        jobs=[*jobs.values(), *check_jobs.values()],
        schedules=_schedules(jobs, check_jobs),
        sensors=_sensors(jobs, check_jobs, sinks),
        resources={
            **resources_for_dagster(sinks).by_name(),
            "mart_month": mart_month,
            **(resources or {}),
        },
        # a run is one month and a process of its own already
        executor=dg.in_process_executor,
    )
    return definitions


def _schedules(
    jobs: "Mapping[str, UnresolvedAssetJobDefinition]",
    check_jobs: "Mapping[str, UnresolvedAssetJobDefinition]",
) -> list[dg.ScheduleDefinition]:
    """Return the schedules of each service, given the jobs by their tables' names."""
    return [
        schedule
        for service in SERVICES.values()
        for schedule in (
            newest_month_schedule(service, jobs[service.trips.name]),
            recount_schedule(service, check_jobs[service.trips.name]),
        )
    ]


def _sensors(
    jobs: "Mapping[str, UnresolvedAssetJobDefinition]",
    check_jobs: "Mapping[str, UnresolvedAssetJobDefinition]",
    sinks: Sequence[type[Sink]],
) -> list[dg.SensorDefinition]:
    """Return the sensors, given the jobs by their tables' names."""
    return [
        published_months(jobs),
        lake_arrivals(jobs, sinks),
        automation_condition_sensor(),
        failed_months(),
        lost_retries([*jobs.values(), *check_jobs.values()]),
        due_months(sinks, MATCHES_LAKE),
        failed_ticks(),
        heartbeat_sensor(),
        page_sensor(jobs[STATUS_PAGE.path[-1]]),
        *notification_sensors(),
        *lineage_sensors(),
    ]


def _jobs(
    groups: Mapping[str, Sequence[dg.AssetsDefinition]], description: str
) -> "dict[str, UnresolvedAssetJobDefinition]":
    """Return a job of each group's name, which materializes its assets."""
    return {name: _job(name, group, f"{name}: {description}.") for name, group in groups.items()}


def _job(
    name: str,
    selection: Sequence[dg.AssetsDefinition] | dg.AssetSelection,
    description: str,
) -> "UnresolvedAssetJobDefinition":
    return dg.define_asset_job(
        name, selection=selection, description=description, tags=pod_tags(name)
    )


def _linked_to_code(groups: Iterable[Iterable[dg.AssetsDefinition]]) -> Sequence[Any]:
    """Return the assets with a link to the lines that make each."""
    with warnings.catch_warnings():
        # Dagster calls links to the code a beta; the tests hold what we need of them
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.with_source_code_references([asset for group in groups for asset in group])


defs = build_definitions()

# Python would look for garbage among all that Dagster has loaded, now and then and as it ends:
# a fifth of the time of a run
gc.freeze()
atexit.register(gc.freeze)
