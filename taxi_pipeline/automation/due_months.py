"""Due months: each table has the newest month that TLC should have published by now, or says so.

The schedules ask for that month once, and a table's freshness turns green with any month. Here the
tables are asked, by the clock. What a run of the month does is not looked at.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import dagster as dg
from pydantic import Field

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.automation.cursor import SensorCursor
from taxi_pipeline.automation.notifications import body
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.settings import automation_is_on, notifications_enabled, schedule_cron
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, Service

_NEW_YORK = ZoneInfo("America/New_York")
_FIRST_HOUR = 8
_PATIENCE = timedelta(days=1)  # which the runs of the schedules have
_IN_USE = 12  # a table that has none of so many months before is not kept up to date by anybody


class _Cursor(SensorCursor):
    """What a tick leaves to the next.

    That is the day of the last look, and which tables people were told to be waiting for TLC.
    """

    day: str = ""
    notified: list[str] = Field(default=[])


@dataclass(frozen=True)
class _Missing:
    """A table that lacks the month; `is_late` where TLC has not published it either."""

    asset: dg.AssetKey
    month: Month
    description: str
    is_late: bool

    @property
    def key(self) -> str:
        """The table and the month; what is said of them may differ from day to day."""
        return f"{self.asset.to_user_string()} {self.month}"

    def __str__(self) -> str:
        return f"{self.asset.to_user_string()}: {self.description}"

    def failed_check(self, name: str) -> dg.AssetCheckEvaluation:
        """Return the month's check of that name as failed."""
        return dg.AssetCheckEvaluation(
            asset_key=self.asset,
            check_name=name,
            passed=False,
            metadata={},
            severity=dg.AssetCheckSeverity.WARN if self.is_late else dg.AssetCheckSeverity.ERROR,
            description=self.description,
            partition=self.month.key,
        )


def due_months(
    sinks: Sequence[type[Sink]],
    check: str,
    now: Callable[[], datetime] = lambda: datetime.now(_NEW_YORK),
) -> dg.SensorDefinition:
    """Return the sensor that looks once a day whether each table has the newest month that is due.

    Args:
        sinks: The stores that keep the tables.
        check: The name of each table's check that fails for a month that is missing.
        now: The sensor's clock.
    """

    @dg.sensor(
        name="due_months",
        minimum_interval_seconds=600,
        required_resource_keys={"publisher", "notifier", *(sink.name for sink in sinks)},
        default_status=(
            dg.DefaultSensorStatus.RUNNING
            if automation_is_on() or notifications_enabled()
            else dg.DefaultSensorStatus.STOPPED
        ),
        description="Looks once a day, from 8:00 in New York, whether each table has the newest "
        f"month that is due by TAXI_SCHEDULE; where not, {check} of the month fails, and people "
        "are told (TAXI_NOTIFY_URL).",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        time, cursor = now().astimezone(_NEW_YORK), _Cursor.read(context.cursor)
        today = time.date().isoformat()
        if time.hour < _FIRST_HOUR or cursor.day == today:
            return dg.SkipReason(f"The tables are looked at once a day, from {_FIRST_HOUR}:00 on.")
        month, due = _due(time - _PATIENCE)
        tables = _tables_in_use(context, sinks, month)
        missing = list(_missing(context, tables, month, due))
        lines = [str(one) for one in missing]
        notifier: Notifier = context.resources.notifier
        # who waits for TLC is told once
        is_news = not all(one.is_late and one.key in cursor.notified for one in missing)
        if lines and notifier.url and is_news:
            tables_lack = "1 table lacks" if len(lines) == 1 else f"{len(lines)} tables lack"
            notifier.send(f"{tables_lack} {month}", body(lines, "assets"))
        notified = [one.key for one in missing if one.is_late and notifier.url]
        return dg.SensorResult(
            asset_events=[one.failed_check(check) for one in missing],
            skip_reason=dg.SkipReason(
                " ".join(lines) or f"{len(tables)} tables that are in use have {month}."
            ),
            cursor=_Cursor(day=today, notified=notified).model_dump_json(),
        )

    return sensor


def _due(time: datetime) -> tuple[Month, date]:
    """Return the month that the schedules last asked for, and the day on which they first did."""
    # its windows lie between two ticks; where they start is of no account without bounds
    ticks = dg.TimeWindowPartitionsDefinition(
        cron_schedule=schedule_cron(), start=time, fmt="%Y-%m-%d", timezone=_NEW_YORK.key
    )
    last = cast("dg.TimeWindow", ticks.get_prev_partition_window(time, respect_bounds=False)).end
    # a month is asked for by all ticks within one month of the calendar
    start = datetime(last.year, last.month, 1, tzinfo=_NEW_YORK)
    first = cast(
        "dg.TimeWindow", ticks.get_next_partition_window(start, respect_bounds=False)
    ).start
    return Month.newest_published(last.date()), first.date()


def _tables_in_use(
    context: dg.SensorEvaluationContext, sinks: Sequence[type[Sink]], month: Month
) -> list[tuple[Service, Sink]]:
    """Return the tables of trips that have the month, or one of those before it."""
    stores: list[Sink] = [getattr(context.resources, sink.name) for sink in sinks]
    return [
        (service, store)
        for service in SERVICES.values()
        for store in stores
        if _is_in_use(store.stamps(service.trips), month)
    ]


def _is_in_use(stamps: Mapping[Month | None, object], month: Month) -> bool:
    before = {month}
    for _ in range(_IN_USE):
        before.add(min(before).previous)
    return not before.isdisjoint(stamps)


def _missing(
    context: dg.SensorEvaluationContext,
    tables: Sequence[tuple[Service, Sink]],
    month: Month,
    due: date,
) -> Iterator[_Missing]:
    """Yield the tables that lack the month; of each service the publisher is asked once."""
    answers: dict[str, tuple[bool, str]] = {}
    for service, store in tables:
        tally = store.tallies(service.trips, None, month, month).get(month)
        if tally and tally.rows > tally.rows_without_pickup:
            continue
        if service.name not in answers:
            answers[service.name] = _ask(context.resources.publisher, service, month)
        is_late, why = answers[service.name]
        description = f"{month} was due on {due} and is not there{why}"
        yield _Missing(asset_key(service.trips.name, store.name), month, description, is_late)


def _ask(publisher: Publisher, service: Service, month: Month) -> tuple[bool, str]:
    """Return whether the publisher does not have the month yet, and how a sentence goes on."""
    try:
        published = publisher.look(service, month, None)
    except (PermanentError, TransientError) as error:
        return False, f", and the publisher could not be asked for it: {error}"
    if published is None:
        return True, ": TLC has not published it yet."
    return False, ", although it is published."
