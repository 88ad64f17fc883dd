"""Restoring what was lost, as docs/operations.md says: a store from raw, and raw itself."""

import psycopg

from taxi_pipeline.assets.keys import LAYERS, asset_key
from taxi_pipeline.io.google import CloudStorage, GoogleBigQuery
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.lake.raw import REPLACE_RAW, raw_objects
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV, YELLOW
from taxi_pipeline_tests.conftest import Platform, Publish
from taxi_pipeline_tests.support.source_files import MIRRORED, csv_gz, in_month

MONTHS = ("2020-02", "2020-03")
FROM_RAW = [asset_key(FHV.trips.name, layer) for layer in LAYERS if layer != "raw"]


def lose_everything_but_raw(platform: Platform) -> None:
    stores = platform.resources
    for prefix in ("cleaned/fhv/", "rejected/fhv/"):
        for lost in stores.lake.find(prefix):
            stores.lake.delete(lost)
    with GoogleBigQuery(project=stores.bigquery.project).get_client() as client:
        client.delete_table(f"{stores.bigquery.dataset}.{FHV.trips.name}")
    with psycopg.connect(stores.postgres.url) as connection:
        connection.execute("DROP TABLE tlc.fhv_trips")


def test_trips_and_both_tables_come_back_from_raw_without_the_publisher(
    platform: Platform, publish: Publish
) -> None:
    for month in MONTHS:
        platform.load("fhv", month)
    before = [platform.entry("fhv", month) for month in MONTHS]
    assert all(entry.adds_up for entry in before)

    lose_everything_but_raw(platform)
    assert not any(platform.entry("fhv", month).adds_up for month in MONTHS)
    alone, asked = publish({})
    for month in MONTHS:
        assert alone.run("fhv_trips", month, FROM_RAW).success
    assert [platform.entry("fhv", month) for month in MONTHS] == before
    assert asked == []


def copy(platform: Platform, source: str, target: str) -> None:
    """Copy an object as `gcloud storage cp` does: with all its metadata."""
    lake = platform.resources.lake
    bucket = CloudStorage(project=lake.project).get_client().bucket(lake.bucket)
    bucket.copy_blob(bucket.blob(source), bucket, target)


def test_an_older_raw_generation_copied_back_reaches_all_stores_and_stays(
    publish: Publish,
) -> None:
    """The emulator keeps no older generations: a copy under another name stands in for one."""
    month, path = "2018-11", MIRRORED.format("2018-11")
    good, bad = (csv_gz(*[in_month(month, tip_amount=tip)] * 20) for tip in ("2", "-99"))
    platform, _ = publish({path: good})
    platform.load("yellow", month)
    before = platform.entry("yellow", month)
    (raw,) = raw_objects(platform.resources.lake, object_paths(YELLOW, Month.parse(month)))
    copy(platform, raw.name, "older generation")
    rewritten, asked = publish({path: bad})
    rewritten.load("yellow", month)
    tips = "SELECT DISTINCT tip_amount FROM {} WHERE pickup_datetime >= '2018-11-01' AND "
    tips += "pickup_datetime < '2018-12-01'"

    def tips_in_stores() -> list[object]:
        return [
            rewritten.postgres(tips.format("tlc.yellow_trips")),
            rewritten.bigquery(tips.format("yellow_trips")),
        ]

    assert tips_in_stores() == [[(-99.0,)]] * 2

    copy(rewritten, "older generation", raw.name)
    (request,) = [
        request
        for request in rewritten.tick("lake_arrivals").run_requests or ()
        if request.partition_key == month
    ]
    assert request.job_name
    assert rewritten.run(request.job_name, month, request.asset_selection).success
    after = rewritten.entry("yellow", month)
    assert after.adds_up
    assert (after.lake.sha256, after.lake.kept) == (before.lake.sha256, before.lake.kept)
    assert tips_in_stores() == [[(2.0,)]] * 2

    # neither an ordinary run nor the sensor fetches the bad file again, until a person says so
    asked.clear()
    assert rewritten.run("yellow_trips", month).success
    assert asked == []
    assert rewritten.entry("yellow", month) == after
    assert rewritten.run("yellow_trips", month, tags={REPLACE_RAW: "true"}).success
    assert tips_in_stores() == [[(-99.0,)]] * 2
    assert rewritten.entry("yellow", month).adds_up
