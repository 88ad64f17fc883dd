"""The front door: everything that Dagster loads, put together in one place.

Assets, checks, jobs, resources and settings meet here and nowhere else; no logic lives here.
"""

from collections.abc import Mapping

import dagster as dg

from taxi_pipeline.assets.trips import trips_assets
from taxi_pipeline.assets.zones import ZONES_ASSETS
from taxi_pipeline.automation.arrivals import lake_arrivals
from taxi_pipeline.automation.failures import failed_months
from taxi_pipeline.checks import trips_checks
from taxi_pipeline.resources.environment import from_environment
from taxi_pipeline.tlc.services import SERVICES, TAXI_ZONES


def build_definitions(resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """Return the code location; `resources` take the place of the environment's, by name."""
    assets = {
        **{service.trips.name: trips_assets(service) for service in SERVICES.values()},
        TAXI_ZONES.name: ZONES_ASSETS,
    }
    checks = {service.trips.name: trips_checks(service) for service in SERVICES.values()}
    jobs = {
        name: dg.define_asset_job(
            name,
            selection=group,
            description=f"{name}: from the publisher to the lake, BigQuery and PostgreSQL.",
        )
        for name, group in assets.items()
    }
    check_jobs = [
        dg.define_asset_job(
            f"{name}_checks",
            selection=dg.AssetSelection.checks(*group),
            description=f"{name}: a month's checks alone; nothing is materialized.",
        )
        for name, group in checks.items()
    ]
    return dg.Definitions(
        assets=[asset for group in assets.values() for asset in group],
        asset_checks=[check for group in checks.values() for check in group],
        jobs=[*jobs.values(), *check_jobs],
        sensors=[
            lake_arrivals(jobs),
            failed_months(),
        ],
        resources={**vars(from_environment()), **(resources or {})},
        # a run is one month and a process of its own already
        executor=dg.in_process_executor,
    )


defs = build_definitions()
