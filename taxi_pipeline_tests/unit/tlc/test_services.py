import pyarrow as pa
import pytest

from taxi_pipeline.marts import MARTS, TRIPS
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import (
    FHV,
    FHVHV,
    GREEN,
    NUMBER,
    PUBLISHED_TABLES,
    SERVICES,
    UNKNOWN_WORDS,
    YELLOW,
    Service,
    Table,
)

YELLOW_COLUMNS = (
    "vendor_id pickup_datetime dropoff_datetime passenger_count trip_distance ratecode_id "
    "store_and_fwd_flag pickup_location_id dropoff_location_id payment_type fare_amount extra "
    "mta_tax tip_amount tolls_amount improvement_surcharge total_amount congestion_surcharge "
    "airport_fee cbd_congestion_fee request_source pickup_longitude pickup_latitude "
    "dropoff_longitude dropoff_latitude unknown_words"
)
FHV_COLUMNS = (
    "dispatching_base_num pickup_datetime dropoff_datetime pickup_location_id dropoff_location_id "
    "sr_flag affiliated_base_num"
)
FHVHV_COLUMNS = (
    "hvfhs_license_num dispatching_base_num originating_base_num request_datetime "
    "on_scene_datetime pickup_datetime dropoff_datetime pickup_location_id dropoff_location_id "
    "trip_miles trip_time base_passenger_fare tolls bcf sales_tax congestion_surcharge airport_fee "
    "tips driver_pay shared_request_flag shared_match_flag access_a_ride_flag wav_request_flag "
    "wav_match_flag cbd_congestion_fee sr_flag affiliated_base_num"
)

COMPUTED = [*(mart.table for mart in MARTS), TRIPS.table]
TABLES = [*PUBLISHED_TABLES, *COMPUTED]


def test_the_canonical_columns_and_their_order() -> None:
    yellow = YELLOW_COLUMNS.split()
    assert arrow_schema(YELLOW.trips).names == yellow
    assert arrow_schema(GREEN.trips).names == [*yellow, "ehail_fee", "trip_type"]
    assert arrow_schema(FHV.trips).names == FHV_COLUMNS.split()
    assert arrow_schema(FHVHV.trips).names == FHVHV_COLUMNS.split()


def test_the_first_months_are_tlcs() -> None:
    first = {service.name: service.first_month.key for service in SERVICES.values()}
    assert first == {"yellow": "2009-01", "green": "2013-08", "fhv": "2015-01", "fhvhv": "2019-02"}


def test_every_published_amount_in_dollars_is_limited() -> None:
    amounts = {
        column.limit
        for service in SERVICES.values()
        for column in service.trips.columns
        if column.unit == "US dollars"
    }
    assert amounts == {10_000_000}
    assert YELLOW.trips["trip_distance"].limit == 1e15  # published ones go to some millions


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_what_a_column_refers_to_is_a_column(service: Service) -> None:
    names = {column.name for column in service.trips.columns}
    assert {column.required_unless for column in service.trips.columns} <= {"", *names}
    for name, unit in ((service.total, "US dollars"), (service.distance, "miles")):
        assert name is None or service.trips[name].type == NUMBER
        assert name is None or service.trips[name].unit == unit
    assert service.trips.partitioned_by in names
    for column in service.trips.columns:
        assert {*column.words.values()} <= column.codes.keys()
    if any(column.words for column in service.trips.columns):
        assert UNKNOWN_WORDS in names


def test_a_description_says_unit_and_codes() -> None:
    assert YELLOW.trips["trip_distance"].description == ("Distance by the taximeter. Unit: miles.")
    assert FHVHV.trips["wav_match_flag"].description.endswith("Codes: Y yes; N no; blank not said.")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_is_described_typed_and_named_once(table: Table) -> None:
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    for column in table.columns:
        assert column.description.endswith((".", "'N/A'."))
    known = [n.casefold() for c in table.columns for n in {c.name, *c.published_as}]
    assert len({*known}) == len(known)


def test_times_carry_no_zone() -> None:
    assert arrow_schema(YELLOW.trips).field("pickup_datetime").type == pa.timestamp("us")
