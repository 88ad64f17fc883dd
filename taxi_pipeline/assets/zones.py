"""The taxi zones: what the trips' location ids mean, 265 rows in one file without months.

A file without all of them replaces nothing, not even raw.
"""

import dagster as dg

from taxi_pipeline.assets.published import PublishedFile, PublishedTable
from taxi_pipeline.lake.paths import ZONES_PATHS
from taxi_pipeline.tlc.services import TAXI_ZONES


def published_zones() -> PublishedTable:
    """Return the table of the taxi zones as it is published."""
    return PublishedTable(TAXI_ZONES, "zones", None, _file_of, raw_kinds=frozenset({"gcs", "csv"}))


def _file_of(run: dg.DagsterRun) -> PublishedFile:
    """Return the file of the zones, which is every run's."""
    from taxi_pipeline.tlc.cleaning import clean_zones
    from taxi_pipeline.tlc.zones import ensure_all_zones

    return PublishedFile(
        None,
        ZONES_PATHS,
        fetch=lambda publisher: publisher.fetch_zones,
        clean=clean_zones,
        ensure=ensure_all_zones,
    )
