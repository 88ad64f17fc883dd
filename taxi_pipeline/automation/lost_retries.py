"""Lost retries: failed runs that Dagster's daemon wanted to run again, and could not launch.

The daemon tries once. Where the code location or Dagster's own storage is away at that moment, it
gives the run up: its tag `dagster/will_retry` becomes false, its log says "Failed to retry run".
Whether a run is worth a retry at all is Dagster's to say (`run_retries`), and not looked at here.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import AwareDatetime

from taxi_pipeline.assets.keys import table_of
from taxi_pipeline.automation.cursor import SensorCursor
from taxi_pipeline.automation.priorities import TAG as PRIORITY
from taxi_pipeline.automation.unfinished import unfinished_partitions

if TYPE_CHECKING:
    from taxi_pipeline.automation.dagster_internals import UnresolvedAssetJobDefinition

RELAUNCHES = "taxi/relaunches"  # a run's tag: how many before it were given up, one after another
_MOST = 3  # after which something else is wrong than a moment's outage
_GIVEN_UP = "Failed to retry run"  # Dagster's words
_FIRST_LOOK = timedelta(hours=1)
# Clocks of two machines differ, and a change may be committed after a later one.
_OVERLAP = timedelta(minutes=1)
# What Dagster notes of a run, but for these, is of that run alone.
_OF_ONE_RUN = ("dagster/", ".dagster/", "docker/")
_PARTITION = "dagster/partition"
_KEPT = (
    _PARTITION,  # by its tag, since a job of checks alone has no partitions, to Dagster
    PRIORITY,
    "dagster/max_retries",
    "dagster/max_runtime",
    "dagster/retry_strategy",
)
_OF_BACKFILL = ("dagster/backfill", "dagster/parent_backfill_id", "dagster/root_backfill_id")


class _Cursor(SensorCursor):
    """What a tick leaves to the next: when it looked, in UTC."""

    looked_at: AwareDatetime | None = None


def lost_retries(
    jobs: "Collection[UnresolvedAssetJobDefinition]",
) -> dg.SensorDefinition:
    """Return the sensor that requests what was given up, of all jobs."""
    names = {job.name for job in jobs}

    @dg.sensor(
        name="lost_retries",
        jobs=[*jobs],
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,  # as Dagster's own retries are on
        description="Runs a failed run again that Dagster's daemon could not launch again, as "
        "where the code location was away at that moment.",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        looked_at = _Cursor.read(context.cursor).looked_at
        since = min(looked_at, now) if looked_at else now - _FIRST_LOOK  # a clock may be set back
        running = set(unfinished_partitions(context.instance))
        requests = [
            request
            for run in _given_up(context.instance, since - _OVERLAP)
            for request in _requests(context.instance, run)
            if request.job_name in names
            and (request.job_name, request.tags.get(_PARTITION, "")) not in running
        ]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason("No retry was lost."),
            cursor=_Cursor(looked_at=now).model_dump_json(),
        )

    return sensor


def _given_up(instance: dg.DagsterInstance, since: datetime) -> Iterator[dg.DagsterRun]:
    """Yield the runs that were given up since then, the oldest first."""
    without_retry = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE],
        tags={"dagster/will_retry": "false"},
        updated_after=since,
    )
    for record in reversed(instance.get_run_records(without_retry)):
        run = record.dagster_run
        # one that was made and not launched fails by itself, when it does not start
        was_made = "dagster/auto_retry_run_id" in run.tags
        if not was_made and _relaunches(run) < _MOST and _could_not_be_launched(instance, run):
            yield run


def _could_not_be_launched(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    events = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    return any(
        event.message == _GIVEN_UP
        for record in events.records
        if (event := record.event_log_entry.dagster_event)
    )


def _requests(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[dg.RunRequest]:
    """Yield a request for each job that has assets or checks of the run."""
    backfill = instance.get_backfill(run.tags.get("dagster/backfill", ""))
    status = backfill.status.value if backfill else ""
    if status.startswith("CANCEL"):
        return
    # of a backfill that has ended, a run is no part any more
    tags = _tags(run.tags, _OF_BACKFILL if status == "REQUESTED" else ())
    tags[RELAUNCHES] = str(_relaunches(run) + 1)
    for job, assets, checks in _selections(run):
        yield dg.RunRequest(
            run_key=f"{run.run_id}/{job}",
            run_config=run.run_config,
            tags=tags,
            job_name=job,
            asset_selection=assets,
            asset_check_keys=checks,
        )


def _selections(
    run: dg.DagsterRun,
) -> Iterator[tuple[str, list[dg.AssetKey] | None, list[dg.AssetCheckKey] | None]]:
    """Yield the jobs that a run is of, each with its assets and checks; None stands for all."""
    assets, checks = run.asset_selection or (), run.asset_check_selection
    if not assets and not checks:
        yield run.job_name, None, None
        return
    # chosen in the catalog, perhaps of several tables
    tables = {table_of(key) for key in assets}
    tables |= {table_of(check.asset_key) for check in checks or ()}
    for table in sorted(tables):
        of_table = [key for key in assets if table_of(key) == table]
        checks_of_table = [check for check in checks or () if table_of(check.asset_key) == table]
        yield table, of_table, checks_of_table if checks is not None else None


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
