"""Small valid files of every era and form, for the fuzzer to begin with."""

import gzip
from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq

from taxi_pipeline.local.generator import first_parquet, write_csv_gz, write_parquet
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES
from taxi_pipeline_tests.fuzz.target import Hostile

_ROWS = 6
_CSV = {
    "yellow": ("2009-01", "2010-02", "2014-03", "2015-01", "2015-08", "2021-01"),
    "green": ("2013-08", "2015-02", "2016-08", "2021-01"),
    "fhv": ("2015-01", "2017-01", "2018-02", "2021-01"),
    "fhvhv": ("2019-02", "2021-06"),
}
_FORMS: tuple[dict[str, Any], ...] = (
    {"compression": "none"},
    {"compression": "none", "data_page_version": "2.0"},
    {"compression": "none", "use_dictionary": False, "write_page_checksum": True},
    {"compression": "snappy", "data_page_version": "2.0", "row_group_size": 2},
    {"compression": "zstd", "write_page_index": True},
    {"compression": "gzip", "use_deprecated_int96_timestamps": True},
    {"compression": "brotli", "store_schema": False},
    {"compression": "lz4", "use_dictionary": False, "data_page_size": 1},
)


def csv_seeds() -> Iterator[Hostile]:
    """Yield a CSV of every layout, plain and gzip'd."""
    for service, path, month in _months(_CSV):
        write_csv_gz(SERVICES[service], month, _ROWS, path)
        packed = path.read_bytes()
        yield Hostile(SERVICES[service], ".csv.gz", packed)
        yield Hostile(SERVICES[service], ".csv", gzip.decompress(packed))


def parquet_seeds() -> Iterator[Hostile]:
    """Yield a Parquet of every service, of its first month and a late one, in every form."""
    months = {name: (first_parquet(of).key, "2021-01", "2025-02") for name, of in SERVICES.items()}
    forms = cycle(_FORMS)
    for service, path, month in _months(months):
        write_parquet(SERVICES[service], month, _ROWS, path)
        table = pq.read_table(path)
        for _ in range(4):
            pq.write_table(table, path, **next(forms))
            yield Hostile(SERVICES[service], ".parquet", path.read_bytes())


def _months(of: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, Path, Month]]:
    with TemporaryDirectory() as folder:
        for service, months in of.items():
            for month in months:
                yield service, Path(folder) / "x", Month.parse(month)
