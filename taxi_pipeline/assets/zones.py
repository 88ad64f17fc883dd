"""The taxi zones: what the trips' location ids mean, 265 rows in one file without months.

A file without all of them replaces nothing, not even raw.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from taxi_pipeline.assets.published import PublishedFile, PublishedTable
from taxi_pipeline.lake.paths import ZONES_PATHS
from taxi_pipeline.tlc.services import TAXI_ZONES

if TYPE_CHECKING:
    from taxi_pipeline.tlc.cleaning import ProgressCallback, Summary
    from taxi_pipeline.tlc.reading import SourceFile


def published_zones() -> PublishedTable:
    """Return the table of the taxi zones as it is published."""
    return PublishedTable(TAXI_ZONES, "zones", None, _file_of, raw_kinds=frozenset({"gcs", "csv"}))


def _file_of(run: dg.DagsterRun) -> PublishedFile:
    """Return the file of the zones, which is every run's."""
    return PublishedFile(
        None,
        ZONES_PATHS,
        fetch=lambda publisher: publisher.fetch_zones,
        clean=_clean,
        ensure=_ensure,
    )


def _clean(
    source: "SourceFile", kept: Path, rejected: Path, on_progress: "ProgressCallback"
) -> "Summary":
    from taxi_pipeline.tlc.cleaning import clean_zones

    return clean_zones(source, kept, rejected, on_progress)


def _ensure(source: "SourceFile") -> None:
    from taxi_pipeline.tlc.zones import ensure_all_zones

    ensure_all_zones(source)
