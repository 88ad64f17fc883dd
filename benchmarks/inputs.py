"""What the ways work on: generated months, laid out as the publisher's, and forms made of them."""

import os
from dataclasses import dataclass
from pathlib import Path

from taxi_pipeline.local.generator import write_csv_gz, write_parquet
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHVHV, YELLOW, Service

ROWS = 1_369_765  # what TLC published of yellow 2021-01

_FOLDER = "TAXI_BENCHMARK_FOLDER"


@dataclass(frozen=True, eq=False)  # each is one of those below
class Published:
    """A generated month, as its publisher would have it; `suffix` says the format."""

    service: Service
    month: Month
    rows: int
    suffix: str = ".parquet"

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.service.name}_tripdata_{self.month}{self.suffix}"

    @property
    def path(self) -> Path:
        """Where it lies."""
        is_csv = self.suffix == ".csv.gz"
        return (
            published() / (f"releases/{self.service.name}" if is_csv else "trip-data") / self.name
        )

    def generate(self) -> None:
        """Write it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write = write_csv_gz if self.suffix == ".csv.gz" else write_parquet
        write(self.service, self.month, self.rows, self.path)


def _csv(month: Month, rows: int) -> Published:
    return Published(YELLOW, month, rows, ".csv.gz")


MEASURED = _csv(Month(2021, 1), ROWS)  # what a step is measured on that names no other file
MONTH = MEASURED.month
BACKFILL = [_csv(Month(2020, number), ROWS) for number in range(1, 13)]
CSVS = [_csv(Month(2021, 2), 300_000), MEASURED, _csv(Month(2021, 3), 5_000_000)]
PARQUETS = [
    Published(service, Month(2024, number), millions * 1_000_000)
    for service in (YELLOW, FHVHV)
    for number, millions in ((2, 1), (3, 5), (4, 20))
]
# what the whole job is run for
SIZES = [
    Published(FHVHV, Month(2024, 1), 100_000),
    *(file for file in PARQUETS if file.service is FHVHV),
]
BY_NAME = {file.name: file for file in (*BACKFILL, *CSVS, *PARQUETS, *SIZES)}


def folder() -> Path:
    """Return where all of it lies."""
    return Path(os.environ[_FOLDER])


def set_folder(path: Path) -> None:
    """Let this process and those that it starts know where all of it lies."""
    os.environ[_FOLDER] = str(path)


def published() -> Path:
    """Return the publisher's folder."""
    return folder() / "published"


def prepared(name: str) -> Path:
    """Return where a form of the month's trips lies: trips.parquet, .csv, .bin or .arrow."""
    return folder() / "prepared" / name


def written(name: str) -> Path:
    """Return where a way may write a file, which is deleted after it."""
    return folder() / "written" / name


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
    source = open_published(MEASURED.path, YELLOW.trips)
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
