"""How much a published file may unpack to: a small one must not fill the memory, or take for ever.

Arrow believes what a Parquet file says of itself, page by page, and gets the memory for it. So
the headers of all pages are read here first, and no value of them: what they say is what Arrow
would unpack.
"""

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from taxi_pipeline.errors import PermanentError

# published files unpack to 5 to 12 times their size
UNPACKED_TIMES = 100
UNPACKED_BYTES = 256 << 20
# of the pages of a row group that are in memory at once: TLC's writers make pages of 1 MiB
PAGES_BYTES = 256 << 20
# of a batch of rows
BATCH_BYTES = 128 << 20

_HEADER_BYTES = 1 << 13
_HEADER_LIMIT_BYTES = 16 << 20  # Arrow's own
_LEVELS_BYTES = 64  # of a page, beside its values
_VALUE_BYTES = 8


def unpacked_limit(size: int) -> int:
    """Return how many bytes a file of so many may unpack to."""
    return max(UNPACKED_BYTES, UNPACKED_TIMES * size)


def too_much(path: Path, unpacked: int | str) -> PermanentError:
    """Return the error for a file that unpacks to that: so many bytes, or words for it."""
    size = path.stat().st_size
    said = f"{unpacked:,} bytes" if isinstance(unpacked, int) else unpacked
    return PermanentError(
        f"{path.name}: its {size:,} bytes unpack to {said}, but at most "
        f"{unpacked_limit(size):,} are taken: {UNPACKED_TIMES} times its size, or "
        f"{UNPACKED_BYTES:,}. Check what the publisher serves at its address."
    )


class Unzipped(io.RawIOBase):
    """What a gzip'd file unpacks to; raises `PermanentError` beyond its limit."""

    def __init__(self, unzipped: gzip.GzipFile, path: Path) -> None:
        self._unzipped = unzipped
        self._path = path
        self._limit = unpacked_limit(path.stat().st_size)
        self._read = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, and count."""
        count = self._unzipped.readinto(buffer)
        self._read += count
        if self._read > self._limit:
            raise too_much(self._path, "more")
        return count


# --- Parquet -----------------------------------------------------------------------------------


def batch_rows(file: pq.ParquetFile, path: Path, most: int) -> int:
    """Return how many rows of a Parquet file can be read at a time, and at most that many.

    A text that a dictionary has once may stand in every row, so flat columns of texts are to be
    read as dictionaries; what others may take in a row is reckoned with. Raises `PermanentError`
    where the file unpacks to more than `unpacked_limit`, or its pages take more than `PAGES_BYTES`
    at once; and `pa.ArrowInvalid` where a page's header is none.
    """
    metadata = file.metadata
    # a file of no columns may still say that it has rows for ever
    unpacked, rows = _VALUE_BYTES * metadata.num_rows, most
    with path.open("rb") as content:
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            unpacked += _VALUE_BYTES * group.num_rows
            at_once = in_row = 0
            for place in range(group.num_columns):
                chunk, column = group.column(place), metadata.schema.column(place)
                pages = _Pages.of(chunk, content)
                unpacked += max(pages.unpacked, _VALUE_BYTES * max(chunk.num_values, pages.values))
                if unpacked > unpacked_limit(path.stat().st_size):
                    raise too_much(path, unpacked)
                widest = pages.widest(column)
                at_once += pages.dictionary + pages.largest
                if column.max_repetition_level:  # then a row may have all of the values
                    at_once += int(widest * pages.values)
                else:
                    in_row += widest
            if at_once + in_row > PAGES_BYTES:
                raise PermanentError(
                    f"{path.name}: to read a row of it takes {int(at_once + in_row):,} bytes of "
                    f"memory, and at most {PAGES_BYTES:,} are given. Check what the publisher "
                    "serves at its address."
                )
            rows = min(rows, int(BATCH_BYTES // max(in_row, 1)))
    return max(rows, 1)


def flat_texts(file: pq.ParquetFile) -> list[str]:
    """Return the columns of texts or bytes that can be read as dictionaries."""
    flat = {column.path for column in map(file.schema.column, range(len(file.schema.names)))}
    return [
        field.name for field in file.schema_arrow if field.name in flat and _is_bytes(field.type)
    ]


@dataclass
class _Pages:
    """What the pages of a column chunk say: bytes unpacked, values, and the most of one page."""

    unpacked: int = 0
    values: int = 0
    largest: int = 0
    dictionary: int = 0
    bytes_a_value: float = 0.0
    prefixed: bool = False

    @classmethod
    def of(cls, chunk: Any, content: BinaryIO) -> "_Pages":
        """Read the headers of the pages that Arrow would read."""
        pages = cls()
        at = chunk.data_page_offset
        if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < at:
            at = chunk.dictionary_page_offset
        end = at + chunk.total_compressed_size
        while at < end and pages.values < chunk.num_values:
            header, length = _header(content, at)
            size, packed = header.get(_SIZE, -1), header.get(_PACKED_SIZE, -1)
            if size < 0 or packed < 0:
                raise pa.ArrowInvalid("a page of less than no bytes")
            pages._add(header, size)
            at += length + packed
        return pages

    def _add(self, header: "_Struct", size: int) -> None:
        self.unpacked += size
        if header.get(_DICTIONARY) is not None:
            self.dictionary = max(self.dictionary, size)
            return
        self.largest = max(self.largest, size)
        data = header.get(_DATA) or header.get(_DATA_V2) or {}
        values = data.get(_VALUES, 0)
        if values < 0:
            raise pa.ArrowInvalid("a page of less than no values")
        self.values += values
        body = max(size - _LEVELS_BYTES, 0)
        self.bytes_a_value = max(self.bytes_a_value, body / max(values, 1))
        encoding = data.get(_ENCODING if header.get(_DATA) else _ENCODING_V2)
        self.prefixed = self.prefixed or encoding == _DELTA_BYTE_ARRAY

    def widest(self, column: Any) -> float:
        """Return what a value of the column may take in memory, in bytes, and it is rarely more."""
        if column.physical_type == "FIXED_LEN_BYTE_ARRAY":
            return max(column.length, _VALUE_BYTES)
        if column.physical_type != "BYTE_ARRAY":
            return 2 * _VALUE_BYTES
        if self.prefixed:  # a value may be all of the one before it, and nothing more
            return self.largest
        nested = "." in column.path
        return max(self.dictionary if nested else 0, self.bytes_a_value) + _VALUE_BYTES


# Thrift's compact protocol, of which page headers are made, as far as they need it

type _Struct = dict[int, Any]

# Parquet's field ids
_SIZE, _PACKED_SIZE, _DATA, _DICTIONARY, _DATA_V2 = 2, 3, 5, 7, 8
_VALUES, _ENCODING, _ENCODING_V2 = 1, 2, 4
_DELTA_BYTE_ARRAY = 7

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


def _header(content: BinaryIO, at: int) -> tuple[_Struct, int]:
    """Read the page header at a place of the file; return it and its length."""
    length = _HEADER_BYTES
    while True:
        content.seek(at)
        some = content.read(length)
        try:
            return _struct(some, 0, depth=0)
        except IndexError:
            if len(some) < length or length >= _HEADER_LIMIT_BYTES:
                raise pa.ArrowInvalid("a page's header is cut short") from None
        length *= 8


def _struct(content: bytes, at: int, depth: int) -> tuple[_Struct, int]:
    if depth > 8:
        raise pa.ArrowInvalid("a page's header is nested too deeply")
    fields: _Struct = {}
    number = 0
    while head := content[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(content, at)
        value, at = _value(head & 15, content, at, depth)
        fields[number] = value
    return fields, at + 1


def _value(kind: int, content: bytes, at: int, depth: int) -> tuple[Any, int]:
    """Read a field's value; of what no page header needs, only the place after it."""
    if kind in (_TRUE, _FALSE):
        return None, at
    if kind in (_I16, _I32, _I64):
        return _integer(content, at)
    if kind == _STRUCT:
        return _struct(content, at, depth + 1)
    if kind == _BYTE:
        at += 1
    elif kind == _DOUBLE:
        at += 8
    elif kind == _BINARY:
        length, at = _varint(content, at)
        at += length
    else:
        raise pa.ArrowInvalid("a page's header has what none has")
    return None, at


def _integer(content: bytes, at: int) -> tuple[int, int]:
    number, at = _varint(content, at)
    return number >> 1 ^ -(number & 1), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        number |= (content[at] & 127) << shift
        at += 1
        if content[at - 1] < 128:
            return number, at
    raise pa.ArrowInvalid("a page's header has a number that is none")


def slices(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield the rows in slices whose dictionaries, written out, take `BATCH_BYTES` at most.

    Unless one row takes more.
    """
    if len(rows) > 1 and sum(map(_decoded_bytes, rows.columns)) > BATCH_BYTES:
        half = len(rows) // 2
        yield from slices(rows[:half])
        yield from slices(rows[half:])
    else:
        yield rows


def _decoded_bytes(values: pa.Array) -> int:
    if not pa.types.is_dictionary(values.type) or not _is_bytes(values.type.value_type):
        return 0
    lengths = pc.binary_length(values.dictionary).take(values.indices)
    return pc.sum(lengths.cast(pa.int64()), min_count=0).as_py()  # type: ignore[no-any-return]


def _is_bytes(of: pa.DataType) -> bool:
    kinds = pa.types
    return any(
        is_kind(of)
        for is_kind in (
            kinds.is_string,
            kinds.is_large_string,
            kinds.is_binary,
            kinds.is_large_binary,
        )
    )
