"""Watching the watchers: schedules and sensors that fail at each tick, and the daemon itself.

Of the first people are told; the second calls a monitor outside, because a daemon that is dead
tells nobody. What the ticks ask for, and how a run ends, is not looked at here.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, cast

import dagster as dg

from taxi_pipeline.automation.notifications import body, reason_of
from taxi_pipeline.errors import TransientError
from taxi_pipeline.resources.heartbeat import Heartbeat
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.settings import (
    automation_is_on,
    heartbeat_enabled,
    heartbeat_every_seconds,
    notifications_enabled,
)

if TYPE_CHECKING:
    from taxi_pipeline.automation.dagster_internals import InstigatorState, InstigatorTick

_IN_A_ROW = 3
_LOOKED_AT = 6  # ticks: one may go on, and daemons may have left others
# A thread notes two heartbeats a minute, but none while it launches a run: an image may be pulled.
_SILENT_SECONDS = 600
_WATCHER = "failed_ticks"
_FAILURE = "FAILURE"


@dataclass(frozen=True)
class _Watched:
    """A schedule or sensor that runs, and how its last ticks ended, the newest first.

    A tick that goes on has not ended. `reason` is the first line of the last tick's error.
    """

    name: str
    statuses: Sequence[str]
    reason: str

    @property
    def fails(self) -> bool:
        """Whether it has failed several times in a row."""
        return [*self.statuses[:_IN_A_ROW]] == [_FAILURE] * _IN_A_ROW

    @property
    def is_well(self) -> bool:
        """Whether its last tick has not failed."""
        return bool(self.statuses) and self.statuses[0] != _FAILURE


def failed_ticks() -> dg.SensorDefinition:
    """Return the sensor that tells of schedules and sensors that fail, and of when they are well.

    Each is told once, also by a daemon that was started anew: the cursor has what was told.
    """

    @dg.sensor(
        name=_WATCHER,
        minimum_interval_seconds=30,
        default_status=(
            dg.DefaultSensorStatus.RUNNING
            if automation_is_on() or notifications_enabled()
            else dg.DefaultSensorStatus.STOPPED
        ),
        description="Tells of each schedule and sensor that has failed three times in a row, once, "
        "and again when it is well (TAXI_NOTIFY_URL).",
    )
    def sensor(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
        # what has failed in the watcher itself, the heartbeat sees
        watched = {one.name: one for one in _watched(context, lambda name: name != _WATCHER)}
        notified = _notified(context.cursor) & watched.keys()
        failing = [one for one in watched.values() if one.fails]
        new = [one for one in failing if one.name not in notified]
        well = [watched[name] for name in sorted(notified) if watched[name].is_well]
        if not notifier.url:
            notice = "nobody is told, since TAXI_NOTIFY_URL is not set"
        elif new:
            notifier.send(_title(new, "failed three times in a row"), _message(new))
            notified |= {one.name for one in new}
            notice = "people were told now"
        elif well:  # the next tick's, where others fail now
            notifier.send(_title(well, "recovered"), body([], "automation"))
            notified -= {one.name for one in well}
            notice = "people were told now of what has recovered"
        else:
            notice = "people were told"
        context.update_cursor(json.dumps(sorted(notified)))
        if not failing:
            return dg.SkipReason(
                f"None of {len(watched)} schedules and sensors that run fails at each tick."
            )
        return dg.SkipReason(f"{_title(failing, 'failed three times in a row')} ({notice}).")

    return sensor


def heartbeat_sensor() -> dg.SensorDefinition:
    """Return the sensor that calls the monitor while the daemon's threads and the watcher live."""

    @dg.sensor(
        name="heartbeat",
        minimum_interval_seconds=heartbeat_every_seconds(),
        default_status=(
            dg.DefaultSensorStatus.RUNNING
            if heartbeat_enabled()
            else dg.DefaultSensorStatus.STOPPED
        ),
        description="Calls a monitor outside (TAXI_HEARTBEAT_URL) while each of the daemon's "
        "threads lives, so that it tells people when the daemon is dead.",
    )
    def sensor(context: dg.SensorEvaluationContext, heartbeat: Heartbeat) -> dg.SkipReason:
        if not heartbeat.url:
            return dg.SkipReason("No monitor is called, since TAXI_HEARTBEAT_URL is not set.")
        if silence := _silence(context.instance):
            raise TransientError(f"The monitor was not called: {silence}")
        for watcher in _watched(context, lambda name: name == _WATCHER):
            if watcher.fails:
                raise TransientError(
                    f"The monitor was not called: {_WATCHER} tells nobody of what fails, since it "
                    f"fails itself: {watcher.reason}"
                )
        heartbeat.beat()
        return dg.SkipReason("The monitor was called.")

    return sensor


def _notified(cursor: str | None) -> set[str]:
    """Return the names that people were told of; none of a cursor that is damaged."""
    try:
        names = json.loads(cursor or "[]")
    except ValueError:
        names = []
    return {str(name) for name in names} if isinstance(names, list) else set()


def _silence(instance: dg.DagsterInstance) -> str:
    """Return which of the daemon's threads that the instance asks for say nothing; '' for none."""
    statuses = instance.get_daemon_statuses()
    heartbeats = {name: statuses[name].last_heartbeat for name in sorted(statuses)}
    silent = [
        name
        for name, heartbeat in heartbeats.items()
        if heartbeat and time() - heartbeat.timestamp > _SILENT_SECONDS
    ]
    unknown = [name for name, heartbeat in heartbeats.items() if heartbeat is None]
    sentences = []
    if silent:
        sentences.append(
            f"{', '.join(silent)} of Dagster's daemon not heard of for {_SILENT_SECONDS} s. See "
            "what the daemon's log says, and start it anew."
        )
    if unknown:
        sentences.append(
            f"{', '.join(unknown)} of Dagster's daemon never heard of. A daemon that has just "
            "started needs a minute; if it stays so, see what its log says."
        )
    return " ".join(sentences)


def _watched(
    context: dg.SensorEvaluationContext, is_meant: Callable[[str], bool]
) -> Iterator[_Watched]:
    """Yield those schedules and sensors of this code location that run and are meant, by name."""
    # Dagster evaluates no sensor without it
    repository = cast("dg.RepositoryDefinition", context.repository_def)
    definitions: dict[str, dg.ScheduleDefinition | dg.SensorDefinition] = {
        **{schedule.name: schedule for schedule in repository.schedule_defs},
        **{sensor.name: sensor for sensor in repository.sensor_defs},
    }
    here = context.code_location_origin
    for state in context.instance.all_instigator_state():
        there = state.origin.repository_origin.code_location_origin
        definition = definitions.get(state.name)
        is_ours = definition and (not here or here.location_name == there.location_name)
        if definition and is_ours and is_meant(state.name) and _runs(state, definition):
            yield _last_ticks(context.instance, state)


def _runs(
    state: "InstigatorState", definition: dg.ScheduleDefinition | dg.SensorDefinition
) -> bool:
    """Return whether somebody has turned it on, or the code has and nobody has turned it off."""
    in_code = state.status.value == "DECLARED_IN_CODE"
    status: str = (definition.default_status if in_code else state.status).value
    return status == "RUNNING"


def _last_ticks(instance: dg.DagsterInstance, state: "InstigatorState") -> _Watched:
    """Return how the last ticks ended, of those since it was turned on."""
    data = state.instigator_data
    since = getattr(data, "last_sensor_start_timestamp", getattr(data, "start_timestamp", None))
    ticks = instance.get_ticks(
        state.instigator_origin_id, state.selector_id, after=since, limit=_LOOKED_AT
    )
    ended = [tick for tick in ticks if not _is_unfinished(tick)]
    error = ended[0].error if ended else None
    return _Watched(
        state.name, [tick.status.value for tick in ended], reason_of(error) if error else ""
    )


def _is_unfinished(tick: "InstigatorTick") -> bool:
    """Return whether a tick goes on, or was left by a daemon that died.

    The next daemon calls the latter skipped, and leaves the count of failures as it was.
    """
    is_skipped = tick.status.value == "SKIPPED"
    return tick.status.value == "STARTED" or (is_skipped and tick.consecutive_failure_count > 0)


def _title(watched: Sequence[_Watched], what: str) -> str:
    return f"{', '.join(sorted(one.name for one in watched))} {what}"


def _message(failing: Sequence[_Watched]) -> str:
    lines = [f"{one.name}: {one.reason}" for one in sorted(failing, key=lambda one: one.name)]
    return body([*lines, "That they are well again is told, too."], "automation")
