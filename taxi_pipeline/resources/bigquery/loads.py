"""The table `taxi_loads`: from which version of the cleaned object each month was loaded.

A partition of BigQuery's has no place for a note of its own. A row is appended when a load job has
ended, so the newest row of a month, by the end of its job, is of the rows that the month has. Where
the run dies between the job and its row, the month has an older row, or none: it does not add up
until its asset runs again.
"""

from datetime import datetime
from typing import TYPE_CHECKING

from taxi_pipeline.resources.bigquery.cells import rows_if_there
from taxi_pipeline.resources.bigquery.jobs import Jobs
from taxi_pipeline.resources.bigquery.tables import table_if_there
from taxi_pipeline.sink import CleanedFile, Stamp
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import DATETIME, LONG, TEXT, Column, Table

if TYPE_CHECKING:
    from google.cloud import bigquery

LOADS = Table(
    "taxi_loads",
    "What each month of a table was loaded from: one row a load job. The newest row counts.",
    (
        Column("table_name", TEXT, "The table."),
        Column("month", TEXT, "The month, as 2021-01; null for a table without months."),
        Column("generation", LONG, "The generation of the cleaned object in Cloud Storage."),
        Column("crc32c", TEXT, "The CRC32C of the cleaned object's bytes, in base 64."),
        Column("job_id", TEXT, "The load job."),
        Column("loaded_at", DATETIME, "When the job ended, in UTC."),
    ),
)


def write_load(
    jobs: Jobs, table_id: str, location: str | None, cleaned: CleanedFile, job: "bigquery.LoadJob"
) -> None:
    """Append the row of a load job that has ended.

    Args:
        jobs: The project's jobs.
        table_id: The full name of the table `taxi_loads`, which is there.
        location: The dataset's location.
        cleaned: What was loaded.
        job: The job.
    """
    from google.cloud import bigquery

    values: dict[str, tuple[str, str | int | datetime | None]] = {
        "table_name": ("STRING", cleaned.table.name),
        "month": ("STRING", cleaned.month.key if cleaned.month else None),
        "generation": ("INT64", cleaned.stamp.generation),
        "crc32c": ("STRING", cleaned.stamp.crc32c),
        "job_id": ("STRING", job.job_id),
        "loaded_at": ("DATETIME", job.ended and job.ended.replace(tzinfo=None)),
    }
    config = jobs.query_config(
        {"table": LOADS.name, "purpose": "stamp"},
        (
            bigquery.ScalarQueryParameter(name, type_, value)
            for name, (type_, value) in values.items()
        ),
    )
    statement = (
        f"INSERT INTO `{table_id}` ({', '.join(values)}) "  # noqa: S608 - declared names
        f"VALUES ({', '.join(f'@{name}' for name in values)})"
    )
    jobs.query(statement, config, location)


def read_stamps(
    jobs: Jobs, loads_id: str, table_id: str, table: Table
) -> dict[Month | None, Stamp]:
    """Return the newest stamp of each month of a table; none where the table is missing.

    A table that was lost and made anew has other rows than those that were loaded before, so their
    stamps do not count. A row of somebody's that names no month is left out.

    Args:
        jobs: The project's jobs.
        loads_id: The full name of the table `taxi_loads`.
        table_id: The table's full name.
        table: The declared table.
    """
    from google.cloud import bigquery

    existing = table_if_there(jobs.client, table_id, jobs.call_options)
    if existing is None:
        return {}
    query = (
        "SELECT month, generation, crc32c, loaded_at "  # noqa: S608 - declared names
        f"FROM `{loads_id}` WHERE table_name = @table ORDER BY loaded_at"
    )
    named = [bigquery.ScalarQueryParameter("table", "STRING", table.name)]
    rows = list(rows_if_there(jobs, query, table, "stamps", named))
    before = [row for row in rows if _is_before(row.loaded_at, existing)]
    if before:
        # a copied dataset has tables that are younger than their rows, this one, too
        loads = table_if_there(jobs.client, loads_id, jobs.call_options)
        lost = [row for row in before if not (loads and _is_before(row.loaded_at, loads))]
        rows = [row for row in rows if row not in lost]
    return {
        Month.parse(row.month) if row.month else None: Stamp(row.generation, row.crc32c)
        for row in rows
        if row.month is None or Month.is_key(row.month)
    }


def _is_before(loaded_at: datetime | None, table: "bigquery.Table") -> bool:
    """Whether something was loaded before a table was made, as far as both are said."""
    return bool(loaded_at and table.created and loaded_at < table.created.replace(tzinfo=None))
