"""Counting a month's rows that are exact copies of another, in memory that does not grow with it.

A row is known by a 64-bit hash of its values. The hashes wait in a temporary file of 8 bytes a row
and are counted a part at a time. Two different rows in 20 million share a hash once in 100,000
months.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from taxi_pipeline.tlc.values import as_numpy

PART_ROWS = 1 << 20

type Hashes = NDArray[np.uint64]

_NULL = np.uint64(0x9E3779B97F4A7C15)
_NULL_BITS = pa.scalar(int(_NULL.view(np.int64)), pa.int64())
_NULL_NUMBER = pa.scalar(float(_NULL.view(np.float64)))
_FACTOR = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)
_CACHED_CHARACTERS = 64


class Duplicates:
    """Counts the rows, of all that are added, that have an equal before them.

    A context: the hashes lie in a temporary file, which is deleted at its end.
    """

    def __enter__(self) -> Self:
        self._rows = 0
        self._file = TemporaryFile()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, rows: Hashes) -> None:
        """Take note of rows.

        Args:
            rows: A hash of each row (uint64), of all its columns (`mix_in`).
        """
        self._rows += len(rows)
        self._file.write(rows.tobytes())

    def count(self) -> int:
        """Return the number of rows that are copies of an earlier one."""
        if not self._rows:
            return 0
        bits = (self._rows // PART_ROWS).bit_length()  # of a hash, that say its part
        shift = np.uint64(64 - bits)
        distinct = 0
        for part in range(1 << bits):
            of_part = [hashes[hashes >> shift == part] for hashes in self._hashes()]
            in_order = np.sort(np.concatenate(of_part))
            distinct += int(np.count_nonzero(np.diff(in_order))) + min(len(in_order), 1)
        return self._rows - distinct

    def _hashes(self) -> Iterator[Hashes]:
        """Read all the hashes, a part of the file at a time."""
        self._file.seek(0)
        while content := self._file.read(PART_ROWS * 8):
            yield np.frombuffer(content, np.uint64)


def mix_in(hashes: Hashes, values: pa.Array) -> None:
    """Mix a further column's values into the rows' hashes, which are 0 before the first.

    With the last column they are the same for rows that are equal in every column. Nulls are equal,
    and so are -0.0 and 0.0.

    Args:
        hashes: A hash of each row (uint64); it is changed in place.
        values: The column: texts as dictionaries, or of a type that has 32 or 64 bits.
    """
    hashes ^= _bits(values)
    hashes *= _FACTOR
    hashes ^= hashes >> _SHIFT


def _bits(values: pa.Array) -> Hashes | np.uint64:
    """Return 64 bits for each value, the same for equal ones; or those that all of them have."""
    if values.null_count == len(values):  # a column that the file does not have
        return _NULL
    if pa.types.is_dictionary(values.type):
        digests = [_digest(text) for text in values.dictionary.to_pylist()]
        hashes: Hashes = np.array([*digests, _NULL], np.uint64)
        places: NDArray[np.int32] = as_numpy(values.indices, pa.scalar(len(digests), pa.int32()))
        return hashes[places]
    if pa.types.is_floating(values.type):
        numbers: NDArray[np.float64] = as_numpy(values, _NULL_NUMBER)
        return (numbers + 0.0).view(np.uint64)  # -0.0 becomes the 0.0 that it equals
    whole = pa.int64() if values.type.bit_width == 64 else pa.int32()
    bits: NDArray[np.int64] = as_numpy(values.view(whole).cast(pa.int64()), _NULL_BITS)
    return bits.view(np.uint64)


def _digest(text: str) -> int:
    return _cached_digest(text) if len(text) <= _CACHED_CHARACTERS else _digest_of(text)


def _digest_of(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


_cached_digest = lru_cache(1 << 12)(_digest_of)
