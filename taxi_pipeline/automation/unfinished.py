"""The runs that Dagster has not finished: what automation leaves alone until they have ended."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from taxi_pipeline.assets.keys import table_of

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
UNFINISHED = [status for status in dg.DagsterRunStatus if status not in FINISHED]


def unfinished_partitions(instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
    """Yield the job or table, and the partition key, of each run that is not finished.

    The key is empty for a run without a partition.
    """
    for name, key, _ in unfinished_since(instance):
        yield name, key


def unfinished_since(instance: dg.DagsterInstance) -> Iterator[tuple[str, str, datetime]]:
    """Yield the same, each with the time at which the run was made, in UTC."""
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        key = run.tags.get("dagster/partition", "")
        since = record.create_timestamp.astimezone(UTC)
        yield run.job_name, key, since
        for asset in run.asset_selection or ():
            yield table_of(asset), key, since
