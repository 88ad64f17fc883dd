"""A third sink, as somebody would add one: a folder with a Parquet file for each month of a table.

No file of the product knows it. A file is written under another name and takes its place by one
rename, so a reader opens the old one or the new one.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.sink import CleanedFile, Sink, Stamp
from taxi_pipeline.tlc.cells import fingerprint, tally_batches
from taxi_pipeline.tlc.column_tallies import ColumnTallies
from taxi_pipeline.tlc.conforming import conformed
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import DATE, DATETIME, INTEGER, NUMBER, TEXT, Table
from taxi_pipeline.tlc.tally import Tally, tally_parquet

_WHOLE = "all"  # the name of the file of a table without months
_STAMP = b"stamp"


class ParquetFolder(Sink):
    """A folder of Parquet files."""

    name = "parquet"
    title = "Parquet folder"
    kinds = frozenset({"parquet", "table"})
    pool = "parquet"
    types: ClassVar = {
        INTEGER: "INT32",
        NUMBER: "DOUBLE",
        TEXT: "STRING",
        DATETIME: "TIMESTAMP(isAdjustedToUTC=false)",
        DATE: "DATE",
    }
    variables: ClassVar = {"folder": "TAXI_PARQUET_FOLDER"}

    folder: str = Field(description="The folder (TAXI_PARQUET_FOLDER).")

    def replace(self, cleaned: CleanedFile, run_id: str) -> None:
        """Write the rows beside the file that is there, and rename it over that one."""
        target = self._file(cleaned.table, cleaned.month)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=target.parent, prefix=f".{run_id}", delete=False) as file:
                try:
                    written = self._write(Path(file.name), cleaned)
                    if written != cleaned.rows:
                        raise PermanentError(f"{target}: {written} rows arrived of {cleaned.rows}.")
                    os.replace(file.name, target)
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:
            raise TransientError(f"{target}: {error}.") from error

    def tallies(
        self,
        table: Table,
        total: str | None,
        first: Month | None = None,
        last: Month | None = None,
    ) -> dict[Month, Tally]:
        """Tally the months' files."""
        months = [month for month in self._months(table) if (first or month) <= month]
        files = {month: self._file(table, month) for month in months if month <= (last or month)}
        tallies = {month: self._tally(file, total) for month, file in files.items()}
        return {month: tally for month, tally in tallies.items() if tally.rows}

    def tally(self, table: Table) -> Tally:
        """Tally the table's one file."""
        file = self._file(table, None)
        return self._tally(file, None) if file.exists() else Tally(0, None)

    def stamps(self, table: Table) -> dict[Month | None, Stamp]:
        """Read the footer of each file."""
        files = Path(self.folder, table.name).glob("*.parquet")
        footers = {file.stem: pq.read_metadata(file).metadata[_STAMP] for file in files}
        return {
            None if name == _WHOLE else Month.parse(name): Stamp(*json.loads(footer))
            for name, footer in footers.items()
        }

    def column_tallies(self, table: Table, month: Month | None) -> ColumnTallies:
        """Tally the rows of a file."""
        return tally_batches(self._batches(table, month), table)

    def fingerprint(self, table: Table, month: Month | None) -> int:
        """Return the fingerprint of the rows of a file."""
        return fingerprint(self._batches(table, month), table)

    def uri(self, table: Table) -> str:
        """Return the table's folder."""
        return Path(self.folder, table.name).as_uri()

    def sql_name(self, table: Table) -> str:
        """Return the table as DuckDB reads it."""
        return f"read_parquet('{self.folder}/{table.name}/*.parquet', union_by_name = true)"

    def _file(self, table: Table, month: Month | None) -> Path:
        return Path(self.folder, table.name, f"{month or _WHOLE}.parquet")

    def _months(self, table: Table) -> Iterator[Month]:
        for file in sorted(Path(self.folder, table.name).glob("*.parquet")):
            if Month.is_key(file.stem):
                yield Month.parse(file.stem)

    def _write(self, path: Path, cleaned: CleanedFile) -> int:
        rows = 0
        with pq.ParquetWriter(path, arrow_schema(cleaned.table)) as writer:
            for batch in cleaned.batches():
                writer.write_batch(batch)
                rows += len(batch)
            stamp = cleaned.stamp.generation, cleaned.stamp.crc32c
            writer.add_key_value_metadata({_STAMP: json.dumps(stamp)})
        return rows

    def _batches(self, table: Table, month: Month | None) -> Iterator[pa.RecordBatch]:
        if (file := self._file(table, month)).exists():
            yield from conformed(pq.ParquetFile(file).iter_batches(), table, str(file))

    def _tally(self, file: Path, total: str | None) -> Tally:
        with file.open("rb") as opened:  # one version of the file, whatever replaces it
            has = total in pq.read_schema(opened).names
            opened.seek(0)
            tally = tally_parquet(opened, total if has else None)
        return tally if has or total is None else Tally(tally.rows, 0)
