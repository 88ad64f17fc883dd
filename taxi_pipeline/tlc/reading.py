"""Published files, of either format, as a stream of batches in a table's canonical columns.

Reading loses nothing: a row that does not parse stays in the stream with its problem said, and
any row can be had again as it was published. Whether a row is a trip is for `cleaning` to judge.

A batch is a block of the file, so memory does not grow with the file.
"""

import codecs
import csv
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from isal import igzip
from isal.igzip_lib import IsalError

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc import lines as csv_lines
from taxi_pipeline.tlc.concurrency import ordered_parallel_map
from taxi_pipeline.tlc.header import Header
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
from taxi_pipeline.tlc.lines import Lines
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import INTEGER, NUMBER, TEXT, UNKNOWN_WORDS, Column, Table
from taxi_pipeline.tlc.text import printable
from taxi_pipeline.tlc.values import as_text, cast_column, shown

HEADER_LIMIT_BYTES = 1 << 16
PARQUET_BATCH_ROWS = 1 << 15
PARQUET_BUFFER_BYTES = 1 << 18  # of a column at a time, of row groups of a million rows too
SPARE_CELLS = 16  # of a row, empty, beyond the header's columns

GZIP_MAGIC = b"\x1f\x8b"

# Other allocators keep what threads have freed, and memory would grow with the month.
if "jemalloc" in pa.supported_memory_backends():
    pa.set_memory_pool(pa.jemalloc_memory_pool())

_CELLS_BYTES = 10_000  # of a line, for a preview

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


class SourceFile(ABC):
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
    def each[T](self, work: Callable[[Batch], T]) -> Iterator[T]:
        """Stream the file's rows in order: yield what `work` makes of each batch of them.

        Threads read the next batches, and work on them, before they are asked for. Raises
        `PermanentError` where the file is broken.
        """

    def _canonical(
        self, published: Mapping[str, pa.Array], length: int
    ) -> tuple[pa.RecordBatch, Problems]:
        """Fit the published columns to the declared ones; what does not fit becomes a problem."""
        problems: Problems = {}
        words: dict[int, list[str]] = {}
        arrays: dict[str, pa.Array] = {}
        for column in self.table.columns:
            values = None
            for name in self.header.published_for(column):
                fitted = cast_column(published[name], column)
                for index in fitted.invalid_rows:
                    problem = f"{column.name}: {shown(published[name], index)} does not fit "
                    below = f" below {column.limit:,.0f}" if column.type == NUMBER else ""
                    problems.setdefault(index, f"{problem}{column.type}{below}")
                for index, word in fitted.words.items():
                    words.setdefault(index, []).append(f"{column.name}={word}")
                if values is None:
                    values = fitted.values
                else:
                    for index in _differing_rows(values, fitted.values):
                        problems.setdefault(index, f"{column.name}: two columns differ")
                    values = pc.coalesce(values, fitted.values)
            arrays[column.name] = pa.nulls(length, column.type) if values is None else values
        if words:
            noted = arrays[UNKNOWN_WORDS].to_pylist()
            for index, said_words in words.items():
                noted[index] = "; ".join(filter(None, (noted[index], *said_words)))
            arrays[UNKNOWN_WORDS] = pa.array(noted, TEXT)
        return pa.record_batch([*arrays.values()], schema=arrow_schema(self.table)), problems


def open_published(path: Path, table: Table) -> SourceFile:
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
        while piece := stream.readline(csv_lines.LINE_LIMIT_BYTES + 1):
            # a blank line is none, unless it is so long that its rest may not be blank
            if not inside and (
                not piece.isspace() or len(piece.rstrip(b"\n")) > csv_lines.LINE_LIMIT_BYTES
            ):
                inside = True
                count += 1
                if count <= first_rows:
                    first_lines.append(csv_lines.text_of(piece[:_CELLS_BYTES]))
            if piece.endswith(b"\n"):
                inside = False
    rows = [dict(zip(names, _cells(line), strict=False)) for line in first_lines]
    return Examination(count, pa.schema([(name, pa.string()) for name in names]), rows)


# --- CSV ---------------------------------------------------------------------------------------


class _CsvFile(SourceFile):
    """A CSV file, plain or gzip'd: a line is a row, since no published cell holds a line break."""

    @classmethod
    def open(cls, path: Path, table: Table) -> Self:
        with _opened_csv(path) as stream:
            names = _csv_header(stream, path)
        return cls(path, table, Header.match(names, table, path.name))

    @property
    def published_schema(self) -> pa.Schema:
        return pa.schema([(name, TEXT) for name in (*self.header.published, "line")])

    def each[T](self, work: Callable[[Batch], T]) -> Iterator[T]:
        with _opened_csv(self.path) as stream:
            _csv_header(stream, self.path)
            blocks = filter(len, csv_lines.blocks(stream, first=2))
            yield from ordered_parallel_map(lambda lines: work(self._batch(lines)), blocks)

    def _batch(self, lines: Lines) -> Batch:
        rows, problems = self._rows(lines)

        def as_published(indices: pa.Array) -> pa.RecordBatch:
            chosen: list[int] = indices.to_pylist()
            no_texts: Problems = {}
            names = self.header.published
            cells = self._texts([lines[index] for index in chosen], names, no_texts)
            line = [
                csv_lines.text_of(lines[index]) if index in problems or place in no_texts else None
                for place, index in enumerate(chosen)
            ]
            return pa.record_batch(
                [*cells.values(), pa.array(line, TEXT)], schema=self.published_schema
            )

        return _batch(rows, problems, pa.array(lines.numbers), as_published)

    def _rows(self, lines: Lines) -> tuple[pa.RecordBatch, Problems]:
        """Parse the lines all at once; if one is at fault, as texts, which show what is."""
        try:
            parsed = _parse_csv(lines, self.header.published, self._types(lines))
        except pa.ArrowInvalid:
            pass
        else:
            rows, invalid_rows = self._canonical(_by_name(parsed), len(lines))
            if not invalid_rows:
                return rows, {}
        problems: Problems = {}
        texts = self._texts(list(lines), [*self._declared_columns], problems)
        rows, invalid_rows = self._canonical(texts, len(lines))
        return rows, invalid_rows | problems

    def _texts(
        self, lines: list[bytes], names: Sequence[str], problems: Problems
    ) -> dict[str, pa.Array]:
        """Split the lines into texts, of the columns of those names.

        A line that cannot be split, or is no text there, is null and a problem.
        """
        with suppress(pa.ArrowInvalid):
            return _by_name(self._parse_texts(lines, names))
        unsplit = {
            at: problem for at, line in enumerate(lines) if (problem := self._problem(line, names))
        }
        # in the order of their width, so that lines of one width are parsed together
        order = sorted({*range(len(lines))} - {*unsplit}, key=lambda at: csv_lines.width(lines[at]))
        more: Problems = {}
        parts = self._halving([lines[at] for at in order], names, 0, more)
        places = {at: place for place, at in enumerate(order)}
        parsed = pa.Table.from_batches(parts).take(
            pa.array(map(places.get, range(len(lines))), pa.int64())
        )
        problems.update(unsplit)
        problems.update((order[place], problem) for place, problem in more.items())
        return {name: parsed[name].combine_chunks() for name in parsed.column_names}

    def _halving(
        self, lines: list[bytes], names: Sequence[str], offset: int, problems: Problems
    ) -> Iterator[pa.RecordBatch]:
        """Parse the lines, halving a run that fails until it is of one width.

        Or until a line stands alone of which Arrow has more to say than `_problem`.
        """
        try:
            yield self._parse_texts(lines, names)
        except pa.ArrowInvalid as error:
            if len(lines) == 1:
                problems[offset] = self._arrow_message(error)
                yield pa.record_batch([pa.nulls(1, TEXT) for _ in names], names)
            else:
                half = len(lines) // 2
                yield from self._halving(lines[:half], names, offset, problems)
                yield from self._halving(lines[half:], names, offset + half, problems)

    def _parse_texts(self, lines: list[bytes], names: Sequence[str]) -> pa.RecordBatch:
        return _parse_csv(
            Lines.from_lines(lines), self.header.published, dict.fromkeys(names, TEXT)
        )

    @property
    def _declared_columns(self) -> dict[str, Column]:
        """The known columns, by published name."""
        pairs = zip(self.header.published, self.header.columns, strict=True)
        return {name: self.table[column] for name, column in pairs if column}

    def _types(self, lines: Lines) -> dict[str, pa.DataType | None]:
        """Return the types to parse the known columns of some lines as, by published name."""
        infer = not lines.may_hold_hexadecimals
        return {name: _parsed_as(column, infer) for name, column in self._declared_columns.items()}

    def _problem(self, line: bytes, names: Sequence[str]) -> str | None:
        """Say of a line alone what Arrow would, which takes a hundred times as long.

        Columns of other names than these may hold any bytes. Only a quote that is left open Arrow
        may call something else.
        """
        cells = line.removesuffix(b"\r")
        least = len(self.header.published)
        most = least + SPARE_CELLS
        if len(line) > csv_lines.LINE_LIMIT_BYTES:
            return _too_long()
        if b"\0" in line:
            return "CSV parse error: a NUL byte"
        if line.count(b'"') % 2 or csv_lines.is_open(line):
            return "CSV parse error: a quote is not closed"
        if b"\r" in cells:
            return "CSV parse error: a carriage return inside the line"
        width = csv_lines.width(line)
        if not least <= width <= most:
            shown = cells if len(cells) <= 100 else cells[:96] + b" ..."
            expected = least if width < least else most
            return printable(
                f"CSV parse error: Expected {expected} columns, got {width}: "
                f"{shown.decode(errors='backslashreplace')}"
            )
        if width == least and line.isascii():
            return None
        values = csv_lines.values(cells)
        wanted = [name if name in names else None for name in self.header.published]
        beyond = [f"In CSV column #{place}" for place in range(least, width)]
        for column, value in zip((*wanted, *beyond), values, strict=True):
            try:
                if column:
                    value.decode()
            except UnicodeDecodeError:
                return printable(f"{column}: CSV conversion error to string: invalid UTF8 data")
        if any(values[least:]):
            return f"CSV parse error: a value beyond the header's {least} columns"
        return None

    def _arrow_message(self, error: pa.ArrowInvalid) -> str:
        """Arrow's message, with the column's name for its number and without the block's row."""
        message = str(error).replace("Row #1: ", "")
        names = dict(enumerate(self.header.published))
        named = re.sub(r"In CSV column #(\d+)", lambda m: names.get(int(m[1]), m[0]), message)
        return printable(named)


def _too_long() -> str:
    return f"CSV parse error: a line of more than {csv_lines.LINE_LIMIT_BYTES:,} bytes"


def _by_name(columns: pa.RecordBatch) -> dict[str, pa.Array]:
    return dict(zip(columns.schema.names, columns.columns, strict=True))


def _parsed_as(column: Column, infer: bool) -> pa.DataType | None:
    """Return the type that a CSV column is parsed as, before `cast_column` casts it.

    None is for Arrow to `infer`: integers are written as such, as 1.0, or as words.
    """
    if column.type == INTEGER and infer:
        return None
    if column.words:
        return TEXT
    return NUMBER if column.type == INTEGER else column.type


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
    return _cells(csv_lines.text_of(line).removeprefix("\ufeff"))  # a byte order mark


def _cells(line: str) -> list[str]:
    """Split a line into its cells; in them, a carriage return is escaped."""
    return next(csv.reader([line.replace("\r", r"\r")]))


def _parse_csv(
    lines: Lines, names: Sequence[str], types: Mapping[str, pa.DataType | None]
) -> pa.RecordBatch:
    """Parse whole lines into the columns of `types`; raise `pa.ArrowInvalid` unless each is a row.

    A type of None is inferred. Only an empty cell is read as null: TLC's zones have the text N/A.
    Rows may have empty cells beyond the header's columns, as those of 2013 to 2016 do.
    """
    if not len(lines):
        return pa.record_batch([pa.nulls(0, t) for t in types.values()], names=list(types))
    if lines.longest > csv_lines.LINE_LIMIT_BYTES:
        raise pa.ArrowInvalid(_too_long())
    text = lines.text
    if text.startswith(codecs.BOM_UTF8):
        text = codecs.BOM_UTF8 + text  # Arrow takes one away, but this is a part of the cell
    if b"\0" in text:
        raise pa.ArrowInvalid("CSV parse error: a NUL byte")
    # else a quote or a carriage return would tie a line to others, and which depends on the block
    if not lines.leave_no_quote_open:
        raise pa.ArrowInvalid("CSV parse error: a quote is not closed")
    if not lines.hold_no_return:
        raise pa.ArrowInvalid("CSV parse error: a carriage return inside the line")
    width = min(csv_lines.width(lines[0]), len(names) + SPARE_CELLS)
    beyond = [f"beyond column {n}" for n in range(len(names), width)]
    table = pacsv.read_csv(
        pa.BufferReader(text),
        pacsv.ReadOptions(
            column_names=[*names, *beyond], block_size=len(text) + 1, use_threads=False
        ),
        convert_options=pacsv.ConvertOptions(
            column_types={
                **{name: of for name, of in types.items() if of},
                **dict.fromkeys(beyond, TEXT),
            },
            include_columns=[*types, *beyond],
            null_values=[""],
            true_values=[],
            false_values=[],
            strings_can_be_null=True,
        ),
    )
    if table.num_rows != len(lines):
        raise pa.ArrowInvalid("CSV parse error: not one row a line")
    if any(table[name].null_count < len(lines) for name in beyond):
        raise pa.ArrowInvalid(f"CSV parse error: a value beyond the header's {len(names)} columns")
    return table.select(list(types)).to_batches()[0]


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
        with igzip.IGzipFile(fileobj=file) as unzipped:
            try:
                yield io.BufferedReader(Unzipped(unzipped, path), 1 << 20)
            except (EOFError, IsalError, igzip.BadGzipFile) as error:  # type: ignore[misc]
                raise PermanentError(
                    f"{path.name}: the gzip is broken or cut short: {error}. Fetch it again."
                ) from error


# --- Parquet -----------------------------------------------------------------------------------


class _ParquetFile(SourceFile):
    """A Parquet file, read a slice of its row groups at a time."""

    @classmethod
    def open(cls, path: Path, table: Table) -> Self:
        with opened_parquet(path) as file:
            return cls(path, table, Header.match(file.schema_arrow.names, table, path.name))

    @property
    def published_schema(self) -> pa.Schema:
        with opened_parquet(self.path) as file:
            return file.schema_arrow.remove_metadata().append(pa.field("line", pa.string()))

    def each[T](self, work: Callable[[Batch], T]) -> Iterator[T]:
        schema = self.published_schema

        def batch(numbered: tuple[int, pa.RecordBatch]) -> Batch:
            first, published = numbered
            rows, problems = self._canonical(_by_name(published), len(published))

            def as_published(indices: pa.Array) -> pa.RecordBatch:
                chosen = published.take(indices)
                line = pa.nulls(len(chosen), pa.string())
                return pa.record_batch([*chosen.columns, line], schema=schema)

            numbers = pa.array(np.arange(first, first + len(published)))
            return _batch(rows, problems, numbers, as_published)

        yield from ordered_parallel_map(lambda numbered: work(batch(numbered)), self._numbered())

    def _numbered(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        first = 1
        for published in _parquet_batches(self.path):
            yield first, published
            first += len(published)


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
                    values if values.type == type_ else values.dictionary_decode()
                    for values, type_ in zip(part.columns, schema.types, strict=True)
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


# --- what both formats share -------------------------------------------------------------------


def _batch(
    rows: pa.RecordBatch,
    problems: Problems,
    numbers: pa.Int64Array,
    as_published: Callable[[pa.Array], pa.RecordBatch],
) -> Batch:
    texts = pa.nulls(len(rows), pa.string())
    if problems:
        texts = pa.array([problems.get(index) for index in range(len(rows))], pa.string())
    return Batch(rows, texts, numbers, as_published)


def _differing_rows(first: pa.Array, second: pa.Array) -> list[int]:
    """Return the indices at which both have a value, and not the same."""
    differ: pa.BooleanArray = pc.not_equal(first, second)
    return pc.indices_nonzero(differ.fill_null(False)).to_pylist()  # type: ignore[no-any-return]
