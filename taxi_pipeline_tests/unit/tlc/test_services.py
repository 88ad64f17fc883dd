import pyarrow as pa
import pytest

from taxi_pipeline.tlc.schema import TYPE_NAMES, arrow_schema, bigquery_fields
from taxi_pipeline.tlc.services import GREEN, TAXI_ZONES, YELLOW, Table

YELLOW_COLUMNS = (
    "vendor_id pickup_datetime dropoff_datetime passenger_count trip_distance ratecode_id "
    "store_and_fwd_flag pickup_location_id dropoff_location_id payment_type fare_amount extra "
    "mta_tax tip_amount tolls_amount improvement_surcharge total_amount congestion_surcharge "
    "airport_fee cbd_congestion_fee"
)

TABLES = [YELLOW.trips, GREEN.trips, TAXI_ZONES]


def test_the_canonical_columns_and_their_order() -> None:
    yellow = YELLOW_COLUMNS.split()
    assert arrow_schema(YELLOW.trips).names == yellow
    assert arrow_schema(GREEN.trips).names == [*yellow, "ehail_fee", "trip_type"]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_is_described_typed_and_named_once(table: Table) -> None:
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    for column in table.columns:
        assert column.description.endswith((".", "'N/A'."))
        assert column.type in TYPE_NAMES
    known = [n.casefold() for c in table.columns for n in {c.name, *c.published_as}]
    assert len({*known}) == len(known)


def test_bigquery_gets_types_and_descriptions() -> None:
    fields = {field["name"]: field for field in bigquery_fields(YELLOW.trips)}
    assert fields["pickup_datetime"]["type"] == "DATETIME"
    assert fields["vendor_id"]["type"] == "INT64"
    assert fields["trip_distance"]["type"] == "FLOAT64"
    assert fields["store_and_fwd_flag"]["type"] == "STRING"
    assert "taximeter" in fields["trip_distance"]["description"]


def test_times_carry_no_zone() -> None:
    assert arrow_schema(YELLOW.trips).field("pickup_datetime").type == pa.timestamp("us")
