"""Raw objects that somebody else put into the lake, by Google's own client."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from taxi_pipeline.assets.steps import clean_raw
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.ledger import read_ledger
from taxi_pipeline.resources.environment import Resources
from taxi_pipeline.resources.google import CloudStorage
from taxi_pipeline.resources.lake import Lake, LakeObject, place_of
from taxi_pipeline.tlc.cleaning import Seen, Summary, clean_trips
from taxi_pipeline.tlc.generator import write_csv_gz, write_parquet
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import PublishedFile
from taxi_pipeline.tlc.services import GREEN
from taxi_pipeline_tests.conftest import ROWS, Platform
from taxi_pipeline_tests.support.http import serving_application

from .test_checks import EVERY_ROW, MATCHES, failed
from .test_jobs import failure_of

if TYPE_CHECKING:
    from google.cloud import storage

LATER = [dg.AssetKey([layer, "green_trips"]) for layer in ("cleaned", "bigquery", "postgres")]


@pytest.fixture
def own(platform: Platform, request: pytest.FixtureRequest) -> Platform:
    """Return a platform whose lake is empty: a bucket of the test's own."""
    lake = platform.resources.lake
    bucket = f"taxi-{abs(hash(request.node.name))}"
    CloudStorage(project=lake.project).get_client().create_bucket(bucket)
    resources = {**vars(platform.resources), "lake": Lake(bucket=bucket, project=lake.project)}
    return Platform(Resources(**resources), platform.instance)


def bucket_of(platform: Platform) -> "storage.Bucket":
    lake = platform.resources.lake
    return CloudStorage(project=lake.project).get_client().bucket(lake.bucket)


def put(platform: Platform, name: str, content: bytes | Path = b"?") -> None:
    """Put an object into the lake as any tool does: without metadata."""
    blob = bucket_of(platform).blob(name)
    if isinstance(content, Path):
        blob.upload_from_filename(str(content))
    else:
        blob.upload_from_string(content)


def green_month(folder: Path, key: str, rows: int = ROWS) -> Path:
    path = folder / f"green_tripdata_{key}.csv.gz"
    write_csv_gz(GREEN, Month.parse(key), rows, path)
    return path


def run_requested(platform: Platform) -> dg.ExecuteInProcessResult:
    (request,) = platform.tick("lake_arrivals").run_requests or ()
    assert request.job_name
    assert request.asset_check_keys is None  # all of the selected assets
    return platform.run(request.job_name, request.partition_key, request.asset_selection)


def test_a_months_file_put_into_the_lake_goes_the_rest_of_its_way(
    own: Platform, tmp_path: Path
) -> None:
    put(own, "raw/green/green_tripdata_2021-03.csv.gz", green_month(tmp_path, "2021-03"))
    lake = own.resources.lake
    (raw,) = lake.find("raw/")
    (request,) = own.tick("lake_arrivals").run_requests or ()
    assert (request.job_name, request.partition_key) == ("green_trips", "2021-03")
    assert request.asset_selection == LATER
    assert request.run_key == f"green/2021-03/{raw.generation}"
    result = run_requested(own)
    assert result.success
    made = [event.asset_key for event in result.get_asset_materialization_events()]
    assert sorted(map(str, made)) == sorted(map(str, LATER))
    assert not failed(result) & {EVERY_ROW, *MATCHES}  # of all seven, which have run
    month = Month(2021, 3)
    for recount in (False, True):
        (entry,) = read_ledger(GREEN, own.resources, month, month, recount)
        assert entry.problems == []
        assert entry.lake.published == ROWS
    tick = own.tick("lake_arrivals")
    assert tick.run_requests == []
    assert tick.skip_message == (
        "The lake has 1 raw objects of trips; none that somebody else put there is new."
    )


def test_a_strangers_file_is_counted_without_the_cleaning(own: Platform, tmp_path: Path) -> None:
    put(own, "raw/green/green_tripdata_2021-04.csv.gz", green_month(tmp_path, "2021-04", 50))
    month = Month(2021, 4)

    def loses_a_row(source: PublishedFile, kept: Path, rejected: Path, seen: Seen) -> Summary:
        summary = clean_trips(month, source, kept, rejected, seen)
        return replace(summary, published=summary.published - 1, kept=summary.kept - 1)

    lake = own.resources.lake
    with pytest.raises(PermanentError, match="has 50 rows, but 49 were read"):
        clean_raw(lake, place_of(GREEN, month), GREEN.trips, loses_a_row, logging.getLogger())
    assert lake.find("cleaned/") == []
    (raw,) = lake.find("raw/")
    assert raw.metadata.keys() == {"rows", "sha256"}
    assert raw.metadata["rows"] == "50"


def test_a_file_put_over_another_goes_its_way_anew(own: Platform, tmp_path: Path) -> None:
    name = "raw/green/green_tripdata_2021-05.csv.gz"
    put(own, name, green_month(tmp_path, "2021-05", 100))
    assert run_requested(own).success
    put(own, name, green_month(tmp_path, "2021-05", 90))
    assert run_requested(own).success
    entry = own.entry("green", "2021-05")
    assert entry.adds_up
    assert entry.lake.published == 90
    assert own.tick("lake_arrivals").run_requests == []


def test_the_newest_object_of_a_month_counts_whatever_its_format(
    own: Platform, tmp_path: Path
) -> None:
    assert own.run("green_trips", "2021-06").success
    assert own.tick("lake_arrivals").run_requests == []  # ours
    parquet = tmp_path / "x.parquet"
    write_parquet(GREEN, Month(2021, 6), 70, parquet)
    put(own, "raw/green/green_tripdata_2021-06.parquet", parquet)
    assert run_requested(own).success
    assert own.tick("lake_arrivals").run_requests == []
    entry = own.entry("green", "2021-06")
    assert entry.adds_up
    assert entry.lake.published == 70
    assert own.run("green_trips", "2021-06").success  # by hand: the publisher's again
    (raw,) = own.resources.lake.find("raw/")
    assert raw.name.endswith(".csv.gz")
    assert own.entry("green", "2021-06").adds_up
    assert own.tick("lake_arrivals").run_requests == []


def test_an_object_that_was_replaced_meanwhile_is_not_annotated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The emulator annotates whatever is there, so a server of the test's own stands in for it."""

    async def patch(request: Request) -> JSONResponse:
        if request.query_params["ifGenerationMatch"] != "7":
            return JSONResponse({"error": {"message": "conditionNotMet"}}, 412)
        return JSONResponse({**await request.json(), "generation": "7", "size": "1"})

    path = "/storage/v1/b/a-bucket/o/{name:path}"
    server = Starlette(routes=[Route(path, patch, methods=["PATCH"])])
    with serving_application(server) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        lake = Lake(bucket="a-bucket", project="a-project")
        known = LakeObject("raw/x.csv", "gs://a-bucket/raw/x.csv", 1, 7, {"hers": "kept"})
        annotated = replace(known, metadata={"hers": "kept", "rows": "3"})
        assert lake.annotate(known, {"rows": "3"}) == annotated
        with pytest.raises(TransientError, match=r"gs://a-bucket/raw/x.csv was replaced while"):
            lake.annotate(replace(known, generation=6), {"rows": "3"})


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (slice(-30), "green_tripdata_2021-07.csv.gz: the gzip is broken or cut short"),
        (slice(2, None), "green_tripdata_2021-07.csv.gz: not a gzip file"),
    ],
)
def test_a_strangers_broken_file_replaces_nothing_and_the_publishers_replaces_it(
    own: Platform, tmp_path: Path, cut: slice, said: str
) -> None:
    assert own.run("green_trips", "2021-07").success
    before = own.entry("green", "2021-07")
    name = "raw/green/green_tripdata_2021-07.csv.gz"
    put(own, name, green_month(tmp_path, "2021-07", 80).read_bytes()[cut])
    assert said in failure_of(run_requested(own))
    entry = own.entry("green", "2021-07")
    assert entry.lake.kept == before.lake.kept
    assert (entry.bigquery, entry.postgres) == (before.bigquery, before.postgres)
    assert not entry.adds_up
    (raw,) = own.resources.lake.find("raw/")
    assert raw.metadata == {}
    assert own.run("green_trips", "2021-07").success
    assert own.entry("green", "2021-07") == before


def test_other_names_under_raw_are_named_and_left_alone(
    own: Platform, capfd: pytest.CaptureFixture[str]
) -> None:
    strays = [
        "raw/green/trips.csv",
        "raw/green/green_tripdata_2021-13.csv.gz",
        "raw/green/green_tripdata_2013-07.csv.gz",  # a month before green's first
        "raw/green/green_tripdata_9998-01.csv.gz",
        "raw/green/green_tripdata_2021-01.csv.zip",
        "raw/green/green_tripdata_2021-01.old.csv",
        "raw/green/yellow_tripdata_2021-01.csv.gz",
        "raw/blue/blue_tripdata_2021-01.csv.gz",
    ]
    for name in (*strays, "raw/taxi_zones/taxi_zone_lookup.csv", "raw/taxi_zones/x"):
        put(own, name)
    tick = own.tick("lake_arrivals")
    assert tick.run_requests == []
    assert "The lake has 8 raw objects" in (tick.skip_message or "")
    logged = capfd.readouterr().err
    assert "Left alone: " in logged
    for name in strays:
        assert name in logged
    assert "taxi_zone" not in logged
    for number in range(20):
        put(own, f"raw/{number}")
    own.tick("lake_arrivals")
    logged = capfd.readouterr().err
    assert logged.count("raw/") == 20 + 1  # and how a name should be
    assert " and 8 more. " in logged
