"""What the ways work on: generated months, laid out as the publisher's, and forms made of them."""

import os
from pathlib import Path

from taxi_pipeline.local.generator import write_csv_gz, write_parquet
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHVHV, YELLOW

MONTH = Month(2021, 1)
ROWS = 1_369_765  # what TLC published of yellow 2021-01

BACKFILL = [Month(2020, number) for number in range(1, 13)]

# months of fhvhv, which TLC publishes as Parquet, by their rows
SIZES = {
    Month(2024, 1): 100_000,
    Month(2024, 2): 1_400_000,
    Month(2024, 3): 5_000_000,
    Month(2024, 4): 20_000_000,
}

_FOLDER = "TAXI_BENCHMARK_FOLDER"


def folder() -> Path:
    """Return where all of it lies."""
    return Path(os.environ[_FOLDER])


def set_folder(path: Path) -> None:
    """Let this process and those that it starts know where all of it lies."""
    os.environ[_FOLDER] = str(path)


def csv_gz() -> Path:
    """Return the published file that the steps are measured on."""
    return published() / f"releases/yellow/yellow_tripdata_{MONTH}.csv.gz"


def published() -> Path:
    """Return the publisher's folder."""
    return folder() / "published"


def prepared(name: str) -> Path:
    """Return where a form of the month's trips lies: trips.parquet, .csv, .bin or .arrow."""
    return folder() / "prepared" / name


def generate_yellow(month: Month) -> None:
    """Write the published file of a month of yellow, as large as the one that is measured."""
    path = csv_gz().with_name(f"yellow_tripdata_{month}.csv.gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv_gz(YELLOW, month, ROWS, path)


def generate_fhvhv(month: Month) -> None:
    """Write the published file of one of the months of `SIZES`."""
    path = published() / f"trip-data/fhvhv_tripdata_{month}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(FHVHV, month, SIZES[month], path)


def prepare() -> int:
    """Write the month's trips as Parquet, CSV, PostgreSQL's binary COPY and Arrow; count them."""
    import pyarrow as pa
    import pyarrow.csv as pacsv
    import pyarrow.parquet as pq
    from pgpq import ArrowToPostgresBinaryEncoder

    from taxi_pipeline.tlc.cleaning import clean_trips
    from taxi_pipeline.tlc.reading import open_published

    parquet = prepared("trips.parquet")
    parquet.parent.mkdir(parents=True, exist_ok=True)
    source = open_published(csv_gz(), YELLOW.trips)
    clean_trips(MONTH, source, parquet, prepared("rejected.parquet"))
    trips = pq.read_table(parquet)
    pacsv.write_csv(trips, prepared("trips.csv"), pacsv.WriteOptions(include_header=False))
    encoder = ArrowToPostgresBinaryEncoder(trips.schema)
    with (
        prepared("trips.bin").open("wb") as binary,
        pa.ipc.new_file(prepared("trips.arrow"), trips.schema) as arrow,
    ):
        binary.write(encoder.write_header())
        for batch in trips.to_batches(max_chunksize=1 << 16):
            binary.write(encoder.write_batch(batch))
            arrow.write_batch(batch)
        binary.write(encoder.finish())
    return len(trips)
