"""The front door: everything that Dagster loads, put together in one place.

Assets, checks, jobs, automation, resources and settings meet here and nowhere else. What they do
belongs to their own modules.
"""

import atexit
import gc
import warnings
from collections.abc import Mapping, Sequence

import dagster as dg

from taxi_pipeline.assets.daily_trips import daily_trips, mart_month
from taxi_pipeline.assets.published import published_assets
from taxi_pipeline.assets.trips import published_trips
from taxi_pipeline.assets.zones import published_zones
from taxi_pipeline.automation.arrivals import lake_arrivals
from taxi_pipeline.automation.conditions import automation_condition_sensor
from taxi_pipeline.automation.failures import failed_months
from taxi_pipeline.automation.notifications import notification_sensors
from taxi_pipeline.automation.pods import pod_tags
from taxi_pipeline.automation.publisher_sensor import published_months
from taxi_pipeline.automation.schedules import newest_month_schedule
from taxi_pipeline.checks import mart_checks, published_checks
from taxi_pipeline.resources import SINKS
from taxi_pipeline.settings import resources_for_dagster
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.services import DAILY_TRIPS, SERVICES


def build_definitions(
    resources: Mapping[str, object] | None = None, sinks: Sequence[type[Sink]] = SINKS
) -> dg.Definitions:
    """Return the code location.

    Args:
        resources: What takes the place of the environment's resources, by name.
        sinks: The stores that get each table.
    """
    published = [*map(published_trips, SERVICES.values()), published_zones()]
    assets = {each.table.name: published_assets(each, sinks) for each in published}
    with warnings.catch_warnings():
        # Dagster calls links to the code a beta; the tests hold what we need of them
        warnings.simplefilter("ignore", dg.BetaWarning)
        linked = dg.with_source_code_references(
            [*(asset for group in assets.values() for asset in group), daily_trips]
        )
    checks = {each.table.name: published_checks(each, sinks) for each in published}
    checks[DAILY_TRIPS.name] = mart_checks()
    jobs = {
        name: dg.define_asset_job(
            name,
            selection=group,
            description=f"{name}: from the publisher to the lake, "
            f"{' and '.join(sink.title for sink in sinks)}.",
            tags=pod_tags(name),
        )
        for name, group in assets.items()
    }
    mart_job = dg.define_asset_job(
        DAILY_TRIPS.name,
        selection=[daily_trips],
        description=f"{DAILY_TRIPS.name}: computed in BigQuery from the tables of trips.",
        tags=pod_tags(DAILY_TRIPS.name),
    )
    check_jobs = [
        dg.define_asset_job(
            f"{name}_checks",
            selection=dg.AssetSelection.checks(*group),
            description=f"{name}: its checks alone; nothing is materialized.",
            tags=pod_tags(f"{name}_checks"),
        )
        for name, group in checks.items()
    ]
    return dg.Definitions(
        assets=linked,
        asset_checks=[check for group in checks.values() for check in group],
        jobs=[*jobs.values(), mart_job, *check_jobs],
        schedules=[
            newest_month_schedule(service, jobs[service.trips.name])
            for service in SERVICES.values()
        ],
        sensors=[
            published_months(jobs),
            lake_arrivals(jobs, sinks),
            automation_condition_sensor(),
            failed_months(),
            *notification_sensors(),
        ],
        resources={
            **resources_for_dagster(sinks).by_name(),
            "mart_month": mart_month,
            **(resources or {}),
        },
        # a run is one month and a process of its own already
        executor=dg.in_process_executor,
    )


defs = build_definitions()

# Python would look for garbage among all that Dagster has loaded, now and then and as it ends:
# a fifth of the time of a run
gc.freeze()
atexit.register(gc.freeze)
