"""Small published files, and where a publisher has them."""

import gzip
from collections.abc import Sequence
from pathlib import Path

from taxi_pipeline.local.generator import write_csv_gz
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import Batch, open_published
from taxi_pipeline.tlc.services import GREEN, Table

from .headers import YELLOW_2019

YELLOW_HEADER = YELLOW_2019
TRIP = "1,2021-01-15 00:30:10,2021-01-15 00:36:12,1,2.10,1,N,142,43,2,8,3,0.5,0,0,0.3,11.8,2.5"


def trip(**cells: str) -> str:
    """Return `TRIP` with some cells changed, by published name."""
    names = YELLOW_HEADER.split(",")
    values = dict(zip(names, TRIP.split(","), strict=True))
    assert cells.keys() <= values.keys()
    return ",".join((values | cells).values())


# Where a publisher has yellow's months: the mirror, and TLC itself.
MIRRORED = "releases/yellow/yellow_tripdata_{}.csv.gz"
AT_TLC = "trip-data/yellow_tripdata_{}.parquet"


def in_month(month: str, **cells: str) -> str:
    """Return `trip` moved to a month, such as 2019-02."""
    return trip(**cells).replace("2021-01", month)


def csv_gz(*rows: str, header: str = YELLOW_HEADER) -> bytes:
    """Return a gzip'd CSV file of these rows."""
    return gzip.compress("".join(f"{line}\r\n" for line in (header, *rows)).encode(), mtime=0)


def write_csv(
    path: Path, rows: Sequence[str], header: str = YELLOW_HEADER, end: str = "\r\n"
) -> Path:
    """Write a CSV file, gzip'd if its name says so."""
    text = "".join(line + end for line in (header, *rows)).encode()
    path.write_bytes(gzip.compress(text, mtime=0) if path.name.endswith(".gz") else text)
    return path


def green_month(folder: Path, month: str, rows: int = 2_000) -> Path:
    """Generate a month of green trips, in a file of the published name."""
    path = folder / f"green_tripdata_{month}.csv.gz"
    write_csv_gz(GREEN, Month.parse(month), rows, path)
    return path


def read_batches(path: Path, table: Table) -> list[Batch]:
    """Read a published file to its end."""
    return list(open_published(path, table).each(lambda batch: batch))
