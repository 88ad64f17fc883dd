"""The schedules: each service's newest month, and the months whose cells are recounted in turn.

A schedule asks for months by their keys and for nothing else; whether one is published, and what a
recount shows, is for the run to find out.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import dagster as dg

from taxi_pipeline.assets.tags import RECOUNT
from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.automation.priorities import FRESH
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.lake.paths import month_of_object
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.settings import automation_is_on, recount_days, schedule_cron
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service

_NIGHTLY = "0 3 * * *"

if TYPE_CHECKING:
    from taxi_pipeline.automation.dagster_internals import UnresolvedAssetJobDefinition


def newest_month_schedule(
    service: Service, job: "UnresolvedAssetJobDefinition"
) -> dg.ScheduleDefinition:
    """Return the schedule that runs the service's job for the newest month that is due.

    Raises `PermanentError` where TAXI_SCHEDULE is no cron schedule.
    """
    cron, timezone = schedule_cron(), months_of(service).timezone

    def newest_month(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = context.scheduled_execution_time.astimezone(ZoneInfo(timezone)).date()
        month = Month.newest_published(today)
        tags = {"service": service.name, **FRESH}
        return dg.RunRequest(month.key, partition_key=month.key, tags=tags)

    schedule = dg.schedule(
        cron,
        name=f"{service.name}_newest_month",
        job=job,
        execution_timezone=timezone,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if automation_is_on()
            else dg.DefaultScheduleStatus.STOPPED
        ),
        tags={"service": service.name},
        description=f"The newest month of {service.name} trips that TLC should have published by "
        "then, two months back, in all stores (TAXI_SCHEDULE).",
    )
    try:
        return schedule(newest_month)
    except dg.DagsterInvalidDefinitionError as error:
        raise PermanentError(
            f"TAXI_SCHEDULE: '{cron}' is not a cron schedule: write minute, hour, day, month and "
            "weekday, such as 0 6 25 * * for the 25th at 6:00 in New York."
        ) from error


def recount_schedule(
    service: Service, job: "UnresolvedAssetJobDefinition"
) -> dg.ScheduleDefinition:
    """Return the schedule that runs a service's checks with `RECOUNT`, a few months a night.

    Each month of the lake has its night once in TAXI_RECOUNT_DAYS days. The schedule is off until
    somebody turns it on, whatever TAXI_AUTOMATION says: it reads all that the stores have.
    """

    @dg.schedule(
        _NIGHTLY,
        name=f"{service.name}_recount",
        job=job,
        execution_timezone=months_of(service).timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        tags={"service": service.name},
        description=f"Compares every cell of {service.name} trips between the stores, a few months "
        "a night, each month once in TAXI_RECOUNT_DAYS days.",
    )
    def recount(
        context: dg.ScheduleEvaluationContext, lake: Lake
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        night = context.scheduled_execution_time.date()
        days = recount_days()
        months = sorted({*_months_in_lake(lake, service)})
        in_turn = [
            month
            for month in months
            if (month.year * 12 + month.month) % days == night.toordinal() % days
        ]
        for month in in_turn:
            # a job of checks alone has no partitions, to Dagster; the tag is what a run reads
            partition = {"dagster/partition": month.key}
            tags = {"service": service.name, RECOUNT: "true", **partition}
            yield dg.RunRequest(f"{night}/{month}", tags=tags)
        if not in_turn:
            yield dg.SkipReason(
                f"None of the {len(months)} months in the lake has its turn tonight: each has one "
                f"in {days} days (TAXI_RECOUNT_DAYS)."
            )

    return recount


def _months_in_lake(lake: Lake, service: Service) -> Iterator[Month]:
    """Yield the months that the lake has trips of."""
    for item in lake.find(f"cleaned/{service.name}/"):
        if named := month_of_object(item.name):
            yield named[1]
