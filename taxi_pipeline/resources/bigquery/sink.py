"""The Dagster resource for BigQuery, which is a sink, and what marts need beyond."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from pydantic import Field

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.classification import classified
from taxi_pipeline.marts import Mart, View
from taxi_pipeline.resources.bigquery.cells import (
    read_column_tallies,
    read_fingerprint,
    rows_if_there,
)
from taxi_pipeline.resources.bigquery.errors import ADVICE, diagnose
from taxi_pipeline.resources.bigquery.jobs import Jobs
from taxi_pipeline.resources.bigquery.loads import LOADS, read_stamps, write_load
from taxi_pipeline.resources.bigquery.marts import read_mart_tallies
from taxi_pipeline.resources.bigquery.tables import (
    TYPES,
    ensure_table,
    schema_of,
)
from taxi_pipeline.resources.bigquery.tallies import tally_query
from taxi_pipeline.resources.bigquery.views import ensure_geography_view, replace_view
from taxi_pipeline.sink import CleanedFile, Sink, Stamp
from taxi_pipeline.tlc.column_tallies import ColumnTallies
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service, Table
from taxi_pipeline.tlc.tally import Tally

if TYPE_CHECKING:
    from google.cloud import bigquery

_PROJECT = re.compile(r"[a-z][a-z0-9.:-]*[a-z0-9]", re.ASCII)
_DATASET = re.compile(r"[A-Za-z0-9_]+", re.ASCII)


class BigQuery(Sink):
    """A dataset in BigQuery. Google's client finds an emulator (BIGQUERY_EMULATOR_HOST) by itself.

    Raises, from every method that asks the server, `TransientError` where trying again can help,
    and where a job takes longer than `job_timeout`; else `PermanentError`.
    """

    name = "bigquery"
    title = "BigQuery"
    kinds = frozenset({"bigquery", "table"})
    pool = "bigquery"
    types = TYPES
    keeps_views = True
    variables: ClassVar = {
        "project": "TAXI_GCP_PROJECT",
        "dataset": "TAXI_DATASET",
        "timeout": "TAXI_BIGQUERY_TIMEOUT",
        "job_timeout": "TAXI_BIGQUERY_JOB_TIMEOUT",
        "maximum_bytes_billed": "TAXI_BIGQUERY_MAXIMUM_BYTES_BILLED",
    }

    project: str = Field(description="The Google Cloud project (TAXI_GCP_PROJECT).")
    dataset: str = Field(default="trips_data_all", description="The dataset's name (TAXI_DATASET).")
    timeout: float = Field(
        default=60,
        description="Seconds to wait for the server's next bytes (TAXI_BIGQUERY_TIMEOUT).",
    )
    job_timeout: float = Field(
        default=1800, description="Seconds that a job may take (TAXI_BIGQUERY_JOB_TIMEOUT)."
    )
    maximum_bytes_billed: int | None = Field(
        default=None,
        json_schema_extra={"unit": "bytes"},
        description="Bytes that a query may bill, or it fails before it reads any "
        "(TAXI_BIGQUERY_MAXIMUM_BYTES_BILLED); any number where it is not set.",
    )

    def uri(self, table: Table) -> str:
        """Return the table's address as Dagster's catalog shows it."""
        return f"bigquery://{self._table_id(table)}"

    def sql_name(self, table: Table) -> str:
        """Return the table's name as a query writes it."""
        return f"`{self._table_id(table)}`"

    def place(self) -> Mapping[str, str | int]:
        """Return the project and the dataset; raise `PermanentError` for what is no name of one."""
        self._dataset_id()
        return {"project": self.project, "dataset": self.dataset}

    def row_count(self, table: Table) -> int | None:
        """Return how many rows the table has, as its metadata says, which costs nothing."""
        with suppress(TransientError), self._connected() as jobs:
            existing = jobs.client.get_table(self._table_id(table), **jobs.call_options)
            rows: int | None = existing.num_rows
            return rows
        return None

    def link(self, table: Table) -> str | None:
        """Return the table's page in Google's console; the emulator's tables have none."""
        if os.environ.get("BIGQUERY_EMULATOR_HOST"):
            return None
        named = {"p": self.project, "d": self.dataset, "t": table.name, "page": "table"}
        return f"https://console.cloud.google.com/bigquery?{urlencode(named)}"

    def replace(self, cleaned: CleanedFile, run_id: str) -> None:
        """Load a file of the lake in place of its month's partition, or of the whole table.

        BigQuery reads the newest object of the file's name: whether it was that version, the lake
        can say afterwards.
        """
        from google.cloud import bigquery

        from taxi_pipeline.tlc.conforming import check_types

        check_types(cleaned.schema, cleaned.table, cleaned.uri)
        month = {"month": cleaned.month.key} if cleaned.month else {}
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            # a column that was cleaned when it was still declared
            ignore_unknown_values=True,
            labels={"table": cleaned.table.name, "purpose": "load", **month, "run": run_id},
        )
        destination = self._destination(cleaned.table, cleaned.month)
        with self._connected() as jobs:
            config.job_timeout_ms = jobs.timeout_ms
            ensured = self._ensure(jobs, cleaned.table)
            self._ensure(jobs, LOADS)  # before any row is replaced
            ensure_geography_view(
                jobs.client, cleaned.table, self._table_id(cleaned.table), jobs.call_options
            )
            # without a schema, a truncating load takes the file's and drops the descriptions; a
            # column of somebody's own is in the table's alone
            config.schema = ensured.schema
            job = jobs.run_replacing(
                self._job_prefix(cleaned.table, cleaned.month),
                f"{cleaned.stamp.generation}_{run_id}",
                ensured.location,
                lambda job_id: jobs.client.load_table_from_uri(
                    cleaned.uri,
                    destination,
                    job_id=job_id,
                    location=ensured.location,
                    job_config=config,
                    **jobs.call_options,
                ),
            )
            arrived = job.output_rows or 0  # BigQuery may leave a 0 out
            if arrived == cleaned.rows:
                cleaned.ensure_current()  # or the job may have read another version
                write_load(jobs, self._table_id(LOADS), ensured.location, cleaned, job)
        if arrived != cleaned.rows:
            raise PermanentError(
                f"{destination}: {arrived} rows arrived of {cleaned.rows} in "
                f"{cleaned.uri}. Materialize the month again from `cleaned` on."
            )

    def stamps(self, table: Table) -> dict[Month | None, Stamp]:
        """Return what each month was loaded from, as the table `taxi_loads` says it.

        A table that is missing has no months, whatever was loaded into it before.
        """
        with self._connected() as jobs:
            return read_stamps(jobs, self._table_id(LOADS), self._table_id(table), table)

    def column_tallies(self, table: Table, month: Month | None) -> ColumnTallies:
        """Tally every column by one query, which reads all columns of the month's partition."""
        with self._connected() as jobs:
            return read_column_tallies(jobs, self._table_id(table), table, month)

    def fingerprint(self, table: Table, month: Month | None) -> int:
        """Return the fingerprint of the rows, computed by one query of all their columns."""
        with self._connected() as jobs:
            return read_fingerprint(jobs, self._table_id(table), table, month)

    def replace_month_by_query(
        self,
        table: Table,
        month: Month,
        query: str,
        sources: Iterable[Table],
        labels: dict[str, str],
    ) -> int:
        """Put a query's rows in place of the month's partition.

        Args:
            table: The table that gets the rows.
            month: The month, which the query gets as `query_month` gives it.
            query: The query.
            sources: The tables that it reads: they are made, without rows, where they are missing.
            labels: The job's labels; "run" is the run's id.

        Returns:
            How many rows the month has now.
        """
        from google.cloud import bigquery

        with self._connected() as jobs:
            config = self._month_config(jobs, month, labels)
            config.destination = bigquery.TableReference.from_string(
                self._destination(table, month)
            )
            config.write_disposition = bigquery.WriteDisposition.WRITE_TRUNCATE
            config.create_disposition = bigquery.CreateDisposition.CREATE_NEVER
            for needed in sources:
                self._ensure(jobs, needed)
            location = self._ensure(jobs, table).location
            job = jobs.run_replacing(
                self._job_prefix(table, month),
                labels["run"],
                location,
                lambda job_id: jobs.client.query(
                    query,
                    config,
                    job_id=job_id,
                    location=location,
                    job_retry=None,
                    **jobs.call_options,
                ),
            )
            # one column of each row: there is no count that the client would not wait longer for
            column = schema_of(table)[:1]
            return len(list(jobs.client.list_rows(job.destination, column, **jobs.call_options)))

    def query_month(
        self, query: str, month: Month, labels: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """Return a query's rows, by column.

        Args:
            query: It names the dataset's tables alone.
            labels: The job's labels.
            month: It gets the month as two DATETIME parameters: @start, its first instant, and
                @end, the first after it.
        """
        with self._connected() as jobs:
            config = self._month_config(jobs, month, labels)
            return [dict(row) for row in jobs.query_rows(query, config)]

    def replace_view(self, view: View) -> None:
        """Make the view by one statement, or replace its definition where it is another."""
        with self._connected() as jobs:
            tables = [self._ensure(jobs, source) for source in view.sources]
            names = {source.name: self.sql_name(source) for source in view.sources}
            replace_view(jobs, view, self._table_id(view.table), names, tables[0].location)

    def tallies(
        self,
        table: Table,
        total: str | None,
        first: Month | None = None,
        last: Month | None = None,
    ) -> dict[Month, Tally]:
        """Tally a month-partitioned table by month; only the partitions of the months are read."""
        by_month, bounds = tally_query(self._table_id(table), table, total, first, last)
        with self._connected() as jobs:
            rows_by_month = rows_if_there(jobs, by_month, table, "tally", bounds)
            by_start = {(row.year, row.month): (row.trips, row.cents) for row in rows_by_month}
        rows_without_pickup, cents_without_pickup = by_start.pop((None, None), (0, 0))
        return {
            Month(*start): Tally(
                rows + rows_without_pickup,
                None if cents is None else cents + cents_without_pickup,
                rows_without_pickup,
            )
            for start, (rows, cents) in by_start.items()
        }

    def tally(self, table: Table) -> Tally:
        """Tally the rows of an unpartitioned table, which costs nothing; a missing one has none."""
        query = f"SELECT COUNT(*) AS trips FROM {self.sql_name(table)}"  # noqa: S608 - declared
        with self._connected() as jobs:
            return Tally(sum(row.trips for row in rows_if_there(jobs, query, table, "tally")), None)

    def mart_tallies(
        self, mart: Mart, service: Service, first: Month | None = None, last: Month | None = None
    ) -> dict[Month, Tally]:
        """Tally a service's trips in a mart by month.

        Args:
            mart: The mart.
            service: The service.
            first: The first month to tally; None for the mart's own first.
            last: The last month to tally; None for the mart's own last.

        Returns:
            The tally of each month that the mart has, if without trips of the service: its trips as
            rows, and the cents of its revenue, None for a service without a total. A missing mart
            has no months.
        """
        with self._connected() as jobs:
            return read_mart_tallies(jobs, self._table_id(mart.table), mart, service, first, last)

    def _month_config(
        self, jobs: Jobs, month: Month, labels: Mapping[str, str]
    ) -> "bigquery.QueryJobConfig":
        from google.cloud import bigquery

        bounds = {"start": month.start, "end": month.end}
        config = jobs.query_config(
            labels,
            (
                bigquery.ScalarQueryParameter(name, "DATETIME", bound)
                for name, bound in bounds.items()
            ),
        )
        config.default_dataset = self._dataset_id()
        return config

    def _destination(self, table: Table, month: Month | None) -> str:
        """Return what a job writes to: the month's partition, or without a month the table."""
        return f"{self._table_id(table)}${_partition(month)}" if month else self._table_id(table)

    def _job_prefix(self, table: Table, month: Month | None) -> str:
        """Return how the ids begin of all jobs that write there; a project has other datasets."""
        place = f"{table.name}_{_partition(month)}" if month else table.name
        return f"taxi_{self.dataset}_{place}_"

    def _table_id(self, table: Table) -> str:
        return f"{self._dataset_id()}.{table.name}"

    def _dataset_id(self) -> str:
        # BigQuery has no parameters for names: only plain ones may reach a query
        if not _PROJECT.fullmatch(self.project):
            raise PermanentError(f"TAXI_GCP_PROJECT: '{self.project}' is not a project's id.")
        if not _DATASET.fullmatch(self.dataset):
            raise PermanentError(
                f"TAXI_DATASET: '{self.dataset}' is not a dataset's name: letters, digits and _."
            )
        return f"{self.project}.{self.dataset}"

    def _ensure(self, jobs: Jobs, table: Table) -> "bigquery.Table":
        return ensure_table(jobs.client, table, self._table_id(table), jobs.call_options)

    @contextmanager
    def _connected(self) -> "Iterator[Jobs]":
        """Yield the project's jobs; say what to do about a dataset that is missing or not ours."""
        with classified("BigQuery", ADVICE, diagnose):
            yield Jobs(self._client, self.timeout, self.job_timeout, self.maximum_bytes_billed)

    @cached_property
    def _client(self) -> "bigquery.Client":
        from taxi_pipeline.io.google import GoogleBigQuery

        return GoogleBigQuery(project=self.project).client()


def _partition(month: Month) -> str:
    return f"{month.year:04}{month.month:02}"
