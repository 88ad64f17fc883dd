import math
from datetime import datetime
from typing import Any

import pyarrow as pa
import pytest

from taxi_pipeline.tlc.schema import encoded_type
from taxi_pipeline.tlc.services import DATETIME, GREEN, INTEGER, NUMBER, TEXT, YELLOW, Column
from taxi_pipeline.tlc.values import cast_column, shown

WHOLE = Column("whole", INTEGER, "")
AMOUNT = Column("amount", NUMBER, "")
FARE = YELLOW.trips["fare_amount"]
NAME = Column("name", TEXT, "")
TIME = Column("time", DATETIME, "")
PAYMENT = YELLOW.trips["payment_type"]
VENDOR = YELLOW.trips["vendor_id"]
STORED = YELLOW.trips["store_and_fwd_flag"]


@pytest.mark.parametrize(
    ("column", "values", "fitted"),
    [
        (WHOLE, pa.array([1.0, None, -3.0]), [1, None, -3]),
        (WHOLE, pa.array([1.0, float("nan")]), [1, None]),
        (WHOLE, pa.array([2**31 - 1], pa.uint64()), [2**31 - 1]),
        (WHOLE, pa.array(["7", None], pa.large_string()), [7, None]),
        (WHOLE, pa.nulls(2), [None, None]),
        (AMOUNT, pa.array([1, 2], pa.int32()), [1.0, 2.0]),
        (AMOUNT, pa.array([-999999999999999.0, float("nan")]), [-999999999999999.0, None]),
        (AMOUNT, pa.nulls(1), [None]),
        (FARE, pa.array([9_999_999.99, -9_999_999.99, -0.0]), [9_999_999.99, -9_999_999.99, 0.0]),
        (FARE, pa.array(["9999999.999999998", "-9999999"]), [math.nextafter(1e7, 0), -9_999_999.0]),
        (NAME, pa.array(["é", None], pa.large_string()), ["é", None]),
        (NAME, pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (NAME, pa.array([0.0, None, 1.0]), ["0", None, "1"]),
        (NAME, pa.array([0.5, 1.0]), ["0.5", "1"]),
        (TIME, pa.array(["2009-01-04 02:52:00"]), [datetime.fromisoformat("2009-01-04 02:52")]),
        (
            TIME,
            pa.array([1_000], pa.timestamp("ns")),
            [datetime.fromisoformat("1970-01-01 00:00:00.000001")],
        ),
    ],
)
def test_values_of_any_type_fit_without_loss(column: Column, values: pa.Array, fitted: Any) -> None:
    found = cast_column(values, column)
    assert found.values.type == encoded_type(column.type)
    assert found.values.to_pylist() == fitted
    assert (found.invalid_rows, found.words) == ([], {})


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (WHOLE, pa.array([1.0, 1.5]), "1.5"),
        (WHOLE, pa.array([1, 2**31]), "2147483648"),
        (WHOLE, pa.array([1.0, float("inf")]), "inf"),
        (WHOLE, pa.array(["1", "one"]), "'one'"),
        (WHOLE, pa.array([None, 18_632], pa.date32()), "2021-01-05"),
        (TIME, pa.array([None, 1_609_804_800_000_000]), "1609804800000000"),
        (AMOUNT, pa.array([1.0, float("inf")]), "inf"),
        (AMOUNT, pa.array([1.0, -1e15]), "-1e+15"),
        (AMOUNT, pa.array(["1", "$1"]), "'$1'"),
        (FARE, pa.array([1.0, 1e7]), "10000000"),
        (FARE, pa.array([1.0, -1e7]), "-10000000"),
        (FARE, pa.array(["1", "9e14"]), "'9e14'"),
        (FARE, pa.array([1, 10**7], pa.int64()), "10000000"),
        (AMOUNT, pa.array([1, 2**53 + 1]), "9007199254740993"),
        (NAME, pa.array(["a", "a\0"]), "'a\\x00'"),
        (NAME, pa.array(["a", "\0" * 1000]), repr("\0" * 100 + "…")),
        (TIME, pa.array([0, 1], pa.timestamp("ns")), "1970-01-01 00:00:00.000000001"),
        (
            TIME,
            pa.array([0, 2**62], pa.timestamp("us")),
            "<value out of range: 4611686018427387904>",
        ),
        (TIME, pa.array(["2009-01-04", "soon"]), "'soon'"),
        (PAYMENT, pa.array(["CASH", "1.5"]), "'1.5'"),
        (PAYMENT, pa.array(["CASH", "CA\0SH"]), "'CA\\x00SH'"),
        (PAYMENT, pa.array([1.0, 1.5]), "1.5"),
    ],
)
def test_what_does_not_fit_is_named(column: Column, values: pa.Array, message: str) -> None:
    found = cast_column(values, column)
    assert found.invalid_rows == [1]
    assert len(found.values) == 2
    assert found.values[0].is_valid == values[0].is_valid
    assert shown(values, 1) == message


@pytest.mark.parametrize(
    ("column", "words", "codes"),
    [
        (VENDOR, ["CMT", "VTS", "DDS", "cmt ", None, "2"], [1, 2, 3, 1, None, 2]),
        (PAYMENT, ["Credit", "CREDIT", "CRE", "Cre", "CRD", "1"], [1] * 6),
        (PAYMENT, ["Cash", "CASH", "CAS", "Cas", "CSH", "2.0"], [2] * 6),
        (PAYMENT, ["No Charge", "No ", "NOC", "Dispute", "DIS", "UNK"], [3, 3, 3, 4, 4, 5]),
        (PAYMENT, ["0", "", " ", "nan"], [0, None, None, None]),
        (STORED, ["0", "1", "N", "Y", None, "*"], ["N", "Y", "N", "Y", None, "*"]),
    ],
)
@pytest.mark.parametrize("encoded", [False, True])
def test_words_become_codes(
    column: Column, words: list[str | None], codes: Any, encoded: bool
) -> None:
    values = pa.array(words, pa.string())
    found = cast_column(values.dictionary_encode() if encoded else values, column)
    assert found.values.to_pylist() == codes
    assert found.values.type == encoded_type(column.type)
    assert (found.invalid_rows, found.words) == ([], {})


@pytest.mark.parametrize(
    ("texts", "indices", "rows", "dictionary"),
    [
        (["a", "b", "a"], [0, 1, 2, None], ["a", "b", "a", None], ["a", "b"]),
        (["a", None], [1, 0, 1], [None, "a", None], ["a"]),
        (["a", "b", "c", "d"], [3, 3], ["d", "d"], ["d"]),  # made anew: more texts than rows
        ([], [None, None], [None, None], []),
    ],
)
@pytest.mark.parametrize("type_", [pa.string(), pa.large_string()])
def test_a_texts_dictionary_has_each_text_once(
    texts: list[str | None],
    indices: list[int | None],
    rows: list[str | None],
    dictionary: list[str],
    type_: pa.DataType,
) -> None:
    encoded = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), pa.array(texts, type_))
    found = cast_column(encoded, NAME).values
    assert found.to_pylist() == rows
    assert found.dictionary.to_pylist() == dictionary
    assert found.null_count == rows.count(None)


def test_a_text_at_fault_is_at_fault_in_each_of_its_rows() -> None:
    no_text = pa.array([b"\xff", b"a", b"a\0"]).view(pa.string())
    encoded = pa.DictionaryArray.from_arrays(pa.array([1, 0, 2, 0]), no_text)
    found = cast_column(encoded, NAME)
    assert found.invalid_rows == [1, 2, 3]
    assert found.values.to_pylist() == ["a", None, None, None]


def test_a_word_that_is_not_declared_is_handed_back() -> None:
    found = cast_column(pa.array(["CASH", "Barter", None, "Barter"]), GREEN.trips["payment_type"])
    assert found.values.to_pylist() == [2, None, None, None]
    assert found.words == {1: "Barter", 3: "Barter"}
    assert found.invalid_rows == []


def test_numbers_that_stand_for_words_are_read_as_words() -> None:
    assert cast_column(pa.array([0.0, None, 1.0]), STORED).values.to_pylist() == ["N", None, "Y"]
