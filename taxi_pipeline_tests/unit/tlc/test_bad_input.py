"""What breaks the files of others: each is an error that says what to do, or rejected rows."""

# ruff: noqa: DTZ001 - TLC's times carry no zone

import gzip
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from isal import igzip

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.cleaning import Summary, clean_trips
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import csv, examine, open_published, parquet
from taxi_pipeline.tlc.reading.lines import Lines
from taxi_pipeline.tlc.services import FHV, GREEN, SERVICES, YELLOW, Service
from taxi_pipeline_tests.fuzz.apart import apart
from taxi_pipeline_tests.fuzz.target import clean_measured
from taxi_pipeline_tests.support import headers
from taxi_pipeline_tests.support.parquet import read_parquet
from taxi_pipeline_tests.support.source_files import (
    TRIP,
    YELLOW_HEADER,
    read_batches,
    trip,
    write_csv,
)

JANUARY = Month(2021, 1)

# a header of each era, as published
HEADERS = {
    "yellow": (
        headers.YELLOW_2009,
        headers.YELLOW_2014,
        headers.YELLOW_2015,
        headers.YELLOW_2019,
    ),
    "green": (headers.GREEN_2013, headers.GREEN_2019),
    "fhv": (headers.FHV_2015, headers.FHV_2017, headers.FHV_2018, headers.FHV_2021),
    "fhvhv": (headers.FHVHV_2019, headers.FHVHV_2021),
}


class Bench:
    """Writes a file, and cleans it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def clean(self, path: Path, service: Service = YELLOW, month: Month = JANUARY) -> Summary:
        """Examine and clean a file; what both count must be the same."""
        examined = examine(path, 5)
        published = open_published(path, service.trips)
        summary = clean_trips(
            month, published, self.folder / "trips.parquet", self.folder / "rejected.parquet"
        )
        assert examined.rows == summary.published == summary.kept + summary.rejected.total()
        return summary

    def csv(self, *lines: str | bytes, header: str | bytes = YELLOW_HEADER) -> Path:
        """Write the lines as they are, one line break after each."""
        path = self.folder / "yellow_tripdata_2021-01.csv"
        encoded = [line.encode() if isinstance(line, str) else line for line in (header, *lines)]
        path.write_bytes(b"\n".join((*encoded, b"")))
        return path

    def parquet(self, **changes: pa.Array) -> Path:
        """Write two rows of green's 2021-01, with some columns changed."""
        path = self.folder / "green_tripdata_2021-01.parquet"
        pq.write_table(pa.table(GREEN_COLUMNS | changes), path)
        return path

    @property
    def trips(self) -> list[dict[str, Any]]:
        return _rows(self.folder / "trips.parquet")

    @property
    def rejected(self) -> list[dict[str, Any]]:
        return _rows(self.folder / "rejected.parquet")

    @property
    def problems(self) -> list[tuple[int, str]]:
        return [(row["number"], row["problem"]) for row in self.rejected]


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_parquet(path).to_pylist()
    return rows


def grown_by(act: Callable[[], object]) -> int:
    """Return by how many bytes Python's memory and Arrow's grew at their peaks."""
    pool = pa.default_memory_pool()
    before: int = pool.max_memory()
    tracemalloc.start()
    try:
        act()
        return int(tracemalloc.get_traced_memory()[1] + pool.max_memory() - before)
    finally:
        tracemalloc.stop()


_TIMES = pa.array([datetime(2021, 1, 15), datetime(2021, 1, 16)], pa.timestamp("us"))
_AMOUNTS = pa.array([1.5, 2.5])
GREEN_COLUMNS: dict[str, pa.Array] = {
    "VendorID": pa.array([1, 2]),
    "lpep_pickup_datetime": _TIMES,
    "lpep_dropoff_datetime": _TIMES,
    "store_and_fwd_flag": pa.array(["N", None]),
    "RatecodeID": pa.array([1.0, None]),
    "PULocationID": pa.array([1, 2]),
    "DOLocationID": pa.array([1, 2]),
    "passenger_count": pa.array([1.0, None]),
    **dict.fromkeys(("trip_distance", "fare_amount", "extra", "mta_tax", "tip_amount"), _AMOUNTS),
    **dict.fromkeys(("tolls_amount", "improvement_surcharge", "total_amount"), _AMOUNTS),
    "payment_type": pa.array([1, 2]),
    "trip_type": pa.array([1, 2]),
}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


# --- the header --------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [YELLOW_HEADER, '"' + YELLOW_HEADER.replace(",", '","') + '"'])
def test_a_byte_order_mark_is_no_part_of_the_first_name(bench: Bench, header: str) -> None:
    assert bench.clean(bench.csv(TRIP, header="\ufeff" + header)).kept == 1
    assert bench.trips[0]["vendor_id"] == 1


@pytest.mark.parametrize("before", [(), ("x,y",)], ids=["a good block", "a block with a fault"])
def test_a_byte_order_mark_in_a_row_stays_in_it(bench: Bench, before: tuple[str, ...]) -> None:
    row = "\ufeffB00009,2021-01-15 10:00:00,2021-01-15 10:10:00,1,2,,"
    assert bench.clean(bench.csv(*before, row, row, header=headers.FHV_2021), FHV).kept == 2
    assert [trip["dispatching_base_num"] for trip in bench.trips] == ["\ufeffB00009"] * 2


@pytest.mark.parametrize(
    "content",
    [
        f"{YELLOW_HEADER}\r{TRIP}\r{TRIP}\r".encode(),
        YELLOW_HEADER.replace("VendorID", "Vendor\0ID").encode(),
        gzip.compress(f"{YELLOW_HEADER}\n{TRIP}\n".encode(), mtime=0),
    ],
    ids=["lines that end in CR", "a NUL", "gzip under the name of a CSV"],
)
def test_a_first_line_that_is_no_header_is_an_error(bench: Bench, content: bytes) -> None:
    path = bench.folder / "yellow_tripdata_2021-01.csv"
    path.write_bytes(content)
    for read in (lambda: examine(path, 5), lambda: open_published(path, YELLOW.trips)):
        with pytest.raises(PermanentError) as caught:
            read()
        assert str(caught.value).startswith(f"{path.name}: the first line is no header")
        assert "Check what the publisher serves" in str(caught.value)


# --- CSV lines ---------------------------------------------------------------------------------


def test_a_carriage_return_inside_a_line_is_a_problem_of_its_row(bench: Bench) -> None:
    odd = trip(store_and_fwd_flag="N\rY")
    path = bench.csv(odd, TRIP + "\r", TRIP + "\r\r", TRIP)
    assert bench.clean(path).rejected == {"unparsable": 2}
    said = "CSV parse error: a carriage return inside the line"
    assert bench.problems == [(2, said), (4, said)]
    assert bench.rejected[0]["line"] == odd
    assert examine(path, 1).first_rows[0]["store_and_fwd_flag"] == "N\\rY"


def test_a_row_may_be_wider_than_the_header_by_a_few_empty_cells(bench: Bench) -> None:
    path = bench.csv(TRIP + ",,", TRIP, TRIP + ',""', TRIP + "," * 16, TRIP + "," * 17)
    assert bench.clean(path).rejected == {"unparsable": 1}
    ((number, problem),) = bench.problems
    assert number == 6
    assert problem.startswith("CSV parse error: Expected 34 columns, got 35")


def test_a_row_of_a_million_cells_costs_no_more_than_its_bytes(bench: Bench) -> None:
    path = bench.csv(TRIP + "," * 1_000_000, TRIP)
    growth = grown_by(lambda: bench.clean(path))
    assert bench.problems[0][1].startswith("CSV parse error: Expected 34 columns, got 1000018")
    assert growth < 64 << 20


def test_wrong_bytes_beyond_the_columns_are_a_problem_of_their_row(bench: Bench) -> None:
    assert bench.clean(bench.csv(TRIP.encode() + b",\xff", TRIP)).rejected == {"unparsable": 1}
    assert bench.problems == [
        (2, "In CSV column #18: CSV conversion error to string: invalid UTF8 data")
    ]


def test_wrong_bytes_in_an_undeclared_column_keep_the_whole_line(bench: Bench) -> None:
    odd = trip(passenger_count="0")
    bench.clean(bench.csv(odd.encode() + b",\xff", header=YELLOW_HEADER + ",surprise"))
    (row,) = bench.rejected
    assert (row["rejected_because"], row["line"]) == ("no_passengers", odd + r",\xff")


@pytest.mark.parametrize("beside", [TRIP + ",", 'a line at fault"'])
def test_wrong_bytes_in_an_undeclared_column_are_no_problem_of_the_row(
    bench: Bench, beside: str
) -> None:
    bench.clean(bench.csv(TRIP.encode() + b",\xff", beside, header=YELLOW_HEADER + ",surprise"))
    assert len(bench.trips) == (1 if "fault" in beside else 2)
    assert all(row["number"] != 2 for row in bench.rejected)


@pytest.mark.parametrize(
    "odd",
    [b'"a",b', TRIP.encode() + b"," * 20 + b'"x"', TRIP.encode() + b",x", TRIP.encode() + b"\xff"],
    ids=["narrow", "wide", "beyond", "no text"],
)
def test_lines_at_fault_among_good_ones_are_not_parsed_one_by_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, odd: bytes
) -> None:
    parse, parsed = csv._parse_csv, []

    def counted(lines: Lines, *others: Any) -> pa.RecordBatch:
        parsed.append(lines)
        return parse(lines, *others)

    monkeypatch.setattr(csv, "_parse_csv", counted)
    path = bench.csv(*[TRIP.encode(), odd] * 500)
    assert bench.clean(path).rejected == {"unparsable": 500}
    assert len(parsed) < 10


FHV_TRIP = "B1,2021-01-15 00:30:10,2021-01-15 00:40:10,1,2,,B2"


@pytest.mark.parametrize(
    ("line", "base"),
    [
        ('a",2021-01-15 00:30:10,,1,2,,"x', None),
        ('a",2021-01-15 00:30:10,,1,2,,x"', 'x"'),
        ('a"b,2021-01-15 00:30:10,,1,2,,c"d,', 'c"d'),
        ('"a",2021-01-15 00:30:10,,1,2,,"x,""y"""', 'x,"y"'),
        ('"a",2021-01-15 00:30:10,,1,2,,"x""', None),
        ('"a",2021-01-15 00:30:10,,1,2,,"x"y', "xy"),
        ('"a",2021-01-15 00:30:10,,1,2,,x"', None),  # an odd number is never trusted
    ],
)
@pytest.mark.parametrize("block", [1 << 20, 1])
def test_a_quote_that_is_not_closed_is_a_problem_of_its_row(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, line: str, base: str | None, block: int
) -> None:
    monkeypatch.setattr("taxi_pipeline.tlc.reading.lines.BLOCK_BYTES", block)
    path = bench.csv(FHV_TRIP + ",", line, FHV_TRIP, line, line, header=headers.FHV_2021)
    bench.clean(path, FHV)
    if base is None:
        said = "CSV parse error: a quote is not closed"
        assert bench.problems == [(3, said), (5, said), (6, said)]
        assert {row["line"] for row in bench.rejected} == {line}
    else:
        bases = [row["affiliated_base_num"] for row in bench.trips]
        assert bases == ["B2", base, "B2", base, base]


@pytest.mark.parametrize("blanks", [1000, 1001, 5000])
@pytest.mark.parametrize("text", ["", "x"])
@pytest.mark.parametrize("end", ["", "\n", " " * 5000 + "\n"], ids=["end", "break", "more"])
def test_a_long_line_that_begins_blank_is_counted_the_same_by_all(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, blanks: int, text: str, end: str
) -> None:
    monkeypatch.setattr("taxi_pipeline.tlc.reading.lines.LINE_LIMIT_BYTES", 1000)
    monkeypatch.setattr("taxi_pipeline.tlc.reading.lines.BLOCK_BYTES", 700)
    path = bench.csv(TRIP, " " * 1000)
    path.write_bytes(path.read_bytes() + (" " * blanks + text + end).encode())
    long = len(" " * blanks + text + end.rstrip("\n")) > 1000
    assert bench.clean(path).rejected == ({"unparsable": 1} if long or text else {})


# --- Parquet values ----------------------------------------------------------------------------


def no_utf8(*texts: bytes) -> pa.StringArray:
    """Return texts that Arrow takes to be UTF-8 without a look."""
    return pa.StringArray.from_buffers(len(texts), *pa.array(texts).buffers()[1:])


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("store_and_fwd_flag", no_utf8(b"N", b"\xff"), r"'\\xff' does not fit string"),
        ("request_source", no_utf8(b"N", b"\xff"), r"'\\xff' does not fit string"),
        ("store_and_fwd_flag", pa.array([b"N", b"\xff"]), r"\xff does not fit string"),
        ("store_and_fwd_flag", pa.array([None, {"a": 1}]), "a struct<a: int64> does not fit"),
        ("store_and_fwd_flag", pa.array(["N", "Y\0"]).dictionary_encode(), r"'Y\x00' does not"),
        ("PULocationID", pa.array([None, [2]]), "a list<element: int64> does not fit int32"),
        ("PULocationID", pa.array([1, 2**63], pa.uint64()), "9223372036854775808 does not fit"),
        ("PULocationID", pa.array([1, 2**31], pa.int64()), "2147483648 does not fit int32"),
        ("passenger_count", pa.array([Decimal("1.0"), Decimal("1.5")]), "1.5 does not fit int32"),
        ("payment_type", pa.array(["CASH", "1.5"]), "'1.5' does not fit int32"),
        ("fare_amount", pa.array([1, 2**60]), "1152921504606846976 does not fit double"),
        ("fare_amount", pa.array([1, float("inf")], pa.float32()), "inf does not fit double"),
        ("fare_amount", pa.array(["1.50", "cheap"]), "'cheap' does not fit double"),
    ],
)
def test_a_value_that_does_not_fit_is_a_problem_of_its_row(
    bench: Bench, column: str, values: pa.Array, problem: str
) -> None:
    assert bench.clean(bench.parquet(**{column: values}), GREEN).rejected == {"unparsable": 1}
    rejected = read_parquet(bench.folder / "rejected.parquet")
    assert rejected["number"].to_pylist() == [2]
    assert problem in rejected["problem"][0].as_py()


JANUARY_15 = datetime(2021, 1, 15)


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        (pa.array(["2021-01-15 00:00:00", "soon"]), "'soon' does not fit"),
        (pa.array(["2021-01-15", "2021-01-15 00:00Z"]), "'2021-01-15 00:00Z' does not fit"),
        (
            pa.array([None, JANUARY_15], pa.timestamp("us", "UTC")),
            "2021-01-15 00:00:00.000000Z does not fit timestamp[us]",
        ),
        (
            pa.array([None, JANUARY_15], pa.timestamp("us", "America/New_York")),
            "2021-01-14 19:00:00.000000-0500 does not fit timestamp[us]",
        ),
        (pa.array([None, 1], pa.timestamp("ns")), "00:00:00.000000001 does not fit"),
        (pa.array([None, 2**62], pa.timestamp("us")), "does not fit timestamp[us]"),
        (pa.array([None, -(2**62)], pa.timestamp("us")), "does not fit timestamp[us]"),
        (pa.array([None, "1:30"]).dictionary_encode(), "'1:30' does not fit timestamp[us]"),
    ],
)
def test_a_time_that_does_not_fit_is_a_problem_of_its_row(
    bench: Bench, times: pa.Array, problem: str
) -> None:
    bench.clean(bench.parquet(lpep_dropoff_datetime=times), GREEN)
    rejected = read_parquet(bench.folder / "rejected.parquet")
    assert rejected["number"].to_pylist() == [2]
    assert problem in rejected["problem"][0].as_py()


@pytest.mark.parametrize(
    ("column", "values", "canonical", "fitted"),
    [
        ("VendorID", pa.array([1, 2], pa.uint8()), "vendor_id", [1, 2]),
        ("VendorID", pa.array([Decimal("1.0"), None]), "vendor_id", [1, None]),
        ("VendorID", pa.array(["cmt", " Vts "], pa.large_string()), "vendor_id", [1, 2]),
        ("payment_type", pa.array(["CSH", None]).dictionary_encode(), "payment_type", [2, None]),
        ("store_and_fwd_flag", pa.array([0.0, 1.0]), "store_and_fwd_flag", ["N", "Y"]),
        ("store_and_fwd_flag", pa.array([b"N", None]), "store_and_fwd_flag", ["N", None]),
        ("request_source", pa.array([1e7, 0.5]), "request_source", ["10000000", "0.5"]),
        (
            "trip_distance",
            pa.array([1.5, float("nan")], pa.float16()),
            "trip_distance",
            [1.5, None],
        ),
        ("fare_amount", pa.array([Decimal("1.10"), None]), "fare_amount", [1.1, None]),
        ("fare_amount", pa.array(["1.10", None]).dictionary_encode(), "fare_amount", [1.1, None]),
        ("RatecodeID", pa.nulls(2), "ratecode_id", [None, None]),
        ("RatecodeID", pa.nulls(2, pa.list_(pa.int8())), "ratecode_id", [None, None]),
    ],
)
@pytest.mark.parametrize("rows_at_once", [2, 1])
def test_a_value_of_another_type_fits_where_it_loses_nothing(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    column: str,
    values: pa.Array,
    canonical: str,
    fitted: list[object],
    rows_at_once: int,
) -> None:
    monkeypatch.setattr(parquet, "PARQUET_BATCH_ROWS", rows_at_once)
    assert bench.clean(bench.parquet(**{column: values}), GREEN).kept == 2
    assert [row[canonical] for row in bench.trips] == fitted


def test_far_times_of_the_old_form_stay_what_they_are(bench: Bench) -> None:
    far = pa.array([JANUARY_15, datetime(2500, 1, 1)], pa.timestamp("us"))
    path = bench.parquet()
    table = pa.table(GREEN_COLUMNS | {"lpep_pickup_datetime": far})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    assert bench.clean(path, GREEN).rejected == {"pickup_outside_month": 1}
    assert bench.trips[0]["pickup_datetime"] == JANUARY_15
    assert bench.rejected[0]["lpep_pickup_datetime"] == datetime(2500, 1, 1)


def test_the_first_rows_are_shown_whatever_they_hold(bench: Bench) -> None:
    path = bench.parquet(
        lpep_pickup_datetime=pa.array([2**62, None], pa.timestamp("us")),
        store_and_fwd_flag=no_utf8(b"\xff", b"N"),
        ehail_fee=pa.array([[1], None]),
    )
    first, second = examine(path, 2).first_rows
    assert first["store_and_fwd_flag"] == r"\xff"
    assert first["ehail_fee"] == "a list<element: int64>"
    assert first["lpep_pickup_datetime"] == f"<value out of range: {2**62}>"
    assert (second["lpep_pickup_datetime"], second["store_and_fwd_flag"]) == (None, "N")


# --- broken files ------------------------------------------------------------------------------


def test_a_parquet_whose_footer_miscounts_is_an_error(bench: Bench) -> None:
    path = bench.parquet()
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    # the file's rows: the field after the schema, an i64 of zig-zag 2 before the row groups' list
    at = content.index(b"\x16\x04\x19\x1c", footer)
    path.write_bytes(content[: at + 1] + b"\x06" + content[at + 2 :])
    assert pq.read_metadata(path).num_rows == 3
    with pytest.raises(
        PermanentError, match=r"2021-01\.parquet: not a whole Parquet file.*fetch it"
    ):
        examine(path, 5)


@pytest.mark.parametrize("at", range(0, 100, 7))
def test_a_parquet_with_wrong_bytes_is_an_error_or_still_adds_up(bench: Bench, at: int) -> None:
    path = bench.parquet()
    content = bytearray(path.read_bytes())
    place = len(content) * at // 100
    content[place : place + 9] = bytes(range(250, 241, -1))
    path.write_bytes(content)
    said = ""
    try:
        bench.clean(path, GREEN)
    except PermanentError as error:
        said = str(error)
    assert not said or (said.startswith(f"{path.name}: ") and "Check" in said)


def test_a_negative_nothing_is_no_other_amount(bench: Bench) -> None:
    path = bench.csv(*(trip(fare_amount=nothing) for nothing in ("0", "-0", "-0.00", "0.01")))
    assert bench.clean(path).noted["exact_duplicates"] == 2


def test_wrong_bytes_in_the_middle_of_a_gzip_are_an_error(bench: Bench) -> None:
    lines = [trip(VendorID=str(number), fare_amount=str(number)) for number in range(2000)]
    path = write_csv(bench.folder / "yellow_tripdata_2021-01.csv.gz", lines)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4] = bytes(byte ^ 0xFF for byte in content[middle : middle + 4])
    path.write_bytes(content)
    said = f"^{path.name}: the gzip is broken or cut short.*Fetch it again"
    with pytest.raises(PermanentError, match=said):
        examine(path, 5)
    with pytest.raises(PermanentError, match=said):
        read_batches(path, YELLOW.trips)


@pytest.mark.parametrize("missing", [1, 4, 8, 100, 3000])
def test_a_parquet_with_a_cut_footer_is_an_error(bench: Bench, missing: int) -> None:
    path = bench.parquet()
    path.write_bytes(path.read_bytes()[:-missing])
    for read in (lambda: examine(path, 5), lambda: open_published(path, GREEN.trips)):
        with pytest.raises(PermanentError, match=f"^{path.name}: not a whole Parquet file.*again"):
            read()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\r\n\r\n", gzip.compress(b"", mtime=0), gzip.compress(b"\n", mtime=0)]
)
def test_an_empty_file_is_an_error(bench: Bench, content: bytes) -> None:
    zipped = content.startswith(b"\x1f\x8b")
    path = bench.folder / ("yellow_tripdata_2021-01.csv" + (".gz" if zipped else ""))
    path.write_bytes(content)
    for read in (lambda: examine(path, 5), lambda: open_published(path, YELLOW.trips)):
        with pytest.raises(PermanentError, match=f"^{path.name}: the file is empty"):
            read()


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\r\n", "\n\n\n"])
def test_a_header_alone_is_a_month_without_rows(bench: Bench, end: str) -> None:
    path = bench.csv()
    path.write_text(YELLOW_HEADER + end, newline="")
    assert bench.clean(path).published == 0


def test_a_parquet_without_row_groups_is_a_month_without_rows(bench: Bench) -> None:
    path = bench.folder / "green_tripdata_2021-01.parquet"
    pq.ParquetWriter(path, pa.table(GREEN_COLUMNS).schema).close()
    assert pq.read_metadata(path).num_row_groups == 0
    assert bench.clean(path, GREEN).published == 0


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
@pytest.mark.parametrize(
    ("of", "header"),
    [(of, header) for of, headers in HEADERS.items() for header in headers],
    ids=[f"{of}{era}" for of, headers in HEADERS.items() for era, _ in enumerate(headers, 1)],
)
def test_a_file_of_another_service_is_an_error(
    bench: Bench, of: str, header: str, service: Service
) -> None:
    # but for fhvhv: the publisher's mirror serves 2021-06 under fhv's header
    fits = of == service.name or (
        (of, service.name) == ("fhv", "fhvhv") and "Pickup_date," not in header
    )
    path = write_csv(bench.folder / f"{service.name}_tripdata_2021-01.csv", [], header)
    if fits:
        assert open_published(path, service.trips).header.unknown == ()
        return
    with pytest.raises(PermanentError) as caught:
        open_published(path, service.trips)
    message = str(caught.value)
    assert message.startswith(f"{path.name}: ")
    assert "Check that" in message
    assert message.count(of) or "the required column" in message


@pytest.mark.parametrize("name", ["line", "number", "rejected_because", " Problem"])
def test_a_column_named_as_one_of_the_rejected_rows_is_an_error(bench: Bench, name: str) -> None:
    path = bench.csv(TRIP + ",1", header=f"{YELLOW_HEADER},{name}")
    plain = name.strip().lower()
    with pytest.raises(PermanentError, match=f"^{path.name}: the column {plain} has.*rename that"):
        open_published(path, YELLOW.trips)


def test_two_columns_for_one_must_not_differ(bench: Bench) -> None:
    header = HEADERS["fhv"][2]
    cells = '"2021-01-15 00:30:10","","1","2","",'
    path = bench.csv(
        *(cells + bases for bases in ('"B1",""', '"","B2"', '"B3","B3"', '"B4","B5"')),
        header=header,
    )
    assert bench.clean(path, FHV).rejected == {"unparsable": 1}
    assert bench.problems == [(5, "dispatching_base_num: two columns differ")]
    (row,) = bench.rejected
    assert (row["Dispatching_base_number"], row["Dispatching_base_num"]) == ("B4", "B5")
    assert [row["dispatching_base_num"] for row in bench.trips] == ["B1", "B2", "B3"]


# --- words, numbers and times ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "code", "unknown"),
    [
        ("cRe", 1, None),
        (" No Charge ", 3, None),
        ("2.0", 2, None),
        (" 2", 2, None),
        ("1e0", 1, None),
        ("-1", -1, None),
        ("-2147483648", -2147483648, None),
        (" ", None, None),
        ("NaN", None, None),
        ("-nan", None, None),
        ("N/A", None, "payment_type=N/A"),
        ("1_0", None, "payment_type=1_0"),
        ("0x1", None, "payment_type=0x1"),
        ("Crédit", None, "payment_type=Crédit"),
        ('"a; b=c"', None, "payment_type=a; b=c"),
    ],
)
def test_an_odd_word_is_a_code_or_is_noted(
    bench: Bench, cell: str, code: int | None, unknown: str | None
) -> None:
    assert bench.clean(bench.csv(trip(payment_type=cell))).kept == 1
    (row,) = bench.trips
    assert (row["payment_type"], row["unknown_words"]) == (code, unknown)


@pytest.mark.parametrize("cell", ["inf", "-inf", "1.5", "2147483648", "-2147483649", "1e400"])
def test_a_number_that_is_no_code_is_a_problem_of_its_row(bench: Bench, cell: str) -> None:
    assert bench.clean(bench.csv(trip(payment_type=cell))).rejected == {"unparsable": 1}
    assert bench.problems == [(2, f"payment_type: '{cell}' does not fit int32")]


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "7",
            " 7 ",
            "007",
            "+7",
            "7.0",
            "7e0",
            "0x7",
            "0X7",
            "-0",
            "-nan",
            "nan(7)",
            "1_0",
            "7.5",
        ),
        *("-2147483648", "2147483648", "9" * 25, "true", "12:30", "2021-01-15", "2021-01-15 00:30"),
    ],
)
@pytest.mark.parametrize("column", ["payment_type", "PULocationID"])
def test_an_integer_is_the_same_whatever_its_neighbours_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, column: str, cell: str
) -> None:
    def read(*values: str) -> dict[int, dict[str, Any] | str]:
        """Return what becomes of the lines, by their numbers: a trip or a problem."""
        summary = bench.clean(bench.csv(*(trip(**{column: value}) for value in values)))
        problems = dict(bench.problems)
        assert summary.rejected == ({"unparsable": len(problems)} if problems else {})
        trips = iter(bench.trips)
        return {number: problems.get(number) or next(trips) for number in range(2, 2 + len(values))}

    alone = read(cell)[2]
    # a block has the cell and one neighbour
    monkeypatch.setattr("taxi_pipeline.tlc.reading.lines.BLOCK_LINES", 2)
    neighbours = ("1", "1.0", "x", "nan", "2021-01-15", "true", "")
    lines = read(*(value for neighbour in neighbours for value in (cell, neighbour)))
    assert [lines[2 * place] for place in range(1, 8)] == [alone] * 7


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2021-01-15 00:30:10.5", datetime(2021, 1, 15, 0, 30, 10, 500_000)),
        ("2021-01-15T00:30:10.123456", datetime(2021, 1, 15, 0, 30, 10, 123_456)),
        ("2021-01-15 00:30", datetime(2021, 1, 15, 0, 30)),
        ("2021-01-15", datetime(2021, 1, 15)),
        ("2021-01-15 00:30:10.1234567", None),
        ("2021-01-15 00:30:10Z", None),
        ("2021-01-15 00:30:10-05:00", None),
        ("2021-01-15 24:00:00", None),
        ("2021-02-29 00:00:00", None),
        ("01/15/2021 12:30:10 AM", None),
        ("99999-01-01 00:00:00", None),
        ("0000-01-01 00:00:00", None),
    ],
)
def test_an_odd_time_is_that_time_or_a_problem_of_its_row(
    bench: Bench, cell: str, expected: datetime | None
) -> None:
    line = trip(tpep_pickup_datetime=cell)
    bench.clean(bench.csv(line))
    if expected:
        assert [row["pickup_datetime"] for row in bench.trips] == [expected]
    else:
        assert bench.problems == [(2, f"pickup_datetime: '{cell}' does not fit timestamp[us]")]
        (rejected,) = bench.rejected
        assert (rejected["tpep_pickup_datetime"], rejected["line"]) == (cell, line)


def test_a_file_whose_every_row_is_at_fault_is_read_by_column(bench: Bench) -> None:
    rows = [trip(tpep_pickup_datetime="01/15/2021 00:30", VendorID=str(n)) for n in range(3000)]
    narrow = [TRIP.rpartition(",")[0] if n % 2 else f"{TRIP},,,{n % 3 or ''}" for n in range(300)]
    summary = bench.clean(bench.csv(*rows, *narrow))
    assert summary.rejected == {"unparsable": 3000 + 150 + 100}
    assert summary.kept == 50
    assert [number for number, _ in bench.problems] == [
        *range(2, 3002),
        *(3002 + n for n in range(300) if n % 2 or n % 3),
    ]


# --- what has no end ---------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak")
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_line_of_100_mb_takes_no_memory(bench: Bench, ending: str) -> None:
    opened: Any = igzip.open if ending == ".csv.gz" else open
    plain = bench.folder / f"plain_2021-01{ending}"
    odd = bench.folder / f"yellow_tripdata_2021-01{ending}"
    few = f"{TRIP}\n".encode() * 20_000
    for path, line in ((plain, b""), (odd, b"x" * 100_000_000 + b"\n")):
        with opened(path, "wb") as file:
            file.write(f"{YELLOW_HEADER}\n".encode() + few + line + few)
    summary, growth = apart(clean_measured, plain, odd)
    assert (summary.kept, summary.rejected) == (40_000, {"unparsable": 1})
    assert growth < 64 << 20
    ((number, problem),) = bench.problems
    assert (number, problem) == (20_002, "CSV parse error: a line of more than 1,048,576 bytes")
    assert bench.rejected[0]["line"] == "x" * (1 << 20)


@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_header_without_end_is_an_error_at_once(bench: Bench, ending: str) -> None:
    path = bench.folder / f"yellow_tripdata_2021-01{ending}"
    content = b"x," * 50_000_000
    path.write_bytes(igzip.compress(content, 0) if ending == ".csv.gz" else content)
    del content

    def read() -> None:
        for attempt in (lambda: examine(path, 5), lambda: open_published(path, YELLOW.trips)):
            with pytest.raises(PermanentError, match=f"^{path.name}: the first line is no header"):
                attempt()

    assert grown_by(read) < 8 << 20
