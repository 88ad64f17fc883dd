"""The taxi zones, what the trips' location ids mean, and their shapes: a file each without months.

A file without all of TLC's zones replaces nothing, not even raw.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from taxi_pipeline.assets.published import PublishedFile, PublishedTable
from taxi_pipeline.lake.paths import ZONE_SHAPES_PATHS, ZONES_PATHS
from taxi_pipeline.tlc.services import TAXI_ZONE_SHAPES, TAXI_ZONES

if TYPE_CHECKING:
    from taxi_pipeline.tlc.cleaning import ProgressCallback, Summary
    from taxi_pipeline.tlc.reading import SourceFile


def published_zones() -> PublishedTable:
    """Return the table of the taxi zones as it is published."""
    return PublishedTable(
        TAXI_ZONES, "zones", None, _zones_file_of, raw_kinds=frozenset({"gcs", "csv"})
    )


def published_zone_shapes() -> PublishedTable:
    """Return the table of the zones' shapes as it is published."""
    return PublishedTable(
        TAXI_ZONE_SHAPES,
        "zone_shapes",
        None,
        _shapes_file_of,
        raw_kinds=frozenset({"gcs", "shapefile"}),
    )


def _zones_file_of(run: dg.DagsterRun) -> PublishedFile:
    """Return the file of the zones, which is every run's."""
    return PublishedFile(
        None,
        ZONES_PATHS,
        fetch=lambda publisher: publisher.fetch_zones,
        clean=_clean_zones,
        ensure=_ensure_zones,
    )


def _shapes_file_of(run: dg.DagsterRun) -> PublishedFile:
    """Return the file of the shapes, which is every run's."""
    return PublishedFile(
        None,
        ZONE_SHAPES_PATHS,
        fetch=lambda publisher: publisher.fetch_zone_shapes,
        clean=_clean_shapes,
        ensure=_ensure_shapes,
    )


def _clean_zones(
    source: "SourceFile", kept: Path, rejected: Path, on_progress: "ProgressCallback"
) -> "Summary":
    from taxi_pipeline.tlc.cleaning import clean_zones

    return clean_zones(source, kept, rejected, on_progress)


def _clean_shapes(
    source: "SourceFile", kept: Path, rejected: Path, on_progress: "ProgressCallback"
) -> "Summary":
    from taxi_pipeline.tlc.cleaning import clean_zone_shapes

    return clean_zone_shapes(source, kept, rejected, on_progress)


def _ensure_zones(source: "SourceFile") -> None:
    from taxi_pipeline.tlc.zones import ensure_all_zones

    ensure_all_zones(source)


def _ensure_shapes(source: "SourceFile") -> None:
    from taxi_pipeline.tlc.zones import ensure_all_shapes

    ensure_all_shapes(source)
