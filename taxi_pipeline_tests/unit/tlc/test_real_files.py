"""Every real file, cleaned and compared with a count that shares no code with the cleaning."""

import csv
import gzip
import io
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import compress, zip_longest
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.tlc.cleaning import Summary, clean_trips
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import examine, open_published
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import SERVICES
from taxi_pipeline_tests.support.parquet import read_parquet
from taxi_pipeline_tests.support.real_files import (
    CANONICAL,
    CSV_FILES,
    NAMES,
    PARQUET_FILES,
    PAYMENTS,
    REAL_FILES,
    VENDORS,
    service_and_month,
    with_real_files,
)

pytestmark = with_real_files


# --- the rules, a second time ------------------------------------------------------------------

TOTALS = {"yellow": "total_amount", "green": "total_amount", "fhvhv": "base_passenger_fare"}


def whole(cell: str) -> int:
    number = float(cell)
    assert number == int(number)
    return int(number)


CONVERSIONS: dict[str, Callable[[str], object]] = {
    "vendor_id": lambda cell: VENDORS.get(cell) or whole(cell),
    "payment_type": lambda cell: PAYMENTS.get(cell.strip().lower()) or whole(cell),
    "store_and_fwd_flag": lambda cell: {"0": "N", "1": "Y"}.get(cell, cell),
    **dict.fromkeys((name for name in NAMES if name.endswith("_datetime")), datetime.fromisoformat),
    **dict.fromkeys(
        (name for name in NAMES if name.endswith(("_num", "_flag")) and name not in
         ("sr_flag", "store_and_fwd_flag")), str),
    **dict.fromkeys(
        ("passenger_count", "ratecode_id", "pickup_location_id", "dropoff_location_id",
         "trip_type", "sr_flag", "trip_time"), whole),
}  # fmt: skip

type Row = dict[str, Any]


def reason_of(
    pickup: datetime | None, dropoff: datetime | None, passengers: int | None, month: Month
) -> str:
    """Return why a row is no trip, or nothing."""
    if pickup is None:
        return "pickup_missing"
    if (pickup.year, pickup.month) != (month.year, month.month):
        return "pickup_outside_month"
    if dropoff is not None and dropoff < pickup:
        return "dropoff_before_pickup"
    return "no_passengers" if passengers == 0 else ""


@dataclass(frozen=True)
class RemoteFile:
    """The rows of a CSV file: the lines' numbers, the cells, and the values by canonical name."""

    names: list[str]
    numbers: list[int]
    cells: list[list[str]]
    values: dict[str, list[Any]]

    @classmethod
    def read(cls, path: Path) -> Self:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = csv.reader(io.StringIO(text.decode(), newline=""))
        names = next(lines)
        numbered = [(lines.line_num, cells) for cells in lines if cells]
        numbers, rows = [number for number, _ in numbered], [cells for _, cells in numbered]
        assert not any(cell for cells in rows for cell in cells[len(names) :])
        values: dict[str, list[Any]] = {}
        for name, column in zip(names, zip_longest(*rows, fillvalue=""), strict=False):
            canonical = CANONICAL[name.strip().lower()]
            convert = CONVERSIONS.get(canonical, float)
            meant = {cell: convert(cell) for cell in {*column} if cell}
            converted = [meant.get(cell) for cell in column]
            if canonical in values:
                pairs = zip(values[canonical], converted, strict=True)
                converted = [one if other is None else other for one, other in pairs]
            values[canonical] = converted
        return cls(names, numbers, rows, values)

    def column(self, name: str) -> list[Any]:
        """Return a column's values, None where there are none."""
        return self.values.get(name, [None] * len(self.cells))


# --- the comparison ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Cleaned:
    summary: Summary
    trips: pa.Table
    rejected: pa.Table


def clean(path: Path, folder: Path, month: str = "") -> Cleaned:
    service, month_of_name = service_and_month(path)
    published = open_published(path, SERVICES[service].trips)
    assert published.header.unknown == ()
    trips, rejected = folder / "trips.parquet", folder / "rejected.parquet"
    summary = clean_trips(Month.parse(month or month_of_name), published, trips, rejected)
    assert pq.read_schema(trips).equals(arrow_schema(SERVICES[service].trips))
    return Cleaned(summary, read_parquet(trips), read_parquet(rejected))


def cents(amounts: Any) -> int:
    return round(100 * math.fsum(amounts))


@pytest.mark.parametrize("path", CSV_FILES, ids=lambda path: path.parts[-3] + "-" + path.name)
def test_a_real_csv_is_cleaned_as_counted_by_hand(path: Path, tmp_path: Path) -> None:
    service, month = service_and_month(path)
    cleaned = clean(path, tmp_path)
    published = RemoteFile.read(path)
    reasons = [
        reason_of(pickup, dropoff, passengers, Month.parse(month))
        for pickup, dropoff, passengers in zip(
            published.column("pickup_datetime"),
            published.column("dropoff_datetime"),
            published.column("passenger_count"),
            strict=True,
        )
    ]
    kept = [not reason for reason in reasons]

    assert examine(path, 0).rows == cleaned.summary.published == len(published.cells)
    assert cleaned.summary.kept == cleaned.trips.num_rows == sum(kept)
    assert cleaned.summary.rejected == Counter(filter(None, reasons))
    assert cleaned.rejected["number"].to_pylist() == [*compress(published.numbers, reasons)]
    assert cleaned.rejected["rejected_because"].to_pylist() == [*filter(None, reasons)]
    gone = compress(published.cells, reasons)
    for row, cells in zip(cleaned.rejected.to_pylist(), gone, strict=True):
        named = dict(zip(published.names, cells, strict=False))
        assert {name: row[name] or "" for name in named} == named

    for name in cleaned.trips.column_names:
        trips = cleaned.trips[name]
        expected = pa.array(compress(published.column(name), kept), trips.type)
        assert trips.combine_chunks().equals(expected), name
    if total := TOTALS.get(service):
        amounts = filter(None, compress(published.column(total), kept))
        assert cents(cleaned.trips[total].drop_null().to_pylist()) == cents(amounts)


@pytest.mark.parametrize("path", PARQUET_FILES, ids=lambda path: path.name)
def test_a_real_parquet_is_cleaned_as_counted_by_pandas(path: Path, tmp_path: Path) -> None:
    service, month = service_and_month(path)
    cleaned = clean(path, tmp_path)
    published = pq.read_table(path)
    frame = published.to_pandas()
    frame.columns = frame.columns.str.lower().map(CANONICAL)
    pickup, dropoff = frame["pickup_datetime"], frame["dropoff_datetime"]
    reason = pd.Series("", frame.index)
    reason[frame["passenger_count"] == 0] = "no_passengers"
    reason[dropoff < pickup] = "dropoff_before_pickup"
    start = pd.Timestamp(month)
    reason[(pickup < start) | (pickup >= start + pd.DateOffset(months=1))] = "pickup_outside_month"
    reason[pickup.isna()] = "pickup_missing"
    kept, gone = frame[reason == ""], reason[reason != ""]

    rows = pq.read_metadata(path).num_rows
    assert examine(path, 0).rows == cleaned.summary.published == len(frame) == rows
    assert cleaned.summary.kept == cleaned.trips.num_rows == len(kept)
    assert cleaned.summary.rejected == Counter(gone)
    assert cleaned.rejected["number"].to_pylist() == [index + 1 for index in gone.index]
    assert cleaned.rejected["rejected_because"].to_pylist() == gone.tolist()
    assert cleaned.rejected.select(published.column_names).equals(
        published.take(pa.array(gone.index, pa.int64())).replace_schema_metadata()
    )

    for name in cleaned.trips.column_names:
        trips = cleaned.trips[name]
        assert len(trips) - trips.null_count == (kept[name].count() if name in kept else 0), name
        if name in kept:
            values, expected = trips.to_pandas(), kept[name].reset_index(drop=True)
            assert (values.eq(expected) | values.isna()).all(), name
    assert cents(cleaned.trips[TOTALS[service]].to_pylist()) == cents(kept[TOTALS[service]])


def test_all_the_real_files_are_there() -> None:
    folders = [path.relative_to(REAL_FILES).parts[0] for path in CSV_FILES + PARQUET_FILES]
    assert Counter(folders) == {"heads": 62, "releases": 28, "samples": 4, "trip-data": 14}


# --- CSV and Parquet of one month --------------------------------------------------------------


def test_green_2020_04_differs_between_formats_only_where_tlc_changed_it(
    tmp_path: Path,
) -> None:
    from_csv, from_parquet = (
        clean(REAL_FILES / path, tmp_path)
        for path in (
            "releases/green/green_tripdata_2020-04.csv.gz",
            "trip-data/green_tripdata_2020-04.parquet",
        )
    )
    assert from_csv.trips.schema == from_parquet.trips.schema
    assert from_csv.summary.rejected == {"pickup_outside_month": 6, "no_passengers": 132}
    assert from_parquet.summary.rejected == from_csv.summary.rejected + Counter(
        dropoff_before_pickup=12
    )
    assert from_parquet.summary.published - from_csv.summary.published == 32

    def counted(trips: pa.Table) -> Counter[tuple[Any, ...]]:
        without_vendor = trips.drop_columns("vendor_id").to_pydict()
        return Counter(zip(*without_vendor.values(), strict=True))

    # the rows that only Parquet has are those of vendor 6, with the month in the minutes' place
    myle = from_parquet.trips.filter(pc.equal(from_parquet.trips["vendor_id"], 6))
    late = from_parquet.rejected.filter(pc.equal(from_parquet.rejected["VendorID"], 6))
    assert (myle.num_rows, late.num_rows) == (20, 12)
    in_csv, in_parquet = counted(from_csv.trips), counted(from_parquet.trips)
    assert in_parquet - in_csv == counted(myle)
    assert not in_csv - in_parquet
    assert {at.minute for at in myle["pickup_datetime"].to_pylist()} == {4}
    assert {at.minute for at in late["lpep_pickup_datetime"].to_pylist()} == {4}

    # the vendors that the CSV leaves out
    assert from_parquet.trips["vendor_id"].null_count == 0
    rejected = from_csv.rejected["VendorID"].null_count
    assert from_csv.trips["vendor_id"].null_count + rejected == 11_110


# --- rows of every era, read by eye ------------------------------------------------------------


# file, line, the line as published, the trip (what is null is left out)
# fmt: off
READ_BY_EYE: list[tuple[str, int, str, Row]] = [
    ("heads/yellow/yellow_tripdata_2009-01.csv", 3,
     "VTS,2009-01-04 02:52:00,2009-01-04 03:02:00,1,2.6299999999999999,-73.991956999999999,"
     "40.721567,,,-73.993803,40.695922000000003,CASH,8.9000000000000004,0.5,,0,0,"
     "9.4000000000000004",
     {"vendor_id": 2, "pickup_datetime": "2009-01-04 02:52:00",
      "dropoff_datetime": "2009-01-04 03:02:00", "passenger_count": 1, "trip_distance": 2.63,
      "payment_type": 2, "fare_amount": 8.9, "extra": 0.5, "tip_amount": 0.0, "tolls_amount": 0.0,
      "total_amount": 9.4, "pickup_longitude": -73.991957, "pickup_latitude": 40.721567,
      "dropoff_longitude": -73.993803, "dropoff_latitude": 40.695922}),
    ("heads/yellow/yellow_tripdata_2009-01.csv", 37,
     "DDS,2009-01-19 21:26:03,2009-01-19 21:51:42,4,8.6999999999999993,-73.977701999999994,"
     "40.786721,,,-73.884155000000007,40.759258000000003,CASH,22.100000000000001,0.5,,0,"
     "4.1500000000000004,26.75",
     {"vendor_id": 3, "pickup_datetime": "2009-01-19 21:26:03",
      "dropoff_datetime": "2009-01-19 21:51:42", "passenger_count": 4, "trip_distance": 8.7,
      "payment_type": 2, "fare_amount": 22.1, "extra": 0.5, "tip_amount": 0.0,
      "tolls_amount": 4.15, "total_amount": 26.75, "pickup_longitude": -73.977702,
      "pickup_latitude": 40.786721, "dropoff_longitude": -73.884155,
      "dropoff_latitude": 40.759258}),
    ("heads/yellow/yellow_tripdata_2009-01.csv", 99,
     "CMT,2009-01-03 16:48:23,2009-01-03 17:35:50,1,19.199999999999999,-74.006648999999996,"
     "40.716653000000001,,,-73.785955999999999,40.638868000000002,No Charge,45,0,,0,0,45",
     {"vendor_id": 1, "pickup_datetime": "2009-01-03 16:48:23",
      "dropoff_datetime": "2009-01-03 17:35:50", "passenger_count": 1, "trip_distance": 19.2,
      "payment_type": 3, "fare_amount": 45.0, "extra": 0.0, "tip_amount": 0.0, "tolls_amount": 0.0,
      "total_amount": 45.0, "pickup_longitude": -74.006649, "pickup_latitude": 40.716653,
      "dropoff_longitude": -73.785956, "dropoff_latitude": 40.638868}),
    ("heads/yellow/yellow_tripdata_2010-01.csv", 37,
     "VTS,2010-01-16 13:06:00,2010-01-16 13:08:00,1,0.60999999999999999,-73.983265000000003,"
     "40.771168000000003,1,,-73.988934999999998,40.763638,CAS,3.7000000000000002,0,0.5,0,0,"
     "4.2000000000000002",
     {"vendor_id": 2, "pickup_datetime": "2010-01-16 13:06:00",
      "dropoff_datetime": "2010-01-16 13:08:00", "passenger_count": 1, "trip_distance": 0.61,
      "ratecode_id": 1, "payment_type": 2, "fare_amount": 3.7, "extra": 0.0, "mta_tax": 0.5,
      "tip_amount": 0.0, "tolls_amount": 0.0, "total_amount": 4.2, "pickup_longitude": -73.983265,
      "pickup_latitude": 40.771168, "dropoff_longitude": -73.988935,
      "dropoff_latitude": 40.763638}),
    ("heads/yellow/yellow_tripdata_2014-01.csv", 3,
     "CMT,2014-01-09 20:45:25,2014-01-09 20:52:31,1,0.69999999999999996,-73.994770000000003,"
     "40.736828000000003,1,N,-73.982226999999995,40.731789999999997,CRD,6.5,0.5,0.5,"
     "1.3999999999999999,0,8.9000000000000004",
     {"vendor_id": 1, "pickup_datetime": "2014-01-09 20:45:25",
      "dropoff_datetime": "2014-01-09 20:52:31", "passenger_count": 1, "trip_distance": 0.7,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "payment_type": 1, "fare_amount": 6.5,
      "extra": 0.5, "mta_tax": 0.5, "tip_amount": 1.4, "tolls_amount": 0.0, "total_amount": 8.9,
      "pickup_longitude": -73.99477, "pickup_latitude": 40.736828,
      "dropoff_longitude": -73.982227, "dropoff_latitude": 40.73179}),
    ("heads/yellow/yellow_tripdata_2015-01.csv", 2,
     "2,2015-01-15 19:05:39,2015-01-15 19:23:42,1,1.59,-73.993896484375,40.750110626220703,1,N,"
     "-73.974784851074219,40.750617980957031,1,12,1,0.5,3.25,0,0.3,17.05",
     {"vendor_id": 2, "pickup_datetime": "2015-01-15 19:05:39",
      "dropoff_datetime": "2015-01-15 19:23:42", "passenger_count": 1, "trip_distance": 1.59,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "payment_type": 1, "fare_amount": 12.0,
      "extra": 1.0, "mta_tax": 0.5, "tip_amount": 3.25, "tolls_amount": 0.0,
      "improvement_surcharge": 0.3, "total_amount": 17.05, "pickup_longitude": -73.993896484375,
      "pickup_latitude": 40.750110626220703, "dropoff_longitude": -73.974784851074219,
      "dropoff_latitude": 40.750617980957031}),
    ("heads/yellow/yellow_tripdata_2016-08.csv", 2,
     "1,2016-08-01 00:00:02,2016-08-01 00:15:04,1,3.70,1,N,239,234,1,13.5,0.5,0.5,2.2,0,0.3,17,,",
     {"vendor_id": 1, "pickup_datetime": "2016-08-01 00:00:02",
      "dropoff_datetime": "2016-08-01 00:15:04", "passenger_count": 1, "trip_distance": 3.7,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "pickup_location_id": 239,
      "dropoff_location_id": 234, "payment_type": 1, "fare_amount": 13.5, "extra": 0.5,
      "mta_tax": 0.5, "tip_amount": 2.2, "tolls_amount": 0.0, "improvement_surcharge": 0.3,
      "total_amount": 17.0}),
    ("heads/yellow/yellow_tripdata_2017-01.csv", 3,
     "1,2017-01-09 11:13:28,2017-01-09 11:25:45,1,3.30,1,N,263,161,1,12.5,0,0.5,2,0,0.3,15.3",
     {"vendor_id": 1, "pickup_datetime": "2017-01-09 11:13:28",
      "dropoff_datetime": "2017-01-09 11:25:45", "passenger_count": 1, "trip_distance": 3.3,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "pickup_location_id": 263,
      "dropoff_location_id": 161, "payment_type": 1, "fare_amount": 12.5, "extra": 0.0,
      "mta_tax": 0.5, "tip_amount": 2.0, "tolls_amount": 0.0, "improvement_surcharge": 0.3,
      "total_amount": 15.3}),
    ("releases/yellow/yellow_tripdata_2019-01.csv.gz", 2,
     "1,2019-01-15 03:36:12,2019-01-15 03:42:19,1,1.0,1,N,230,48,1,6.5,0.5,0.5,1.95,0.0,0.3,9.75,",
     {"vendor_id": 1, "pickup_datetime": "2019-01-15 03:36:12",
      "dropoff_datetime": "2019-01-15 03:42:19", "passenger_count": 1, "trip_distance": 1.0,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "pickup_location_id": 230,
      "dropoff_location_id": 48, "payment_type": 1, "fare_amount": 6.5, "extra": 0.5,
      "mta_tax": 0.5, "tip_amount": 1.95, "tolls_amount": 0.0, "improvement_surcharge": 0.3,
      "total_amount": 9.75}),
    ("releases/yellow/yellow_tripdata_2020-03.csv.gz", 2,
     "1,2020-03-03 22:01:35,2020-03-03 22:15:29,4,2.9,1,N,229,238,1,12.0,3.0,0.5,3.15,0.0,0.3,"
     "18.95,2.5",
     {"vendor_id": 1, "pickup_datetime": "2020-03-03 22:01:35",
      "dropoff_datetime": "2020-03-03 22:15:29", "passenger_count": 4, "trip_distance": 2.9,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "pickup_location_id": 229,
      "dropoff_location_id": 238, "payment_type": 1, "fare_amount": 12.0, "extra": 3.0,
      "mta_tax": 0.5, "tip_amount": 3.15, "tolls_amount": 0.0, "improvement_surcharge": 0.3,
      "total_amount": 18.95, "congestion_surcharge": 2.5}),
    ("samples/yellow_tripdata_2025-01.csv", 3,
     '1,2025-01-01 00:32:40.000000,2025-01-01 00:35:13.000000,1,0.5,1,"N",236,237,1,5.1,3.5,0.5,'
     "2.02,0,1,12.12,2.5,0,0",
     {"vendor_id": 1, "pickup_datetime": "2025-01-01 00:32:40",
      "dropoff_datetime": "2025-01-01 00:35:13", "passenger_count": 1, "trip_distance": 0.5,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "pickup_location_id": 236,
      "dropoff_location_id": 237, "payment_type": 1, "fare_amount": 5.1, "extra": 3.5,
      "mta_tax": 0.5, "tip_amount": 2.02, "tolls_amount": 0.0, "improvement_surcharge": 1.0,
      "total_amount": 12.12, "congestion_surcharge": 2.5, "airport_fee": 0.0,
      "cbd_congestion_fee": 0.0}),
    ("heads/green/green_tripdata_2013-08.csv", 5,
     "2,2013-08-01 09:48:00,2013-08-01 09:49:00,N,5,0,0,0,0,1,.00,1,0.1,0,0,1,,2.1,2,,,",
     {"vendor_id": 2, "pickup_datetime": "2013-08-01 09:48:00",
      "dropoff_datetime": "2013-08-01 09:49:00", "passenger_count": 1, "trip_distance": 0.0,
      "ratecode_id": 5, "store_and_fwd_flag": "N", "payment_type": 2, "fare_amount": 1.0,
      "extra": 0.1, "mta_tax": 0.0, "tip_amount": 0.0, "tolls_amount": 1.0, "total_amount": 2.1,
      "pickup_longitude": 0.0, "pickup_latitude": 0.0, "dropoff_longitude": 0.0,
      "dropoff_latitude": 0.0}),
    ("heads/green/green_tripdata_2014-12.csv", 4,
     "2,2014-12-01 00:00:04,2014-12-01 00:08:45,N,1,-73.807624816894531,40.700252532958984,"
     "-73.79937744140625,40.710411071777344,1,1.39,7.5,0.5,0.5,1.6,0,,10.1,1,1,,",
     {"vendor_id": 2, "pickup_datetime": "2014-12-01 00:00:04",
      "dropoff_datetime": "2014-12-01 00:08:45", "passenger_count": 1, "trip_distance": 1.39,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "payment_type": 1, "fare_amount": 7.5,
      "extra": 0.5, "mta_tax": 0.5, "tip_amount": 1.6, "tolls_amount": 0.0, "total_amount": 10.1,
      "pickup_longitude": -73.807624816894531, "pickup_latitude": 40.700252532958984,
      "dropoff_longitude": -73.79937744140625, "dropoff_latitude": 40.710411071777344,
      "trip_type": 1}),
    ("heads/green/green_tripdata_2015-01.csv", 2,
     "2,2015-01-01 00:34:42,2015-01-01 00:38:34,N,1,-73.922592163085938,40.754528045654297,"
     "-73.91363525390625,40.765522003173828,1,.88,5,0.5,0.5,0,0,,0.3,6.3,2,1,,",
     {"vendor_id": 2, "pickup_datetime": "2015-01-01 00:34:42",
      "dropoff_datetime": "2015-01-01 00:38:34", "passenger_count": 1, "trip_distance": 0.88,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "payment_type": 2, "fare_amount": 5.0,
      "extra": 0.5, "mta_tax": 0.5, "tip_amount": 0.0, "tolls_amount": 0.0,
      "improvement_surcharge": 0.3, "total_amount": 6.3, "pickup_longitude": -73.922592163085938,
      "pickup_latitude": 40.754528045654297, "dropoff_longitude": -73.91363525390625,
      "dropoff_latitude": 40.765522003173828, "trip_type": 1}),
    ("heads/green/green_tripdata_2015-08.csv", 2,
     "2,2015-08-01 00:00:03,2015-08-01 00:00:07,N,5,-73.865013122558594,40.826099395751953,"
     "-73.864990234375,40.826099395751953,1,.00,7,0,0,0,0,,0,7,1,2",
     {"vendor_id": 2, "pickup_datetime": "2015-08-01 00:00:03",
      "dropoff_datetime": "2015-08-01 00:00:07", "passenger_count": 1, "trip_distance": 0.0,
      "ratecode_id": 5, "store_and_fwd_flag": "N", "payment_type": 1, "fare_amount": 7.0,
      "extra": 0.0, "mta_tax": 0.0, "tip_amount": 0.0, "tolls_amount": 0.0,
      "improvement_surcharge": 0.0, "total_amount": 7.0, "pickup_longitude": -73.865013122558594,
      "pickup_latitude": 40.826099395751953, "dropoff_longitude": -73.864990234375,
      "dropoff_latitude": 40.826099395751953, "trip_type": 2}),
    ("heads/green/green_tripdata_2016-08.csv", 3,
     "2,2016-08-01 00:10:27,2016-08-01 00:15:15,N,1,179,179,1,.76,5,0.5,0.5,1.26,0,,0.3,7.56,1,1,,",
     {"vendor_id": 2, "pickup_datetime": "2016-08-01 00:10:27",
      "dropoff_datetime": "2016-08-01 00:15:15", "passenger_count": 1, "trip_distance": 0.76,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "pickup_location_id": 179,
      "dropoff_location_id": 179, "payment_type": 1, "fare_amount": 5.0, "extra": 0.5,
      "mta_tax": 0.5, "tip_amount": 1.26, "tolls_amount": 0.0, "improvement_surcharge": 0.3,
      "total_amount": 7.56, "trip_type": 1}),
    ("heads/green/green_tripdata_2017-01.csv", 3,
     "2,2017-01-01 00:01:15,2017-01-01 00:11:05,N,1,42,166,1,1.71,9,0,0.5,0,0,,0.3,9.8,2,1",
     {"vendor_id": 2, "pickup_datetime": "2017-01-01 00:01:15",
      "dropoff_datetime": "2017-01-01 00:11:05", "passenger_count": 1, "trip_distance": 1.71,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "pickup_location_id": 42,
      "dropoff_location_id": 166, "payment_type": 2, "fare_amount": 9.0, "extra": 0.0,
      "mta_tax": 0.5, "tip_amount": 0.0, "tolls_amount": 0.0, "improvement_surcharge": 0.3,
      "total_amount": 9.8, "trip_type": 1}),
    ("releases/green/green_tripdata_2020-04.csv.gz", 2,
     "2,2020-04-01 00:44:02,2020-04-01 00:52:23,N,1,42,41,1,1.68,8,0.5,0.5,0,0,,0.3,9.3,1,1,0",
     {"vendor_id": 2, "pickup_datetime": "2020-04-01 00:44:02",
      "dropoff_datetime": "2020-04-01 00:52:23", "passenger_count": 1, "trip_distance": 1.68,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "pickup_location_id": 42,
      "dropoff_location_id": 41, "payment_type": 1, "fare_amount": 8.0, "extra": 0.5,
      "mta_tax": 0.5, "tip_amount": 0.0, "tolls_amount": 0.0, "improvement_surcharge": 0.3,
      "total_amount": 9.3, "congestion_surcharge": 0.0, "trip_type": 1}),
    ("releases/green/green_tripdata_2020-04.csv.gz", 35_613,
     ",2020-04-30 23:01:00,2020-04-30 23:02:00,,,185,185,,.01,23.17,0,0,0,0,,0.3,23.47,,,",
     {"pickup_datetime": "2020-04-30 23:01:00", "dropoff_datetime": "2020-04-30 23:02:00",
      "trip_distance": 0.01, "pickup_location_id": 185, "dropoff_location_id": 185,
      "fare_amount": 23.17, "extra": 0.0, "mta_tax": 0.0, "tip_amount": 0.0, "tolls_amount": 0.0,
      "improvement_surcharge": 0.3, "total_amount": 23.47}),
    ("heads/fhv/fhv_tripdata_2015-01.csv", 2,
     "B00013,2015-01-01 00:30:00,",
     {"dispatching_base_num": "B00013", "pickup_datetime": "2015-01-01 00:30:00"}),
    ("heads/fhv/fhv_tripdata_2017-01.csv", 28,
     "b00056,2017-01-01 00:21:00,,,",
     {"dispatching_base_num": "b00056", "pickup_datetime": "2017-01-01 00:21:00"}),
    ("heads/fhv/fhv_tripdata_2017-07.csv", 2,
     '"B02817","2017-07-18 21:29:00","2017-07-18 21:30:38","144","132",""',
     {"dispatching_base_num": "B02817", "pickup_datetime": "2017-07-18 21:29:00",
      "dropoff_datetime": "2017-07-18 21:30:38", "pickup_location_id": 144,
      "dropoff_location_id": 132}),
    ("heads/fhv/fhv_tripdata_2018-01.csv", 2,
     '"2018-01-30 21:06:50","2018-01-30 21:15:34","56","129","","B02884",""',
     {"dispatching_base_num": "B02884", "pickup_datetime": "2018-01-30 21:06:50",
      "dropoff_datetime": "2018-01-30 21:15:34", "pickup_location_id": 56,
      "dropoff_location_id": 129}),
    ("heads/fhv/fhv_tripdata_2019-01.csv", 19,
     "B00037,2019-01-01 00:26:02,2019-01-01 00:37:00,,265,",
     {"dispatching_base_num": "B00037", "pickup_datetime": "2019-01-01 00:26:02",
      "dropoff_datetime": "2019-01-01 00:37:00", "dropoff_location_id": 265}),
    ("heads/fhv/fhv_tripdata_2020-01.csv", 2,
     "B00001,2020-01-01 00:30:00,2020-01-01 01:44:00,264,264,",
     {"dispatching_base_num": "B00001", "pickup_datetime": "2020-01-01 00:30:00",
      "dropoff_datetime": "2020-01-01 01:44:00", "pickup_location_id": 264,
      "dropoff_location_id": 264}),
    ("samples/fhv_tripdata_2020-04.csv", 2,
     '"B01259",2020-04-24 08:20:17.000000,2020-04-24 08:26:59.000000,264,157,,"B01259"',
     {"dispatching_base_num": "B01259", "pickup_datetime": "2020-04-24 08:20:17",
      "dropoff_datetime": "2020-04-24 08:26:59", "pickup_location_id": 264,
      "dropoff_location_id": 157, "affiliated_base_num": "B01259"}),
    ("heads/fhvhv/fhvhv_tripdata_2019-02.csv", 2,
     "HV0003,B02867,2019-02-01 00:05:18,2019-02-01 00:14:57,245,251,",
     {"hvfhs_license_num": "HV0003", "dispatching_base_num": "B02867",
      "pickup_datetime": "2019-02-01 00:05:18", "dropoff_datetime": "2019-02-01 00:14:57",
      "pickup_location_id": 245, "dropoff_location_id": 251}),
    ("heads/fhvhv/fhvhv_tripdata_2020-06.csv", 2,
     "HV0005,B02510,2020-06-01 00:15:36,2020-06-01 00:29:34,76,108,",
     {"hvfhs_license_num": "HV0005", "dispatching_base_num": "B02510",
      "pickup_datetime": "2020-06-01 00:15:36", "dropoff_datetime": "2020-06-01 00:29:34",
      "pickup_location_id": 76, "dropoff_location_id": 108}),
    ("samples/fhvhv_tripdata_2020-04.csv", 2,
     '"HV0003","B02887","B02887",2020-04-24 08:19:06.000000,2020-04-24 08:20:34.000000,'
     "2020-04-24 08:23:22.000000,2020-04-24 08:37:05.000000,134,132,6.37,824,19.39,0,0.48,1.72,0,,"
     '0,13.93,"N","N"," ","N","N"',
     {"hvfhs_license_num": "HV0003", "dispatching_base_num": "B02887",
      "originating_base_num": "B02887", "request_datetime": "2020-04-24 08:19:06",
      "on_scene_datetime": "2020-04-24 08:20:34", "pickup_datetime": "2020-04-24 08:23:22",
      "dropoff_datetime": "2020-04-24 08:37:05", "pickup_location_id": 134,
      "dropoff_location_id": 132, "trip_miles": 6.37, "trip_time": 824,
      "base_passenger_fare": 19.39, "tolls": 0.0, "bcf": 0.48, "sales_tax": 1.72,
      "congestion_surcharge": 0.0, "tips": 0.0, "driver_pay": 13.93, "shared_request_flag": "N",
      "shared_match_flag": "N", "access_a_ride_flag": " ", "wav_request_flag": "N",
      "wav_match_flag": "N"}),
]

# file, the trip of its first row
FIRST_OF_PARQUET: list[tuple[str, Row]] = [
    ("trip-data/green_tripdata_2020-04.parquet",
     {"vendor_id": 2, "pickup_datetime": "2020-04-01 00:44:02",
      "dropoff_datetime": "2020-04-01 00:52:23", "passenger_count": 1, "trip_distance": 1.68,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "pickup_location_id": 42,
      "dropoff_location_id": 41, "payment_type": 1, "fare_amount": 8.0, "extra": 0.5,
      "mta_tax": 0.5, "tip_amount": 0.0, "tolls_amount": 0.0, "improvement_surcharge": 0.3,
      "total_amount": 9.3, "congestion_surcharge": 0.0, "trip_type": 1}),
    ("trip-data/green_tripdata_2025-10.parquet",
     {"vendor_id": 2, "pickup_datetime": "2025-10-01 00:21:47",
      "dropoff_datetime": "2025-10-01 00:24:37", "passenger_count": 1, "trip_distance": 0.7,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "pickup_location_id": 247,
      "dropoff_location_id": 69, "payment_type": 1, "fare_amount": 5.8, "extra": 1.0,
      "mta_tax": 0.5, "tip_amount": 1.7, "tolls_amount": 0.0, "improvement_surcharge": 1.0,
      "total_amount": 10.0, "congestion_surcharge": 0.0, "cbd_congestion_fee": 0.0,
      "trip_type": 1}),
    ("samples/yellow_tripdata_2025_schema.parquet",
     {"vendor_id": 1, "pickup_datetime": "2025-01-01 00:18:38",
      "dropoff_datetime": "2025-01-01 00:26:59", "passenger_count": 1, "trip_distance": 1.6,
      "ratecode_id": 1, "store_and_fwd_flag": "N", "pickup_location_id": 229,
      "dropoff_location_id": 237, "payment_type": 1, "fare_amount": 10.0, "extra": 3.5,
      "mta_tax": 0.5, "tip_amount": 3.0, "tolls_amount": 0.0, "improvement_surcharge": 1.0,
      "total_amount": 18.0, "congestion_surcharge": 2.5, "airport_fee": 0.0,
      "cbd_congestion_fee": 0.0}),
]
# fmt: on


def only_trip(cleaned: Cleaned) -> Row:
    (trip,) = cleaned.trips.to_pylist()
    return {
        name: str(value) if isinstance(value, datetime) else value
        for name, value in trip.items()
        if value is not None
    }


@pytest.mark.parametrize(
    ("name", "number", "line", "trip"),
    READ_BY_EYE,
    ids=[f"{Path(name).name}:{number}" for name, number, _, _ in READ_BY_EYE],
)
def test_a_line_of_every_era_means_what_people_read(
    name: str, number: int, line: str, trip: Row, tmp_path: Path
) -> None:
    content = (REAL_FILES / name).read_bytes()
    lines = (gzip.decompress(content) if name.endswith(".gz") else content).splitlines(True)
    assert lines[number - 1].decode().rstrip("\r\n") == line
    alone = tmp_path / Path(name).name.removesuffix(".gz")
    alone.write_bytes(lines[0] + lines[number - 1])
    assert only_trip(clean(alone, tmp_path)) == trip


@pytest.mark.parametrize(
    ("name", "trip"), FIRST_OF_PARQUET, ids=[Path(name).name for name, _ in FIRST_OF_PARQUET]
)
def test_a_row_of_parquet_means_what_people_read(name: str, trip: Row, tmp_path: Path) -> None:
    alone = tmp_path / Path(name).name
    pq.write_table(pq.read_table(REAL_FILES / name).slice(0, 1), alone)
    assert only_trip(clean(alone, tmp_path)) == trip
