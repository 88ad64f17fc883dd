import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.reading import examine, open_published
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import GREEN, TAXI_ZONES, YELLOW, Table
from taxi_pipeline_tests.support.source_files import (
    TRIP,
    YELLOW_HEADER,
    read_batches,
    trip,
    write_csv,
)


def rows_of(path: Path, table: Table = YELLOW.trips) -> list[dict[str, Any]]:
    batches = read_batches(path, table)
    return [row for batch in batches for row in batch.rows.to_pylist()]


def problems_of(path: Path, table: Table = YELLOW.trips) -> list[tuple[int, str]]:
    return [
        (number, problem)
        for batch in read_batches(path, table)
        for number, problem in zip(
            batch.numbers.to_pylist(), batch.problems.to_pylist(), strict=True
        )
        if problem is not None
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "yellow_tripdata_2021-01.csv.gz"


def test_a_csv_row_becomes_canonical(file: Path) -> None:
    (row,) = rows_of(write_csv(file, [TRIP]))
    assert list(row) == arrow_schema(YELLOW.trips).names
    assert str(row["pickup_datetime"]) == "2021-01-15 00:30:10"
    assert (row["vendor_id"], row["passenger_count"], row["pickup_location_id"]) == (1, 1, 142)
    assert (row["trip_distance"], row["fare_amount"], row["total_amount"]) == (2.1, 8.0, 11.8)
    assert row["store_and_fwd_flag"] == "N"
    assert row["airport_fee"] is None


def test_an_empty_cell_is_null_and_the_text_na_is_text(tmp_path: Path) -> None:
    path = tmp_path / "taxi_zone_lookup.csv"
    header = '"LocationID","Borough","Zone","service_zone"'
    write_csv(path, ['264,"Unknown","N/A","N/A"', '1,"EWR","Newark Airport",""'], header)
    assert rows_of(path, TAXI_ZONES) == [
        {"location_id": 264, "borough": "Unknown", "zone": "N/A", "service_zone": "N/A"},
        {"location_id": 1, "borough": "EWR", "zone": "Newark Airport", "service_zone": None},
    ]


def test_names_are_matched_without_case_and_outer_spaces(file: Path) -> None:
    header = YELLOW_HEADER.replace("VendorID", " vendorid ").replace("RatecodeID", "RateCodeID")
    (row,) = rows_of(write_csv(file, [TRIP], header))
    assert (row["vendor_id"], row["ratecode_id"]) == (1, 1)


def test_column_order_does_not_matter(file: Path, tmp_path: Path) -> None:
    def backwards(line: str) -> str:
        return ",".join(reversed(line.split(",")))

    other = tmp_path / "other.csv.gz"
    write_csv(file, [TRIP])
    write_csv(other, [backwards(TRIP)], backwards(YELLOW_HEADER))
    assert rows_of(file) == rows_of(other)


def test_integers_written_as_decimals_are_whole(file: Path) -> None:
    (row,) = rows_of(write_csv(file, [trip(VendorID="2.0", PULocationID="1e2")]))
    assert (row["vendor_id"], row["pickup_location_id"]) == (2, 100)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (trip(DOLocationID="abc"), "dropoff_location_id: 'abc' does not fit int32"),
        (trip(VendorID="1.5"), "vendor_id: '1.5' does not fit int32"),
        (trip(total_amount="inf"), "total_amount: 'inf' does not fit double"),
        (trip(total_amount="1e7"), "total_amount: '1e7' does not fit double below 10,000,000"),
        (trip(tip_amount="-9e14"), "tip_amount: '-9e14' does not fit double below 10,000,000"),
        (
            trip(trip_distance="1e15"),
            "trip_distance: '1e15' does not fit double below 1,000,000,000,000,000",
        ),
        (trip(passenger_count="1.5"), "passenger_count: '1.5' does not fit int32"),
        (trip(PULocationID="9999999999"), "pickup_location_id: '9999999999' does not fit int32"),
        (
            trip(tpep_pickup_datetime="2021-01-32 00:00:00"),
            "pickup_datetime: '2021-01-32 00:00:00' does not fit",
        ),
        (trip(fare_amount="eight"), "fare_amount: 'eight' does not fit double"),
        (TRIP + ",9", "a value beyond the header's 18 columns"),
        (TRIP.rpartition(",")[0], "Expected 18 columns, got 17"),
        (trip(store_and_fwd_flag='"N'), "a quote is not closed"),
        (trip(store_and_fwd_flag="N\0"), "a NUL byte"),
        (trip(store_and_fwd_flag="N\rY"), "CSV parse error"),
        ("garbage", "Expected 18 columns, got 1"),
    ],
)
def test_a_line_that_does_not_parse_is_kept_with_its_number(
    file: Path, line: str, problem: str
) -> None:
    write_csv(file, [TRIP, line, TRIP])
    ((number, said),) = problems_of(file)
    assert number == 3
    assert problem in said
    good = [row for row in rows_of(file) if row["pickup_datetime"] and row["vendor_id"]]
    assert len(rows_of(file)) == 3
    assert len(good) >= 2


def test_bytes_that_are_no_text_are_kept_escaped(file: Path) -> None:
    text = f"{YELLOW_HEADER}\r\n".encode() + trip(store_and_fwd_flag="N").encode().replace(
        b",N,", b",\xff,"
    )
    file.write_bytes(gzip.compress(text))
    (batch,) = read_batches(file, YELLOW.trips)
    (row,) = batch.as_published(pa.array([0])).to_pylist()
    assert "\\xff" in row["line"]


def test_rows_can_be_had_as_published(file: Path) -> None:
    broken = trip(DOLocationID="abc")
    misfit = trip(passenger_count="0.5")
    write_csv(file, [trip(fare_amount="8.50"), broken, trip(passenger_count="0"), misfit])
    (batch,) = read_batches(file, YELLOW.trips)
    first, second, third, fourth = batch.as_published(pa.array([0, 1, 2, 3])).to_pylist()
    assert (first["fare_amount"], first["line"]) == ("8.50", None)
    assert (second["DOLocationID"], second["line"]) == ("abc", broken)
    assert (third["passenger_count"], third["line"]) == ("0", None)
    assert (fourth["passenger_count"], fourth["line"]) == ("0.5", misfit)


def test_blank_lines_are_no_rows(file: Path) -> None:
    write_csv(file, ["", TRIP, "", "garbage", ""])
    assert len(rows_of(file)) == 2
    assert [number for number, _ in problems_of(file)] == [5]
    assert examine(file, 1).rows == 2


def test_the_size_of_a_block_changes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [trip(VendorID=str(i)) for i in range(50)]
    lines[7] = 'x"'
    lines[8] = trip(store_and_fwd_flag='"N')
    lines[9] = trip(store_and_fwd_flag='Y"')
    lines[20] = ""
    # quotes and returns that cancel out over lines
    lines[30] = trip(store_and_fwd_flag='Y"')
    lines[31] = f"{TRIP}\r{TRIP}"
    lines[40] = trip(store_and_fwd_flag='N"')
    write_csv(file, lines, end="\n")
    whole = rows_of(file), problems_of(file)
    assert len(whole[0]) == 49
    assert [number for number, _ in whole[1]] == [9, 10, 11, 32, 33, 42]
    for size in (1, 100, 1000, 2000):
        monkeypatch.setattr(
            "taxi_pipeline.tlc.reading.lines.BLOCK_BYTES", max(size, len(YELLOW_HEADER) + 2)
        )
        assert (rows_of(file), problems_of(file)) == whole


def test_a_missing_column_names_file_column_and_what_was_found(file: Path) -> None:
    write_csv(file, ["1,2"], "VendorID,surprise")
    with pytest.raises(PermanentError) as caught:
        open_published(file, YELLOW.trips)
    message = str(caught.value)
    assert message.startswith("yellow_tripdata_2021-01.csv.gz: the required column")
    assert "'tpep_pickup_datetime' or 'Trip_Pickup_DateTime' or 'pickup_datetime'" in message
    assert "the file has: VendorID, surprise" in message


def test_a_column_twice_is_refused(file: Path) -> None:
    write_csv(file, [TRIP + ",1"], YELLOW_HEADER + ",vendorid")
    with pytest.raises(PermanentError, match="a column appears twice"):
        open_published(file, YELLOW.trips)


def test_an_unknown_column_is_reported(file: Path) -> None:
    write_csv(file, [TRIP + ",9"], YELLOW_HEADER + ",surprise")
    source = open_published(file, YELLOW.trips)
    assert source.header.unknown == ("surprise",)
    (batch,) = source.each(lambda batch: batch)
    assert batch.as_published(pa.array([0])).to_pylist()[0]["surprise"] == "9"


@pytest.mark.parametrize(
    "read", [lambda p: rows_of(p), lambda p: examine(p, 5)], ids=["opened", "examined"]
)
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.csv.gz", b"<html>Not here</html>", "not a gzip file, though its name says so"),
        ("x.csv.gz", b"", "not a gzip file"),
        (
            "x.csv.gz",
            gzip.compress((YELLOW_HEADER + "\n" + TRIP * 99).encode(), mtime=0)[:-20],
            "cut short",
        ),
        ("x.csv.gz", gzip.compress(b"", mtime=0), "not even a header"),
        ("x.csv", b"", "not even a header"),
        ("x.parquet", b"<html>Not here</html>", "not a whole Parquet file"),
        ("x.parquet", b"", "not a whole Parquet file"),
        ("x.parquet", b"PAR1" + b"\0" * 100, "not a whole Parquet file"),
    ],
    ids=[
        *("HTML for gzip", "nothing for gzip", "cut gzip", "empty gzip", "empty"),
        *("HTML for Parquet", "nothing for Parquet", "no footer"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_named(
    tmp_path: Path, name: str, content: bytes, said: str, read: Any
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PermanentError, match=said) as caught:
        read(path)
    assert str(caught.value).startswith(f"{name}: ")


def test_wrong_bytes_in_a_gzip_are_found(file: Path) -> None:
    write_csv(file, [trip(VendorID=str(i)) for i in range(1000)])
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(PermanentError, match="gzip is broken or cut short"):
        rows_of(file)


def test_a_header_alone_is_a_month_without_rows(file: Path) -> None:
    write_csv(file, [])
    assert rows_of(file) == []
    assert examine(file, 5).rows == 0


def green_parquet(path: Path, **changes: pa.Array) -> Path:
    columns: dict[str, pa.Array] = {
        "VendorID": pa.array([1, 2]),
        "lpep_pickup_datetime": pa.array([0, 1], pa.timestamp("us")),
        "lpep_dropoff_datetime": pa.array([1, 2], pa.timestamp("us")),
        "store_and_fwd_flag": pa.array(["N", None]),
        "RatecodeID": pa.array([1.0, None]),
        "PULocationID": pa.array([1, 2]),
        "DOLocationID": pa.array([1, 2]),
        "passenger_count": pa.array([1.0, None]),
        "trip_distance": pa.array([1.5, 0.0]),
        "fare_amount": pa.array([1.0, -1.0]),
        "extra": pa.array([0.0, 0.0]),
        "mta_tax": pa.array([0.0, 0.0]),
        "tip_amount": pa.array([0.0, 0.0]),
        "tolls_amount": pa.array([0.0, 0.0]),
        "ehail_fee": pa.nulls(2),
        "improvement_surcharge": pa.array([0.0, 0.0]),
        "total_amount": pa.array([1.0, -1.0]),
        "payment_type": pa.array([1.0, None]),
        "trip_type": pa.array([1.0, None]),
        "congestion_surcharge": pa.array([0.0, None]),
    }
    pq.write_table(pa.table(columns | changes), path)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"VendorID": pa.array([1, 2], pa.int32())},
        {"passenger_count": pa.array([1, None], pa.int64())},
        {"store_and_fwd_flag": pa.array(["N", None], pa.large_string())},
        {"ehail_fee": pa.nulls(2, pa.float64())},
        {"RatecodeID": pa.array([1.0, float("nan")])},
        {"lpep_pickup_datetime": pa.array([0, 1000], pa.timestamp("ns"))},
        {"trip_type": pa.array(["1", None])},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_drifting_parquet_types_are_absorbed(tmp_path: Path, changes: dict[str, pa.Array]) -> None:
    path = green_parquet(tmp_path / "green_tripdata_2023-01.parquet", **changes)
    first, second = rows_of(path, GREEN.trips)
    assert problems_of(path, GREEN.trips) == []
    assert (first["vendor_id"], first["ratecode_id"], first["trip_type"]) == (1, 1, 1)
    assert second["ratecode_id"] is second["passenger_count"] is second["ehail_fee"] is None


def test_a_broken_whole_number_is_a_problem_of_its_row(tmp_path: Path) -> None:
    path = green_parquet(tmp_path / "x.parquet", passenger_count=pa.array([1.5, 2.0]))
    assert problems_of(path, GREEN.trips) == [(1, "passenger_count: 1.5 does not fit int32")]
    assert [row["passenger_count"] for row in rows_of(path, GREEN.trips)] == [None, 2]


def test_a_nul_in_parquet_text_is_a_problem_of_its_row(tmp_path: Path) -> None:
    path = green_parquet(tmp_path / "x.parquet", store_and_fwd_flag=pa.array(["N\0", "Y"]))
    ((number, problem),) = problems_of(path, GREEN.trips)
    assert (number, problem) == (1, "store_and_fwd_flag: 'N\\x00' does not fit string")


def test_wrong_bytes_inside_a_parquet_are_found(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"n": pa.array(range(100_000))}), path, use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = b"\xff" * 200
    path.write_bytes(content)
    with pytest.raises(PermanentError, match="not a whole Parquet file"):
        examine(path, 5)


def test_a_file_is_examined_without_its_table(tmp_path: Path) -> None:
    path = green_parquet(tmp_path / "x.parquet")
    found = examine(path, 1)
    assert (found.rows, len(found.first_rows)) == (2, 1)
    assert found.schema.names[0] == "VendorID"
    csv = write_csv(tmp_path / "x.csv", ["1,a", "2", "3,c,d"], "n,t")
    assert examine(csv, 3).first_rows == [
        {"n": "1", "t": "a"},
        {"n": "2"},
        {"n": "3", "t": "c"},
    ]
