"""Restoring a store that was lost, as docs/operations.md says: from raw, without the publisher."""

import dagster as dg
import psycopg

from taxi_pipeline.resources.google import BigQuery
from taxi_pipeline.tlc.services import FHV
from taxi_pipeline_tests.conftest import Platform, Publish

MONTHS = ("2020-02", "2020-03")
FROM_RAW = [dg.AssetKey([layer, FHV.trips.name]) for layer in ("cleaned", "bigquery", "postgres")]


def lose_everything_but_raw(platform: Platform) -> None:
    stores = platform.resources
    for prefix in ("cleaned/fhv/", "rejected/fhv/"):
        for lost in stores.lake.find(prefix):
            stores.lake.delete(lost.name)
    with BigQuery(project=stores.warehouse.project).get_client() as client:
        client.delete_table(f"{stores.warehouse.dataset}.{FHV.trips.name}")
    with psycopg.connect(stores.database.url) as connection:
        connection.execute("DROP TABLE tlc.fhv_trips")


def test_trips_and_both_tables_come_back_from_raw_without_the_publisher(
    platform: Platform, publish: Publish
) -> None:
    for month in MONTHS:
        assert platform.run("fhv_trips", month).success
    before = [platform.entry("fhv", month) for month in MONTHS]
    assert all(entry.adds_up for entry in before)

    lose_everything_but_raw(platform)
    assert not any(platform.entry("fhv", month).adds_up for month in MONTHS)
    alone, asked = publish({})
    for month in MONTHS:
        assert alone.run("fhv_trips", month, FROM_RAW).success
    assert [platform.entry("fhv", month) for month in MONTHS] == before
    assert asked == []
