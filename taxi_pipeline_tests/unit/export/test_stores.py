"""Which tables a store has, by the assets that fill them."""

import pytest

from taxi_pipeline.export.stores import stored_tables
from taxi_pipeline.marts import MARTS
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.services import PUBLISHED_TABLES


@pytest.mark.parametrize("sink", SINKS)
def test_every_store_has_every_published_table(sink: type[Sink]) -> None:
    published = [stored.table for stored in stored_tables(sink) if stored.is_published]
    assert published == [*PUBLISHED_TABLES]


@pytest.mark.parametrize("sink", SINKS)
def test_bigquery_has_the_marts_by_their_own_names_and_each_store_the_view(
    sink: type[Sink],
) -> None:
    computed = {
        stored.table.name: stored.asset.key.to_user_string()
        for stored in stored_tables(sink)
        if not stored.is_published
    }
    marts = {mart.name: mart.name for mart in MARTS} if sink is BigQuery else {}
    assert computed == marts | {"trips": f"trips_{sink.name}"}


def test_a_table_has_the_checks_of_what_is_loaded_into_it_and_of_what_it_holds() -> None:
    yellow = stored_tables(Postgres)[0]
    assert yellow.asset.key.to_user_string() == "yellow_postgres"
    by_asset = {check.asset_key.to_user_string() for check in yellow.checks}
    assert by_asset == {"yellow_cleaned", "yellow_postgres"}
    assert {"every_row_accounted_for", "rejected_share", "matches_lake"} <= {
        check.name for check in yellow.checks
    }
