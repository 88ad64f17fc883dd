"""Published CSV, plain or gzip'd: lines into batches; a line that does not parse stays a row.

What a line is belongs to `lines`, how much a gzip may unpack to to `guard`.
"""

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.csv as pacsv
from isal import igzip
from isal.igzip_lib import IsalError

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.concurrency import ordered_parallel_map
from taxi_pipeline.tlc.header import Header
from taxi_pipeline.tlc.reading import lines as csv_lines
from taxi_pipeline.tlc.reading.guard.limits import Unzipped
from taxi_pipeline.tlc.reading.lines import Lines
from taxi_pipeline.tlc.reading.source import Batch, Examination, Problems, SourceFile, by_name
from taxi_pipeline.tlc.services import INTEGER, NUMBER, TEXT, Column, Table
from taxi_pipeline.tlc.text import printable

HEADER_LIMIT_BYTES = 1 << 16
SPARE_CELLS = 16  # of a row, empty, beyond the header's columns

GZIP_MAGIC = b"\x1f\x8b"

_CELLS_BYTES = 10_000  # of a line, for a preview


def examine_csv(path: Path, first_rows: int) -> Examination:
    """Count a CSV's rows by its lines, and return the first as texts.

    Args:
        path: The file.
        first_rows: How many rows to return, each of its line's first 10,000 bytes.

    Returns:
        The count, the columns, all of them text, and the first rows. A blank line is no row.

    Raises:
        PermanentError: The file has no header, is no gzip though its name says so, or unpacks to
            more than `unpacked_limit`, or its gzip is broken.
    """
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
    rows: list[dict[str, str | None]] = [
        dict(zip(names, _cells(line), strict=False)) for line in first_lines
    ]
    return Examination(count, pa.schema([(name, pa.string()) for name in names]), rows)


class CsvFile(SourceFile):
    """A CSV file, plain or gzip'd: a line is a row, since no published cell holds a line break."""

    @classmethod
    def open(cls, path: Path, table: Table) -> Self:
        """Open the file, and match its header with the table's columns.

        Raises:
            PermanentError: The file has no header, its gzip is broken, or its columns do not match
                the table's.
        """
        with _opened_csv(path) as stream:
            names = _csv_header(stream, path)
        return cls(path, table, Header.match(names, table, path.name))

    @property
    def published_schema(self) -> pa.Schema:
        """The file's own columns, and `line`, all text."""
        return pa.schema([(name, TEXT) for name in (*self.header.published, "line")])

    def each[T](self, work: Callable[[Batch], T]) -> Iterator[T]:
        """Stream the lines in blocks."""
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

        return Batch.with_problems(rows, problems, pa.array(lines.numbers), as_published)

    def _rows(self, lines: Lines) -> tuple[pa.RecordBatch, Problems]:
        """Parse the lines all at once; if one is at fault, as texts, which show what is."""
        try:
            parsed = _parse_csv(lines, self.header.published, self._types(lines))
        except pa.ArrowInvalid:
            pass
        else:
            rows, invalid_rows = self._canonical(by_name(parsed), len(lines))
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
            return by_name(self._parse_texts(lines, names))
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
