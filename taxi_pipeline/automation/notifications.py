"""Notifications: what people are told of runs and backfills, one message each.

Told are a run that failed, a month that was published or republished, a check that failed, and a
backfill that has ended, which speaks for its runs. All else passes in silence. How a message
leaves is for `resources.notifier` to know.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

import dagster as dg

from taxi_pipeline.assets.keys import layer_of, table_of
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.settings import dagster_url, notifications_enabled

if TYPE_CHECKING:
    from dagster_shared.error import SerializableErrorInfo

    from taxi_pipeline.automation.dagster_internals import PartitionBackfill

_BACKFILL = "dagster/backfill"  # the tag of a backfill's runs
_ENDED = ("CANCELED", "COMPLETED", "COMPLETED_FAILED", "COMPLETED_SUCCESS", "FAILED")  # backfills
_FAILURES_SHOWN = 10
_BACKFILLS_LOOKED_AT = 100  # the newest: so many do not begin and end while an older one runs
_OUTCOMES = {
    dg.DagsterRunStatus.SUCCESS: "succeeded",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "canceled",
}


def notification_sensors() -> list[dg.SensorDefinition]:
    """Return the sensors, which run if TAXI_NOTIFY_URL is set or somebody turns them on.

    Raises `PermanentError` where TAXI_DAGSTER_URL is wrong, which would cost every message.
    """
    dagster_url()
    status = (
        dg.DefaultSensorStatus.RUNNING
        if notifications_enabled()
        else dg.DefaultSensorStatus.STOPPED
    )

    @dg.run_failure_sensor(
        default_status=status,
        description="Tells of each run that failed and is not retried, outside backfills.",
    )
    def failed_runs(context: dg.RunFailureSensorContext, notifier: Notifier) -> None:
        run, instance = context.dagster_run, context.instance
        if not _is_of_backfill(run) and not _will_retry(run):
            lines = [*errors_of(instance, run), *_failed_checks(instance, run)]
            notifier.send(f"{_subject(run)} failed", body(lines, f"runs/{run.run_id}"))

    @dg.run_status_sensor(
        dg.DagsterRunStatus.SUCCESS,
        default_status=status,
        description="Tells of each month that was published or republished, and of each run that "
        "succeeded but in which a check failed, outside backfills.",
    )
    def finished_runs(context: dg.RunStatusSensorContext, notifier: Notifier) -> None:
        run, instance = context.dagster_run, context.instance
        if _is_of_backfill(run):
            return
        published, rows = _publication(instance, run)
        failed = _failed_checks(instance, run)
        if published or failed:
            checks = f": {_number(len(failed), 'check')} failed" if failed else ""
            title = f"{_subject(run)} {published}".rstrip() + checks
            notifier.send(title, body([*rows, *failed], f"runs/{run.run_id}"))

    @dg.sensor(
        default_status=status,
        description="Tells of each backfill that has ended, how its months went.",
    )
    def finished_backfills(
        context: dg.SensorEvaluationContext, notifier: Notifier
    ) -> dg.SkipReason:
        ended = _ended_backfills(context)
        if context.cursor is None or context.is_first_tick_since_sensor_start:
            context.update_cursor(str(max((end for end, _ in ended), default=0.0)))
            return dg.SkipReason("Backfills that end from now on will be told of.")
        pending = [(end, backfill) for end, backfill in ended if end > float(context.cursor)]
        if not pending:
            return dg.SkipReason("No backfill has ended.")
        # one a tick: if it cannot be sent, the next tick tries that one again and no other
        end, backfill = min(pending, key=itemgetter(0))
        notifier.send(*_backfill_message(context.instance, backfill))
        context.update_cursor(str(end))
        return dg.SkipReason(f"Told of the backfill {backfill.backfill_id}.")

    return [failed_runs, finished_runs, finished_backfills]


def _is_of_backfill(run: dg.DagsterRun) -> bool:
    return _BACKFILL in run.tags


def _will_retry(run: dg.DagsterRun) -> bool:
    return run.tags.get("dagster/will_retry") == "true"


def _ended_backfills(
    context: dg.SensorEvaluationContext,
) -> "list[tuple[float, PartitionBackfill]]":
    """Return this code location's backfills that have ended, each with when."""
    backfills = context.instance.get_backfills(limit=_BACKFILLS_LOOKED_AT)
    return [
        (backfill.backfill_end_timestamp, backfill)
        for backfill in backfills
        if backfill.status.value in _ENDED
        and backfill.backfill_end_timestamp
        and _is_of(context.repository_def, backfill)
    ]


def _is_of(repository: dg.RepositoryDefinition | None, backfill: "PartitionBackfill") -> bool:
    if repository is None:
        return False
    if backfill.job_name:
        return repository.has_job(backfill.job_name)
    return any(repository.asset_graph.has(key) for key in backfill.asset_selection or ())


def _backfill_message(
    instance: dg.DagsterInstance, backfill: "PartitionBackfill"
) -> tuple[str, str]:
    """Return the title and the body of the message that speaks for all the backfill's runs."""
    of_backfill = dg.RunsFilter(tags={_BACKFILL: backfill.backfill_id})
    # newest first; of a month that was retried the last run counts
    runs = {_subject(run): run for run in reversed(instance.get_runs(of_backfill))}
    outcomes = Counter(_OUTCOMES.get(run.status, "not finished") for run in runs.values())
    counts = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.most_common())
    ended = "canceled" if backfill.status.value == "CANCELED" else "ended"
    assets = backfill.asset_selection or ()
    title = (
        f"Backfill of {_service(assets, backfill.job_name or '')} {ended}: {counts or 'no runs'}"
    )
    if assets:
        lines = ["Assets: " + ", ".join(sorted(key.to_user_string() for key in assets))]
    else:
        lines = [f"Job: {backfill.job_name}"]
    if backfill.error:
        lines.append(first_line(backfill.error.message))
    failed = [run for run in runs.values() if run.status == dg.DagsterRunStatus.FAILURE]
    for run in sorted(failed, key=_subject)[:_FAILURES_SHOWN]:
        lines += errors_of(instance, run)[:1]
    if len(failed) > _FAILURES_SHOWN:
        lines.append(f"and {len(failed) - _FAILURES_SHOWN} more")
    if checks := sum(len(_failed_checks(instance, run)) for run in runs.values()):
        lines.append(f"{_number(checks, 'check')} failed")
    return title, body(lines, f"runs/b/{backfill.backfill_id}")


def _subject(run: dg.DagsterRun) -> str:
    """Return what the run was of: "green 2021-03", or "taxi_zones", which have no months."""
    checked = {check.asset_key for check in run.asset_check_selection or ()}
    service = _service((run.asset_selection or set()) | checked, run.job_name)
    return f"{service} {run.tags.get('dagster/partition', '')}".rstrip()


def _service(assets: Iterable[dg.AssetKey], job: str) -> str:
    names = {table_of(key) for key in assets} or {job.removesuffix("_checks")}
    return ", ".join(sorted(name.removesuffix("_trips") for name in names))


def errors_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """Say what failed: a line for each step, or one for a run that failed outside its steps."""
    steps = events_of(instance, run, dg.DagsterEventType.STEP_FAILURE)
    return [f"{_subject(run)}, step {event.step_key}: {_reason(event)}" for event in steps] or [
        f"{_subject(run)}: {_reason(event)}"
        for event in events_of(instance, run, dg.DagsterEventType.RUN_FAILURE)
    ]


def _reason(failure: dg.DagsterEvent) -> str:
    """Return the first line of why a step or a run failed."""
    if failure.event_specific_data is None:  # a run whose process was lost
        return first_line(failure.message or "")
    if failure.event_type == dg.DagsterEventType.STEP_FAILURE:
        error, by_user = (
            failure.step_failure_data.error,
            failure.step_failure_data.user_failure_data,
        )
        if by_user and by_user.description:
            return first_line(by_user.description)
    else:
        error = failure.job_failure_data.error
    return reason_of(error) if error else first_line(failure.message or "")


def reason_of(error: "SerializableErrorInfo") -> str:
    """Return the first line of an error; of Dagster's own, which wraps the code's, of that."""
    return first_line((error.cause or error).message)


def _failed_checks(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """Return a line for each check that failed in the run; of one evaluated twice, the last."""
    evaluations = {
        event.asset_check_evaluation_data.asset_check_key: event.asset_check_evaluation_data
        for event in events_of(instance, run, dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    }
    return [
        f"{key.asset_key.to_user_string()}, check {key.name} ({evaluation.severity.value}): "
        f"{first_line(evaluation.description or 'failed')}"
        for key, evaluation in evaluations.items()
        if not evaluation.passed
    ]


def _publication(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[str, list[str]]:
    """Return how the run's month was downloaded, and its rows; nothing where it was not.

    It was "published", or "republished" if it had been materialized before.
    """
    published, rows = "", []
    for record in _records(instance, run, dg.DagsterEventType.ASSET_MATERIALIZATION):
        made = record.asset_materialization
        if made is None:
            continue
        layer = layer_of(made.asset_key)
        # of a month, or of a table without months
        names = ("dagster/partition_row_count", "dagster/row_count")
        if count := next(filter(None, map(made.metadata.get, names)), None):
            rows.append(f"{layer} {count.value:,}")
        if (downloaded := made.metadata.get("downloaded")) and downloaded.value:
            before = dg.AssetRecordsFilter(
                asset_key=made.asset_key,
                asset_partitions=[made.partition] if made.partition else None,
                before_timestamp=record.timestamp,
            )
            earlier = instance.fetch_materializations(before, limit=1).records
            published = "republished" if earlier else "published"
    return (published, ["Rows: " + ", ".join(rows)]) if published else ("", [])


def _records(
    instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType
) -> Sequence[dg.EventLogRecord]:
    return instance.get_records_for_run(run.run_id, of_type=kind).records


def events_of(
    instance: dg.DagsterInstance, run: dg.DagsterRun, kind: dg.DagsterEventType
) -> list[dg.DagsterEvent]:
    """Return a run's events of a kind, in their order."""
    entries = [record.event_log_entry for record in _records(instance, run, kind)]
    return [entry.dagster_event for entry in entries if entry.dagster_event]


def body(lines: Sequence[str], page: str) -> str:
    """Return a message's lines with the link to a page of Dagster's UI below."""
    return "\n".join([*lines, f"{dagster_url()}/{page}"])


def first_line(text: str) -> str:
    """Return the first line, of an exception without the modules before its name."""
    return re.sub(r"^(\w+\.)+(?=\w+: )", "", text.strip().partition("\n")[0])


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
