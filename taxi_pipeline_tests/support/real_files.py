"""TLC's real records, which lie beside a checkout and are never committed.

How files name their columns, and spell their codes, is said here a second time: what reads them to
check the reader shares no code with it.
"""

import re
from pathlib import Path

import pytest

REAL_FILES = Path(__file__).parents[3] / "shared" / "tlc"
NOT_THERE = f"TLC's real records are not at {REAL_FILES}"

with_real_files = pytest.mark.skipif(not REAL_FILES.is_dir(), reason=NOT_THERE)


def found(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in REAL_FILES.glob(pattern))


CSV_FILES = found("heads/*/*.csv", "samples/*.csv", "releases/*/*.csv.gz")
PARQUET_FILES = found("samples/*.parquet", "trip-data/*.parquet")


def service_and_month(path: Path) -> tuple[str, str]:
    match = re.fullmatch(r"(\w+)_tripdata_(\d{4})(?:-(\d\d)|_schema)", path.name.partition(".")[0])
    assert match
    return match[1], f"{match[2]}-{match[3] or '01'}"


# canonical name: the names that files gave it, in lower case
NAMES = {
    "vendor_id": "vendorid vendor_name vendor_id",
    "pickup_datetime": "tpep_pickup_datetime lpep_pickup_datetime trip_pickup_datetime "
    "pickup_datetime pickup_date",
    "dropoff_datetime": "tpep_dropoff_datetime lpep_dropoff_datetime trip_dropoff_datetime "
    "dropoff_datetime",
    "passenger_count": "passenger_count",
    "trip_distance": "trip_distance",
    "ratecode_id": "ratecodeid rate_code",
    "store_and_fwd_flag": "store_and_fwd_flag store_and_forward",
    "pickup_location_id": "pulocationid locationid",
    "dropoff_location_id": "dolocationid",
    "payment_type": "payment_type",
    "fare_amount": "fare_amount fare_amt",
    "extra": "extra surcharge",
    "mta_tax": "mta_tax",
    "tip_amount": "tip_amount tip_amt",
    "tolls_amount": "tolls_amount tolls_amt",
    "improvement_surcharge": "improvement_surcharge",
    "total_amount": "total_amount total_amt",
    "congestion_surcharge": "congestion_surcharge",
    "airport_fee": "airport_fee",
    "cbd_congestion_fee": "cbd_congestion_fee",
    "pickup_longitude": "pickup_longitude start_lon",
    "pickup_latitude": "pickup_latitude start_lat",
    "dropoff_longitude": "dropoff_longitude end_lon",
    "dropoff_latitude": "dropoff_latitude end_lat",
    "ehail_fee": "ehail_fee",
    "trip_type": "trip_type",
    "dispatching_base_num": "dispatching_base_num dispatching_base_number",
    "sr_flag": "sr_flag",
    "affiliated_base_num": "affiliated_base_number",
}
SAME = (
    "hvfhs_license_num originating_base_num request_datetime on_scene_datetime trip_miles "
    "trip_time base_passenger_fare tolls bcf sales_tax tips driver_pay shared_request_flag "
    "shared_match_flag access_a_ride_flag wav_request_flag wav_match_flag"
)
NAMES |= {name: name for name in SAME.split()}
CANONICAL = {name: canonical for canonical, names in NAMES.items() for name in names.split()}

VENDORS = {"CMT": 1, "VTS": 2, "DDS": 3}
PAYMENTS = {
    **dict.fromkeys(("credit", "cre", "crd"), 1),
    **dict.fromkeys(("cash", "cas", "csh"), 2),
    **dict.fromkeys(("no charge", "no", "noc"), 3),
    **dict.fromkeys(("dispute", "dis"), 4),
    "unk": 5,
}
