"""All of TLC's history through the real queue and storage, with tiny months: what stays usable.

Starts deploy/compose (`taxi_pipeline_tests.containers`) on an engine of Docker, launches a backfill
of each service as the UI does, and measures what the UI and the sensors ask for: before, with all
of it queued, and with it run; then once more with ten times as many runs and events in the storage
of Dagster, copied there by SQL.

    python -m benchmarks.scale
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import psycopg

from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.tlc.services import SERVICES
from taxi_pipeline_tests.containers.deployment import Deployment, clear, set_up, start
from taxi_pipeline_tests.containers.engine import docker_engine
from taxi_pipeline_tests.containers.images import FOLDER, make_images

_TIMES = 5
_COPIES = 9  # which make ten with what is there

# as Dagster's UI asks, cut down to what makes the work
_QUERIES = {
    "asset graph": (
        "query { assetNodes { assetKey { path } groupName kinds isMaterializable "
        "dependencyKeys { path } assetMaterializations(limit: 1) { timestamp } } }"
    ),
    "partitions of an asset": (
        'query { assetNodeOrError(assetKey: {path: ["yellow_bigquery"]}) '
        "{ ... on AssetNode { partitionKeys partitionStats { numMaterialized numFailed } "
        "assetPartitionStatuses { ... on TimePartitionStatuses "
        "{ ranges { status startKey endKey } } } } } }"
    ),
    "plots of an asset": (
        'query { assetOrError(assetKey: {path: ["yellow_cleaned"]}) { ... on Asset '
        "{ assetMaterializations(limit: 100) { runId partition timestamp metadataEntries "
        "{ label ... on IntMetadataEntry { intValue } } } } } }"
    ),
    "newest runs": (
        "query { runsOrError(limit: 25) { ... on Runs { results { runId status startTime "
        "tags { key value } assetSelection { path } } } } }"
    ),
    "backfills": (
        "query { partitionBackfillsOrError(limit: 25) { ... on PartitionBackfills "
        "{ results { id status numPartitions partitionStatusCounts { runStatus count } } } } }"
    ),
}
_TICK = """
mutation ($sensor: String!) {
  sensorDryRun(cursor: null, selectorData: {
    repositoryName: "__repository__", repositoryLocationName: "taxi_pipeline", sensorName: $sensor
  }) {
    __typename
    ... on DryRunInstigationTick { evaluationResult { skipReason error { message } } }
    ... on PythonError { message }
  }
}
"""
_SENSORS = ("published_months", "lake_arrivals", "failed_months")
_COUNTS = """
    SELECT (SELECT count(*) FROM runs),
           (SELECT count(*) FROM runs WHERE status NOT IN ('QUEUED', 'STARTING', 'STARTED')),
           (SELECT count(*) FROM event_logs),
           pg_total_relation_size('event_logs'), pg_database_size(current_database())
"""
# ids of runs are texts, so a copy gets one that ends with its number
_COPY = (
    """
    INSERT INTO runs (run_id, snapshot_id, pipeline_name, mode, status, run_body, partition,
                      partition_set, create_timestamp, update_timestamp, start_time, end_time,
                      backfill_id)
    SELECT run_id || '-' || n, snapshot_id, pipeline_name, mode, status,
           replace(run_body, run_id, run_id || '-' || n), partition, partition_set,
           create_timestamp, update_timestamp, start_time, end_time, backfill_id
    FROM runs CROSS JOIN generate_series(1, %(copies)s) AS n
    """,
    """
    INSERT INTO run_tags (run_id, key, value)
    SELECT run_id || '-' || n, key, value
    FROM run_tags CROSS JOIN generate_series(1, %(copies)s) AS n
    """,
    """
    INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key,
                            partition)
    SELECT run_id || '-' || n, replace(event, run_id, run_id || '-' || n), dagster_event_type,
           timestamp, step_key, asset_key, partition
    FROM event_logs CROSS JOIN generate_series(1, %(copies)s) AS n
    """,
)


def _seconds(work: Callable[[], object]) -> float:
    took = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def _measure(there: Deployment) -> dict[str, str]:
    """Return a column of the table, by what was measured."""

    def tick(sensor: str) -> None:
        said = there.graphql(_TICK, sensor=sensor)["sensorDryRun"]
        if said["__typename"] != "DryRunInstigationTick" or said["evaluationResult"]["error"]:
            raise click.ClickException(f"{sensor}: {said}")

    with psycopg.connect(there.storage()) as connection:
        runs, ended, events, event_bytes, all_bytes = connection.execute(_COUNTS).fetchall()[0]
    found = {
        "runs": f"{runs:,}",
        "of them ended": f"{ended:,}",
        "events": f"{events:,}",
        "event log, MB": f"{event_bytes / 1e6:,.0f}",
        "Dagster's storage, MB": f"{all_bytes / 1e6:,.0f}",
    }
    for name, query in _QUERIES.items():
        found[f"{name}, s"] = f"{_seconds(partial(there.graphql, query)):.2f}"
    for sensor in _SENSORS:
        found[f"tick of {sensor}, s"] = f"{_seconds(partial(tick, sensor)):.2f}"
    return found


def _multiply(storage: str) -> None:
    with psycopg.connect(storage, autocommit=True) as connection:
        for statement in _COPY:
            connection.execute(statement.encode(), {"copies": _COPIES})
        connection.execute("ANALYZE")


def _table(columns: Mapping[str, Mapping[str, str]]) -> str:
    lines = [["", *columns], ["---", *("--:" for _ in columns)]]
    lines += [[name, *(column[name] for column in columns.values())] for name in _first(columns)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _first(columns: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    return next(iter(columns.values()))


@click.command()
@click.option("--months", default=1000, help="At most so many months of each service.")
@click.option("--minutes", default=60, help="Measure after so long, though some are still queued.")
def main(months: int, minutes: int) -> None:
    """Measure with all of the history in Dagster's queue and storage."""
    wanted = {
        of.trips.name: months_of(of).get_partition_keys()[:months] for of in SERVICES.values()
    }
    with (
        TemporaryDirectory(prefix="taxi-scale-") as folder,
        docker_engine(FOLDER) as engine,
    ):
        clear(engine)
        make_images(engine, click.echo)
        with set_up(engine, Path(folder)) as there:
            start(there)
            there.gate().open()
            click.echo(_table(_measure_all(there, wanted, minutes)))


def _measure_all(
    there: Deployment, wanted: Mapping[str, Sequence[str]], minutes: int
) -> dict[str, dict[str, str]]:
    """Return the table's columns, by when they were measured."""
    total = sum(map(len, wanted.values()))
    columns = {"before": _measure(there)}
    began = time.monotonic()
    for table, keys in wanted.items():
        there.backfill(table, keys)
    _await(lambda: len(there.runs()) >= total, 900)
    click.echo(f"{total} months, all queued after {time.monotonic() - began:.0f} s.\n")
    columns["all queued"] = _measure(there)
    _await(lambda: sum(run.ended is not None for run in there.runs()) >= total, minutes * 60)
    columns["run"] = _measure(there)
    _multiply(there.storage())
    columns["ten times"] = _measure(there)
    return columns


def _await(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until the condition holds, or so long."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(10)


if __name__ == "__main__":
    main()
