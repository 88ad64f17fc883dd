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

from taxi_pipeline.errors import PermanentError

# published files unpack to 5 to 12 times their size
UNPACKED_TIMES = 100
UNPACKED_BYTES = 256 << 20
# of the pages of a row group that are in memory at once: TLC's writers make pages of 1 MiB
PAGES_BYTES = 256 << 20
# of a batch of rows
BATCH_BYTES = 128 << 20
# a month of fhvhv has 100 KB of footer; Arrow takes up to 200 bytes of memory for one
FOOTER_BYTES = 4 << 20
COLUMNS = 2000

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
        """Say so, as `io` asks."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, and count."""
        count = self._unzipped.readinto(buffer)
        self._read += count
        if self._read > self._limit:
            raise too_much(self._path, "more")
        return count


# --- Parquet -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How to read a Parquet file in bounded memory: so many rows at a time.

    A text that a dictionary has once may stand in every row: so columns among `dictionaries`,
    which are of bytes and not nested, are to be read as dictionaries.
    """

    rows: int
    dictionaries: frozenset[str]


def check_footer(path: Path) -> None:
    """Raise `PermanentError` where the footer is larger than any: Arrow would take all of it in."""
    with path.open("rb") as content:
        length = _footer_bytes(content)
        whole = content.read(4) == b"PAR1" and length < path.stat().st_size
    if whole and length > FOOTER_BYTES:
        raise PermanentError(
            f"{path.name}: its footer says that it has {length:,} bytes, and at most "
            f"{FOOTER_BYTES:,} are read. Check what the publisher serves at its address."
        )


def plan(path: Path, most: int) -> Plan:
    """Plan the reading of a Parquet file whose footer was checked, in batches of `most` rows.

    Raises `PermanentError` where the file unpacks to more than `unpacked_limit`, or its pages take
    more than `PAGES_BYTES` at once; and `pa.ArrowInvalid` where the footer or a page's header is
    none. (Arrow's own account of them ends the process where they are wrong.)
    """
    with path.open("rb") as content:
        footer = _footer(content)
        leaves = [leaf for leaf in _structs(footer, _SCHEMA)[1:] if not leaf.get(_CHILDREN)]
        if len(leaves) > COLUMNS:
            raise PermanentError(
                f"{path.name}: it has {len(leaves):,} columns, and at most {COLUMNS:,} are read. "
                "Check what the publisher serves at its address."
            )
        unpacked, rows, flat = 0, most, set[str]()
        for group in _structs(footer, _ROW_GROUPS):
            # which may be for ever, without a column
            unpacked += _VALUE_BYTES * max(group.get(_ROWS, 0), 0)
            at_once = in_row = 0.0
            columns = _structs(group, _COLUMNS)
            if len(columns) != len(leaves):
                raise pa.ArrowInvalid(f"{len(columns)} columns in a group of {len(leaves)}")
            for leaf, column in zip(leaves, columns, strict=True):
                chunk = column.get(_CHUNK)
                if chunk is None:
                    raise pa.ArrowInvalid("a column chunk says nothing of itself")
                pages = _Pages.of(chunk, content)
                values = max(chunk.get(_CHUNK_VALUES, 0), pages.values)
                unpacked += max(pages.unpacked, _VALUE_BYTES * values)
                if unpacked > unpacked_limit(path.stat().st_size):
                    raise too_much(path, unpacked)
                names = [name for name in chunk.get(_PATH, []) if isinstance(name, bytes)]
                nested = len(names) != 1 or leaf.get(_REPETITION) == _REPEATED
                widest = pages.widest(chunk.get(_TYPE), leaf.get(_LENGTH, 0), nested)
                at_once += pages.dictionary + pages.largest
                if nested:  # a row may have all of the values
                    at_once += widest * values
                else:
                    in_row += widest
                    if chunk.get(_TYPE) == _BYTES:
                        flat.add(names[0].decode(errors="replace"))
            if at_once + in_row > PAGES_BYTES:
                raise PermanentError(
                    f"{path.name}: to read a row of it takes {int(at_once + in_row):,} bytes of "
                    f"memory, and at most {PAGES_BYTES:,} are given. Check what the publisher "
                    "serves at its address."
                )
            rows = min(rows, max(int(BATCH_BYTES // max(in_row, 1)), 1))
    return Plan(rows, frozenset(flat))


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
    def of(cls, chunk: "_Struct", content: BinaryIO) -> "_Pages":
        """Read the headers of the pages that Arrow would read."""
        pages = cls()
        at = chunk.get(_DATA_AT, 0)
        if 0 < chunk.get(_DICTIONARY_AT, 0) < at:
            at = chunk[_DICTIONARY_AT]
        end = min(at + chunk.get(_CHUNK_BYTES, 0), content.seek(0, io.SEEK_END))
        if at < 0:
            raise pa.ArrowInvalid("a column chunk before the file")
        while at < end and pages.values < chunk.get(_CHUNK_VALUES, 0):
            header, length = _header(content, at)
            size, packed = header.get(_SIZE, -1), header.get(_PACKED_SIZE, -1)
            if size < 0 or packed < 0:
                raise pa.ArrowInvalid("a page of less than no bytes")
            pages._add(header, size)
            at += length + packed
        return pages

    def _add(self, header: "_Struct", size: int) -> None:
        self.unpacked += size
        if _DICTIONARY in header:
            self.dictionary = max(self.dictionary, size)
            return
        self.largest = max(self.largest, size)
        first = header.get(_DATA)
        data: _Struct = first or header.get(_DATA_V2) or {}
        values = data.get(_PAGE_VALUES, 0)
        if values < 0:
            raise pa.ArrowInvalid("a page of less than no values")
        self.values += values
        body = max(size - _LEVELS_BYTES, 0)
        self.bytes_a_value = max(self.bytes_a_value, body / max(values, 1))
        encoding = data.get(_ENCODING if first else _ENCODING_V2)
        self.prefixed = self.prefixed or encoding == _DELTA_BYTE_ARRAY

    def widest(self, kind: int | None, length: int, nested: bool) -> float:
        """Return what a value may take in memory, in bytes; it is rarely more."""
        if kind == _FIXED_BYTES:
            return max(length, _VALUE_BYTES)
        if kind != _BYTES:
            return 2 * _VALUE_BYTES
        if self.prefixed:  # a value may be all of the one before it, and nothing more
            return self.largest
        return max(self.dictionary if nested else 0, self.bytes_a_value) + _VALUE_BYTES


def _footer_bytes(content: BinaryIO) -> int:
    end = content.seek(0, io.SEEK_END)
    content.seek(max(end - 8, 0))
    return int.from_bytes(content.read(4), "little")


def _footer(content: BinaryIO) -> "_Struct":
    length = _footer_bytes(content)
    content.seek(-8 - length, io.SEEK_END)
    try:
        return _struct(content.read(length), 0, 0)[0]
    except IndexError:
        raise pa.ArrowInvalid("the footer is cut short") from None


def _structs(of: "_Struct", number: tuple[int, int]) -> "list[_Struct]":
    return [one for one in of.get(number, []) if isinstance(one, dict)]


# Thrift's compact protocol, of which footer and page headers are made. As in Arrow, the last of
# several fields of one number counts, and one of another type than declared is none.

type _Struct = dict[tuple[int, int], Any]

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)

# Parquet's fields: number and type
_SCHEMA, _ROW_GROUPS = (2, _LIST), (4, _LIST)
_LENGTH, _REPETITION, _CHILDREN = (2, _I32), (3, _I32), (5, _I32)
_COLUMNS, _ROWS, _CHUNK = (1, _LIST), (3, _I64), (3, _STRUCT)
_TYPE, _PATH, _CHUNK_VALUES, _CHUNK_BYTES = (1, _I32), (3, _LIST), (5, _I64), (7, _I64)
_DATA_AT, _DICTIONARY_AT = (9, _I64), (11, _I64)
_SIZE, _PACKED_SIZE, _DATA = (2, _I32), (3, _I32), (5, _STRUCT)
_DICTIONARY, _DATA_V2 = (7, _STRUCT), (8, _STRUCT)
_PAGE_VALUES, _ENCODING, _ENCODING_V2 = (1, _I32), (2, _I32), (4, _I32)

_BYTES, _FIXED_BYTES = 6, 7  # types
_REPEATED = 2
_DELTA_BYTE_ARRAY = 7  # an encoding

_DEPTH = 32


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
    if depth > _DEPTH:
        raise pa.ArrowInvalid("a struct is nested too deeply")
    fields: _Struct = {}
    number = 0
    while head := content[at]:
        at += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(content, at)
        # alone, a truth is its type
        value, at = (None, at) if kind in (_TRUE, _FALSE) else _value(kind, content, at, depth)
        fields[number, kind] = value
    return fields, at + 1


def _value(kind: int, content: bytes, at: int, depth: int) -> tuple[Any, int]:
    """Read a value; return it, unless no field that counts is of its type, and the next place."""
    if kind in (_I16, _I32, _I64):
        return _integer(content, at)
    if kind == _STRUCT:
        return _struct(content, at, depth + 1)
    if kind == _BINARY:
        length, at = _varint(content, at)
        if at + length > len(content):
            raise IndexError(at)
        return content[at : at + length], at + length
    if kind in (_LIST, _SET):
        head, at = content[at], at + 1
        count, at = (head >> 4, at) if head < 0xF0 else _varint(content, at)
        values = []
        for _ in range(count):
            value, at = _value(head & 15, content, at, depth + 1)
            values.append(value)
        return values, at
    if kind in (_TRUE, _FALSE, _BYTE, _DOUBLE):
        return None, at + (8 if kind == _DOUBLE else 1)
    raise pa.ArrowInvalid("a struct has what Parquet has not")


def _integer(content: bytes, at: int) -> tuple[int, int]:
    number, at = _varint(content, at)
    number &= (1 << 64) - 1
    return number >> 1 ^ -(number & 1), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        number |= (content[at] & 127) << shift
        at += 1
        if content[at - 1] < 128:
            return number, at
    raise pa.ArrowInvalid("a number has no end")


# --- dictionaries ------------------------------------------------------------------------------


def decoded_bytes(rows: pa.RecordBatch) -> int:
    """Return how many bytes the rows' dictionaries take, written out."""
    return sum(map(_decoded_bytes, rows.columns))


def slices(rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield the rows in slices whose dictionaries, written out, take `BATCH_BYTES` at most.

    Unless one row takes more.
    """
    if len(rows) > 1 and decoded_bytes(rows) > BATCH_BYTES:
        half = len(rows) // 2
        yield from slices(rows[:half])
        yield from slices(rows[half:])
    else:
        yield rows


def _decoded_bytes(values: pa.Array) -> int:
    if not pa.types.is_dictionary(values.type) or not is_bytes(values.type.value_type):
        return 0
    lengths = pc.binary_length(values.dictionary).take(values.indices)
    return pc.sum(lengths.cast(pa.int64()), min_count=0).as_py()  # type: ignore[no-any-return]


def is_bytes(of: pa.DataType) -> bool:
    """Whether an Arrow type is of texts or bytes."""
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
