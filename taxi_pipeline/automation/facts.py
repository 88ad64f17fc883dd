"""What Dagster's instance knows of the months, for their status.

The sensor `published_months` asks the publisher for every month within a day, so the publisher is
not asked again here: what it answered lies in the sensor's cursor.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from taxi_pipeline.automation import publisher_sensor
from taxi_pipeline.automation.failures import FailedPartition, failed_partitions
from taxi_pipeline.automation.unfinished import unfinished_since
from taxi_pipeline.status.facts import Facts, MonthKey
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES

if TYPE_CHECKING:
    from taxi_pipeline.automation.dagster_internals import InstigatorState

_NOT_ASKED = (
    "The sensor published_months has not asked the publisher yet: which months were rewritten "
    "since, and which are late, is not known. Turn it on under Automation, or set "
    "TAXI_AUTOMATION=on."
)
_STOPPED = (
    "The sensor published_months is stopped: which months were rewritten since, and which are "
    "late, is known as it was{then}. Turn it on under Automation."
)
_SILENT = (
    "The sensor published_months has not asked the publisher for more than a day: which months "
    "were rewritten since, and which are late, is known as it was{then}. See whether Dagster's "
    "daemon runs."
)
_UNREACHABLE = (
    "The publisher could not be asked when the sensor published_months tried last: which months "
    "were rewritten since, and which are late, may be known of a time before. The log of the "
    "sensor's tick says why."
)
_ROUND = timedelta(days=1)  # in which the sensor asks for each month
_SERVICES = {service.trips.name: service.name for service in SERVICES.values()}


def read_facts(
    instance: dg.DagsterInstance,
    jobs: Iterable[dg.JobDefinition],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Facts:
    """Return what the instance knows of the months.

    Args:
        instance: Dagster's memory.
        jobs: The jobs of the code location.
        now: The clock.
    """
    ours = [job for job in jobs if job.name in _SERVICES]
    state = _sensor_state(instance)
    data = state.sensor_instigator_data if state else None
    asked = publisher_sensor.Cursor.read(data.cursor if data else None)
    return Facts(
        failed={
            (_SERVICES[failed.job], Month.parse(failed.key)): _sentence(failed)
            for failed in failed_partitions(instance, ours)
        },
        running=_running(instance),
        rewritten={
            month: version for key, version in asked.rewritten.items() for month in _months([key])
        },
        unpublished=set(_months(asked.unpublished)),
        unknown=tuple(_doubts(state, asked, now())),
    )


def _running(instance: dg.DagsterInstance) -> dict[MonthKey, datetime]:
    running: dict[MonthKey, datetime] = {}
    for table, key, since in unfinished_since(instance):
        if table in _SERVICES and Month.is_key(key):
            month = (_SERVICES[table], Month.parse(key))
            running[month] = min(since, running.get(month, since))
    return running


def _sentence(failed: FailedPartition) -> str:
    first, *_ = failed.failures  # those after it were not begun, or failed by themselves, too
    return f"Its last run failed in {first.to_user_string()}; the run's page in Dagster says why."


def _sensor_state(instance: dg.DagsterInstance) -> "InstigatorState | None":
    """Return the sensor's state; None where Dagster has none.

    A code location that was renamed has left a state of its own: one that runs comes before one
    that is stopped, then the one that ticked last.
    """
    if instance.schedule_storage is None:  # an instance of one process alone
        return None
    states = [
        state
        for state in instance.all_instigator_state()
        if state.instigator_name == publisher_sensor.NAME and state.sensor_instigator_data
    ]
    return max(states, key=lambda state: (not _is_stopped(state), _last_tick(state)), default=None)


def _is_stopped(state: "InstigatorState") -> bool:
    return state.status.value == "STOPPED"


def _last_tick(state: "InstigatorState") -> float:
    """Return when the sensor ticked last; 0 where the state does not say."""
    data = state.sensor_instigator_data
    return (data and data.last_tick_timestamp) or 0


def _doubts(
    state: "InstigatorState | None", asked: publisher_sensor.Cursor, now: datetime
) -> Iterator[str]:
    """Yield why what the publisher answered may not be known, or not be so any more."""
    data = state.sensor_instigator_data if state else None
    if not state or not data or not data.cursor:
        yield _NOT_ASKED
        return
    ticked = datetime.fromtimestamp(_last_tick(state), UTC) if _last_tick(state) else None
    then = f" at {ticked:%Y-%m-%d %H:%M} UTC" if ticked else ""
    if _is_stopped(state):
        yield _STOPPED.format(then=then)
    elif ticked and now - ticked > _ROUND:
        yield _SILENT.format(then=then)
    if asked.unreachable:
        yield _UNREACHABLE


def _months(keys: Iterable[str]) -> Iterator[MonthKey]:
    """Yield the months of keys as the sensor writes them; what is none is left out."""
    for key in keys:
        service, _, month = key.partition("/")
        if service in SERVICES and Month.is_key(month):
            yield service, Month.parse(month)
