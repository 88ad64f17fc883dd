"""The warehouse: tables in BigQuery, loaded from the lake by load jobs or computed by queries.

No row passes through here: BigQuery reads the lake's Parquet itself. A job replaces its partition
in one step, so a query sees the old month or the new one. What a query computes is for who asks.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

import dagster as dg
from pydantic import Field

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import bigquery_fields
from taxi_pipeline.tlc.services import Table
from taxi_pipeline.tlc.tally import SUM_OF_CENTS, Tally

if TYPE_CHECKING:
    from google.cloud import bigquery


_PROJECT = re.compile(r"[a-z][a-z0-9.:-]*[a-z0-9]", re.ASCII)
_DATASET = re.compile(r"[A-Za-z0-9_]+", re.ASCII)


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The dataset. Google's client finds an emulator (BIGQUERY_EMULATOR_HOST) by itself."""

    title: ClassVar[str] = "BigQuery"  # as the ledger calls it

    project: str = Field(description="The Google Cloud project (TAXI_GCP_PROJECT).")
    dataset: str = Field(description="The dataset's name (TAXI_DATASET).")
    timeout: float = Field(default=60.0, description="Seconds to wait for the server's answer.")
    job_timeout: float = Field(default=1800.0, description="Seconds to wait for a job to end.")

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
        self, table: Table, month: Month, uri: str, rows: int, labels: dict[str, str]
    ) -> None:
        """Load the Parquet at a `gs://` URI in place of the month's partition.

        `rows` is the number that must arrive; raises `PermanentError` if another does.
        """
        self._load(table, self._partition_id(table, month), uri, rows, labels)

    def replace(self, table: Table, uri: str, rows: int, labels: dict[str, str]) -> None:
        """Load the Parquet at a `gs://` URI in place of the whole of an unpartitioned table."""
        self._load(table, self._table_id(table), uri, rows, labels)

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
        without rows, where they are missing.
        """
        from google.cloud import bigquery

        config = self._month_config(month)
        config.destination = bigquery.TableReference.from_string(self._partition_id(table, month))
        config.write_disposition = bigquery.WriteDisposition.WRITE_TRUNCATE
        config.create_disposition = bigquery.CreateDisposition.CREATE_NEVER
        config.labels = labels
        with self._connected() as client:
            for needed in (*sources, table):
                self._ensure(client, needed)
            job = client.query(query, config, timeout=self.timeout)
            return int(job.result(timeout=self.job_timeout).total_rows or 0)

    def query_month(self, query: str, month: Month) -> list[dict[str, Any]]:
        """Return a query's rows, by column.

        It names the dataset's tables alone, and gets the month as two DATETIME parameters: @start,
        its first instant, and @end, the first after it.
        """
        with self._connected() as client:
            rows = client.query_and_wait(
                query,
                job_config=self._month_config(month),
                api_timeout=self.timeout,
                wait_timeout=self.job_timeout,
            )
            return [dict(row) for row in rows]

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
        config = bigquery.QueryJobConfig(query_parameters=bounds)
        with self._connected() as client:
            try:
                found = client.query_and_wait(
                    by_month, job_config=config, wait_timeout=self.job_timeout
                )
            except NotFound as error:
                if "Table" in str(error.message):
                    return {}
                raise
            by_start = {(row.year, row.month): (row.trips, row.cents) for row in found}
            strays, stray_cents = by_start.pop((None, None), (0, 0.0))
            return {
                Month(*start): Tally.of_cents(
                    rows + strays, None if cents is None else cents + stray_cents, strays
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
        )

    def _partition_id(self, table: Table, month: Month) -> str:
        return f"{self._table_id(table)}${month.year:04}{month.month:02}"

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
        self, table: Table, destination: str, uri: str, rows: int, labels: dict[str, str]
    ) -> None:
        from google.cloud import bigquery

        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            # without a schema, a truncating load takes the file's and drops the descriptions
            schema=_schema(table),
            labels=labels,
        )
        with self._connected() as client:
            self._ensure(client, table)
            job = client.load_table_from_uri(
                uri, destination, job_config=config, timeout=self.timeout
            )
            job.result(timeout=self.job_timeout)
        if job.output_rows != rows:
            raise PermanentError(
                f"{destination}: {job.output_rows} rows arrived of {rows} in {uri}. "
                "Materialize the month again from `cleaned` on."
            )

    def _ensure(self, client: "bigquery.Client", table: Table) -> None:
        """Create the table if it is not there; add what was declared, or described anew, since."""
        from google.api_core.exceptions import NotFound
        from google.cloud import bigquery

        schema = _schema(table)
        wanted = bigquery.Table(self._table_id(table), schema=schema)
        wanted.description = table.description
        if table.partitioned_by:
            wanted.time_partitioning = bigquery.TimePartitioning(
                type_=bigquery.TimePartitioningType.MONTH, field=table.partitioned_by
            )
        try:
            found = client.get_table(wanted.reference, timeout=self.timeout)
        except NotFound:
            client.create_table(wanted, exists_ok=True, timeout=self.timeout)
            return
        described = {field.name: field.description for field in found.schema}
        if any(described.get(field.name) != field.description for field in schema):
            declared = {field.name: field for field in schema}
            # BigQuery adds columns at the end only, wherever they are declared
            present = [declared.pop(field.name, field) for field in found.schema]
            found.schema = [*present, *declared.values()]
            client.update_table(found, ["schema"], timeout=self.timeout)

    @contextmanager
    def _connected(self) -> "Iterator[bigquery.Client]":
        """Yield a client; say what to do about a dataset that is not there or not ours."""
        from google.api_core.exceptions import Forbidden, NotFound

        from taxi_pipeline.resources.google import BigQuery

        try:
            with BigQuery(project=self.project).get_client() as client:
                yield client
        except NotFound as error:
            raise PermanentError(
                f"BigQuery: {error.message}. Check TAXI_GCP_PROJECT and TAXI_DATASET, and that "
                "the dataset exists."
            ) from error
        except Forbidden as error:
            raise PermanentError(
                f"BigQuery refused us: {error.message}. Grant the credentials in use the right to "
                "run jobs in TAXI_GCP_PROJECT and to edit TAXI_DATASET."
            ) from error


def _schema(table: Table) -> "list[bigquery.SchemaField]":
    from google.cloud import bigquery

    return [bigquery.SchemaField.from_api_repr(field) for field in bigquery_fields(table)]
