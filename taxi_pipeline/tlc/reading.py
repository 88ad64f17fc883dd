"""Published files, of either format, as a stream of batches in a table's canonical columns.

Reading loses nothing: a row that does not parse stays in the stream with its problem said, and
any row can be had again as it was published. Whether a row is a trip is for `cleaning` to judge.

A batch is a block of the file, so memory does not grow with the file.
"""

import codecs
import csv
import gzip
import io
import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.header import Header
from taxi_pipeline.tlc.legible import legible
from taxi_pipeline.tlc.limits import (
    Unzipped,
    check_footer,
    decoded_bytes,
    is_bytes,
    plan,
    slices,
    too_much,
    unpacked_limit,
)
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import INTEGER, NUMBER, TEXT, UNKNOWN_WORDS, Column, Table
from taxi_pipeline.tlc.values import as_text, fit, shown

CSV_BLOCK_BYTES = 4 << 20
BLOCK_LINES = 1 << 17
LINE_LIMIT_BYTES = 1 << 20
HEADER_LIMIT_BYTES = 1 << 16
PARQUET_BATCH_ROWS = 1 << 17
SPARE_CELLS = 16  # of a row, empty, beyond the header's columns

GZIP_MAGIC = b"\x1f\x8b"

_CELLS_BYTES = 10_000  # of a line, for a preview

# a quoted cell, and its closing quote if it has one; Arrow, too, takes a quote for one only where
# a cell begins. Nothing is tried twice, or a long line would take for ever.
_QUOTED = re.compile(rb'(?<![^,])"[^"]*+(?:""[^"]*+)*+("?)')

type Problems = dict[int, str]


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
        self, published: Mapping[str, pa.Array], length: int
    ) -> tuple[pa.RecordBatch, Problems]:
        """Fit the published columns to the declared ones; what does not fit becomes a problem."""
        problems: Problems = {}
        words: dict[int, list[str]] = {}
        arrays: dict[str, pa.Array] = {}
        for column in self.table.columns:
            values = pa.nulls(length, column.type)
            for name in self.header.published_for(column):
                fitted = fit(published[name], column)
                for index in fitted.misfits:
                    said = f"{column.name}: {shown(published[name], index)} does not fit "
                    problems.setdefault(index, said + str(column.type))
                for index, word in fitted.words.items():
                    words.setdefault(index, []).append(f"{column.name}={word}")
                for index in _differing(values, fitted.values):
                    problems.setdefault(index, f"{column.name}: two columns differ")
                values = pc.coalesce(values, fitted.values)
            arrays[column.name] = values
        if words:
            noted = arrays[UNKNOWN_WORDS].to_pylist()
            for index, said_words in words.items():
                noted[index] = "; ".join(filter(None, (noted[index], *said_words)))
            arrays[UNKNOWN_WORDS] = pa.array(noted, TEXT)
        return pa.record_batch([*arrays.values()], schema=arrow_schema(self.table)), problems


def open_published(path: Path, table: Table) -> PublishedFile:
    """Open a published file by its ending: `.csv`, `.csv.gz` or `.parquet`.

    Raises `PermanentError` where the file is not what its name says or misses a required column.
    """
    if path.name.endswith(".parquet"):
        return _ParquetFile.open(path, table)
    return _CsvFile.open(path, table)


@dataclass(frozen=True)
class Examination:
    """What a published file holds at first sight: rows, columns, and the first rows as texts."""

    rows: int
    schema: pa.Schema
    first_rows: list[dict[str, str | None]]


def examine(path: Path, first_rows: int) -> Examination:
    """Read a published file to its end, whatever its columns, and count its rows.

    Counting lines (CSV) or asking the footer (Parquet), it is independent of `open_published`; it
    decodes all there is, so that a file which passes can be read. Raises `PermanentError` where
    the file is broken or not of the format that its name says.
    """
    if path.name.endswith(".parquet"):
        with opened_parquet(path) as file:
            rows: list[dict[str, str | None]] = []
            count = 0
            for batch in _parquet_batches(path):
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
    with _opened_csv(path) as stream:
        names = _csv_header(stream, path)
        count, first_lines, inside = 0, [], False
        while piece := stream.readline(LINE_LIMIT_BYTES + 1):
            if not inside and _is_row(piece.rstrip(b"\n")):
                inside = True
                count += 1
                if count <= first_rows:
                    first_lines.append(_text(piece[:_CELLS_BYTES]))
            if piece.endswith(b"\n"):
                inside = False
    rows = [dict(zip(names, _cells(line), strict=False)) for line in first_lines]
    return Examination(count, pa.schema([(name, pa.string()) for name in names]), rows)


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
        return pa.schema([(name, TEXT) for name in (*self.header.published, "line")])

    def batches(self) -> Iterator[Batch]:
        first = 2  # line 1 is the header
        with _opened_csv(self.path) as stream:
            _csv_header(stream, self.path)
            for lines in _blocks(stream):
                numbers = pa.array(range(first, first + len(lines)), pa.int64())
                first += len(lines)
                filled = [index for index, line in enumerate(lines) if _is_row(line)]
                if len(filled) < len(lines):
                    lines = [lines[index] for index in filled]
                    numbers = numbers.take(pa.array(filled, pa.int64()))
                if lines:
                    yield self._batch(lines, numbers)

    def _batch(self, lines: list[bytes], numbers: pa.Int64Array) -> Batch:
        rows, problems = self._rows(lines)

        def as_published(indices: pa.Array) -> pa.RecordBatch:
            chosen: list[int] = indices.to_pylist()
            no_texts: Problems = {}
            cells = self._texts([lines[index] for index in chosen], no_texts)
            line = [
                _text(lines[index]) if index in problems or place in no_texts else None
                for place, index in enumerate(chosen)
            ]
            return pa.record_batch(
                [*cells.values(), pa.array(line, TEXT)], schema=self.published_schema
            )

        return _batch(rows, problems, numbers, as_published)

    def _rows(self, lines: list[bytes]) -> tuple[pa.RecordBatch, Problems]:
        """Parse the lines all at once; if one is at fault, as texts, which show what is."""
        try:
            parsed = _parse_csv(lines, self.header.published, self._types)
        except pa.ArrowInvalid:
            pass
        else:
            rows, misfits = self._canonical(_by_name(parsed), len(lines))
            if not misfits:
                return rows, {}
        problems: Problems = {}
        rows, misfits = self._canonical(self._texts(lines, problems), len(lines))
        return rows, misfits | problems

    def _texts(self, lines: list[bytes], problems: Problems) -> dict[str, pa.Array]:
        """Split the lines into columns of texts; a line that cannot be is null and a problem."""
        found = {at: said for at, line in enumerate(lines) if (said := self._problem(line))}
        # in the order of their width, so that lines of one width are parsed together
        order = sorted({*range(len(lines))} - {*found}, key=lambda at: _width(lines[at]))
        more: Problems = {}
        parts = self._halving([lines[at] for at in order], 0, more)
        places = {at: place for place, at in enumerate(order)}
        parsed = pa.Table.from_batches(parts).take(
            pa.array(map(places.get, range(len(lines))), pa.int64())
        )
        problems.update(found)
        problems.update((order[place], problem) for place, problem in more.items())
        return {name: parsed[name].combine_chunks() for name in parsed.column_names}

    def _halving(
        self, lines: list[bytes], offset: int, problems: Problems
    ) -> Iterator[pa.RecordBatch]:
        """Parse the lines, halving a run that fails until it is of one width.

        Or until a line stands alone of which Arrow has more to say than `_problem`.
        """
        texts = dict.fromkeys(self.header.published, TEXT)
        try:
            yield _parse_csv(lines, self.header.published, texts)
        except pa.ArrowInvalid as error:
            if len(lines) == 1:
                problems[offset] = self._said(error)
                yield pa.record_batch([pa.nulls(1, TEXT) for _ in texts], names=list(texts))
            else:
                half = len(lines) // 2
                yield from self._halving(lines[:half], offset, problems)
                yield from self._halving(lines[half:], offset + half, problems)

    @property
    def _types(self) -> dict[str, pa.DataType]:
        """The types to parse the known columns as, by published name."""
        pairs = zip(self.header.published, self.header.columns, strict=True)
        return {name: _parsed_as(self.table[column]) for name, column in pairs if column}

    def _problem(self, line: bytes) -> str | None:
        """Say of a line alone what Arrow would, which takes a hundred times as long.

        Only a quote that is left open Arrow may call something else.
        """
        cells = line.removesuffix(b"\r")
        least = len(self.header.published)
        most = least + SPARE_CELLS
        if len(line) > LINE_LIMIT_BYTES:
            return f"CSV parse error: a line of more than {LINE_LIMIT_BYTES:,} bytes"
        if b"\0" in line:
            return "CSV parse error: a NUL byte"
        if line.count(b'"') % 2 or _is_open(line):
            return "CSV parse error: a quote is not closed"
        if b"\r" in cells:
            return "CSV parse error: a carriage return inside the line"
        width = _width(line)
        if not least <= width <= most:
            shown = cells if len(cells) <= 100 else cells[:96] + b" ..."
            expected = least if width < least else most
            return legible(
                f"CSV parse error: Expected {expected} columns, got {width}: "
                f"{shown.decode(errors='backslashreplace')}"
            )
        if width == least and line.isascii():
            return None
        values = _values(cells)
        for place, value in enumerate(values):
            try:
                value.decode()
            except UnicodeDecodeError:
                beyond = f"In CSV column #{place}"
                column = self.header.published[place] if place < least else beyond
                return legible(f"{column}: CSV conversion error to string: invalid UTF8 data")
        if any(values[least:]):
            return f"CSV parse error: a value beyond the header's {least} columns"
        return None

    def _said(self, error: pa.ArrowInvalid) -> str:
        """Arrow's message, with the column's name for its number and without the block's row."""
        message = str(error).replace("Row #1: ", "")
        names = dict(enumerate(self.header.published))
        named = re.sub(r"In CSV column #(\d+)", lambda m: names.get(int(m[1]), m[0]), message)
        return legible(named)


def _by_name(columns: pa.RecordBatch) -> dict[str, pa.Array]:
    return dict(zip(columns.schema.names, columns.columns, strict=True))


def _parsed_as(column: Column) -> pa.DataType:
    """Return the type that a CSV column is parsed as, before `fit` makes it the declared one."""
    if column.words:
        return TEXT
    return NUMBER if column.type == INTEGER else column.type  # some files write integers as 1.0


def _csv_header(stream: io.BufferedReader, path: Path) -> list[str]:
    line = stream.readline(HEADER_LIMIT_BYTES)
    if not line.strip():
        raise PermanentError(f"{path.name}: the file is empty: it has not even a header.")
    if len(line) == HEADER_LIMIT_BYTES or b"\r" in line.rstrip(b"\r\n") or b"\0" in line:
        raise PermanentError(
            f"{path.name}: the first line is no header: it has more than {HEADER_LIMIT_BYTES:,} "
            "bytes, a NUL or a carriage return inside. Check what the publisher serves at its "
            "address."
        )
    return _cells(_text(line).removeprefix("\ufeff"))  # a byte order mark


def _cells(line: str) -> list[str]:
    """Split a line into its cells; in them, a carriage return is escaped."""
    return next(csv.reader([line.replace("\r", r"\r")]))


def _is_row(line: bytes) -> bool:
    """Whether a line is a row: it is not blank, or so long that its rest may not be."""
    return bool(line.strip()) or len(line) > LINE_LIMIT_BYTES


def _blocks(stream: io.BufferedReader) -> Iterator[list[bytes]]:
    """Cut the rest of a file into blocks of whole lines, without their ends.

    Of a line longer than `LINE_LIMIT_BYTES`, so many bytes come first, then some of the others.
    """
    rest = b""
    while block := stream.read(CSV_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        rest = rest[: LINE_LIMIT_BYTES + 1]  # enough to know that it is too long
        for first in range(0, len(lines), BLOCK_LINES):  # of lines of next to nothing, millions
            yield lines[first : first + BLOCK_LINES]
    yield [rest]


def _parse_csv(
    lines: list[bytes], names: Sequence[str], types: Mapping[str, pa.DataType]
) -> pa.RecordBatch:
    """Parse whole lines into the columns of `types`; raise `pa.ArrowInvalid` unless each is a row.

    Only an empty cell is read as null: TLC's zones have the text N/A. Rows may have empty cells
    beyond the header's columns, as those of 2013 to 2016 do.
    """
    if not lines:
        return pa.record_batch([pa.nulls(0, t) for t in types.values()], names=list(types))
    if max(map(len, lines)) > LINE_LIMIT_BYTES:
        raise pa.ArrowInvalid(f"CSV parse error: a line of more than {LINE_LIMIT_BYTES:,} bytes")
    block = b"\n".join((*lines, b""))
    if block.startswith(codecs.BOM_UTF8):
        block = codecs.BOM_UTF8 + block  # Arrow takes one away, but this is a part of the cell
    if b"\0" in block:
        raise pa.ArrowInvalid("CSV parse error: a NUL byte")
    # else a quote or a carriage return would tie a line to others, and which depends on the block
    if b'"' in block and any(line.count(b'"') % 2 for line in lines):
        raise pa.ArrowInvalid("CSV parse error: a quote is not closed")
    if block.count(b"\r") != block.count(b"\r\n"):
        raise pa.ArrowInvalid("CSV parse error: a carriage return inside the line")
    width = min(_width(lines[0]), len(names) + SPARE_CELLS)
    beyond = [f"beyond column {n}" for n in range(len(names), width)]
    table = pacsv.read_csv(
        pa.BufferReader(block),
        pacsv.ReadOptions(
            column_names=[*names, *beyond], block_size=len(block) + 1, use_threads=False
        ),
        convert_options=pacsv.ConvertOptions(
            column_types={**types, **dict.fromkeys(beyond, TEXT)},
            include_columns=[*types, *beyond],
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    if table.num_rows != len(lines):
        raise pa.ArrowInvalid("CSV parse error: not one row a line")
    # a quote left open in another line ties it to the next, and there are too few rows
    if _is_open(lines[-1]):
        raise pa.ArrowInvalid("CSV parse error: a quote is not closed")
    if any(table[name].null_count < len(lines) for name in beyond):
        raise pa.ArrowInvalid(f"CSV parse error: a value beyond the header's {len(names)} columns")
    return table.select(list(types)).to_batches()[0]


def _width(line: bytes) -> int:
    """Count the cells of a line."""
    if b'"' not in line:
        return line.count(b",") + 1
    return _QUOTED.sub(b"", line).count(b",") + 1


def _is_open(line: bytes) -> bool:
    """Whether a quoted cell of the line does not end in it."""
    return not all(quoted[1] for quoted in _QUOTED.finditer(line))


def _values(line: bytes) -> list[bytes]:
    """Split a line whose quotes are closed into its cells' values."""
    commas = _QUOTED.sub(lambda quoted: quoted[0].replace(b",", b" "), line)
    values, at = [], 0
    for cell in commas.split(b","):
        value = line[at : at + len(cell)]
        if quoted := _QUOTED.match(value):
            value = quoted[0][1:-1].replace(b'""', b'"') + value[quoted.end() :]
        values.append(value)
        at += len(cell) + 1
    return values


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
                yield io.BufferedReader(Unzipped(unzipped, path), 1 << 20)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise PermanentError(
                    f"{path.name}: the gzip is broken or cut short: {error}. Fetch it again."
                ) from error


def _text(line: bytes) -> str:
    """Return a line as text without its line break; bytes that are no UTF-8 are escaped."""
    return line[:LINE_LIMIT_BYTES].rstrip(b"\r\n").decode(errors="backslashreplace")


# --- Parquet -----------------------------------------------------------------------------------


class _ParquetFile(PublishedFile):
    """A Parquet file, read a slice of its row groups at a time."""

    @classmethod
    def open(cls, path: Path, table: Table) -> Self:
        with opened_parquet(path) as file:
            return cls(path, table, Header.match(file.schema_arrow.names, table, path.name))

    @property
    def published_schema(self) -> pa.Schema:
        with opened_parquet(self.path) as file:
            return file.schema_arrow.remove_metadata().append(pa.field("line", pa.string()))

    def batches(self) -> Iterator[Batch]:
        schema = self.published_schema
        first = 1
        for published in _parquet_batches(self.path):
            rows, problems = self._canonical(_by_name(published), len(published))
            numbers = pa.array(range(first, first + len(published)), pa.int64())
            first += len(published)

            def as_published(
                indices: pa.Array, published: pa.RecordBatch = published
            ) -> pa.RecordBatch:
                chosen = published.take(indices)
                line = pa.nulls(len(chosen), pa.string())
                return pa.record_batch([*chosen.columns, line], schema=schema)

            yield _batch(rows, problems, numbers, as_published)


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Stream a Parquet file's rows, so many at a time that they take bounded memory."""
    with opened_parquet(path) as file:
        schema = file.schema_arrow.remove_metadata()
        planned = plan(path, PARQUET_BATCH_ROWS)
    texts = [
        field.name
        for field in schema
        if field.name in planned.dictionaries and is_bytes(field.type)
    ]
    unpacked = 0
    with opened_parquet(path, texts) as file:
        for batch in file.iter_batches(planned.rows):
            unpacked += decoded_bytes(batch)
            if unpacked > unpacked_limit(path.stat().st_size):
                raise too_much(path, "more")
            for part in slices(batch):
                decoded = [
                    values if values.type == of else values.dictionary_decode()
                    for values, of in zip(part.columns, schema.types, strict=True)
                ]
                yield pa.record_batch(decoded, schema=schema)


@contextmanager
def opened_parquet(path: Path, as_dictionary: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file to stream it, some columns as dictionaries; name it if it is broken."""
    check_footer(path)
    try:
        # with pre_buffer Arrow would keep all that has been read: memory would grow with the file
        with pq.ParquetFile(
            path,
            pre_buffer=False,
            coerce_int96_timestamp_unit="us",
            read_dictionary=as_dictionary,
        ) as file:
            yield file
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise PermanentError(
            f"{path.name}: not a whole Parquet file, though its name says so: "
            f"{legible(str(error).strip().removesuffix('.'))}. "
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


def _differing(one: pa.Array, other: pa.Array) -> list[int]:
    """Return the indices at which both have a value, and not the same."""
    if one.null_count == len(one):
        return []
    differ: pa.BooleanArray = pc.not_equal(one, other)
    return pc.indices_nonzero(differ.fill_null(False)).to_pylist()  # type: ignore[no-any-return]
