"""Rows counted by Arrow, cell by cell: their column tallies, and their fingerprint.

What the figures are is said in `column_tallies` and `fingerprint`.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from taxi_pipeline.tlc.column_tallies import (
    FIRST,
    HASHES,
    LAST,
    LENGTH,
    MOST_PARTS,
    NULLS,
    SUM,
    ColumnTallies,
    Figures,
    text_hash,
)
from taxi_pipeline.tlc.fingerprint import EXACT_PARTS, MODULUS, OF_NULL, OF_TOO_LARGE, factor
from taxi_pipeline.tlc.services import DATETIME, INTEGER, NUMBER, TEXT, Column, Table
from taxi_pipeline.tlc.values import as_numpy

_HALF_BITS = 32
_LOW_HALF = 0xFFFF_FFFF


def tally_columns(rows: pa.RecordBatch, table: Table) -> ColumnTallies:
    """Tally rows in the declared schema of a table, column by column."""
    return ColumnTallies(
        len(rows),
        {column.name: tally_column(rows[column.name], column) for column in table.columns},
    )


def tally_column(values: pa.Array, column: Column) -> Figures:
    """Tally the values of a column, of its declared type or its `encoded_type`."""
    return {NULLS: values.null_count, **_FIGURES[column.type](values, column)}


def tally_batches(batches: Iterable[pa.RecordBatch], table: Table) -> ColumnTallies:
    """Tally a stream of batches in the declared schema of a table, column by column."""
    tallies = ColumnTallies.of_no_rows(table)
    for batch in batches:
        tallies += tally_columns(batch, table)
    return tallies


def fingerprint(batches: Iterable[pa.RecordBatch], table: Table) -> int:
    """Return the fingerprint of rows in the declared schema of a table."""
    return sum(_of_batch(batch, table) for batch in batches)


def _of_batch(rows: pa.RecordBatch, table: Table) -> int:
    sums = np.zeros(len(rows), np.int64)
    for column in table.columns:
        values = _numbers(rows[column.name], column).fill_null(pa.scalar(OF_NULL, pa.int64()))
        sums += values.to_numpy() * np.int64(factor(column))
    residues = sums % MODULUS  # of a negative one SQL has another; both have the same square
    return int(np.sum(residues * residues % MODULUS))


def _numbers(values: pa.Array, column: Column) -> pa.Array:
    """Return each value's number (int64); a null stays null."""
    if values.null_count == len(values):
        return pa.nulls(len(values), pa.int64())
    if column.type == TEXT:
        encoded = values.dictionary_encode()
        hashes = [text_hash(text) for text in encoded.dictionary.to_pylist()]
        return pa.array(hashes, pa.int64()).take(encoded.indices)
    if column.type == NUMBER:
        return _number_residues(values, column.parts)
    numbers = values.cast(pa.int64())
    return _remainders(numbers) if column.type == DATETIME else numbers


def _number_residues(values: pa.Array, parts: int) -> pa.Array:
    size = pc.abs(values)
    scaled = pc.multiply(values, pa.scalar(float(parts), pa.float64()))
    in_parts = pc.floor(pc.add(scaled, pa.scalar(0.5, pa.float64())))
    counted = pc.case_when(
        pc.make_struct(
            pc.less(size, pa.scalar(EXACT_PARTS / parts, pa.float64())),
            pc.less(size, pa.scalar(float(EXACT_PARTS), pa.float64())),
            values.is_valid(),
        ),
        in_parts,
        pc.floor(values),
        pa.scalar(float(OF_TOO_LARGE), pa.float64()),
    )
    return _remainders(counted.cast(pa.int64()))


def _remainders(values: pa.Array) -> pa.Array:
    """Return each value modulo P, with the value's sign, as SQL's MOD does it."""
    numbers: NDArray[np.int64] = as_numpy(values, pa.scalar(0, pa.int64()))
    remainders = pa.array(np.fmod(numbers, MODULUS))
    return pc.if_else(values.is_valid(), remainders, pa.scalar(None, pa.int64()))


def _of_integers(values: pa.Array, _: Column) -> Figures:
    return {SUM: pc.sum(values, min_count=0).as_py()}


def _of_numbers(values: pa.Array, column: Column) -> Figures:
    if values.null_count == len(values):
        return {SUM: 0}
    numbers: NDArray[np.float64] = as_numpy(values, pa.scalar(0.0))
    parts = numbers * column.parts
    parts += 0.5
    np.floor(parts, out=parts)
    limit = MOST_PARTS / column.parts
    if not (-limit < numbers.min() and numbers.max() < limit):  # which NaN is not
        parts[~(np.abs(numbers) < limit)] = MOST_PARTS
    return {SUM: int(parts.astype(np.int64).sum())}


def _of_times(values: pa.Array, _: Column) -> Figures:
    if values.null_count == len(values):
        return {SUM: 0, FIRST: None, LAST: None}
    present = values.drop_null() if values.null_count else values
    moments: NDArray[np.int64] = present.view(pa.int64()).to_numpy()
    # the microseconds since 1970 of all rows do not fit into 64 bits
    high, low = moments >> _HALF_BITS, moments & _LOW_HALF
    return {
        SUM: (int(high.sum()) << _HALF_BITS) + int(low.sum()),
        FIRST: int(moments.min()),
        LAST: int(moments.max()),
    }


def _of_texts(values: pa.Array, column: Column) -> Figures:
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    # a last place is for nulls
    places = as_numpy(encoded.indices, pa.scalar(len(encoded.dictionary), pa.int32()))
    *counts, _ = np.bincount(places, minlength=len(encoded.dictionary) + 1).tolist()
    rows = dict(zip(encoded.dictionary.to_pylist(), counts, strict=True))
    if column.codes:
        return {str(code): rows.get(str(code), 0) for code in column.codes}
    return {
        LENGTH: sum(len(text) * count for text, count in rows.items()),
        HASHES: sum(text_hash(text) * count for text, count in rows.items()),
    }


_FIGURES = {
    INTEGER: _of_integers,
    NUMBER: _of_numbers,
    DATETIME: _of_times,
    TEXT: _of_texts,
}
