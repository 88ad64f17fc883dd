"""Arrivals: a raw object that was not cleaned yet goes the rest of its month's way.

Somebody else may have put it there, or restored an older generation, or a run has died after it
stored it. The sensor compares the lake with itself, so it keeps nothing in mind: a cleaned object
names the generation of the raw object that it was made of. What the publisher has is not asked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.automation.priorities import FRESH
from taxi_pipeline.automation.unfinished import unfinished_partitions
from taxi_pipeline.lake.metadata import CleanedMetadata
from taxi_pipeline.lake.paths import (
    RAW_ENDINGS,
    UNPARTITIONED_PATHS,
    ObjectPaths,
    object_paths,
)
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.settings import automation_is_on
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, UNPARTITIONED
from taxi_pipeline.tlc.text import printable

if TYPE_CHECKING:
    from taxi_pipeline.automation.dagster_internals import UnresolvedAssetJobDefinition

_MOST_NAMED = 20


def lake_arrivals(
    jobs: "Mapping[str, UnresolvedAssetJobDefinition]", sinks: Sequence[type[Sink]]
) -> dg.SensorDefinition:
    """Return the sensor, given each table's job by the table's name."""
    # raw would fetch the publisher's file over it
    layers = ("cleaned", *(sink.name for sink in sinks))

    @dg.sensor(
        name="lake_arrivals",
        jobs=[
            *(jobs[service.trips.name] for service in SERVICES.values()),
            *(jobs[table.name] for table in UNPARTITIONED),
        ],
        minimum_interval_seconds=60,
        default_status=(
            dg.DefaultSensorStatus.RUNNING if automation_is_on() else dg.DefaultSensorStatus.STOPPED
        ),
        description="Cleans and loads each month whose raw object is not the one that its trips "
        "were cleaned from, such as one that somebody else put into the lake.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, lake: Lake
    ) -> list[dg.RunRequest] | dg.SkipReason:
        # before the lake: what ends meanwhile is seen
        running = set(unfinished_partitions(context.instance))
        # consoles of Cloud Storage make an object for a folder, which ends in a slash
        raw = [item for item in lake.find("raw/") if not item.name.endswith("/")]
        newest, unrecognised = _newest_by_paths(raw)
        if unrecognised:
            more = (
                f" and {len(unrecognised) - _MOST_NAMED} more"
                if len(unrecognised) > _MOST_NAMED
                else ""
            )
            context.log.warning(
                f"Left alone: {', '.join(map(printable, unrecognised[:_MOST_NAMED]))}{more}. The "
                "name of a raw object is raw/SERVICE/SERVICE_tripdata_YYYY-MM of a month that TLC "
                f"has published, and ends in .{', .'.join(RAW_ENDINGS)}."
            )
        made_of = {
            item.name: CleanedMetadata.parse(item.metadata).raw_generation
            for item in lake.find("cleaned/")
        }
        requests = [
            arrival.request(layers)
            for arrival in newest
            if (arrival.table, arrival.key) not in running
            and made_of.get(arrival.paths.cleaned) != arrival.raw.generation
        ]
        return requests or dg.SkipReason(
            f"The lake has {len(raw)} raw objects; the newest of each month is cleaned, or a run "
            "of it goes on."
        )

    return sensor


@dataclass(frozen=True)
class _Arrival:
    """The newest raw object of a table's month; `key` is the month's, empty without months."""

    table: str
    key: str
    paths: ObjectPaths
    raw: LakeObject

    def request(self, layers: Iterable[str]) -> dg.RunRequest:
        return dg.RunRequest(
            run_key="/".join(filter(None, (self.paths.folder, self.key, str(self.raw.generation)))),
            job_name=self.table,
            partition_key=self.key or None,
            asset_selection=[asset_key(self.table, layer) for layer in layers],
            tags=FRESH,
        )


def _all_paths() -> Iterator[tuple[str, str, ObjectPaths]]:
    """Yield the paths of each published file with its table and its partition key."""
    for service in SERVICES.values():
        for key in months_of(service).get_partition_keys():
            yield service.trips.name, key, object_paths(service, Month.parse(key))
    for table, paths in UNPARTITIONED_PATHS.items():
        yield table, "", paths


def _newest_by_paths(raw: list[LakeObject]) -> tuple[list[_Arrival], list[str]]:
    """Return the newest object of each published file, and the names that are none of theirs.

    `raw` has the newest first.
    """
    paths_by_name = {name: entry for entry in _all_paths() for name in entry[2].raw_names}
    newest: dict[ObjectPaths, _Arrival] = {}
    unrecognised = []
    for item in raw:
        if item.name in paths_by_name:
            table, key, paths = paths_by_name[item.name]
            newest.setdefault(paths, _Arrival(table, key, paths, item))
        else:
            unrecognised.append(item.name)
    return list(newest.values()), unrecognised
