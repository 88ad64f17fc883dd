"""Published files, of either format, as a stream of batches in a table's canonical columns.

Reading loses nothing: a row that does not parse stays in the stream with its problem said, and
any row can be had again as it was published. Whether a row is a trip is for `cleaning` to judge.

A batch is a block of the file, so memory does not grow with the file.
"""

from pathlib import Path

from taxi_pipeline.tlc.reading.csv import CsvFile, examine_csv
from taxi_pipeline.tlc.reading.parquet import ParquetFile, examine_parquet, opened_parquet
from taxi_pipeline.tlc.reading.source import Batch, Examination, SourceFile
from taxi_pipeline.tlc.services import Table

__all__ = [
    "Batch",
    "Examination",
    "SourceFile",
    "examine",
    "open_published",
    "opened_parquet",
]


def open_published(path: Path, table: Table) -> SourceFile:
    """Open a published file by its ending: `.csv`, `.csv.gz` or `.parquet`.

    Raises `PermanentError` where the file is not what its name says or misses a required column.
    """
    if path.name.endswith(".parquet"):
        return ParquetFile.open(path, table)
    return CsvFile.open(path, table)


def examine(path: Path, first_rows: int) -> Examination:
    """Read a published file to its end, whatever its columns, and count its rows.

    Counting lines (CSV) or asking the footer (Parquet), it is independent of `open_published`; it
    decodes all there is, so that a file which passes can be read. Raises `PermanentError` where
    the file is broken or not of the format that its name says.
    """
    if path.name.endswith(".parquet"):
        return examine_parquet(path, first_rows)
    return examine_csv(path, first_rows)
