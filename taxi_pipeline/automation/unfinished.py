"""The runs that Dagster has not finished: what automation leaves alone until they have ended."""

from collections.abc import Iterator

import dagster as dg

from taxi_pipeline.assets.keys import table_of

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
UNFINISHED = [status for status in dg.DagsterRunStatus if status not in FINISHED]


def unfinished_partitions(instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
    """Yield the job or table, and the partition key, of each run that is not finished.

    The key is empty for a run without a partition.
    """
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        key = run.tags.get("dagster/partition", "")
        yield run.job_name, key
        for asset in run.asset_selection or ():
            yield table_of(asset), key
