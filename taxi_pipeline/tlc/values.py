"""One column's values, as a file has them, made to fit what its table declares.

Fitting loses nothing: a value that has no place in the declared type is a misfit, named by its
index, and a word that stands for no declared code is handed back. What becomes of the row that has
one is for others to say.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from taxi_pipeline.tlc.services import DATETIME, INTEGER, NUMBER, NUMBER_LIMIT, TEXT, Column
from taxi_pipeline.tlc.text import printable

_SHOWN_CHARACTERS = 100


@dataclass(frozen=True)
class CastResult:
    """Values of the declared type, and what did not fit. Rows are indices into the values.

    Attributes:
        values: As many values as were given, null where one did not fit or is an undeclared word;
            of `encoded_type`.
        invalid_rows: The rows whose value does not fit the type.
        words: By row, the word that stands for no declared code.
    """

    values: pa.Array
    invalid_rows: list[int] = field(default_factory=list)
    words: dict[int, str] = field(default_factory=dict)


def cast_column(values: pa.Array, column: Column) -> CastResult:
    """Cast values to a column's type without loss, and words to the codes that they stand for.

    NaN is how pandas writes a null, and means one. A value does not fit where the type cannot hold
    it exactly: no whole number in an integer column; a number that is not below the column's limit;
    in a column of times, one with a zone, or of a year before 1 or after 9999 (BigQuery's range);
    in a text, bytes that are no UTF-8 or a NUL (PostgreSQL has none). A time is no number, and a
    number no time.

    Args:
        values: A published column, of whatever type the file has it in.
        column: The declared column. Of its words, only those in an INTEGER column can be
            undeclared: in a TEXT column a word stands for itself.
    """
    if column.type == TEXT or (column.words and _is_text(values.type)):
        encoded, invalid_rows = _encoded(values)
        if column.words:
            return _decode(encoded, invalid_rows, column)
        texts, no_texts = _cast(encoded.dictionary, TEXT)
        rows = sorted({*invalid_rows, *_rows_of(no_texts, encoded)})
        return CastResult(_with_texts(encoded, texts), rows)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return CastResult(*_cast(values, column.type, column.limit))


def shown(values: pa.Array, index: int) -> str:
    """Return a value as a message shows it: printable, a text in quotes, and cut if it is long."""
    text = as_text(values, index)
    if not _is_text(values.type) or text is None:
        return printable(str(text), _SHOWN_CHARACTERS)
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")


def as_text(values: pa.Array, index: int) -> str | None:
    """Return a value as a text, whatever its type; bytes that are no UTF-8 are escaped.

    Returns:
        The text; "a TYPE" where Arrow cannot write the value; None for a null.
    """
    value = values.slice(index, 1)
    if pa.types.is_dictionary(value.type):
        value = value.dictionary_decode()
    if value.null_count:
        return None
    try:
        text = value if _is_text(value.type) or pa.types.is_binary(value.type) else value.cast(TEXT)
        encoded: bytes = text.cast(pa.binary())[0].as_py()
    except pa.ArrowException:
        return f"a {value.type}"
    return encoded.decode(errors="backslashreplace")


def _is_text(of: pa.DataType) -> bool:
    if pa.types.is_dictionary(of):
        return _is_text(of.value_type)
    return bool(pa.types.is_string(of) or pa.types.is_large_string(of))


def _encoded(values: pa.Array) -> tuple[pa.DictionaryArray, list[int]]:
    """Return the texts of values as a dictionary; also the indices of those that have none."""
    invalid_rows: list[int] = []
    if not _is_text(values.type):
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        values, invalid_rows = _cast(values, TEXT)
    elif pa.types.is_dictionary(values.type) and len(values.dictionary) > len(values):
        values = values.dictionary_decode()  # of which few texts are used
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    return values, invalid_rows


def _with_texts(encoded: pa.DictionaryArray, texts: pa.StringArray) -> pa.DictionaryArray:
    """Return the same rows with other texts in their dictionary; a row is null where its text is.

    Each text is in the new dictionary once, on which Arrow's writer of Parquet relies.
    """
    indices = encoded.indices.cast(pa.int32())
    distinct = texts.dictionary_encode()
    if len(distinct.dictionary) < len(texts):
        indices = distinct.indices.take(indices)
    return pa.DictionaryArray.from_arrays(indices, distinct.dictionary)


def _cast(
    values: pa.Array, declared: pa.DataType, limit: float = NUMBER_LIMIT
) -> tuple[pa.Array, list[int]]:
    """Cast values without loss; return also the indices of those that do not fit."""
    if values.type == declared and _are_all_within(values, limit):
        return values, []
    if pa.types.is_temporal(values.type) != (declared == DATETIME) and not _is_text(values.type):
        values = values.cast(TEXT)  # a time is no number, though Arrow would count its days
    if _is_text(values.type) and declared in (INTEGER, NUMBER):
        # as Arrow reads a CSV: without outer blanks, and integers by way of numbers
        numbers, no_numbers = _cast_halving(pc.ascii_trim(values, " \t"), NUMBER)
        fitted, invalid_rows = _cast(numbers, declared, limit)
        return fitted, sorted({*no_numbers, *invalid_rows})
    if pa.types.is_floating(values.type):
        nan = pc.is_nan(values)
        if pc.any(nan).as_py():
            values = pc.if_else(nan, pa.scalar(None, values.type), values)
        if declared == TEXT:
            values = _written(values)
    if _is_text(values.type) and declared == TEXT:
        values = values.cast(pa.binary())  # only a cast from bytes finds those that are no UTF-8
    elif pa.types.is_timestamp(values.type) and values.type.tz:
        values = values.cast(TEXT)  # with its zone, which no wall-clock time has
    fitted, invalid_rows = _cast_halving(values, declared)
    beyond = _beyond(fitted, limit)
    if beyond is not None and beyond.true_count:
        invalid_rows = sorted({*invalid_rows, *np.flatnonzero(mask(beyond)).tolist()})
        fitted = pc.if_else(beyond, pa.scalar(None, declared), fitted)
    return fitted, invalid_rows


def _cast_halving(values: pa.Array, declared: pa.DataType) -> tuple[pa.Array, list[int]]:
    """Cast values, halving a run that fails until the values at fault stand alone."""
    try:
        return values.cast(declared), []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(values) == 1:
            return pa.nulls(1, declared), [] if values.null_count else [0]
        half = len(values) // 2
        left, left_rows = _cast_halving(values[:half], declared)
        right, right_rows = _cast_halving(values[half:], declared)
        invalid_rows = left_rows + [half + index for index in right_rows]
        return pa.concat_arrays([left, right]), invalid_rows


def _written(numbers: pa.Array) -> pa.StringArray:
    """Return the numbers as texts, whole ones as integers: 1.0 is 1."""
    integers = numbers.cast(pa.int64(), safe=False)
    whole = pc.equal(integers.cast(numbers.type, safe=False), numbers)
    return pc.if_else(whole, integers.cast(TEXT), numbers.cast(TEXT))


_FIRST_MOMENT = -62_135_596_800_000_000  # 0001-01-01, in microseconds since 1970
_LAST_MOMENT = 253_402_300_799_999_999  # the end of 9999
_FIRST_TIME = pa.scalar(_FIRST_MOMENT, pa.int64()).cast(DATETIME)
_LAST_TIME = pa.scalar(_LAST_MOMENT, pa.int64()).cast(DATETIME)


def _are_all_within(values: pa.Array, limit: float) -> bool:
    """Whether numbers or times can all be kept as they are; False of anything else."""
    if len(values) == values.null_count:
        return False
    if values.type == NUMBER:
        numbers = as_numpy(values, pa.scalar(0.0))
        return bool(-limit < numbers.min() and numbers.max() < limit)  # which NaN is not
    if values.type == DATETIME:
        moments = as_numpy(values.view(pa.int64()), pa.scalar(0, pa.int64()))
        return bool(moments.min() >= _FIRST_MOMENT and moments.max() <= _LAST_MOMENT)
    return False


def _beyond(fitted: pa.Array, limit: float) -> pa.BooleanArray | None:
    """Return which values the stores cannot all hold; None where they hold all of the type."""
    if fitted.type == NUMBER:
        return pc.greater_equal(pc.abs(fitted), limit)
    if fitted.type == DATETIME:
        return pc.or_(pc.less(fitted, _FIRST_TIME), pc.greater(fitted, _LAST_TIME))
    if fitted.type == TEXT:
        return pc.match_substring(fitted, "\0")
    return None


def _decode(encoded: pa.DictionaryArray, invalid_rows: list[int], column: Column) -> CastResult:
    """Put its code in the place of each word; a text that is a number stands for itself."""
    codes = {_plain(word): code for word, code in column.words.items()}
    texts, no_texts = _cast(encoded.dictionary, TEXT)
    meant: list[int | str | None] = []
    no_codes, undeclared = no_texts, []
    words: list[str | None] = texts.to_pylist()
    for place, word in enumerate(words):
        code = None if word is None else codes.get(_plain(word))
        if word and code is None and column.type == TEXT:
            code = word
        elif word and code is None and _plain(word):
            number = _number(word)
            if number is None:
                undeclared.append(place)
            elif number.is_integer() and -(2**31) <= number < 2**31:
                code = int(number)
            elif not math.isnan(number):
                no_codes.append(place)
        meant.append(code)
    return CastResult(
        _with_texts(encoded, pa.array(meant, TEXT))
        if column.type == TEXT
        else pa.array(meant, column.type).take(encoded.indices),
        [*invalid_rows, *_rows_of(no_codes, encoded)],
        {row: words[encoded.indices[row].as_py()] for row in _rows_of(undeclared, encoded)},
    )


def _number(word: str) -> float | None:
    """Return the number that a text is to Arrow, which reads some that Python does not."""
    numbers, no_numbers = _cast_halving(pc.ascii_trim(pa.array([word], TEXT), " \t"), NUMBER)
    return None if no_numbers else numbers[0].as_py()


def _rows_of(places: Sequence[int], encoded: pa.DictionaryArray) -> list[int]:
    """Return the indices of the rows whose word is at one of these places in the dictionary."""
    if not places:
        return []
    return np.flatnonzero(mask(pc.is_in(encoded.indices, pa.array(places, pa.int32())))).tolist()


def as_numpy(values: pa.Array, null: pa.Scalar) -> NDArray[Any]:
    """Return values as numpy's, with a value for null; no copy where there is none."""
    array: NDArray[Any] = (values.fill_null(null) if values.null_count else values).to_numpy()
    return array


def mask(booleans: pa.BooleanArray) -> NDArray[np.bool_]:
    """Return booleans as numpy's, with null as false."""
    array: NDArray[np.bool_] = booleans.fill_null(False).to_numpy(zero_copy_only=False)
    return array


def _plain(word: str) -> str:
    return word.strip().casefold()
