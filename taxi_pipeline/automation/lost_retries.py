"""Lost retries: failed runs that Dagster's daemon was to run again, and has not.

The daemon tries once. Where the code location or Dagster's own storage is away at that moment, it
gives the run up: its tag `dagster/will_retry` becomes false, its log says "Failed to retry run".
Some failures it passes over: the tag stays true, and the run's backfill waits for ever.
Whether a run is worth a retry at all is Dagster's to say (`run_retries`), and not looked at here.
"""

from collections.abc import Collection, Iterator, Mapping, Set
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, cast

import dagster as dg
from pydantic import AwareDatetime

from taxi_pipeline.assets.keys import table_of
from taxi_pipeline.automation.cursor import SensorCursor
from taxi_pipeline.automation.notifications import events_of
from taxi_pipeline.automation.priorities import TAG as PRIORITY

if TYPE_CHECKING:
    from taxi_pipeline.automation.dagster_internals import UnresolvedAssetJobDefinition

RELAUNCHES = "taxi/relaunches"  # a run's tag: how many before it were given up, one after another
_MOST = 3  # after which something else is wrong than a moment's outage
_GIVEN_UP = "Failed to retry run"  # Dagster's words
_PASSED_OVER = (  # ours
    "Dagster's daemon has read this failure and has not launched the run again, as it was to do. "
    "The sensor lost_retries requests what is left of the run."
)
_LOOKS_BACK = timedelta(days=1)  # where nobody has looked for longer, people run what they want
# Clocks of two machines differ, and a change may be committed after a later one.
_OVERLAP = timedelta(minutes=1)
_MANY = 1000
_PARTITION = "dagster/partition"
_RETRY = "dagster/auto_retry_run_id"  # of a run that Dagster has run again: the other's id
_BACKFILL = "dagster/backfill"
# What Dagster notes of a run, but for these, is of that run alone.
_OF_ONE_RUN = ("dagster/", ".dagster/", "docker/")
_KEPT = (
    _PARTITION,  # by its tag, since a job of checks alone has no partitions, to Dagster
    PRIORITY,
    "dagster/max_retries",
    "dagster/max_runtime",
    "dagster/max_runtime_seconds",
    "dagster/retry_strategy",
)
_OF_BACKFILL = (_BACKFILL, "dagster/parent_backfill_id", "dagster/root_backfill_id")
_Event = dg.DagsterEventType


class _Cursor(SensorCursor):
    """What a tick leaves to the next: when the first one looked, and when the last, in UTC."""

    began: AwareDatetime | None = None
    looked_at: AwareDatetime | None = None


def lost_retries(
    jobs: "Collection[UnresolvedAssetJobDefinition]",
) -> dg.SensorDefinition:
    """Return the sensor that requests what is left of runs that were given up, of all jobs."""
    names = {job.name for job in jobs}

    @dg.sensor(
        name="lost_retries",
        jobs=[*jobs],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,  # as Dagster's own retries are on
        description="Runs a failed run again that Dagster's daemon was to launch again, and has "
        "not, as where the code location was away at that moment.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        # Dagster evaluates no sensor without it
        repository = cast("dg.RepositoryDefinition", context.repository_def)
        now = datetime.now(UTC)
        cursor = _Cursor.read(context.cursor)
        # A daemon that has never run leaves alone what failed before: so does this sensor.
        began = min(cursor.began or now, now)  # a clock may be set back
        _give_up_passed_over(context.instance, names, max(began, now - _LOOKS_BACK))
        looked_at = cursor.looked_at or now - _LOOKS_BACK
        since = max(min(looked_at, now), now - _LOOKS_BACK) - _OVERLAP
        requests = [
            request
            for record in _given_up(context.instance, since)
            for request in _requests(context.instance, repository, record)
            if request.job_name in names
        ]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason("No retry was lost."),
            cursor=_Cursor(began=began, looked_at=now).model_dump_json(),
        )

    return sensor


def _give_up_passed_over(instance: dg.DagsterInstance, jobs: Set[str], since: datetime) -> None:
    """Give up the runs of some jobs that Dagster's daemon was to run again and has passed over.

    It reads each failure once, by its place in the event log. It passes one over that it reads
    before the run's status says the same, that is stored after a later one, or that it reads while
    Dagster's storage goes away (dagster-io/dagster#33741: 54 of 24,112 retries).
    """
    from taxi_pipeline.automation.dagster_internals import cursor_of_retries

    # In this order, so that no run counts that fails, or is run again, meanwhile.
    cursor = cursor_of_retries(instance)
    waiting = [
        record.dagster_run
        for record in instance.get_run_records(
            dg.RunsFilter(
                statuses=[dg.DagsterRunStatus.FAILURE],
                tags={"dagster/will_retry": "true"},
                updated_after=since,
            )
        )
        if _RETRY not in record.dagster_run.tags and _is_of(record.dagster_run, jobs)
    ]
    if cursor is None or not waiting:
        return
    unread = instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(_Event.RUN_FAILURE, after_storage_id=cursor), limit=_MANY
    )
    if unread.has_more:
        return  # it is far behind, and so are its retries
    about_to_be_read = {record.event_log_entry.run_id for record in unread.records}
    for run in waiting:
        if run.run_id not in about_to_be_read and _is_wanted(run, _backfill_status(instance, run)):
            instance.report_engine_event(_PASSED_OVER, run)
            instance.add_run_tags(run.run_id, {"dagster/will_retry": "false"})


def _given_up(instance: dg.DagsterInstance, since: datetime) -> Iterator[dg.RunRecord]:
    """Yield the runs that were given up since then, the oldest first."""
    without_retry = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE],
        tags={"dagster/will_retry": "false"},
        updated_after=since,
    )
    for record in reversed(instance.get_run_records(without_retry)):
        run = record.dagster_run
        # one that was made and not launched fails by itself, when it does not start
        was_made = _RETRY in run.tags
        messages = {event.message for event in events_of(instance, run, _Event.ENGINE_EVENT)}
        if not was_made and _relaunches(run) < _MOST and messages & {_GIVEN_UP, _PASSED_OVER}:
            yield record


def _requests(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, record: dg.RunRecord
) -> Iterator[dg.RunRequest]:
    """Yield a request for each job of which something is left to do of a run.

    A request that cannot be resolved would fail the tick, for all others, too. So what the code
    location has no longer is left out, and a run that a person has configured is left to them.
    """
    run = record.dagster_run
    status = _backfill_status(instance, run)
    if not _is_wanted(run, status):
        return
    # of a backfill that has ended, a run is no part any more
    tags = _tags(run.tags, _OF_BACKFILL if status == "REQUESTED" else ())
    tags[RELAUNCHES] = str(_relaunches(run) + 1)
    assets, checks = _left(instance, repository, run)
    jobs = {_job_of(run, key) for key in assets} | {_job_of(run, key.asset_key) for key in checks}
    for job in sorted(jobs):
        if not _is_run_since(instance, record, job):
            yield dg.RunRequest(
                run_key=f"{run.run_id}/{job}",
                tags=tags,
                job_name=job,
                asset_selection=[key for key in assets if _job_of(run, key) == job],
                asset_check_keys=[key for key in checks if _job_of(run, key.asset_key) == job],
            )


def _backfill_status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    backfill = instance.get_backfill(run.tags.get(_BACKFILL, ""))
    return backfill.status.value if backfill else ""


def _is_of(run: dg.DagsterRun, jobs: Set[str]) -> bool:
    """Return whether a run is of one of the jobs, or of assets or checks of their tables."""
    checks = run.asset_check_selection or ()
    assets = {*(run.asset_selection or ()), *(check.asset_key for check in checks)}
    return not jobs.isdisjoint({run.job_name, *map(table_of, assets)})


def _is_wanted(run: dg.DagsterRun, backfill_status: str) -> bool:
    """Return whether no person has configured the run, nor canceled its backfill, which goes on."""
    return not (run.run_config or backfill_status.startswith(("CANCEL", "FAIL")))


def _left(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, run: dg.DagsterRun
) -> tuple[set[dg.AssetKey], set[dg.AssetCheckKey]]:
    """Return the assets that a run was to make and did not, and the checks of these and others.

    One step may make all checks of an asset, so these are either all left, or none.
    """
    graph = repository.asset_graph
    planned, made = (
        {event.asset_key for event in events_of(instance, run, kind) if event.asset_key}
        for kind in (_Event.ASSET_MATERIALIZATION_PLANNED, _Event.ASSET_MATERIALIZATION)
    )
    checks = {
        event.asset_check_planned_data.asset_check_key
        for event in events_of(instance, run, _Event.ASSET_CHECK_EVALUATION_PLANNED)
    }
    evaluated = {
        event.asset_check_evaluation_data.asset_check_key
        for event in events_of(instance, run, _Event.ASSET_CHECK_EVALUATION)
    }
    unchecked = {check.asset_key for check in checks - evaluated}
    return (
        {key for key in planned - made if graph.has(key)},
        {key for key in checks if key.asset_key in planned - made | unchecked and graph.has(key)},
    )


def _job_of(run: dg.DagsterRun, key: dg.AssetKey) -> str:
    """Return the job that an asset is run by, as the run was, or of the asset's table."""
    from taxi_pipeline.automation.dagster_internals import is_reserved_asset_job_name

    return table_of(key) if is_reserved_asset_job_name(run.job_name) else run.job_name


def _is_run_since(instance: dg.DagsterInstance, record: dg.RunRecord, job: str) -> bool:
    """Return whether the job, or an asset of its table, has a later run of the same partition."""
    partition = record.dagster_run.tags.get(_PARTITION)
    later = dg.RunsFilter(
        tags={_PARTITION: partition} if partition else None, created_after=record.create_timestamp
    )
    return any(
        job in {run.job_name, *map(table_of, run.asset_selection or ())}
        for run in instance.get_runs(later)
    )


def _tags(tags: Mapping[str, str], of_backfill: Collection[str]) -> dict[str, str]:
    kept = {*_KEPT, *of_backfill}
    return {
        name: value
        for name, value in tags.items()
        if name in kept or not name.startswith(_OF_ONE_RUN)
    }


def _relaunches(run: dg.DagsterRun) -> int:
    value = run.tags.get(RELAUNCHES, "0")
    return int(value) if value.isdecimal() else _MOST
