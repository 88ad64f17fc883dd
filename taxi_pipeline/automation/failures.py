"""Failures: the months whose last run failed; who is reminded of them, and how they are run again.

What has failed is Dagster's to say: these are the partitions that its UI shows as failed. A single
run's failure, when it happens, is not told here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo

import dagster as dg

from taxi_pipeline.assets.tags import TAGS
from taxi_pipeline.automation.priorities import FRESH
from taxi_pipeline.automation.webserver import Webserver
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.settings import automation_is_on, notifications_enabled

_NEW_YORK = ZoneInfo("America/New_York")
_FIRST_HOUR = 8
_MOST_NAMED = 12
_Status = dg.AssetPartitionStatus


@dataclass(frozen=True)
class FailedPartition:
    """A partition of a job in which assets failed; `assets` are those to run again.

    These are all assets of the job but the ones that it begins with and that did not fail, or whose
    next ones were made since: a raw object that is in the lake stays, whoever put it there. `tags`
    are those by which a person asked the failed runs for something. `failures` are the assets that
    failed.
    """

    job: str
    key: str
    assets: tuple[dg.AssetKey, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[dg.AssetKey, ...] = ()

    def __str__(self) -> str:
        return f"{self.job} {self.key}"


def failed_partitions(
    instance: dg.DagsterInstance, jobs: Iterable[dg.JobDefinition]
) -> list[FailedPartition]:
    """Return the failed partitions of all jobs, by job and oldest first.

    One that is being run again has not failed: its run will say.
    """
    return [
        failed
        for job in sorted(jobs, key=lambda job: job.name)
        for failed in _failed_partitions(instance, job)
    ]


def _failed_partitions(
    instance: dg.DagsterInstance, job: dg.JobDefinition
) -> Iterable[FailedPartition]:
    from taxi_pipeline.automation.dagster_internals import is_reserved_asset_job_name

    if job.partitions_def is None or is_reserved_asset_job_name(job.name):  # that has all assets
        return
    graph, assets = job.asset_layer.asset_graph, job.asset_layer.selected_asset_keys
    keys = job.partitions_def.get_partition_keys()
    statuses = {
        asset: instance.get_status_by_partition(asset, keys, job.partitions_def) or {}
        for asset in graph.toposorted_asset_keys
        if asset in assets
    }
    firsts = [asset for asset in statuses if not graph.get(asset).parent_keys & assets]
    for key in keys:
        status = {asset: of_asset.get(key) for asset, of_asset in statuses.items()}
        for first in firsts:
            after = graph.get(first).child_keys & assets
            made = {asset for asset in after if status[asset] is _Status.MATERIALIZED}
            if status[first] is _Status.FAILED and _made_since(instance, first, made, key):
                del status[first]
        kinds = set(status.values())
        if _Status.FAILED in kinds and _Status.IN_PROGRESS not in kinds:
            again = tuple(
                asset
                for asset in status
                if status[asset] is _Status.FAILED or graph.get(asset).parent_keys & assets
            )
            failures = tuple(asset for asset in status if status[asset] is _Status.FAILED)
            tags = _tags_of_runs(instance, failures, key)
            yield FailedPartition(job.name, key, again, tags, failures)


def _tags_of_runs(
    instance: dg.DagsterInstance, failures: Iterable[dg.AssetKey], key: str
) -> dict[str, str]:
    """Return the tags declared in `assets.tags` of the runs in which the assets failed."""
    planned = (
        instance.get_latest_planned_materialization_info(asset, partition=key) for asset in failures
    )
    runs = (instance.get_run_by_id(run_id) for run_id in {info.run_id for info in planned if info})
    return {name: run.tags[name] for run in runs if run for name in TAGS if name in run.tags}


def _made_since(
    instance: dg.DagsterInstance, failed: dg.AssetKey, assets: Iterable[dg.AssetKey], key: str
) -> bool:
    """Whether one of the assets was made since the other failed.

    So it is where somebody else put the raw object into the lake meanwhile.
    """
    planned = instance.get_latest_planned_materialization_info(failed, partition=key)
    since = planned.storage_id if planned else None
    made = (dg.AssetRecordsFilter(asset, [key], after_storage_id=since) for asset in assets)
    return any(instance.fetch_materializations(records, limit=1).records for records in made)


def failed_months(
    now: Callable[[], datetime] = lambda: datetime.now(_NEW_YORK),
) -> dg.SensorDefinition:
    """Return the sensor that reminds people of failed months, once a day; `now` is its clock."""

    @dg.sensor(
        name="failed_months",
        minimum_interval_seconds=600,
        default_status=(
            dg.DefaultSensorStatus.RUNNING
            if automation_is_on() or notifications_enabled()
            else dg.DefaultSensorStatus.STOPPED
        ),
        description="Reminds people of the months that failed and were not run again, once a day "
        "from 8:00 in New York (TAXI_NOTIFY_URL).",
    )
    def sensor(context: dg.SensorEvaluationContext, notifier: Notifier) -> dg.SkipReason:
        # Dagster evaluates no sensor without it
        repository = cast("dg.RepositoryDefinition", context.repository_def)
        failed = failed_partitions(context.instance, repository.get_all_jobs())
        if not failed:
            return dg.SkipReason("No month has failed.")
        title = f"{len(failed)} failed month{'s' if len(failed) > 1 else ''}"
        listed = _by_job(failed)
        time = now().astimezone(_NEW_YORK)
        today = time.date().isoformat()
        if not notifier.url:
            notice = "nobody is told, since TAXI_NOTIFY_URL is not set"
        elif context.cursor == today:
            notice = "people were told today"
        elif time.hour < _FIRST_HOUR:
            notice = f"people are told from {_FIRST_HOUR}:00 on, in New York"
        else:
            again = "Run them again when they can succeed: taxi retry-failed"
            notifier.send(title, "\n".join([*listed, again]))
            context.update_cursor(today)
            notice = "people were told now"
        return dg.SkipReason(f"{title} ({notice}). {'; '.join(listed)}.")

    return sensor


def run_again(failed: FailedPartition, url: str) -> str:
    """Launch a run of what failed, through Dagster's webserver at `url`; return the run's id.

    So the run is queued, and before the months of a backfill. Raises `PermanentError` where the
    webserver does not answer, or does not launch it.
    """
    tags = {**failed.tags, **FRESH, "dagster/partition": failed.key}
    return Webserver(url).launch_run(failed.job, tags, failed.assets, str(failed))


def _by_job(failed: Iterable[FailedPartition]) -> list[str]:
    """Say which partitions failed, in a line for each job."""
    keys: dict[str, list[str]] = {}
    for partition in failed:
        keys.setdefault(partition.job, []).append(partition.key)
    return [
        f"{job}: {', '.join(of_job[:_MOST_NAMED])}"
        + (f" and {len(of_job) - _MOST_NAMED} more" if len(of_job) > _MOST_NAMED else "")
        for job, of_job in keys.items()
    ]
