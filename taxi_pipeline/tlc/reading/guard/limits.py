"""How much a published file may unpack to: a small one must not fill the memory, or take for ever.

Arrow believes what a Parquet file says of itself, page by page, and gets the memory for it. So all
that is looked at first, and judged here; to read it is for `pages`.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.reading.guard import pages

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

_LEVELS_BYTES = 64  # of a page, beside its values
_VALUE_BYTES = 8


def unpacked_limit(size: int) -> int:
    """Return how many bytes a file of so many may unpack to."""
    return max(UNPACKED_BYTES, UNPACKED_TIMES * size)


def too_much(path: Path, unpacked: int | str) -> PermanentError:
    """Return the error for a file that unpacks to that: so many bytes, or words for it."""
    size = path.stat().st_size
    amount = f"{unpacked:,} bytes" if isinstance(unpacked, int) else unpacked
    return PermanentError(
        f"{path.name}: its {size:,} bytes unpack to {amount}, but at most "
        f"{unpacked_limit(size):,} are taken: {UNPACKED_TIMES} times its size, or "
        f"{UNPACKED_BYTES:,}. Check what the publisher serves at its address."
    )


class Unzipped(io.RawIOBase):
    """What a gzip'd file unpacks to; raises `PermanentError` beyond its limit."""

    def __init__(self, unzipped: io.BufferedIOBase, path: Path) -> None:
        self._unzipped = unzipped
        self._path = path
        self._limit = unpacked_limit(path.stat().st_size)
        self._read = 0

    def readable(self) -> bool:
        """Say so, as `io` asks."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, and count.

        Returns:
            How many bytes were read; 0 at the end.

        Raises:
            PermanentError: More than `unpacked_limit` have been read in all.
        """
        count = self._unzipped.readinto(buffer)
        self._read += count
        if self._read > self._limit:
            raise too_much(self._path, "more")
        return count


# --- Parquet -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How to read a Parquet file in bounded memory.

    Attributes:
        rows: How many rows to read at a time.
        dictionaries: The columns of bytes that are not nested. A text that a dictionary has once
            may stand in every row: so they are to be read as dictionaries.
    """

    rows: int
    dictionaries: frozenset[str]


def check_footer(path: Path) -> None:
    """Raise `PermanentError` where the footer, which Arrow reads whole, exceeds `FOOTER_BYTES`.

    What is no Parquet file, or is shorter than its footer, passes: Arrow refuses it.
    """
    with path.open("rb") as content:
        check_footer_of(content, path.stat().st_size, path.name)


def check_footer_of(content: BinaryIO, size: int, name: str) -> None:
    """Do as `check_footer` for an open file of so many bytes, which `name` stands for."""
    length = pages.footer_bytes(content)
    whole = content.read(4) == b"PAR1" and length < size
    if whole and length > FOOTER_BYTES:
        raise PermanentError(
            f"{name}: its footer says that it has {length:,} bytes, and at most "
            f"{FOOTER_BYTES:,} are read. Check what the publisher serves at its address."
        )


def plan(path: Path, most: int) -> Plan:
    """Plan the reading of a Parquet file by its footer and the headers of its pages.

    Args:
        path: A file that `opened_parquet` opens.
        most: How many rows to read at a time at the most.

    Raises:
        PermanentError: The file has more than `COLUMNS` columns, unpacks to more bytes than
            `unpacked_limit`, or takes more than `PAGES_BYTES` of memory to read a row of it.
        pyarrow.ArrowInvalid: The footer or a page's header is none, the footer contradicts itself,
            or the pages take more bytes than the file has.
    """
    size = path.stat().st_size
    with path.open("rb") as content:
        footer = pages.footer(content)
        leaves = [element for element in footer.schema[1:] if not element.num_children]
        if len(leaves) > COLUMNS:
            raise PermanentError(
                f"{path.name}: it has {len(leaves):,} columns, and at most {COLUMNS:,} are read. "
                "Check what the publisher serves at its address."
            )
        packed, unpacked, rows, flat = 0, 0, most, set[str]()
        for group in footer.row_groups:
            # which may be for ever, without a column
            unpacked += _VALUE_BYTES * max(group.num_rows, 0)
            at_once = in_row = 0.0
            if len(group.columns) != len(leaves):
                raise pa.ArrowInvalid(f"{len(group.columns)} columns in a group of {len(leaves)}")
            for leaf, column in zip(leaves, group.columns, strict=True):
                chunk = column.meta_data
                if chunk is None:
                    raise pa.ArrowInvalid("a column chunk says nothing of itself")
                need = _Need.of(pages.page_headers(content, chunk))
                packed += need.packed
                if packed > size:  # chunks that share their pages would have them read for ever
                    raise pa.ArrowInvalid(f"{packed:,} bytes of pages in a file of {size:,}")
                values = max(chunk.num_values, need.values)
                unpacked += max(need.unpacked, _VALUE_BYTES * values)
                if unpacked > unpacked_limit(size):
                    raise too_much(path, unpacked)
                names = chunk.path_in_schema
                nested = len(names) != 1 or leaf.repetition_type == pages.REPEATED
                widest = need.widest(chunk.type, leaf.type_length, nested)
                at_once += need.dictionary + need.largest
                if nested:  # a row may have all of the values
                    at_once += widest * values
                else:
                    in_row += widest
                    if chunk.type == pages.BYTE_ARRAY:
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
class _Need:
    """What a chunk's pages take: bytes packed and unpacked, values, and the most of one page."""

    packed: int = 0
    unpacked: int = 0
    values: int = 0
    largest: int = 0
    dictionary: int = 0
    bytes_a_value: float = 0.0
    prefixed: bool = False

    @classmethod
    def of(cls, headers: Iterable[tuple[pages.PageHeader, int]]) -> "_Need":
        """Sum up what the pages' headers say."""
        need = cls()
        for header, packed in headers:
            size = header.uncompressed_page_size
            need.packed += packed
            need.unpacked += size
            if dictionary := header.dictionary_page_header:
                # for so many Arrow gets the memory, whatever the size
                need.dictionary = max(need.dictionary, size, _VALUE_BYTES * dictionary.num_values)
            else:
                data = header.data
                need.largest = max(need.largest, size)
                need.values += data.num_values
                body = max(size - _LEVELS_BYTES, 0)
                need.bytes_a_value = max(need.bytes_a_value, body / max(data.num_values, 1))
                need.prefixed = need.prefixed or data.encoding == pages.DELTA_BYTE_ARRAY
        return need

    def widest(self, kind: int | None, length: int, nested: bool) -> float:
        """Return what a value may take in memory, in bytes; it is rarely more."""
        if kind == pages.FIXED_LEN_BYTE_ARRAY:
            return max(length, _VALUE_BYTES)
        if kind != pages.BYTE_ARRAY:
            return 2 * _VALUE_BYTES
        if self.prefixed:  # a value may be all of the one before it, and nothing more
            return self.largest
        return max(self.dictionary if nested else 0, self.bytes_a_value) + _VALUE_BYTES


# --- dictionaries ------------------------------------------------------------------------------


def decoded_bytes(rows: pa.RecordBatch) -> int:
    """Return how many bytes the rows' dictionaries of texts or bytes take, written out.

    Raises:
        pyarrow.ArrowIndexError: A row has a value that its dictionary does not have.
    """
    return sum(map(_decoded_bytes, rows.columns))


def slices(rows: pa.RecordBatch, size: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows in slices whose dictionaries, written out, take `BATCH_BYTES` at most.

    Unless one row takes more. `size` is the rows' `decoded_bytes`.
    """
    if len(rows) > 1 and size > BATCH_BYTES:
        half = len(rows) // 2
        for part in (rows[:half], rows[half:]):
            yield from slices(part, decoded_bytes(part))
    else:
        yield rows


def _decoded_bytes(values: pa.Array) -> int:
    if not pa.types.is_dictionary(values.type) or not is_bytes(values.type.value_type):
        return 0
    lengths = pc.binary_length(values.dictionary).fill_null(0).to_numpy()
    if values.null_count == len(values):
        return 0
    indices = values.indices.drop_null() if values.null_count else values.indices
    places = indices.to_numpy()
    if not 0 <= places.min() <= places.max() < len(lengths):
        raise pa.ArrowIndexError("a value that its dictionary does not have")
    longest = int(lengths.max())
    if longest <= _VALUE_BYTES:  # for which the plan has so much already
        return longest * len(places)
    return int(np.bincount(places, minlength=len(lengths)) @ lengths.astype(np.int64))


def is_bytes(type_: pa.DataType) -> bool:
    """Whether an Arrow type is of texts or bytes."""
    kinds = pa.types
    return any(
        is_kind(type_)
        for is_kind in (
            kinds.is_string,
            kinds.is_large_string,
            kinds.is_binary,
            kinds.is_large_binary,
        )
    )
