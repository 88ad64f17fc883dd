"""Published Parquet: slices of its row groups into batches.

What is looked at before Arrow believes a file belongs to `guard`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.concurrency import ordered_parallel_map
from taxi_pipeline.tlc.header import Header
from taxi_pipeline.tlc.reading.guard.limits import (
    check_footer,
    decoded_bytes,
    is_bytes,
    plan,
    slices,
    too_much,
    unpacked_limit,
)
from taxi_pipeline.tlc.reading.source import Batch, Examination, SourceFile, by_name
from taxi_pipeline.tlc.services import Table
from taxi_pipeline.tlc.text import printable
from taxi_pipeline.tlc.values import as_text

PARQUET_BATCH_ROWS = 1 << 16
PARQUET_BUFFER_BYTES = 1 << 18  # of a column at a time, of row groups of a million rows too


def examine_parquet(path: Path, first_rows: int) -> Examination:
    """Decode all of a Parquet file, and return its rows' number, its columns and the first rows.

    Args:
        path: The file.
        first_rows: How many rows to return, as texts; of the file's first batch at the most.

    Raises:
        PermanentError: The file is broken, is larger than `plan` takes, or has another number of
            rows than its footer says.
    """
    with opened_parquet(path) as file:
        rows: list[dict[str, str | None]] = []
        count = 0
        for batch in _parquet_batches(path, use_threads=True):
            rows = rows or [
                {
                    name: as_text(values, index)
                    for name, values in zip(batch.schema.names, batch.columns, strict=True)
                }
                for index in range(min(first_rows, len(batch)))
            ]
            count += len(batch)
        if count != file.metadata.num_rows:
            raise pa.ArrowInvalid(f"{file.metadata.num_rows} rows by the footer, but {count}")
        return Examination(count, file.schema_arrow, rows)


class ParquetFile(SourceFile):
    """A Parquet file, read a slice of its row groups at a time."""

    @classmethod
    def open(cls, path: Path, table: Table) -> Self:
        """Open the file, and match its columns with the table's.

        Raises:
            PermanentError: It is no whole Parquet file, or its columns do not match the table's.
        """
        with opened_parquet(path) as file:
            return cls(path, table, Header.match(file.schema_arrow.names, table, path.name))

    @property
    def published_schema(self) -> pa.Schema:
        """The file's own columns, and `line`, which is null."""
        with opened_parquet(self.path) as file:
            return file.schema_arrow.remove_metadata().append(pa.field("line", pa.string()))

    def each[T](self, work: Callable[[Batch], T]) -> Iterator[T]:
        """Stream the rows in slices of row groups."""
        schema = self.published_schema

        def batch(numbered: tuple[int, pa.RecordBatch]) -> Batch:
            first, published = numbered
            rows, problems = self._canonical(by_name(published), len(published))

            def as_published(indices: pa.Array) -> pa.RecordBatch:
                chosen = published.take(indices).columns
                decoded = [
                    values if values.type == field.type else values.dictionary_decode()
                    for values, field in zip(chosen, schema, strict=False)
                ]
                line = pa.nulls(len(indices), pa.string())
                return pa.record_batch([*decoded, line], schema=schema)

            numbers = pa.array(np.arange(first, first + len(published)))
            return Batch.with_problems(rows, problems, numbers, as_published)

        yield from ordered_parallel_map(lambda numbered: work(batch(numbered)), self._numbered())

    def _numbered(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        first = 1
        for published in _parquet_batches(self.path):
            yield first, published
            first += len(published)


def _parquet_batches(path: Path, use_threads: bool = False) -> Iterator[pa.RecordBatch]:
    """Stream a Parquet file's rows, so many at a time that they take bounded memory.

    Texts and bytes are dictionaries: few of them differ. With `use_threads` columns are decoded
    side by side; who has threads of their own is faster without.
    """
    with opened_parquet(path) as file:
        schema = file.schema_arrow
        planned = plan(path, PARQUET_BATCH_ROWS)
    texts = [
        field.name
        for field in schema
        if field.name in planned.dictionaries and is_bytes(field.type)
    ]
    unpacked = 0
    with opened_parquet(path, texts) as file:
        for batch in file.iter_batches(planned.rows, use_threads=use_threads):
            size = decoded_bytes(batch)
            unpacked += size
            if unpacked > unpacked_limit(path.stat().st_size):
                raise too_much(path, "more")
            yield from slices(batch, size)


@contextmanager
def opened_parquet(path: Path, as_dictionary: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file to stream it.

    Args:
        path: The file.
        as_dictionary: The columns to read as dictionaries.

    Yields:
        The file, which gives times in microseconds where it has them as INT96.

    Raises:
        PermanentError: The footer has more than `FOOTER_BYTES`, or it is no whole Parquet file: any
            error of Arrow's or of the operating system's says so, in the context, too.
    """
    check_footer(path)
    try:
        # with pre_buffer Arrow would keep all that has been read: memory would grow with the file
        with pq.ParquetFile(
            path,
            pre_buffer=False,
            buffer_size=PARQUET_BUFFER_BYTES,
            coerce_int96_timestamp_unit="us",
            read_dictionary=as_dictionary,
        ) as file:
            yield file
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise PermanentError(
            f"{path.name}: not a whole Parquet file, though its name says so: "
            f"{printable(str(error).strip().removesuffix('.'))}. "
            "Check what the publisher serves at its address, and fetch it again."
        ) from error
