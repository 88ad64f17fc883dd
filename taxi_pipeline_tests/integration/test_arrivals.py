"""Raw objects that somebody else put into the lake, by Google's isolated client."""

import gzip
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from taxi_pipeline.assets.keys import LAYERS, asset_key, layer_of
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.lake.cleaned import store_cleaned
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.lake.raw import REPLACE_RAW
from taxi_pipeline.ledger import Depth, read_ledger
from taxi_pipeline.local.generator import write_parquet, write_zones
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.tlc.cleaning import ProgressCallback, Summary, clean_trips
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import SourceFile
from taxi_pipeline.tlc.services import GREEN
from taxi_pipeline_tests.conftest import ROWS, Platform
from taxi_pipeline_tests.support.http import serving_application
from taxi_pipeline_tests.support.lake import bucket_of, put
from taxi_pipeline_tests.support.results import (
    EVERY_ROW,
    MATCHES,
    evaluations,
    failed_checks,
    failure_of,
)
from taxi_pipeline_tests.support.source_files import green_month

if TYPE_CHECKING:
    pass

LATER = [asset_key("green_trips", layer) for layer in LAYERS if layer != "raw"]


def run_requested(platform: Platform) -> dg.ExecuteInProcessResult:
    (request,) = platform.tick("lake_arrivals").run_requests or ()
    assert request.job_name
    assert request.asset_check_keys is None  # all of the selected assets
    return platform.run(request.job_name, request.partition_key, request.asset_selection)


def test_a_months_file_put_into_the_lake_goes_the_rest_of_its_way(
    isolated: Platform, tmp_path: Path
) -> None:
    lake = isolated.resources.lake
    put(lake, "raw/green/green_tripdata_2021-03.csv.gz", green_month(tmp_path, "2021-03"))
    (raw,) = lake.find("raw/")
    (request,) = isolated.tick("lake_arrivals").run_requests or ()
    assert (request.job_name, request.partition_key) == ("green_trips", "2021-03")
    assert request.asset_selection == LATER
    assert request.run_key == f"green/2021-03/{raw.generation}"
    assert int(request.tags["dagster/priority"]) > 0  # before what a person launches
    result = run_requested(isolated)
    assert result.success
    made = [event.asset_key for event in result.get_asset_materialization_events()]
    assert sorted(map(str, made)) == sorted(map(str, LATER))
    assert not failed_checks(result) & {EVERY_ROW, *MATCHES}  # of all seven, which have run
    month = Month(2021, 3)
    for depth in Depth:
        (entry,) = read_ledger(GREEN, isolated.resources, month, month, depth)
        assert entry.problems == []
        assert entry.lake.published == ROWS
    tick = isolated.tick("lake_arrivals")
    assert tick.run_requests == []
    assert tick.skip_message == (
        "The lake has 1 raw objects; the newest of each month is cleaned, or a run of it goes on."
    )


def test_a_strangers_file_is_counted_without_the_cleaning(
    isolated: Platform, tmp_path: Path
) -> None:
    put(
        isolated.resources.lake,
        "raw/green/green_tripdata_2021-04.csv.gz",
        green_month(tmp_path, "2021-04", 50),
    )
    month = Month(2021, 4)

    def loses_a_row(
        source: SourceFile, kept: Path, rejected: Path, seen: ProgressCallback
    ) -> Summary:
        summary = clean_trips(month, source, kept, rejected, seen)
        return replace(summary, published=summary.published - 1, kept=summary.kept - 1)

    lake = isolated.resources.lake
    with pytest.raises(PermanentError, match="has 50 rows, but 49 were read"):
        store_cleaned(
            lake, object_paths(GREEN, month), GREEN.trips, loses_a_row, logging.getLogger()
        )
    assert lake.find("cleaned/") == []
    (raw,) = lake.find("raw/")
    assert raw.metadata.keys() == {"rows", "sha256"}
    assert raw.metadata["rows"] == "50"


def test_a_file_put_over_another_goes_its_way_anew(isolated: Platform, tmp_path: Path) -> None:
    name = "raw/green/green_tripdata_2021-05.csv.gz"
    put(isolated.resources.lake, name, green_month(tmp_path, "2021-05", 100))
    assert run_requested(isolated).success
    put(isolated.resources.lake, name, green_month(tmp_path, "2021-05", 90))
    assert run_requested(isolated).success
    entry = isolated.entry("green", "2021-05")
    assert entry.adds_up
    assert entry.lake.published == 90
    assert isolated.tick("lake_arrivals").run_requests == []


def test_the_newest_object_of_a_month_counts_whatever_its_format(
    isolated: Platform, tmp_path: Path
) -> None:
    isolated.load("green", "2021-06")
    assert isolated.tick("lake_arrivals").run_requests == []  # fetched, and cleaned
    ours = isolated.entry("green", "2021-06")
    parquet = tmp_path / "x.parquet"
    write_parquet(GREEN, Month(2021, 6), 1_900, parquet)
    put(isolated.resources.lake, "raw/green/green_tripdata_2021-06.parquet", parquet)
    assert run_requested(isolated).success
    assert isolated.tick("lake_arrivals").run_requests == []
    entry = isolated.entry("green", "2021-06")
    assert entry.adds_up
    assert entry.lake.published == 1_900
    bucket_of(isolated.resources.lake).delete_blob("raw/green/green_tripdata_2021-06.parquet")
    assert run_requested(isolated).success  # the publisher's file, which lay there all the time
    assert isolated.entry("green", "2021-06") == ours
    assert isolated.tick("lake_arrivals").run_requests == []


def contents(platform: Platform, prefix: str) -> dict[str, tuple[int | None, bytes]]:
    """Return the generation and the bytes of each object, by name."""
    return {
        blob.name: (blob.generation, blob.download_as_bytes())
        for blob in bucket_of(platform.resources.lake).list_blobs(prefix=prefix)
    }


BESIDE = (
    "raw/green/green_tripdata_2020-06.notes.txt",
    "raw/green/green_tripdata_2020-06.csv.gz.bak",
    "raw/green/green_tripdata_2020-06.old.csv",
    "raw/green/green_tripdata_2020-06.CSV",
    "rejected/green/green_tripdata_2020-06.notes.txt",
    "rejected/green/green_tripdata_2020-06.mine.parquet",
    "cleaned/green/green_tripdata_2020-06.parquet.bak",
)


def test_notes_and_backups_are_neither_deleted_nor_taken_for_the_months_file(
    isolated: Platform,
) -> None:
    for rows in (b"before the first run", b"newer than the month's file"):
        for name in BESIDE:
            put(isolated.resources.lake, name, rows)
        before = {name: contents(isolated, name) for name in BESIDE}
        assert isolated.run("green_trips", "2020-06").success
        assert isolated.run("green_trips", "2020-06", LATER).success
        assert {name: contents(isolated, name) for name in BESIDE} == before
        assert isolated.entry("green", "2020-06").adds_up
        assert isolated.tick("lake_arrivals").run_requests == []


def said_of_source(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    """Return what the materializations of a run say of where the month comes from."""
    return {
        layer_of(event.asset_key): event.materialization.metadata["source"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key and "source" in event.materialization.metadata
    }


@pytest.mark.parametrize("ending", ["csv.gz", "csv"])
def test_an_ordinary_run_leaves_a_persons_file_and_says_so(
    isolated: Platform, tmp_path: Path, capfd: pytest.CaptureFixture[str], ending: str
) -> None:
    isolated.load("green", "2020-05")
    corrected = green_month(tmp_path, "2020-05", 1_900).read_bytes()
    name = f"raw/green/green_tripdata_2020-05.{ending}"
    put(
        isolated.resources.lake,
        name,
        corrected if ending == "csv.gz" else gzip.decompress(corrected),
    )
    put(isolated.resources.lake, f"{name}.bak", b"her backup of it")
    before = contents(isolated, "raw/")
    for selection in (None, LATER):  # an ordinary run, and one from `cleaned` on
        capfd.readouterr()
        result = isolated.run("green_trips", "2020-05", selection)
        assert result.success
        assert {n: content for n, (_, content) in contents(isolated, "raw/").items()} == {
            n: content for n, (_, content) in before.items()
        }
        entry = isolated.entry("green", "2020-05")
        assert entry.adds_up
        assert entry.lake.published == 1_900
        said = (
            f"The month comes from gs://{isolated.resources.lake.bucket}/{name}, which somebody "
            "else put into the lake. To have the publisher's file again, delete it, or run raw "
            "with the tag taxi/replace_raw=true."
        )
        assert said in capfd.readouterr().err
        warned = evaluations(result)["cleaned", "from_publisher"]
        assert (warned.passed, warned.description) == (False, said)
        assert warned.severity == dg.AssetCheckSeverity.WARN
        sources = said_of_source(result)
        assert sources == dict.fromkeys(sources, said)
        assert sources.keys() == ({"cleaned"} if selection else {"raw", "cleaned"})
        downloaded = [
            event.materialization.metadata["downloaded"].value
            for event in result.get_asset_materialization_events()
            if "downloaded" in event.materialization.metadata
        ]
        assert downloaded == ([] if selection else [False])
    # asked for explicitly, the publisher's comes back
    result = isolated.run("green_trips", "2020-05", tags={REPLACE_RAW: "true"})
    assert result.success
    assert isolated.entry("green", "2020-05").lake.published == ROWS
    assert isolated.entry("green", "2020-05").adds_up
    left = contents(isolated, "raw/")
    assert left[f"{name}.bak"] == before[f"{name}.bak"]
    if ending == "csv":  # it no longer counts, and stays all the same
        assert left[name][1] == before[name][1]
    assert "which somebody else" not in str(said_of_source(result))
    assert evaluations(result)["cleaned", "from_publisher"].passed
    assert isolated.tick("lake_arrivals").run_requests == []


def test_another_value_of_the_tag_is_refused(isolated: Platform) -> None:
    result = isolated.run("green_trips", "2020-05", tags={REPLACE_RAW: "yes"})
    said = "The tag taxi/replace_raw has the value 'yes': give it the value true, or leave it out."
    assert said in failure_of(result)
    assert isolated.resources.lake.find("") == []


def test_a_run_that_died_once_it_had_stored_raw_is_healed(isolated: Platform) -> None:
    assert isolated.run("green_trips", "2020-07", [asset_key("green_trips", "raw")]).success
    assert not isolated.entry("green", "2020-07").adds_up
    assert run_requested(isolated).success
    assert isolated.entry("green", "2020-07").adds_up
    assert isolated.tick("lake_arrivals").run_requests == []


def test_a_month_of_which_a_run_goes_on_is_left_to_it(isolated: Platform) -> None:
    assert isolated.run("green_trips", "2020-07", [asset_key("green_trips", "raw")]).success
    run = create_run_for_test(
        isolated.instance,
        "green_trips",
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": "2020-07"},
    )
    assert isolated.tick("lake_arrivals").run_requests == []
    isolated.instance.report_run_canceled(run)
    assert len(isolated.tick("lake_arrivals").run_requests or ()) == 1


def test_zones_that_somebody_put_into_the_lake_go_their_way_too(
    isolated: Platform, tmp_path: Path
) -> None:
    assert isolated.run("taxi_zones").success
    write_zones(tmp_path / "zones.csv")
    put(isolated.resources.lake, "raw/taxi_zones/taxi_zone_lookup.csv", tmp_path / "zones.csv")
    (request,) = isolated.tick("lake_arrivals").run_requests or ()
    assert (request.job_name, request.partition_key) == ("taxi_zones", None)
    assert run_requested(isolated).success
    assert isolated.tick("lake_arrivals").run_requests == []
    before = contents(isolated, "raw/")
    assert isolated.run("taxi_zones").success
    assert contents(isolated, "raw/") == before


def test_an_object_that_was_replaced_meanwhile_is_not_annotated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The emulator annotates whatever is there, so a server of the test's own stands in."""

    async def patch(request: Request) -> JSONResponse:
        if request.query_params["ifGenerationMatch"] != "7":
            return JSONResponse({"error": {"message": "conditionNotMet"}}, 412)
        return JSONResponse({**await request.json(), "generation": "7", "size": "1"})

    path = "/storage/v1/b/a-bucket/o/{name:path}"
    server = Starlette(routes=[Route(path, patch, methods=["PATCH"])])
    with serving_application(server) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        lake = Lake(bucket="a-bucket", project="a-project")
        created = "2021-03-01T00:00:00+00:00"
        uri = "gs://a-bucket/raw/x.csv"
        known = LakeObject("raw/x.csv", uri, 1, 7, created, {"hers": "kept"}, "AAAAAA==")
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
def test_a_strangers_broken_file_replaces_nothing_until_the_publishers_is_asked_for(
    isolated: Platform, tmp_path: Path, cut: slice, said: str
) -> None:
    isolated.load("green", "2021-07")
    before = isolated.entry("green", "2021-07")
    name = "raw/green/green_tripdata_2021-07.csv.gz"
    put(isolated.resources.lake, name, green_month(tmp_path, "2021-07", 80).read_bytes()[cut])
    assert said in failure_of(run_requested(isolated))
    entry = isolated.entry("green", "2021-07")
    assert entry.lake.kept == before.lake.kept
    assert entry.tables == before.tables
    assert not entry.adds_up
    (raw,) = isolated.resources.lake.find("raw/")
    assert raw.metadata == {}
    refused = failure_of(isolated.run("green_trips", "2021-07"))
    assert said in refused
    assert "run raw with the tag taxi/replace_raw=true" in refused
    assert isolated.resources.lake.find("raw/") == [raw]
    assert isolated.run("green_trips", "2021-07", tags={REPLACE_RAW: "true"}).success
    assert isolated.entry("green", "2021-07") == before


def test_other_names_under_raw_are_named_and_left_alone(
    isolated: Platform, capfd: pytest.CaptureFixture[str]
) -> None:
    rows_without_pickup = [
        "raw/green/trips.csv",
        "raw/green/green_tripdata_2021-13.csv.gz",
        "raw/green/green_tripdata_2013-07.csv.gz",  # a month before green's first
        "raw/green/green_tripdata_9998-01.csv.gz",
        "raw/green/green_tripdata_2021-01.csv.zip",
        "raw/green/green_tripdata_2021-01.old.csv",
        "raw/green/yellow_tripdata_2021-01.csv.gz",
        "raw/blue/blue_tripdata_2021-01.csv.gz",
    ]
    for name in (*rows_without_pickup, "raw/green/"):  # the last is a console's folder
        put(isolated.resources.lake, name)
    tick = isolated.tick("lake_arrivals")
    assert tick.run_requests == []
    assert "The lake has 8 raw objects" in (tick.skip_message or "")
    logged = capfd.readouterr().err
    assert "Left alone: " in logged
    for name in rows_without_pickup:
        assert name in logged
    assert "raw/green/," not in logged
    for number in range(20):
        put(isolated.resources.lake, f"raw/{number}")
    isolated.tick("lake_arrivals")
    logged = capfd.readouterr().err
    assert logged.count("raw/") == 20 + 1  # and how a name should be
    assert " and 8 more. " in logged
