"""Published files, of either format, as a stream of batches in a table's canonical columns.

Reading loses nothing: a row that does not parse stays in the stream with its problem said, and
any row can be had again as it was published. Whether a row is a trip is for `cleaning` to judge.

A batch is a block of the file, so memory does not grow with the file.
"""

import csv
import gzip
import io
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import INTEGER, NUMBER, TEXT, Column, Table

CSV_BLOCK_BYTES = 4 << 20
PARQUET_BATCH_ROWS = 1 << 17

GZIP_MAGIC = b"\x1f\x8b"

type Problems = dict[int, str]


@dataclass(frozen=True)
class Header:
    """The columns that a file has, matched with those that its table declares.

    `columns` holds the canonical name of each published column, or None for an unknown one.
    """

    published: tuple[str, ...]
    columns: tuple[str | None, ...]

    @classmethod
    def match(cls, published: Sequence[str], table: Table, file: str) -> Self:
        """Match published names with the table's; raise `PermanentError` for one missing or twice.

        Names are compared without case and outer spaces, which differ from month to month.
        """
        known = {
            _plain(name): column.name
            for column in table.columns
            for name in (column.name, *column.published_as)
        }
        columns = tuple(known.get(_plain(name)) for name in published)
        found = [name for name in columns if name is not None]
        listed = ", ".join(published)
        missing = [c for c in table.columns if c.required and c.name not in found]
        if missing:
            names = ", ".join(_names(column) for column in missing)
            raise PermanentError(
                f"{file}: the required column {names} is missing; the file has: {listed}. "
                "Check that it is the right file; a renamed column is declared in tlc/services.py."
            )
        if len(set(found)) < len(found) or len(set(published)) < len(published):
            raise PermanentError(f"{file}: a column appears twice; the file has: {listed}.")
        return cls(tuple(published), columns)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The published columns that the table does not declare."""
        pairs = zip(self.published, self.columns, strict=True)
        return tuple(name for name, column in pairs if column is None)


@dataclass(frozen=True)
class Batch:
    """A run of published rows.

    `rows` has the table's canonical schema, with nulls in a row that does not parse; `problems`
    holds that row's problem (string), null for all others; `numbers` the row's number in the file
    (int64; for CSV the line's, from 1). `as_published` returns the rows at some indices with the
    file's own columns and, in `line`, a CSV line that does not parse.
    """

    rows: pa.RecordBatch
    problems: pa.StringArray
    numbers: pa.Int64Array
    as_published: Callable[[pa.Array], pa.RecordBatch]


class PublishedFile(ABC):
    """A published file that can be streamed. Made by `open_published`."""

    def __init__(self, path: Path, table: Table, header: Header) -> None:
        self.path = path
        self.table = table
        self.header = header

    @property
    @abstractmethod
    def published_schema(self) -> pa.Schema:
        """The schema of `Batch.as_published`: the file's own columns, and `line`."""

    @abstractmethod
    def batches(self) -> Iterator[Batch]:
        """Stream the file's rows in order; raise `PermanentError` where the file is broken."""

    def _canonical(
        self, columns: dict[str, pa.Array], length: int
    ) -> tuple[pa.RecordBatch, Problems]:
        """Cast the columns to the declared types; a value that does not fit becomes a problem."""
        problems: Problems = {}
        arrays: list[pa.Array] = []
        for column in self.table.columns:
            values = columns.get(column.name)
            if values is None:
                arrays.append(pa.nulls(length, column.type))
                continue
            fitted, misfits = _fit(values, column.type)
            arrays.append(fitted)
            for index in misfits:
                problems.setdefault(
                    index, f"{column.name}: {values[index].as_py()!r} does not fit {column.type}"
                )
        return pa.record_batch(arrays, schema=arrow_schema(self.table)), problems


def open_published(path: Path, table: Table) -> PublishedFile:
    """Open a published file by its ending: `.csv`, `.csv.gz` or `.parquet`.

    Raises `PermanentError` where the file is not what its name says or misses a required column.
    """
    if path.name.endswith(".parquet"):
        return _ParquetFile.open(path, table)
    return _CsvFile.open(path, table)


@dataclass(frozen=True)
class Examination:
    """What a published file holds at first sight: rows, its own columns, its first rows."""

    rows: int
    schema: pa.Schema
    first_rows: list[dict[str, Any]]


def examine(path: Path, first_rows: int) -> Examination:
    """Read a published file to its end, whatever its columns, and count its rows.

    Counting lines (CSV) or asking the footer (Parquet), it is independent of `open_published`; it
    decodes all there is, so that a file which passes can be read. Raises `PermanentError` where
    the file is broken or not of the format that its name says.
    """
    if path.name.endswith(".parquet"):
        with _opened_parquet(path) as file:
            rows: list[dict[str, Any]] = []
            for batch in file.iter_batches(PARQUET_BATCH_ROWS):
                rows = rows or batch.slice(0, first_rows).to_pylist()
            return Examination(file.metadata.num_rows, file.schema_arrow, rows)
    with _opened_csv(path) as stream:
        names = _csv_header(stream, path)
        lines = (line for line in stream if line.strip())
        first_lines = list(islice(lines, first_rows))
        count = len(first_lines) + sum(1 for _ in lines)
    reader = csv.DictReader(map(_text, first_lines), names, restkey="", restval=None)
    return Examination(count, pa.schema([(name, pa.string()) for name in names]), list(reader))


# --- CSV ---------------------------------------------------------------------------------------


class _CsvFile(PublishedFile):
    """A CSV file, plain or gzip'd: a line is a row, since no published cell holds a line break."""

    @classmethod
    def open(cls, path: Path, table: Table) -> Self:
        with _opened_csv(path) as stream:
            names = _csv_header(stream, path)
        return cls(path, table, Header.match(names, table, path.name))

    @property
    def published_schema(self) -> pa.Schema:
        return pa.schema([pa.field(name, pa.string()) for name in (*self.header.published, "line")])

    def batches(self) -> Iterator[Batch]:
        first = 2  # line 1 is the header
        with _opened_csv(self.path) as stream:
            stream.readline()
            while lines := stream.readlines(CSV_BLOCK_BYTES):
                numbers = pa.array(range(first, first + len(lines)), pa.int64())
                first += len(lines)
                filled = [index for index, line in enumerate(lines) if line.strip()]
                if len(filled) < len(lines):
                    lines, numbers = (
                        [lines[index] for index in filled],
                        numbers.take(pa.array(filled, pa.int64())),
                    )
                if lines:
                    yield self._batch(lines, numbers)

    def _batch(self, lines: list[bytes], numbers: pa.Int64Array) -> Batch:
        problems: Problems = {}
        parsed = pa.Table.from_batches(self._parse(lines, 0, problems)).combine_chunks()
        names = [column for column in self.header.columns if column]
        columns = [column.chunk(0) for column in parsed.columns]
        rows, misfits = self._canonical(dict(zip(names, columns, strict=True)), len(lines))
        unparsed = frozenset(problems)

        def as_published(indices: pa.Array) -> pa.RecordBatch:
            chosen: list[int] = indices.to_pylist()
            parsable = [index for index in chosen if index not in unparsed]
            texts = dict.fromkeys(self.header.published, pa.string())
            cells = _parse_csv([lines[index] for index in parsable], self.header.published, texts)
            place = {index: place for place, index in enumerate(parsable)}
            order = pa.array([place.get(index) for index in chosen], pa.int64())
            line = [_text(lines[index]) if index in unparsed else None for index in chosen]
            return pa.record_batch(
                [*(values.take(order) for values in cells.columns), pa.array(line, pa.string())],
                schema=self.published_schema,
            )

        return _batch(rows, misfits | problems, numbers, as_published)

    def _parse(
        self, lines: list[bytes], offset: int, problems: Problems
    ) -> Iterator[pa.RecordBatch]:
        """Parse the lines, halving a run that fails until the lines at fault stand alone."""
        types = self._types
        try:
            yield _parse_csv(lines, self.header.published, types)
        except pa.ArrowInvalid as error:
            if len(lines) == 1:
                problems[offset] = self._said(error)
                yield pa.record_batch([pa.nulls(1, t) for t in types.values()], names=list(types))
            else:
                half = len(lines) // 2
                yield from self._parse(lines[:half], offset, problems)
                yield from self._parse(lines[half:], offset + half, problems)

    @property
    def _types(self) -> dict[str, pa.DataType]:
        """The types to parse the known columns as, by published name.

        Integers are parsed as numbers, since some files write them as 1.0; `_fit` narrows them.
        """
        declared = {column.name: column.type for column in self.table.columns}
        pairs = zip(self.header.published, self.header.columns, strict=True)
        return {
            name: NUMBER if declared[column] == INTEGER else declared[column]
            for name, column in pairs
            if column
        }

    def _said(self, error: pa.ArrowInvalid) -> str:
        """Arrow's message, with the column's name for its number and without the block's row."""
        message = str(error).replace("Row #1: ", "")
        return re.sub(r"In CSV column #(\d+)", lambda m: self.header.published[int(m[1])], message)


def _csv_header(stream: io.BufferedReader, path: Path) -> list[str]:
    line = stream.readline(CSV_BLOCK_BYTES)
    if not line.strip():
        raise PermanentError(f"{path.name}: the file is empty: it has not even a header.")
    return next(csv.reader([_text(line)]))


def _parse_csv(
    lines: list[bytes], names: Sequence[str], types: Mapping[str, pa.DataType]
) -> pa.RecordBatch:
    """Parse whole lines into the columns of `types`; raise `pa.ArrowInvalid` unless each is a row.

    Only an empty cell is read as null: TLC's zones have the text N/A.
    """
    block = b"".join(lines)
    if b"\0" in block:
        raise pa.ArrowInvalid("CSV parse error: a NUL byte")
    # else a quote or a carriage return would tie a line to others, and which depends on the block
    if b'"' in block and any(line.count(b'"') % 2 for line in lines):
        raise pa.ArrowInvalid("CSV parse error: a quote is not closed")
    if block.count(b"\r") != block.count(b"\r\n"):
        raise pa.ArrowInvalid("CSV parse error: a carriage return inside the line")
    if not lines:
        return pa.record_batch([pa.nulls(0, t) for t in types.values()], names=list(types))
    table = pacsv.read_csv(
        pa.BufferReader(block),
        pacsv.ReadOptions(column_names=list(names), block_size=len(block) + 1, use_threads=False),
        convert_options=pacsv.ConvertOptions(
            column_types=dict(types),
            include_columns=list(types),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    if table.num_rows != len(lines):
        raise pa.ArrowInvalid("CSV parse error: not one row a line")
    return table.to_batches()[0]


@contextmanager
def _opened_csv(path: Path) -> Iterator[io.BufferedReader]:
    """Open a CSV file's text, unzipped where its name says `.gz`; name the file if it is broken."""
    with path.open("rb") as file:
        if not path.name.endswith(".gz"):
            yield file
            return
        if file.peek(2)[:2] != GZIP_MAGIC:
            raise PermanentError(
                f"{path.name}: not a gzip file, though its name says so; it begins with "
                f"{file.peek(16)[:16]!r}. Check what the publisher serves at its address."
            )
        with gzip.GzipFile(fileobj=file) as unzipped:
            try:
                yield io.BufferedReader(unzipped, 1 << 20)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise PermanentError(
                    f"{path.name}: the gzip is broken or cut short: {error}. Fetch it again."
                ) from error


def _text(line: bytes) -> str:
    """Return a line as text without its line break; bytes that are no UTF-8 are escaped."""
    return line.rstrip(b"\r\n").decode(errors="backslashreplace")


# --- Parquet -----------------------------------------------------------------------------------


class _ParquetFile(PublishedFile):
    """A Parquet file, read a slice of its row groups at a time."""

    @classmethod
    def open(cls, path: Path, table: Table) -> Self:
        with _opened_parquet(path) as file:
            return cls(path, table, Header.match(file.schema_arrow.names, table, path.name))

    @property
    def published_schema(self) -> pa.Schema:
        with _opened_parquet(self.path) as file:
            return file.schema_arrow.remove_metadata().append(pa.field("line", pa.string()))

    def batches(self) -> Iterator[Batch]:
        schema = self.published_schema
        first = 1
        with _opened_parquet(self.path) as file:
            for published in file.iter_batches(PARQUET_BATCH_ROWS):
                pairs = zip(self.header.columns, published.columns, strict=True)
                rows, problems = self._canonical(
                    {column: values for column, values in pairs if column}, len(published)
                )
                numbers = pa.array(range(first, first + len(published)), pa.int64())
                first += len(published)

                def as_published(
                    indices: pa.Array, published: pa.RecordBatch = published
                ) -> pa.RecordBatch:
                    chosen = published.take(indices)
                    line = pa.nulls(len(chosen), pa.string())
                    return pa.record_batch([*chosen.columns, line], schema=schema)

                yield _batch(rows, problems, numbers, as_published)


@contextmanager
def _opened_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; name it if it is none or is broken."""
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        raise PermanentError(
            f"{path.name}: not a whole Parquet file, though its name says so: {error}. "
            "Check what the publisher serves at its address, and fetch it again."
        ) from error


# --- what both formats share -------------------------------------------------------------------


def _batch(
    rows: pa.RecordBatch,
    problems: Problems,
    numbers: pa.Int64Array,
    as_published: Callable[[pa.Array], pa.RecordBatch],
) -> Batch:
    said = pa.nulls(len(rows), pa.string())
    if problems:
        said = pa.array([problems.get(index) for index in range(len(rows))], pa.string())
    return Batch(rows, said, numbers, as_published)


def _fit(values: pa.Array, declared: pa.DataType) -> tuple[pa.Array, list[int]]:
    """Cast values to the declared type without loss; return also the indices that do not fit."""
    try:
        fitted = values.cast(declared)
        if declared == TEXT and pc.any(held := pc.match_substring(fitted, "\0")).as_py():
            # PostgreSQL's text cannot hold a NUL
            return fitted, np.flatnonzero(held.fill_null(False)).tolist()
        return fitted, []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py():
            # pandas writes a null as NaN; as an integer it can only mean that
            return _fit(pc.if_else(pc.is_nan(values), None, values), declared)
        if len(values) == 1:
            return pa.nulls(1, declared), [0]
        half = len(values) // 2
        left, left_misfits = _fit(values[:half], declared)
        right, right_misfits = _fit(values[half:], declared)
        misfits = left_misfits + [half + index for index in right_misfits]
        return pa.concat_arrays([left, right]), misfits


def _plain(name: str) -> str:
    return name.strip().casefold()


def _names(column: Column) -> str:
    return " or ".join(f"'{name}'" for name in (*column.published_as, column.name))
