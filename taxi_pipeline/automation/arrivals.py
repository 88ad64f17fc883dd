"""Arrivals: a raw object that somebody else put into the lake goes the rest of its month's way.

The sensor compares the lake with itself, so it keeps nothing in mind: a cleaned object says what it
was made of. What the publisher has is not asked here.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg

from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.resources.environment import automation_is_on
from taxi_pipeline.resources.lake import SOURCE_URL, ZONES_PLACE, Lake, LakeObject, place_of
from taxi_pipeline.tlc.legible import legible
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, Service

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

_LAYERS = ("cleaned", "bigquery", "postgres")  # raw would fetch the publisher's file over it
_ENDINGS = ("csv", "csv.gz", "parquet")
_MOST_NAMED = 20


def lake_arrivals(jobs: "Mapping[str, UnresolvedAssetJobDefinition]") -> dg.SensorDefinition:
    """Return the sensor, given each service's job by the name of its table."""

    @dg.sensor(
        name="lake_arrivals",
        jobs=[jobs[service.trips.name] for service in SERVICES.values()],
        minimum_interval_seconds=60,
        default_status=(
            dg.DefaultSensorStatus.RUNNING if automation_is_on() else dg.DefaultSensorStatus.STOPPED
        ),
        description="Cleans and loads each month whose raw object somebody else put into the lake.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, lake: Lake
    ) -> list[dg.RunRequest] | dg.SkipReason:
        raw = [item for item in lake.find("raw/") if _may_be_trips(item.name)]
        newest, strays = _by_month(raw)
        if strays:
            more = f" and {len(strays) - _MOST_NAMED} more" if len(strays) > _MOST_NAMED else ""
            context.log.warning(
                f"Left alone: {', '.join(map(legible, strays[:_MOST_NAMED]))}{more}. The name of a "
                "raw object is raw/SERVICE/SERVICE_tripdata_YYYY-MM of a month that TLC has "
                f"published, and ends in .{', .'.join(_ENDINGS)}."
            )
        made_of = {item.name: item.metadata.get("raw_generation") for item in lake.find("cleaned/")}
        requests = [
            dg.RunRequest(
                run_key=f"{service.name}/{month}/{item.generation}",
                job_name=service.trips.name,
                partition_key=month.key,
                asset_selection=[dg.AssetKey([layer, service.trips.name]) for layer in _LAYERS],
            )
            for service, month, item in newest
            if SOURCE_URL not in item.metadata
            and made_of.get(place_of(service, month).cleaned) != str(item.generation)
        ]
        return requests or dg.SkipReason(
            f"The lake has {len(raw)} raw objects of trips; none that somebody else put there is "
            "new."
        )

    return sensor


def _may_be_trips(name: str) -> bool:
    # consoles of Cloud Storage make an object for a folder, which ends in a slash
    return not name.endswith("/") and not name.startswith(f"raw/{ZONES_PLACE.folder}/")


def _by_month(raw: list[LakeObject]) -> tuple[list[tuple[Service, Month, LakeObject]], list[str]]:
    """Return each month's newest object, and the names of those that are of no month.

    `raw` has the newest first.
    """
    months = {
        f"{place_of(service, month).raw}{ending}": (service, month)
        for service in SERVICES.values()
        for month in map(Month.parse, months_of(service).get_partition_keys())
        for ending in _ENDINGS
    }
    newest: dict[tuple[str, Month], tuple[Service, Month, LakeObject]] = {}
    strays = []
    for item in raw:
        if item.name in months:
            service, month = months[item.name]
            newest.setdefault((service.name, month), (service, month, item))
        else:
            strays.append(item.name)
    return list(newest.values()), strays
