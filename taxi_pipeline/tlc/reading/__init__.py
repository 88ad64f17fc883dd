"""Published files, of every format, as a stream of batches in a table's canonical columns.

Reading loses nothing: a row that does not parse stays in the stream with its problem said, and
any row can be had again as it was published. Whether a row is a trip is for `cleaning` to judge.

A batch is a block of the file, so memory does not grow with the file.
"""

from pathlib import Path

from taxi_pipeline.tlc.reading.csv import CsvFile, examine_csv
from taxi_pipeline.tlc.reading.parquet import ParquetFile, examine_parquet, opened_parquet
from taxi_pipeline.tlc.reading.shapefiles import ShapeFile, examine_shapefile
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
    """Open a published file, and match its columns with the table's.

    Args:
        path: The file. Its ending says the format: `.parquet`, `.zip` for a shapefile, or else CSV,
            gzip'd if it is `.gz`.
        table: The table that the file is of.

    Raises:
        PermanentError: The file is not what its name says, or its columns do not match the table's
            (see `Header.match`).
    """
    if path.name.endswith(".parquet"):
        return ParquetFile.open(path, table)
    if path.name.endswith(".zip"):
        return ShapeFile.open(path, table)
    return CsvFile.open(path, table)


def examine(path: Path, first_rows: int) -> Examination:
    """Read a published file to its end, whatever its columns, and count its rows.

    It counts lines (CSV), decoded rows, which must be as many as the footer says (Parquet), or
    shapes, which must be as many as their records, and so is independent of `open_published`. It
    decodes all there is: a file which passes can be read.

    Args:
        path: The file; its ending says the format, as for `open_published`.
        first_rows: How many rows to show.

    Raises:
        PermanentError: The file is broken, or not of the format that its name says.
    """
    if path.name.endswith(".parquet"):
        return examine_parquet(path, first_rows)
    if path.name.endswith(".zip"):
        return examine_shapefile(path, first_rows)
    return examine_csv(path, first_rows)
