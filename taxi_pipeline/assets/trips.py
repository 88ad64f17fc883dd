"""The services' trips: tables that are published month by month.

Which months there are, and how a month is fetched and cleaned, belongs here; what is done with a
file is `published`'s.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from taxi_pipeline.assets.month_picture import month_picture
from taxi_pipeline.assets.published import PublishedFile, PublishedTable
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.lake.cleaned import CleanedRows
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.tlc.month import PUBLICATION_LAG_MONTHS, Month
from taxi_pipeline.tlc.services import Service

if TYPE_CHECKING:
    from taxi_pipeline.tlc.cleaning import ProgressCallback, Summary
    from taxi_pipeline.tlc.reading import SourceFile


def published_trips(service: Service) -> PublishedTable:
    """Return the table of a service's trips as it is published."""
    return PublishedTable(
        service.trips, service.name, months_of(service), partial(_file_of, service), service.total
    )


def months_of(service: Service) -> dg.MonthlyPartitionsDefinition:
    """Return the service's partitions: its first month to the newest that TLC has published."""
    return months_from(service.first_month)


def months_from(first: Month) -> dg.MonthlyPartitionsDefinition:
    """Return the partitions from the first month to the newest that TLC has published."""
    return dg.MonthlyPartitionsDefinition(
        start_date=first.key,
        fmt="%Y-%m",
        timezone="America/New_York",
        end_offset=1 - PUBLICATION_LAG_MONTHS,
    )


def month_among(run: dg.DagsterRun, months: dg.MonthlyPartitionsDefinition, owner: str) -> Month:
    """Return the run's month; raise `PermanentError` where it has none or none of these."""
    newest = months.get_last_partition_key()
    key = run.tags.get("dagster/partition")
    if key is None:
        job = run.job_name
        raise PermanentError(
            f"The job {job} needs a month, given as a tag: dagster job execute "
            f"-m taxi_pipeline.definitions -j {job} "
            f"""--tags '{{"dagster/partition": "{newest}"}}'"""
        )
    month = Month.parse(key)
    if not months.has_partition_key(month.key):
        raise PermanentError(
            f"{month} is not a month of {owner}: it has {months.get_first_partition_key()} to "
            f"{newest}."
        )
    return month


def _file_of(service: Service, run: dg.DagsterRun) -> PublishedFile:
    """Return the file of a run's month."""
    month = month_among(run, months_of(service), service.name)
    return PublishedFile(
        month,
        object_paths(service, month),
        fetch=lambda publisher: partial(publisher.fetch_month, service, month),
        clean=partial(_clean, month),
        count_by_day=partial(_count_by_day, month),
        draw=partial(_draw, service, month),
    )


def _clean(
    month: Month, source: "SourceFile", kept: Path, rejected: Path, on_progress: "ProgressCallback"
) -> "Summary":
    from taxi_pipeline.tlc.cleaning import clean_trips

    return clean_trips(month, source, kept, rejected, on_progress)


def _count_by_day(month: Month, kept: Path) -> Sequence[int]:
    from taxi_pipeline.tlc.daily import trips_by_day

    return trips_by_day(kept, month)


def _draw(service: Service, month: Month, cleaned: CleanedRows) -> dg.MarkdownMetadataValue:
    return month_picture(service, month, cleaned.by_day, cleaned.summary.rejected)
