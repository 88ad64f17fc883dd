"""When the status page is written anew: soon after runs have ended, and once a day.

What the page says, and who writes it, is the asset's. A run's end is looked for, and not the change
of an asset: only then has no month of it failed or is being run any more.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import dagster as dg

from taxi_pipeline.assets.status_page import KEY
from taxi_pipeline.automation.cursor import SensorCursor
from taxi_pipeline.automation.priorities import FRESH
from taxi_pipeline.automation.unfinished import FINISHED, UNFINISHED
from taxi_pipeline.settings import automation_is_on

if TYPE_CHECKING:
    from taxi_pipeline.automation.dagster_internals import UnresolvedAssetJobDefinition

_NEW_YORK = ZoneInfo("America/New_York")
_FIRST_HOUR = 7
_EVERY_SECONDS = 600  # however many runs end meanwhile
_LOOKED_AT = 20  # of the runs that ended last: those of the page itself are few


class _Cursor(SensorCursor):
    """What a tick leaves to the next: the time of the last request, and its day in New York."""

    requested: float = 0.0
    day: str = ""


def page_sensor(
    job: "UnresolvedAssetJobDefinition", now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.SensorDefinition:
    """Return the sensor.

    Args:
        job: The page's job.
        now: The sensor's clock.
    """

    @dg.sensor(
        name=KEY.path[-1],
        job=job,
        minimum_interval_seconds=_EVERY_SECONDS,
        default_status=(
            dg.DefaultSensorStatus.RUNNING if automation_is_on() else dg.DefaultSensorStatus.STOPPED
        ),
        description="Writes the status page anew when runs have ended since, at most every ten "
        "minutes; and once a day, because a month becomes due by the calendar alone.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        cursor, time = _Cursor.read(context.cursor), now()
        if context.instance.get_runs(
            dg.RunsFilter(job_name=job.name, statuses=UNFINISHED), limit=1
        ):
            return dg.SkipReason("The page is being written.")
        local = time.astimezone(_NEW_YORK)
        today = local.date().isoformat()
        is_daily = local.hour >= _FIRST_HOUR and cursor.day != today
        if not is_daily and not _has_ended(context.instance, cursor.requested, job.name):
            return dg.SkipReason("No run has ended since the page was written.")
        day = today if is_daily else cursor.day
        return dg.SensorResult(
            run_requests=[dg.RunRequest(tags=FRESH)],
            cursor=_Cursor(requested=time.timestamp(), day=day).model_dump_json(),
        )

    return sensor


def _has_ended(instance: dg.DagsterInstance, since: float, page_job: str) -> bool:
    """Return whether another run than the page's own has ended since a time."""
    records = instance.get_run_records(
        dg.RunsFilter(statuses=FINISHED, updated_after=datetime.fromtimestamp(since, UTC)),
        limit=_LOOKED_AT,
        order_by="update_timestamp",
    )
    runs = [record.dagster_run for record in records]
    return any(run.job_name != page_job and run.asset_selection != {KEY} for run in runs)
