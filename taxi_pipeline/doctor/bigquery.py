"""BigQuery: the dataset, what we may do in it, what a query would read, and an empty load.

What is written are tables named `taxi_doctor_…`, which end by themselves after an hour.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from taxi_pipeline.doctor.context import ANSWER_SECONDS, Context
from taxi_pipeline.doctor.finding import Finding, failed, ok, skipped
from taxi_pipeline.doctor.google import NO_ACCESS_MANAGEMENT, compare_permissions
from taxi_pipeline.doctor.storage import written_object
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.classification import classified
from taxi_pipeline.io.permissions import DATASET_PERMISSIONS
from taxi_pipeline.resources.bigquery.errors import ADVICE, diagnose
from taxi_pipeline.resources.bigquery.jobs import Jobs
from taxi_pipeline.resources.bigquery.tallies import tally_query
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import PUBLISHED_TABLES, SERVICES, Service

if TYPE_CHECKING:
    from google.cloud import bigquery

TABLES = "taxi_doctor_"

# How the regions begin, and the pairs of them, that lie within a multi-region of BigQuery's, which
# reads them: cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet
_WITHIN = {"US": ("US-", "NAM4"), "EU": ("EUROPE-", "EUR")}
_OUTSIDE_THE_EU = ("EUROPE-WEST2", "EUROPE-WEST6")  # London and Zürich

_MONTH = Month(2021, 1)  # which each service has
_LOAD_SECONDS = 60
_COLUMN = "pickup_datetime"


def check_dataset(context: Context) -> Finding:
    """Check that the dataset is there."""
    name = f"{context.bigquery.project}.{context.bigquery.dataset}"
    with _errors_classified():
        location = context.dataset.location
    return ok(f"{name} in {location}", location=location)


def check_location(context: Context) -> Finding:
    """Check that the bucket is where the dataset is, or within it."""
    bucket, dataset = context.bucket.location, context.dataset.location
    places = {"bucket_location": bucket, "dataset_location": dataset}
    if context.emulated:
        return skipped("an emulator, which is in no region", **places)
    if bucket is None:
        return skipped("the bucket does not say where it is", **places)
    is_within = bucket.upper().startswith(_WITHIN.get(dataset.upper(), ()))
    if is_within and bucket.upper() not in _OUTSIDE_THE_EU:
        return ok(f"the bucket in {bucket}, within the dataset's {dataset}", **places)
    if bucket.upper() != dataset.upper():
        return failed(
            f"the bucket is in {bucket}, the dataset in {dataset}, from where BigQuery does not "
            "read it, or at a price: make one of the two anew where the other is.",
            **places,
        )
    return ok(f"both in {bucket}", **places)


def check_dataset_permissions(context: Context) -> Finding:
    """Check what we may do with the dataset's tables, by asking of the first that is there."""
    from google.api_core.exceptions import BadRequest, NotFound

    if context.emulated:
        return skipped(NO_ACCESS_MANAGEMENT)
    with _errors_classified():
        for table in PUBLISHED_TABLES:
            table_id = _table_id(context, table.name)
            try:
                granted = _granted(context, table_id, DATASET_PERMISSIONS)
            except NotFound:
                continue
            except BadRequest:
                return _permissions_one_by_one(context, table_id)
            return compare_permissions(DATASET_PERMISSIONS, granted, table_id)
    return skipped("not asked: no table yet, and BigQuery does not ask it of a dataset")


def _permissions_one_by_one(context: Context, table_id: str) -> Finding:
    """Ask for each permission alone, where BigQuery does not take one of them for a table's."""
    from google.api_core.exceptions import BadRequest

    granted, accepted = [], []
    for permission in DATASET_PERMISSIONS:
        try:
            granted += _granted(context, table_id, [permission])
        except BadRequest:
            continue
        accepted.append(permission)
    return compare_permissions(accepted, granted, table_id)


def _granted(context: Context, table_id: str, permissions: Sequence[str]) -> list[str]:
    answer = context.bigquery_client.test_iam_permissions(
        table_id, permissions, **context.call_options
    )
    return [*answer.get("permissions", [])]


def check_pruning(context: Context) -> Finding:
    """Check by dry runs that the tally of a month reads no other month.

    One of a month from before the service's first must read next to nothing, since no table has
    rows of it.
    """
    with _errors_classified():
        if not (largest := _largest_table(context)):
            return skipped("no table of trips has rows yet")
        service, table = largest
        of_all = _bytes_read(context, service, None)
        of_none = _bytes_read(context, service, service.first_month.previous)
        of_month = _bytes_read(context, service, _MONTH)
    read: dict[str, Any] = {
        "table": service.trips.name,
        "whole_bytes": of_all,
        "month_bytes": of_month,
    }
    if not of_all:
        return skipped("the dry run counts no bytes, as an emulator's", **read)
    if of_none * 2 > of_all:
        reason = "BigQuery leaves out no partition"
        if not table.time_partitioning:
            reason = "the table is not partitioned: rename it, and run its months again"
        return failed(
            f"the tally of one month of {service.trips.name} would read {of_none:,} bytes even "
            f"where the table has no such month, of {of_all:,} in all: {reason}.",
            **read,
        )
    return ok(
        f"the tally of {service.name} {_MONTH} would read {of_month:,} bytes of {of_all:,}", **read
    )


def _largest_table(context: Context) -> "tuple[Service, bigquery.Table] | None":
    """Return the service with the largest table of trips that has rows, and that table."""
    from google.api_core.exceptions import NotFound

    tables = []
    for service in SERVICES.values():
        try:
            table = context.bigquery_client.get_table(
                _table_id(context, service.trips.name), **context.call_options
            )
        except NotFound:
            continue
        if table.num_rows:
            tables.append((service, table))
    return max(tables, key=lambda pair: pair[1].num_bytes or 0, default=None)


def _bytes_read(context: Context, service: Service, month: Month | None) -> int:
    """Return how many bytes the tally of a month would read, or that of all months."""
    table_id = _table_id(context, service.trips.name)
    query, parameters = tally_query(table_id, service.trips, service.total, month, month)
    config = _jobs(context).query_config(
        {"table": service.trips.name, "purpose": "tally"}, parameters
    )
    config.dry_run, config.use_query_cache = True, False
    job = context.bigquery_client.query(query, config, job_retry=None, **context.call_options)
    return job.total_bytes_processed or 0


def check_load(context: Context) -> Finding:
    """Check that a file without rows can be loaded into a partition of a new table."""
    from google.cloud import bigquery

    with (
        _errors_classified(),
        written_object(context, _empty_parquet()) as blob,
        _scratch_table(context) as table,
    ):
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            schema=table.schema,
        )
        prefix = f"{table.table_id}_"
        job = _jobs(context).run_replacing(
            prefix,
            "load",
            table.location,
            lambda job_id: context.bigquery_client.load_table_from_uri(
                f"gs://{blob.bucket.name}/{blob.name}",
                f"{table.project}.{table.dataset_id}.{table.table_id}$202101",
                job_id=job_id,
                location=table.location,
                job_config=config,
                **context.call_options,
            ),
        )
    if job.output_rows:
        return failed(f"{job.output_rows} rows arrived of a file that has none.")
    return ok(f"{table.table_id} made, loaded with 0 rows and dropped", rows=job.output_rows)


@contextmanager
def _scratch_table(context: Context) -> "Iterator[bigquery.Table]":
    """Make a table that is partitioned by month; drop it at the end."""
    from google.cloud import bigquery

    table_id = _table_id(context, f"{TABLES}{uuid4().hex}")
    wanted = bigquery.Table(table_id, schema=[bigquery.SchemaField(_COLUMN, "DATETIME")])
    wanted.time_partitioning = bigquery.TimePartitioning(
        type_=bigquery.TimePartitioningType.MONTH, field=_COLUMN
    )
    wanted.expires = datetime.now(UTC) + timedelta(hours=1)  # should this process be killed
    table = context.bigquery_client.create_table(wanted, **context.call_options)
    try:
        yield table
    finally:
        try:
            with _errors_classified():
                context.bigquery_client.delete_table(
                    table_id, not_found_ok=True, **context.call_options
                )
        except (PermanentError, TransientError) as error:
            raise type(error)(f"{error} {table_id} was left behind for an hour.") from error


def _empty_parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = BytesIO()
    pq.write_table(pa.table({_COLUMN: pa.array([], pa.timestamp("us"))}), file)
    return file.getvalue()


def _table_id(context: Context, name: str) -> str:
    return f"{context.bigquery.project}.{context.bigquery.dataset}.{name}"


def _jobs(context: Context) -> Jobs:
    return Jobs(context.bigquery_client, ANSWER_SECONDS, _LOAD_SECONDS, None)


def _errors_classified() -> AbstractContextManager[None]:
    return classified("BigQuery", ADVICE, diagnose)
