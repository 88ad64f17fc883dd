"""What docs/requests.md is recorded for: everything by which the platform asks Google something.

First what happens every day: a month, the zones and their shapes, marts, the view, the ledger, the
checks' deepest look, the sensors, Dagster's logs. Then what happens rarely, brought about at relays
before the two servers: answers in pages, jobs that take long, tables of an older release; and what
`taxi doctor` asks.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from taxi_pipeline.doctor import bigquery as doctors_bigquery
from taxi_pipeline.doctor import google, storage
from taxi_pipeline.doctor.context import Context
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.ledger import Depth, read_ledger
from taxi_pipeline.marts import DAILY_TRIPS, MARTS, TRIPS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN, TAXI_ZONE_SHAPES, TAXI_ZONES
from taxi_pipeline_tests.conftest import Platform, with_resources
from taxi_pipeline_tests.support.contracts import edge
from taxi_pipeline_tests.support.contracts.calls import Call
from taxi_pipeline_tests.support.relays import Exchange, Point, http_relay, passing

MONTH = Month(2021, 1)
# Above 8 MiB Google's client sends a file in parts.
_LARGE = 9 << 20
_ENDLESS = """SELECT @start AS pickup_date
FROM UNNEST(GENERATE_ARRAY(1, 300000)) AS a CROSS JOIN UNNEST(GENERATE_ARRAY(1, 300000)) AS b
WHERE a * b = 0"""


def recorded(platform: Platform, folder: Path) -> Sequence[Call]:
    """Run the platform through all of it; return the requests that it sent.

    Args:
        platform: A platform with a bucket and a dataset that nobody else uses.
        folder: A folder for files.
    """
    warehouse = platform.resources.bigquery
    limited = BigQuery(  # no limit is set by default
        project=warehouse.project, dataset=warehouse.dataset, maximum_bytes_billed=1 << 40
    )
    platform = with_resources(platform, bigquery=limited)
    with edge.recording() as calls:
        _every_day(platform)
        _logs(platform.resources.lake.bucket, folder)
        _rare_in_the_lake(platform.resources.lake, folder)
        _rare_in_bigquery(platform.resources.bigquery)
        _doctor()
    return calls


def _every_day(platform: Platform) -> None:
    for job, month in (
        (GREEN.trips.name, MONTH.key),
        (TAXI_ZONES.name, None),
        (TAXI_ZONE_SHAPES.name, None),
        *((mart.name, MONTH.key) for mart in MARTS),
        (TRIPS.name, None),
    ):
        assert platform.run(job, month).success, job
    for depth in Depth:
        read_ledger(GREEN, platform.resources, MONTH, MONTH, depth)
    read_ledger(GREEN, platform.resources)
    platform.tick("lake_arrivals")
    platform.tick("published_months")
    platform.resources.bigquery.row_count(GREEN.trips)


def _logs(bucket: str, folder: Path) -> None:
    """Let Dagster keep a step's logs in the bucket, show them and throw them away."""
    from dagster._core.storage.compute_log_manager import ComputeIOType

    from taxi_pipeline.instance.compute_logs import BucketComputeLogManager

    key = ["a-run", "compute_logs", "a-step"]
    manager = BucketComputeLogManager(bucket, local_dir=str(folder / "logs"), prefix="dagster-logs")
    with manager.capture_logs(key):
        print("a line")  # noqa: T201 - what is captured
    manager.get_log_keys_for_log_key_prefix(key[:2], ComputeIOType.STDERR)
    reader = BucketComputeLogManager(
        bucket, local_dir=str(folder / "elsewhere"), prefix="dagster-logs"
    )
    reader.get_log_data(key)
    reader.delete_logs(log_key=key)
    reader.delete_logs(prefix=key[:1])


def _rare_in_the_lake(lake: Lake, folder: Path) -> None:
    large = folder / "large"
    large.write_bytes(bytes(_LARGE))
    stored = lake.upload(large, "raw/large", {"rows": "0"}, 0)
    stored = lake.upload(large, "raw/large", {}, stored.generation)
    lake.delete(stored)
    paged = [_point("GET", "/o[?]", lambda reply: reply | {"nextPageToken": "more"})]
    with _relayed("STORAGE_EMULATOR_HOST", paged):
        Lake(bucket=lake.bucket, project=lake.project).find("raw/")


def _rare_in_bigquery(warehouse: BigQuery) -> None:
    def bare(table: dict[str, Any]) -> dict[str, Any]:
        """Return it as an older release made it: without clustering and a column's words."""
        fields = table["schema"]["fields"]
        del fields[0]["description"], table["clustering"]
        return table

    def other_words(table: dict[str, Any]) -> dict[str, Any]:
        return table | {"description": "Words of an older release."}

    labels = {"run": "a-run", "purpose": "mart"}
    points = [
        _point("GET", r"/jobs[?].*pending", lambda reply: reply | {"nextPageToken": "0"}),
        _point("GET", f"/tables/{GREEN.trips.name}[?]", bare),
        _point("GET", "/tables/.*_geography", other_words),
        _point("POST", "/jobs", lambda reply: reply | {"status": {"state": "RUNNING"}}),
        _point("GET", "/data[?]", lambda reply: reply | {"pageToken": "0"}),
    ]
    with _relayed("BIGQUERY_EMULATOR_HOST", points):
        relayed = BigQuery(project=warehouse.project, dataset=warehouse.dataset)
        relayed.replace_month_by_query(
            DAILY_TRIPS.table, MONTH, DAILY_TRIPS.query, DAILY_TRIPS.sources, labels
        )
        relayed.query_month(DAILY_TRIPS.query, MONTH, labels)
        _describe_shapes_again(relayed)
    impatient = warehouse.model_copy(update={"job_timeout": 0.2})
    with suppress(TransientError):
        impatient.query_month(_ENDLESS, MONTH, labels)


def _describe_shapes_again(warehouse: BigQuery) -> None:
    from taxi_pipeline.resources.bigquery.views import ensure_geography_view

    with warehouse._connected() as jobs:
        table_id = warehouse.uri(TAXI_ZONE_SHAPES).removeprefix("bigquery://")
        ensure_geography_view(jobs.client, TAXI_ZONE_SHAPES, table_id, jobs.call_options)


def _doctor() -> None:
    """Let `taxi doctor` ask all that it asks Google, and write; emulators do not answer all of it.

    They stand for Google, whose access management they have not.
    """
    checks = (
        storage.check_bucket,
        storage.check_bucket_permissions,
        storage.check_object,
        google.check_project_permissions,
        doctors_bigquery.check_dataset,
        doctors_bigquery.check_dataset_permissions,
        doctors_bigquery.check_pruning,
        doctors_bigquery.check_load,
    )
    resource_manager = os.environ["BIGQUERY_EMULATOR_HOST"]
    with (
        patch.object(google, "_RESOURCE_MANAGER", resource_manager),
        Context(emulated=False).closed() as context,
    ):
        for check in checks:
            with suppress(PermanentError, TransientError):
                check(context)


def _point(
    method: str, path: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> Point[Exchange]:
    """Change the JSON of the first answer to such a request."""

    def happens(exchange: Exchange) -> None:
        reply = exchange.asked()
        exchange.answer_json(reply.status, change(reply.json))

    return Point(passing(method, path), happens)


@contextmanager
def _relayed(variable: str, points: Sequence[Point[Exchange]]) -> Iterator[None]:
    with http_relay(os.environ[variable], points) as url, patch.dict(os.environ, {variable: url}):
        yield
    assert not any(point.missed for point in points)
