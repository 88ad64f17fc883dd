"""The warehouse: tables in BigQuery, loaded from the lake by load jobs or computed by queries.

No row passes through here: BigQuery reads the lake's Parquet itself. A job replaces its partition
in one step, so a query sees the old month or the new one. What a query computes is for who asks.

A job that replaces something has an id made of what it replaces and of what it puts there:

    taxi_<the dataset>_yellow_trips_202101_<the object's generation>_<the run>_1

So a second try finds the job whose answer was lost, instead of loading twice; and jobs of ours that
still write to the same place, for a run that was killed or beside us, are waited for.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import count
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

import dagster as dg
from pydantic import Field

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.classification import classified
from taxi_pipeline.resources.lake import LakeObject
from taxi_pipeline.resources.sql import CENTS, SUM_OF_CENTS
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import (
    DAILY_TRIPS,
    DATE,
    DATETIME,
    INTEGER,
    NUMBER,
    TEXT,
    Service,
    Table,
)
from taxi_pipeline.tlc.tally import Tally

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud import bigquery
    from google.cloud.bigquery.table import RowIterator


_PROJECT = re.compile(r"[a-z][a-z0-9.:-]*[a-z0-9]", re.ASCII)
_DATASET = re.compile(r"[A-Za-z0-9_]+", re.ASCII)

# The declared types as BigQuery's catalog spells them. A DATETIME has no zone, as TLC's times.
TYPES: "dict[pa.DataType, str]" = {
    INTEGER: "INT64",
    NUMBER: "FLOAT64",
    TEXT: "STRING",
    DATETIME: "DATETIME",
    DATE: "DATE",
}
_ALIASES = {"INTEGER": "INT64", "FLOAT": "FLOAT64"}  # as BigQuery's answers spell them
_WIDENED = {("INT64", "FLOAT64"), ("NUMERIC", "FLOAT64"), ("BIGNUMERIC", "FLOAT64")}
# No day of the mart has as many dollars: the cents of one put there by hand may be no integer.
_MOST_REVENUE = 10_000_000_000_000


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The dataset. Google's client finds an emulator (BIGQUERY_EMULATOR_HOST) by itself."""

    title: ClassVar[str] = "BigQuery"  # as the ledger calls it

    project: str = Field(description="The Google Cloud project (TAXI_GCP_PROJECT).")
    dataset: str = Field(description="The dataset's name (TAXI_DATASET).")
    timeout: float = Field(
        default=60,
        description="Seconds to wait for the server's next bytes (TAXI_BIGQUERY_TIMEOUT).",
    )
    job_timeout: float = Field(
        default=1800, description="Seconds that a job may take (TAXI_BIGQUERY_JOB_TIMEOUT)."
    )

    def uri(self, table: Table) -> str:
        """Return the table's address as Dagster's catalog shows it."""
        return f"bigquery://{self._table_id(table)}"

    def sql_name(self, table: Table) -> str:
        """Return the table's name as a query writes it."""
        return f"`{self._table_id(table)}`"

    def link(self, table: Table) -> str | None:
        """Return the table's page in Google's console; the emulator's tables have none."""
        if os.environ.get("BIGQUERY_EMULATOR_HOST"):
            return None
        named = {"p": self.project, "d": self.dataset, "t": table.name, "page": "table"}
        return f"https://console.cloud.google.com/bigquery?{urlencode(named)}"

    def replace_month(
        self, table: Table, month: Month, source: LakeObject, rows: int, labels: dict[str, str]
    ) -> None:
        """Load a Parquet object of the lake in place of the month's partition.

        `rows` is the number that must arrive; raises `PermanentError` if another does. BigQuery
        reads the newest object of that name: whether it was `source`, the lake can say afterwards.
        Of the job's `labels`, "run" is the run's id; raises `TransientError` where a job takes
        longer than `job_timeout`.
        """
        self._load(table, month, source, rows, labels)

    def replace(self, table: Table, source: LakeObject, rows: int, labels: dict[str, str]) -> None:
        """Load a Parquet object of the lake in place of the whole of an unpartitioned table.

        As `replace_month` loads it.
        """
        self._load(table, None, source, rows, labels)

    def replace_month_by_query(
        self,
        table: Table,
        month: Month,
        query: str,
        sources: Iterable[Table],
        labels: dict[str, str],
    ) -> int:
        """Put a query's rows in place of the month's partition; return how many they are.

        The query gets the month as `query_month` gives it. The `sources` that it reads are made,
        without rows, where they are missing. Of the job's `labels`, "run" is the run's id; raises
        `TransientError` where a job takes longer than `job_timeout`.
        """
        from google.cloud import bigquery

        config = self._month_config(month)
        config.destination = bigquery.TableReference.from_string(self._destination(table, month))
        config.write_disposition = bigquery.WriteDisposition.WRITE_TRUNCATE
        config.create_disposition = bigquery.CreateDisposition.CREATE_NEVER
        config.labels = labels
        with self._connect() as client:
            for needed in sources:
                self._ensure(client, needed)
            location = self._ensure(client, table).location
            job = self._run_replacing_job(
                client,
                self._job_prefix(table, month),
                labels["run"],
                location,
                lambda job_id: client.query(
                    query,
                    config,
                    job_id=job_id,
                    location=location,
                    job_retry=None,
                    **self._call_options,
                ),
            )
            # one column of each row: there is no count that the client would not wait longer for
            column = schema_of(table)[:1]
            return len(list(client.list_rows(job.destination, column, **self._call_options)))

    def query_month(self, query: str, month: Month) -> list[dict[str, Any]]:
        """Return a query's rows, by column.

        It names the dataset's tables alone, and gets the month as two DATETIME parameters: @start,
        its first instant, and @end, the first after it.
        """
        with self._connect() as client:
            return [dict(row) for row in self._query_rows(client, query, self._month_config(month))]

    def tallies(
        self,
        table: Table,
        total: str | None,
        first: Month | None = None,
        last: Month | None = None,
    ) -> dict[Month, Tally]:
        """Tally a month-partitioned table by month, from `first` to `last`; a missing one has none.

        `total` is the column to sum up. Only the partitions of those months are read. A row without
        a pick-up time, which nothing of ours loads, counts in every month: none may have it.
        """
        from google.api_core.exceptions import NotFound
        from google.cloud import bigquery

        conditions, bounds = ["TRUE"], []
        if first:
            conditions.append("pickup_datetime >= @first")
            bounds.append(bigquery.ScalarQueryParameter("first", "DATETIME", first.start))
        if last:
            conditions.append("pickup_datetime < @end")
            bounds.append(bigquery.ScalarQueryParameter("end", "DATETIME", last.end))
        cents = SUM_OF_CENTS.format(f"`{table[total].name}`") if total else "NULL"
        by_month = (
            "SELECT EXTRACT(YEAR FROM pickup_datetime) AS year, "  # noqa: S608 - declared names
            f"EXTRACT(MONTH FROM pickup_datetime) AS month, COUNT(*) AS trips, {cents} AS cents "
            f"FROM {self.sql_name(table)} WHERE pickup_datetime IS NULL OR "
            f"({' AND '.join(conditions)}) GROUP BY year, month"
        )
        config = bigquery.QueryJobConfig(
            query_parameters=bounds, job_timeout_ms=self._job_timeout_ms
        )
        with self._connect() as client:
            try:
                rows_by_month = self._query_rows(client, by_month, config)
            except NotFound as error:
                if "Table" in str(error.message):
                    return {}
                raise
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

    def _month_config(self, month: Month) -> "bigquery.QueryJobConfig":
        from google.cloud import bigquery

        bounds = {"start": month.start, "end": month.end}
        return bigquery.QueryJobConfig(
            default_dataset=self._dataset_id(),
            query_parameters=[
                bigquery.ScalarQueryParameter(name, "DATETIME", bound)
                for name, bound in bounds.items()
            ],
            job_timeout_ms=self._job_timeout_ms,
        )

    @property
    def _call_options(self) -> dict[str, Any]:
        """How a call is made: once, since it is steps that are tried again, and not for ever."""
        return {"retry": None, "timeout": self.timeout}

    @property
    def _job_timeout_ms(self) -> int:
        return int(self.job_timeout * 1000)

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

    def _load(
        self,
        table: Table,
        month: Month | None,
        source: LakeObject,
        rows: int,
        labels: dict[str, str],
    ) -> None:
        from google.cloud import bigquery

        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            # a column that was cleaned when it was still declared
            ignore_unknown_values=True,
            labels=labels,
            job_timeout_ms=self._job_timeout_ms,
        )
        destination = self._destination(table, month)
        with self._connect() as client:
            ensured = self._ensure(client, table)
            # without a schema, a truncating load takes the file's and drops the descriptions; a
            # column of somebody's own is in the table's alone
            config.schema = ensured.schema
            job = self._run_replacing_job(
                client,
                self._job_prefix(table, month),
                f"{source.generation}_{labels['run']}",
                ensured.location,
                lambda job_id: client.load_table_from_uri(
                    source.uri,
                    destination,
                    job_id=job_id,
                    location=ensured.location,
                    job_config=config,
                    **self._call_options,
                ),
            )
        if job.output_rows != rows:
            raise PermanentError(
                f"{destination}: {job.output_rows} rows arrived of {rows} in {source.uri}. "
                "Materialize the month again from `cleaned` on."
            )

    def _run_replacing_job[J: (bigquery.LoadJob, bigquery.QueryJob)](
        self,
        client: "bigquery.Client",
        prefix: str,
        name: str,
        location: str | None,
        start: Callable[[str], J],
    ) -> J:
        """Start a job by its id; return it when it is done.

        Where an earlier try has started it, that one is waited for, unless it failed. `prefix` is
        how the ids begin of all jobs that write to the same place, `name` what is this one's own.
        """
        from google.api_core.exceptions import Conflict

        self._await_others(client, prefix)
        numbers = count(1)
        while True:
            job_id = f"{prefix}{name}_{next(numbers)}"
            try:
                job = start(job_id)
            except Conflict:
                job = self._get_job(client, job_id, location)
                if self._wait_or_cancel(job).error_result:
                    continue
            return self._result_or_raise(job)

    def _get_job(self, client: "bigquery.Client", job_id: str, location: str | None) -> Any:
        """Return a job that BigQuery has said it knows, of the kind that was started."""
        from google.api_core.exceptions import NotFound

        try:
            return client.get_job(job_id, location=location, **self._call_options)
        except NotFound:  # as happens for a moment
            raise TransientError(
                f"BigQuery's job {job_id} has been started, but cannot be found yet."
            ) from None

    def _await_others(self, client: "bigquery.Client", prefix: str) -> None:
        """Wait for the jobs whose ids begin with `prefix`."""
        # pending ones first: one that begins to run in between is found twice, and not never
        for state in ("pending", "running"):
            for job in client.list_jobs(state_filter=state, **self._call_options):
                if job.job_id.startswith(prefix) and not self._wait(job):
                    raise TransientError(
                        f"BigQuery's job {job.job_id} still replaces the same rows after "
                        f"{self.job_timeout:g} seconds: wait for it, or cancel it."
                    )

    def _query_rows(
        self, client: "bigquery.Client", query: str, config: "bigquery.QueryJobConfig"
    ) -> "RowIterator":
        """Return a query's rows."""
        job = self._result_or_raise(
            client.query(query, config, job_retry=None, **self._call_options)
        )
        # not by the job's own method, which waits for two minutes at least
        return client.list_rows(job.destination, **self._call_options)

    def _result_or_raise[J: (bigquery.LoadJob, bigquery.QueryJob)](self, job: J) -> J:
        """Return a job when it is done; raise what it failed with."""
        error = self._wait_or_cancel(job).exception(timeout=self.timeout)
        if error:
            raise error
        return job

    def _wait_or_cancel[J: (bigquery.LoadJob, bigquery.QueryJob)](self, job: J) -> J:
        """Wait for a job; cancel it where it takes too long, or where we are interrupted."""
        try:
            ended = self._wait(job)
        except Exception:  # of the connection: the job goes on, and the next try finds it
            raise
        except BaseException:
            self._cancel(job)
            raise
        if not ended:
            self._cancel(job)
            raise TransientError(
                f"BigQuery's job {job.job_id} was cancelled: it took longer than "
                f"{self.job_timeout:g} seconds."
            )
        return job

    def _wait(self, job: "bigquery.LoadJob | bigquery.QueryJob") -> bool:
        """Wait for a job; return whether it is done within `job_timeout`."""
        from google.api_core.retry import exponential_sleep_generator

        deadline = monotonic() + self.job_timeout
        pauses = exponential_sleep_generator(initial=0.1, maximum=5)
        while not job.done(**self._call_options):
            if monotonic() > deadline:
                return False
            sleep(next(pauses))
        return True

    def _cancel(self, job: "bigquery.LoadJob | bigquery.QueryJob") -> None:
        with suppress(Exception):  # it has a limit of its own
            job.cancel(**self._call_options)

    def _ensure(self, client: "bigquery.Client", table: Table) -> "bigquery.Table":
        """Create the table if it is not there; add what was declared, or described anew, since.

        Return it: by its location BigQuery finds the jobs that write to it. Raises
        `PermanentError` where a column is another than is declared, or has to be filled by others.
        """
        from google.api_core.exceptions import Conflict, NotFound, PreconditionFailed
        from google.cloud import bigquery

        schema = schema_of(table)
        wanted = bigquery.Table(self._table_id(table), schema=schema)
        wanted.description = table.description
        if table.partitioned_by:
            wanted.time_partitioning = bigquery.TimePartitioning(
                type_=bigquery.TimePartitioningType.MONTH, field=table.partitioned_by
            )
        try:
            existing = client.get_table(wanted.reference, **self._call_options)
        except NotFound:
            try:
                existing = client.create_table(wanted, **self._call_options)
            except Conflict:  # another run was faster
                existing = client.get_table(wanted.reference, **self._call_options)
        self._check(table, existing.schema)
        described = {field.name: field.description for field in existing.schema}
        if any(described.get(field.name) != field.description for field in schema):
            declared = {field.name: field for field in schema}
            # BigQuery adds columns at the end only, wherever they are declared
            present = [declared.pop(field.name, field) for field in existing.schema]
            existing.schema = [*present, *declared.values()]
            try:
                client.update_table(existing, ["schema"], **self._call_options)
            except PreconditionFailed:
                raise TransientError(
                    f"{self.uri(table)} was changed by another run: run the month again."
                ) from None
        return existing

    def _check(self, table: Table, columns: "Iterable[bigquery.SchemaField]") -> None:
        """Raise `PermanentError` where a column of the table is not what it is declared as."""
        wanted = {field.name: _type(field) for field in schema_of(table)}
        for field in columns:
            declared, name = wanted.get(field.name), self.sql_name(table)
            where = f"BigQuery: the column {field.name} of {name} is {_type(field)}"
            if field.mode == "REQUIRED":
                raise PermanentError(
                    f"{where} and required, but may be null in the trips, or is not declared. "
                    f"Nothing was changed: run ALTER TABLE {name} ALTER COLUMN `{field.name}` "
                    "DROP NOT NULL."
                )
            if declared and declared != _type(field):
                change = (
                    f"run ALTER TABLE {name} ALTER COLUMN `{field.name}` SET DATA TYPE {declared}"
                    if (_type(field), declared) in _WIDENED
                    else "BigQuery cannot change that, so rename or drop the table, and run its "
                    "months again from `bigquery` on"
                )
                raise PermanentError(
                    f"{where}, and is declared as {declared}. Nothing was changed: {change}."
                )

    @contextmanager
    def _connect(self) -> "Iterator[bigquery.Client]":
        """Yield the client; say what to do about a dataset that is not there or not ours."""
        advice = {
            403: "Grant the credentials in use the right to run and list jobs in "
            "TAXI_GCP_PROJECT and to edit TAXI_DATASET.",
            404: "Check TAXI_GCP_PROJECT and TAXI_DATASET, and that the dataset exists.",
        }
        with classified("BigQuery", advice):
            yield self._client

    @cached_property
    def _client(self) -> "bigquery.Client":
        from taxi_pipeline.resources.google import BigQuery

        return BigQuery(project=self.project).client()

    def tally(self, table: Table) -> Tally:
        """Tally the rows of an unpartitioned table, which costs nothing; a missing one has none."""
        from google.api_core.exceptions import NotFound
        from google.cloud import bigquery

        query = f"SELECT COUNT(*) AS held FROM {self.sql_name(table)}"  # noqa: S608 - declared
        config = bigquery.QueryJobConfig(job_timeout_ms=self._job_timeout_ms)
        with self._connect() as client:
            try:
                (row,) = self._query_rows(client, query, config)
            except NotFound as error:
                if "Table" not in str(error.message):
                    raise
                return Tally(0, None)
        return Tally(row.held, None)

    def mart_tallies(
        self, service: Service, first: Month | None = None, last: Month | None = None
    ) -> dict[Month, Tally]:
        """Tally a service's trips in the mart of daily trips by month, from `first` to `last`.

        Each month that the mart has is there, if without trips of the service; a missing mart has
        none.
        """
        from google.api_core.exceptions import NotFound
        from google.cloud import bigquery

        conditions = ["day IS NOT NULL"]
        values = [bigquery.ScalarQueryParameter("service", "STRING", service.name)]
        if first:
            conditions.append("day >= @first")
            values.append(bigquery.ScalarQueryParameter("first", "DATE", first.start.date()))
        if last:
            conditions.append("day < @end")
            values.append(bigquery.ScalarQueryParameter("end", "DATE", last.end.date()))
        cents = (
            f"CASE WHEN service = @service AND ABS(revenue) < {_MOST_REVENUE} "
            f"THEN {CENTS.format('revenue')} "
            f"WHEN service = @service AND revenue IS NOT NULL THEN {_MOST_REVENUE * 100} ELSE 0 END"
        )
        by_month = (
            "SELECT EXTRACT(YEAR FROM day) AS year, "  # noqa: S608 - declared names
            "EXTRACT(MONTH FROM day) AS month, "
            "CAST(SUM(IF(service = @service, trips, 0)) AS BIGINT) AS trips, "
            f"CAST({f'SUM({cents})' if service.total else 'NULL'} AS BIGINT) AS cents "
            f"FROM {self.sql_name(DAILY_TRIPS)} WHERE {' AND '.join(conditions)} "
            "GROUP BY year, month"
        )
        config = bigquery.QueryJobConfig(
            query_parameters=values, job_timeout_ms=self._job_timeout_ms
        )
        with self._connect() as client:
            try:
                rows_by_month = self._query_rows(client, by_month, config)
            except NotFound as error:
                if "Table" not in str(error.message):
                    raise
                return {}
            return {
                Month(row.year, row.month): Tally(row.trips, row.cents) for row in rows_by_month
            }


def _partition(month: Month) -> str:
    return f"{month.year:04}{month.month:02}"


def _type(field: "bigquery.SchemaField") -> str:
    """Return a column's type as SQL spells it."""
    type_ = _ALIASES.get(field.field_type, field.field_type)
    return f"ARRAY<{type_}>" if field.mode == "REPEATED" else type_


def schema_of(table: Table) -> "list[bigquery.SchemaField]":
    """Return the table's columns as BigQuery's client takes them, each nullable and described."""
    from google.cloud import bigquery

    return [
        bigquery.SchemaField(column.name, TYPES[column.type], description=column.description)
        for column in table.columns
    ]
