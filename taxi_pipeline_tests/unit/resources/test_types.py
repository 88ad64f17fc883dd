"""How the stores spell the declared types."""

import pytest

from taxi_pipeline.marts import DAILY_TRIPS, MARTS, TRIPS
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.bigquery.tables import schema_of
from taxi_pipeline.tlc.services import PUBLISHED_TABLES, YELLOW, Table

MART_TABLES = [*(mart.table for mart in MARTS), TRIPS.table]
TABLES = [*PUBLISHED_TABLES, *MART_TABLES]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_sink_has_a_type_for_every_column(table: Table) -> None:
    types = {column.type for column in table.columns}
    for sink in SINKS:
        assert types <= sink.types.keys()


def test_bigquery_gets_types_and_descriptions() -> None:
    fields = {field.name: field for field in schema_of(YELLOW.trips)}
    assert fields["pickup_datetime"].field_type == "DATETIME"
    assert fields["vendor_id"].field_type == "INT64"
    assert fields["trip_distance"].field_type == "FLOAT64"
    assert fields["store_and_fwd_flag"].field_type == "STRING"
    assert fields["trip_distance"].mode == "NULLABLE"
    assert "taximeter" in fields["trip_distance"].description
    kinds = {field.name: field.field_type for field in schema_of(DAILY_TRIPS.table)}
    assert (kinds["day"], kinds["trips"]) == ("DATE", "INT64")
