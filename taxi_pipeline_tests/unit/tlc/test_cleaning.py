from collections import Counter
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.local.generator import write_zones
from taxi_pipeline.tlc import cleaning
from taxi_pipeline.tlc.cleaning import Summary, clean_trips, clean_zones
from taxi_pipeline.tlc.column_tallies import FOOTER_KEY, ColumnTallies
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import open_published
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import FHV, TAXI_ZONES, YELLOW
from taxi_pipeline_tests.support.parquet import read_parquet
from taxi_pipeline_tests.support.source_files import TRIP, YELLOW_HEADER, trip, write_csv

JANUARY = Month(2021, 1)


def clean(folder: Path, rows: list[str]) -> Summary:
    source = write_csv(folder / "yellow_tripdata_2021-01.csv.gz", rows)
    published = open_published(source, YELLOW.trips)
    return clean_trips(JANUARY, published, folder / "trips.parquet", folder / "rejected.parquet")


def rejected(folder: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = read_parquet(folder / "rejected.parquet").to_pylist()
    return rows


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (trip(tpep_pickup_datetime=""), "pickup_missing"),
        (trip(tpep_pickup_datetime="2020-12-31 23:59:59"), "pickup_outside_month"),
        (trip(tpep_pickup_datetime="2021-02-01 00:00:00"), "pickup_outside_month"),
        (trip(tpep_dropoff_datetime="2021-01-15 00:30:09"), "dropoff_before_pickup"),
        (trip(passenger_count="0"), "no_passengers"),
        (trip(DOLocationID="abc"), "unparsable"),
        # the first rule that holds names the rejection
        (trip(tpep_pickup_datetime="2008-12-31 23:00:00", passenger_count="0"),
         "pickup_outside_month"),
        (trip(passenger_count="0", fare_amount="?"), "unparsable"),
    ],
)  # fmt: skip
def test_a_row_that_is_no_trip_is_rejected_with_its_reason(
    tmp_path: Path, row: str, reason: str
) -> None:
    summary = clean(tmp_path, [TRIP, row])
    assert summary.rejected == {reason: 1}
    assert (summary.published, summary.kept) == (2, 1)
    (kept_out,) = rejected(tmp_path)
    assert (kept_out["rejected_because"], kept_out["number"]) == (reason, 3)
    if reason == "unparsable":
        assert kept_out["line"] == row
        assert kept_out["problem"]
    else:
        assert [kept_out[name] or "" for name in YELLOW_HEADER.split(",")] == row.split(",")


def test_only_codes_that_are_not_declared_are_unknown(tmp_path: Path) -> None:
    odd = trip(VendorID="77", RatecodeID="78", store_and_fwd_flag="Q", payment_type="79")
    assert clean(tmp_path, [TRIP, odd, odd]).unknown_codes == {
        ("vendor_id", "77"): 2,
        ("ratecode_id", "78"): 2,
        ("store_and_fwd_flag", "Q"): 2,
        ("payment_type", "79"): 2,
    }


@pytest.mark.parametrize(
    "row",
    [
        trip(tpep_pickup_datetime="2021-01-01 00:00:00"),
        trip(
            tpep_pickup_datetime="2021-01-31 23:59:59", tpep_dropoff_datetime="2021-02-01 00:10:00"
        ),
        trip(tpep_dropoff_datetime="2021-01-15 00:30:10"),
        trip(tpep_dropoff_datetime=""),
        trip(passenger_count=""),
        trip(fare_amount="-8"),
        trip(trip_distance="0"),
        trip(PULocationID="264"),
    ],
)
def test_what_is_odd_but_possible_is_kept(tmp_path: Path, row: str) -> None:
    summary = clean(tmp_path, [row])
    assert (summary.kept, summary.rejected.total()) == (1, 0)
    assert rejected(tmp_path) == []


def test_what_is_odd_is_counted_among_the_kept(tmp_path: Path) -> None:
    summary = clean(
        tmp_path,
        [
            trip(passenger_count=""),
            trip(fare_amount="-8"),
            trip(fare_amount="-0.01"),
            trip(fare_amount="0", trip_distance="0.01"),
            trip(trip_distance="0", DOLocationID="265"),
            trip(trip_distance="0", passenger_count="0"),
        ],
    )
    assert summary.noted == {
        "null_passengers": 1,
        "negative_fares": 2,
        "zero_distance": 1,
        "unknown_zones": 1,
        "exact_duplicates": 0,
    }


def test_trips_have_the_canonical_schema(tmp_path: Path) -> None:
    clean(tmp_path, [TRIP])
    assert pq.read_schema(tmp_path / "trips.parquet").equals(arrow_schema(YELLOW.trips))


def test_who_rewrites_trips_with_arrow_does_not_keep_their_tallies(tmp_path: Path) -> None:
    clean(tmp_path, [TRIP])
    trips = pq.read_table(tmp_path / "trips.parquet")
    assert FOOTER_KEY in pq.read_metadata(tmp_path / "trips.parquet").metadata
    pq.write_table(trips[:0], tmp_path / "rewritten.parquet")
    assert FOOTER_KEY not in (pq.read_metadata(tmp_path / "rewritten.parquet").metadata or {})


def test_a_month_without_rows_is_two_empty_files(tmp_path: Path) -> None:
    assert clean(tmp_path, []) == Summary(ColumnTallies.of_no_rows(YELLOW.trips))
    assert pq.read_metadata(tmp_path / "trips.parquet").num_rows == 0
    assert pq.read_metadata(tmp_path / "rejected.parquet").num_rows == 0


def test_batches_are_gathered_into_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "ROW_GROUP_ROWS", 4)
    monkeypatch.setattr("taxi_pipeline.tlc.reading.lines.BLOCK_BYTES", 300)
    clean(tmp_path, [trip(VendorID=str(i)) for i in range(20)])
    metadata = pq.read_metadata(tmp_path / "trips.parquet")
    assert 1 < metadata.num_row_groups <= 6
    ids = read_parquet(tmp_path / "trips.parquet")["vendor_id"].to_pylist()
    assert ids == list(range(20))


def test_row_groups_with_other_texts_become_one(tmp_path: Path) -> None:
    published = tmp_path / "fhv_tripdata_2021-01.parquet"
    bases: list[list[str | None]] = [
        ["B00001", None, "B00002"],
        ["B00003", "B00002"],
        [None],
        ["B00001"],
    ]
    moment = datetime.fromisoformat("2021-01-15 12:00")
    schema = pa.schema(
        [
            ("dispatching_base_num", pa.large_string()),
            ("pickup_datetime", pa.timestamp("us")),
            ("dropOff_datetime", pa.timestamp("us")),
            ("PUlocationID", pa.float64()),
            ("DOlocationID", pa.float64()),
        ]
    )
    with pq.ParquetWriter(published, schema) as writer:
        for group in bases:
            times = [moment] * len(group)
            zones = [1.0] * len(group)
            writer.write_table(pa.table([group, times, times, zones, zones], schema=schema))
    trips = tmp_path / "trips.parquet"
    clean_trips(JANUARY, open_published(published, FHV.trips), trips, tmp_path / "rejected.parquet")
    assert pq.read_metadata(trips).num_row_groups == 1
    assert pq.read_schema(trips).equals(arrow_schema(FHV.trips))
    written = read_parquet(trips)["dispatching_base_num"].to_pylist()
    assert written == [base for group in bases for base in group]


def test_cleaning_what_is_clean_rejects_nothing(tmp_path: Path) -> None:
    clean(tmp_path, [TRIP, trip(passenger_count="0"), trip(fare_amount="-8")])
    again = clean_trips(
        JANUARY,
        open_published(tmp_path / "trips.parquet", YELLOW.trips),
        tmp_path / "again.parquet",
        tmp_path / "none.parquet",
    )
    assert (again.published, again.kept) == (2, 2)
    assert read_parquet(tmp_path / "again.parquet").equals(read_parquet(tmp_path / "trips.parquet"))


def test_a_broken_file_is_an_error(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "x.csv.gz", [TRIP] * 1000)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(PermanentError, match="broken or cut short"):
        clean_trips(
            JANUARY,
            open_published(path, YELLOW.trips),
            tmp_path / "t.parquet",
            tmp_path / "r.parquet",
        )


def test_of_the_zones_only_what_does_not_parse_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "zones.csv"
    write_zones(path)
    with path.open("a") as file:
        file.write("x,,,\r\n")
    summary = clean_zones(
        open_published(path, TAXI_ZONES), tmp_path / "z.parquet", tmp_path / "r.parquet"
    )
    assert (summary.kept, summary.rejected) == (265, {"unparsable": 1})


times = st.sampled_from(
    ["", "2021-01-15 00:30:10", "2020-12-31 23:59:59", "2021-02-01 00:00:00", "2021-01-31", "soon"]
)
lines = st.one_of(
    st.builds(
        trip,
        tpep_pickup_datetime=times,
        tpep_dropoff_datetime=times,
        passenger_count=st.sampled_from(["", "0", "1", "1.0", "0.5", "-1", "x", "NaN"]),
        fare_amount=st.sampled_from(["", "8", "-8", ".5", "1e3", "inf", "$8"]),
        store_and_fwd_flag=st.sampled_from(["", "N", '"N"', '"', "é", "a b"]),
    ),
    st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=30),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(lines, max_size=30))
def test_kept_and_rejected_together_are_what_was_published(tmp_path: Path, rows: list[str]) -> None:
    summary = clean(tmp_path, rows)
    # a line of nothing but white space is no row
    published = [number for number, row in enumerate(rows, start=2) if row.encode().strip()]
    assert summary.published == len(published)
    assert summary.published == summary.kept + summary.rejected.total()
    gone = rejected(tmp_path)
    assert Counter(row["rejected_because"] for row in gone) == summary.rejected
    numbers = [row["number"] for row in gone]
    assert len(set(numbers)) == len(numbers)
    assert set(numbers) <= set(published)
    assert pq.read_metadata(tmp_path / "trips.parquet").num_rows == summary.kept
    for row in gone:
        if row["line"] is not None:
            assert row["line"] == rows[int(str(row["number"])) - 2].rstrip("\r")
