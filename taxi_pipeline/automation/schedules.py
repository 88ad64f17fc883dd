"""The schedules: each service's newest month, when TLC should have published it.

A schedule asks for one month by its key and for nothing else; whether it is published is for the
run to find out.
"""

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import dagster as dg

from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.settings import automation_is_on, schedule_cron
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service

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
        return dg.RunRequest(month.key, partition_key=month.key, tags={"service": service.name})

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
