"""The jobs, from the generator's published files to all three stores."""

import base64
import gzip
import io
import logging
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from time import monotonic
from typing import Any

import dagster as dg
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from click.testing import CliRunner
from requests.adapters import HTTPAdapter

from taxi_pipeline.assets.keys import LAYERS, asset_key, layer_of
from taxi_pipeline.assets.published import published_assets
from taxi_pipeline.assets.reporting import PREVIEW_ROWS
from taxi_pipeline.assets.tags import ACCEPT_FEWER_ROWS
from taxi_pipeline.assets.trips import published_trips
from taxi_pipeline.cli import main
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.google import CloudStorage
from taxi_pipeline.lake.cleaned import open_cleaned
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.ledger import Entry
from taxi_pipeline.local.generator import write_parquet
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.bigquery.tables import schema_of
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import DATETIME, GREEN, SERVICES, UNKNOWN_WORDS, YELLOW, Service
from taxi_pipeline.tlc.tally import Tally, tally_parquet
from taxi_pipeline_tests.conftest import ROWS, Platform, Publish, with_publisher
from taxi_pipeline_tests.support.cleaned import cleaned_file
from taxi_pipeline_tests.support.http import body, missing_in_s3, serving, status
from taxi_pipeline_tests.support.lake import delete, overwrite
from taxi_pipeline_tests.support.results import (
    SINK_LAYERS,
    failure_of,
    metadata_by_layer,
)
from taxi_pipeline_tests.support.source_files import (
    AT_TLC,
    MIRRORED,
    YELLOW_HEADER,
    csv_gz,
    in_month,
)


def url_of(link: dg.MetadataValue[Any]) -> str:
    assert isinstance(link, dg.UrlMetadataValue)
    return link.url or ""


def sql_of(query: dg.MetadataValue[Any]) -> str:
    """Return the query within Markdown's fence."""
    assert isinstance(query, dg.MarkdownMetadataValue)
    first, *lines, last = query.value.splitlines()
    assert (first, last) == ("```sql", "```")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "month"),
    [
        ("yellow", "2009-02"),  # words and coordinates
        ("yellow", "2021-01"),
        ("yellow", "2023-05"),
        ("green", "2014-06"),
        ("green", "2021-01"),
        ("fhv", "2018-02"),
        ("fhvhv", "2021-06"),  # under fhv's header
        ("fhvhv", "2025-02"),
    ],
)
def test_a_month_lands_whole_in_every_store(
    platform: Platform, name: str, month: str, tmp_path: Path
) -> None:
    service = SERVICES[name]
    assert platform.run(f"{service.name}_trips", month).success
    entry = platform.entry(service.name, month)
    assert entry.adds_up
    assert entry.lake.published == ROWS
    assert entry.lake.rejected is not None
    assert {*entry.lake.rejected} >= {"pickup_outside_month"}
    lake = platform.resources.lake
    place = object_paths(service, Month.parse(month))
    (cleaned,) = lake.find(place.cleaned)
    trips = pq.read_table(lake.download(cleaned, tmp_path))
    assert trips.schema.equals(arrow_schema(service.trips))
    columns = ", ".join(trips.schema.names)
    expected = sorted(map(repr, (tuple(row.values()) for row in trips.to_pylist())))
    table = service.trips.name
    in_postgres = platform.postgres(f"SELECT {columns} FROM tlc.{table}_{month.replace('-', '_')}")
    assert sorted(map(repr, in_postgres)) == expected
    in_bigquery = platform.bigquery(
        f"SELECT {columns} FROM {table} WHERE FORMAT_DATETIME('%Y-%m', pickup_datetime) = '{month}'"
    )
    assert sorted(map(repr, in_bigquery)) == expected


def test_the_zones_land_in_every_store(platform: Platform) -> None:
    assert platform.run("taxi_zones").success
    assert platform.run("taxi_zones").success
    for rows in (
        platform.postgres("SELECT * FROM tlc.taxi_zones ORDER BY location_id"),
        platform.bigquery("SELECT * FROM taxi_zones ORDER BY location_id"),
    ):
        assert [row[0] for row in rows] == list(range(1, 266))
        assert rows[263] == (264, "Unknown", "N/A", "N/A")


def test_a_second_run_ends_the_same_and_downloads_nothing(publish: Publish) -> None:
    platform, asked = publish({MIRRORED.format("2019-02"): csv_gz(in_month("2019-02"))})
    first = platform.run("yellow_trips", "2019-02")
    before = platform.entry("yellow", "2019-02")
    second = platform.run("yellow_trips", "2019-02")
    assert first.success
    assert second.success
    assert platform.entry("yellow", "2019-02") == before
    assert before.adds_up
    assert len(asked) == 2
    downloaded = [
        event.materialization.metadata["downloaded"].value
        for result in (first, second)
        for event in result.get_asset_materialization_events()
        if "downloaded" in event.materialization.metadata
    ]
    assert downloaded == [True, False]


def test_a_republished_month_replaces_the_old_one_and_no_other(publish: Publish) -> None:
    files = {
        MIRRORED.format("2019-03"): csv_gz(*[in_month("2019-03")] * 3),
        MIRRORED.format("2019-04"): csv_gz(in_month("2019-04")),
    }

    def as_it_is_now(request: BaseHTTPRequestHandler) -> None:
        content = files[request.path[1:]]
        body(content, f'"{zlib.crc32(content)}"')(request)

    platform, _ = publish(dict.fromkeys(files, as_it_is_now))
    platform.load("yellow", "2019-03")
    platform.load("yellow", "2019-04")
    files[MIRRORED.format("2019-03")] = csv_gz(*[in_month("2019-03")] * 4)
    assert platform.run("yellow_trips", "2019-03").success
    for month, rows in (("2019-03", 4), ("2019-04", 1)):
        entry = platform.entry("yellow", month)
        held = Tally(rows, rows * 1180)
        assert entry.adds_up
        assert (entry.lake.published, entry.lake.kept) == (rows, held)
        assert {*entry.tables.values()} == {held}


def test_a_month_published_in_another_format_leaves_one_raw_object(
    publish: Publish, tmp_path: Path
) -> None:
    platform, _ = publish({MIRRORED.format("2019-05"): csv_gz(in_month("2019-05"))})
    platform.load("yellow", "2019-05")
    lake = platform.resources.lake
    (cleaned,) = lake.find("cleaned/yellow/yellow_tripdata_2019-05.parquet")
    parquet = lake.download(cleaned, tmp_path)
    moved, _ = publish({AT_TLC.format("2019-05"): parquet.read_bytes()})
    assert moved.run("yellow_trips", "2019-05").success
    (raw,) = lake.find("raw/yellow/yellow_tripdata_2019-05.")
    assert raw.name.endswith(".parquet")
    assert moved.entry("yellow", "2019-05").adds_up


def test_a_month_of_which_nothing_is_kept_empties_the_stores(publish: Publish) -> None:
    path = MIRRORED.format("2019-06")
    platform, _ = publish({path: csv_gz(in_month("2019-06"))})
    platform.load("yellow", "2019-06")
    emptied, _ = publish({path: csv_gz(in_month("2019-06", passenger_count="0"))})
    assert emptied.run("yellow_trips", "2019-06", tags={ACCEPT_FEWER_ROWS: "true"}).success
    entry = emptied.entry("yellow", "2019-06")
    nothing = Tally(0, 0)
    assert (entry.lake.published, entry.lake.kept) == (1, nothing)
    assert {*entry.tables.values()} == {nothing}
    assert entry.lake.rejected == {"no_passengers": 1}
    assert entry.adds_up


def test_what_every_materialization_says(publish: Publish) -> None:
    month = "2019-08"
    content = csv_gz(in_month(month), in_month(month, passenger_count="0"), "garbage")
    platform, _ = publish({MIRRORED.format(month): content})
    result = platform.run("yellow_trips", month)
    said = metadata_by_layer(result)
    assert said.keys() == {*LAYERS}
    rows = {
        layer: metadata["dagster/partition_row_count"].value for layer, metadata in said.items()
    }
    assert rows == {"raw": 3, "cleaned": 1} | dict.fromkeys(SINK_LAYERS, 1)
    # of all months, which BigQuery knows without counting
    all_rows = platform.resources.bigquery.tallies(YELLOW.trips, None)
    assert said["bigquery"]["dagster/row_count"].value == sum(
        tally.rows for tally in all_rows.values()
    )
    for sink in platform.resources.sinks.values():
        assert said[sink.name]["dagster/storage_kind"].value == sink.name
        name = said[sink.name]["dagster/table_name"].value
        assert name == sink.sql_name(YELLOW.trips).strip("`")
    for metadata in said.values():
        assert metadata["dagster/uri"].value
        schema = metadata["dagster/column_schema"]
        preview = metadata["preview"]
        assert isinstance(schema, dg.TableSchemaMetadataValue)
        assert isinstance(preview, dg.TableMetadataValue)
        assert 1 <= len(preview.records) <= 5
        assert [column.name for column in preview.schema.columns] == [
            column.name for column in schema.schema.columns
        ]
    origins = {
        layer: {
            column: [(layer_of(dep.asset_key), dep.column_name) for dep in deps]
            for column, deps in lineage.column_lineage.deps_by_column.items()
        }
        for layer, metadata in said.items()
        if isinstance(
            lineage := metadata.get("dagster/column_lineage"), dg.TableColumnLineageMetadataValue
        )
    }
    assert origins.keys() == {"cleaned", *SINK_LAYERS}
    published = YELLOW_HEADER.split(",")
    assert {origin for deps in origins["cleaned"].values() for origin in deps} == {
        ("raw", name) for name in published
    }
    assert origins["cleaned"]["pickup_datetime"] == [("raw", "tpep_pickup_datetime")]
    assert ("raw", "payment_type") in origins["cleaned"][UNKNOWN_WORDS]
    assert "airport_fee" not in origins["cleaned"]
    for layer in SINK_LAYERS:
        same = {column.name: [("cleaned", column.name)] for column in YELLOW.trips.columns}
        assert origins[layer] == same
    because = said["cleaned"]["rejected_because"]
    assert isinstance(because, dg.TableMetadataValue)
    assert {record.data["reason"]: record.data["rows"] for record in because.records} == {
        "no_passengers": 1,
        "unparsable": 1,
    }
    password = platform.resources.postgres.url.split(":")[2].split("@")[0]
    assert password not in repr(said)


def test_what_a_cleaned_month_shows_of_itself(publish: Publish) -> None:
    month = "2018-03"
    rows = [in_month(month), in_month(month), "garbage", in_month(month, passenger_count="0")]
    platform, _ = publish({MIRRORED.format(month): csv_gz(*rows)})
    began = monotonic()
    said = metadata_by_layer(platform.run("yellow_trips", month))
    took = monotonic() - began
    cleaned = {name: value.value for name, value in said["cleaned"].items()}
    assert cleaned["picture"].startswith("![yellow 2018-03: ")
    assert base64.b64decode(cleaned["picture"].partition("base64,")[2].rstrip(")")).startswith(
        b"\x89PNG"
    )
    assert (cleaned["published"], cleaned["rejected"], cleaned["rejected_share"]) == (4, 2, 0.5)
    numbers = {
        "raw": {"dagster/partition_row_count", "bytes", "seconds"},
        "cleaned": {"dagster/partition_row_count", "bytes", "seconds", "published", "rejected"},
        "bigquery": {"dagster/row_count", "dagster/partition_row_count", "seconds"},
        "postgres": {"dagster/partition_row_count", "seconds"},
    }
    for layer, names in numbers.items():
        for name in names:  # such as Dagster plots over the months
            metadata = said[layer][name]
            assert isinstance(metadata, dg.IntMetadataValue | dg.FloatMetadataValue)
            assert metadata.value
        seconds = said[layer]["seconds"].value
        assert isinstance(seconds, float)
        assert seconds < took


def test_a_link_leads_to_the_object(publish: Publish) -> None:
    content = csv_gz(in_month("2018-04"))
    platform, _ = publish({MIRRORED.format("2018-04"): content})
    said = metadata_by_layer(platform.run("yellow_trips", "2018-04"))
    assert requests.get(url_of(said["raw"]["link"]), timeout=30).content == content
    cleaned = requests.get(url_of(said["cleaned"]["link"]), timeout=30).content
    assert pq.read_metadata(io.BytesIO(cleaned)).num_rows == 1
    assert "link" not in said["bigquery"]  # the emulator has no pages
    assert "link" not in said["postgres"]


def test_a_link_leads_to_an_object_of_any_name(platform: Platform, tmp_path: Path) -> None:
    lake, name = platform.resources.lake, "raw/elsewhere/a b?c#d%2F&é+.txt"
    path = tmp_path / "file"
    path.write_bytes(b"content")
    overwrite(lake, path, name, {})
    assert requests.get(lake.link(name), timeout=30).content == b"content"
    delete(lake, name)


def test_the_tables_show_the_ledgers_line_and_a_query_that_runs(publish: Publish) -> None:
    months = ("2018-12", "2018-11")  # the first one's end is in another year
    rows = {month: [in_month(month)] * 3 + ["garbage"] for month in months}
    platform, _ = publish({MIRRORED.format(month): csv_gz(*rows[month]) for month in months})
    platform.load("yellow", "2018-11")
    said = metadata_by_layer(platform.run("yellow_trips", "2018-12"))
    for layer, store in ((sink.name, sink.title) for sink in SINKS):
        ledger = said[layer]["ledger"]
        assert isinstance(ledger, dg.TableMetadataValue)
        assert [record.data for record in ledger.records] == [
            {"published": 4, "kept": 3, "rejected": 1, store: 3}
        ]
    found = {
        "bigquery": platform.bigquery(sql_of(said["bigquery"]["query"])),
        "postgres": platform.postgres(sql_of(said["postgres"]["query"])),
    }
    pickup = [column.name for column in YELLOW.trips.columns].index("pickup_datetime")
    for layer in found:
        assert [f"{row[pickup]:%Y-%m}" for row in found[layer]] == ["2018-12"] * 3, layer


def test_the_zones_show_a_query_that_runs_and_no_picture(platform: Platform) -> None:
    said = metadata_by_layer(platform.run("taxi_zones"))
    assert "picture" not in said["cleaned"]
    assert len(platform.bigquery(sql_of(said["bigquery"]["query"]))) == 100
    assert len(platform.postgres(sql_of(said["postgres"]["query"]))) == 100


def test_only_postgres_pulls_a_whole_month_through_the_worker(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    month, group_rows, groups = Month(2018, 7), 5_000, 40
    random, schema = np.random.default_rng(1), arrow_schema(YELLOW.trips)
    columns = {
        field.name: pa.array(random.random(group_rows))
        if field.type == pa.float64()
        else pa.array([month.start if field.name == "pickup_datetime" else None] * group_rows)
        for field in schema
    }
    group = pa.table(columns).cast(schema)
    path = tmp_path / "large.parquet"
    with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for _ in range(groups):
            writer.write_table(group)
    place = object_paths(YELLOW, month)
    stored = overwrite(platform.resources.lake, path, place.cleaned, {})

    fetched: list[int] = []
    send = HTTPAdapter.send

    def counting(adapter: HTTPAdapter, request: Any, **how: Any) -> requests.Response:
        answer = send(adapter, request, **how)
        if request.url.startswith(os.environ["STORAGE_EMULATOR_HOST"]):
            fetched.append(int(answer.headers.get("Content-Length", 0)))
        return answer

    def fetched_by(layer: str) -> int:
        fetched.clear()
        result = dg.materialize(  # without the checks, which read a column of all rows
            published_assets(published_trips(YELLOW), SINKS),
            selection=[asset_key("yellow_trips", layer)],
            partition_key=month.key,
            resources=platform.resources.by_name(),
            instance=platform.instance,
        )
        said = metadata_by_layer(result)
        assert said[layer]["dagster/partition_row_count"].value == groups * group_rows
        preview = said[layer]["preview"]
        assert isinstance(preview, dg.TableMetadataValue)
        assert len(preview.records) == PREVIEW_ROWS
        assert "ledger" not in said[layer]  # somebody else put the object there
        return sum(fetched)

    with monkeypatch.context() as patched:
        patched.setattr(HTTPAdapter, "send", counting)
        assert 0 < fetched_by("bigquery") < stored.size / 4
        assert fetched_by("postgres") > stored.size


def test_an_object_whose_name_only_begins_like_a_months_is_not_it(
    platform: Platform, tmp_path: Path
) -> None:
    lake, place = platform.resources.lake, object_paths(YELLOW, Month(2018, 8))
    path = tmp_path / "copy"
    path.write_bytes(b"")
    overwrite(lake, path, f"{place.cleaned}.copy", {})
    with (
        pytest.raises(PermanentError, match=r"2018-08\.parquet is not in the lake: materialize"),
        open_cleaned(lake, place, YELLOW.trips, None, logging.getLogger()),
    ):
        pass


def test_a_cleaned_object_that_is_broken_is_a_clear_failure(
    publish: Publish, tmp_path: Path
) -> None:
    platform, _ = publish({MIRRORED.format("2018-06"): csv_gz(in_month("2018-06"))})
    assert platform.run("yellow_trips", "2018-06").success
    lake, place = platform.resources.lake, object_paths(YELLOW, Month(2018, 6))
    broken = tmp_path / "broken.parquet"
    (whole,) = lake.find(place.cleaned)
    broken.write_bytes(lake.download(whole, tmp_path).read_bytes()[:-50])
    overwrite(lake, broken, place.cleaned, {})
    with (
        pytest.raises(PermanentError, match=r"2018-06\.parquet cannot be read: .*Materialize the"),
        open_cleaned(lake, place, YELLOW.trips, None, logging.getLogger()),
    ):
        pass


def test_the_tables_are_described_and_partitioned(platform: Platform) -> None:
    assert platform.run("yellow_trips", "2021-02").success
    comments = dict(
        platform.postgres(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
            "WHERE attrelid = 'tlc.yellow_trips'::regclass AND attnum > 0"
        )
    )
    assert comments == {column.name: column.description for column in YELLOW.trips.columns}
    ((bounds,),) = platform.postgres(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class "
        "WHERE oid = 'tlc.yellow_trips_2021_02'::regclass"
    )
    assert bounds == "FOR VALUES FROM ('2021-02-01 00:00:00') TO ('2021-03-01 00:00:00')"
    from taxi_pipeline.io.google import GoogleBigQuery

    warehouse = platform.resources.bigquery
    with GoogleBigQuery(project=warehouse.project).get_client() as client:
        table = client.get_table(f"{warehouse.project}.{warehouse.dataset}.yellow_trips")
        loads = [job for job in client.list_jobs(max_results=50) if job.job_type == "load"]
    assert table.time_partitioning.type_ == "MONTH"
    assert table.time_partitioning.field == "pickup_datetime"
    described = {field.name: (field.field_type, field.description) for field in table.schema}
    assert described["pickup_datetime"][0] == "DATETIME"
    assert {name: text for name, (_, text) in described.items()} == comments
    labels = [job.labels for job in loads if job.labels.get("month") == "2021-02"]
    assert labels
    assert labels[0].keys() == {"table", "purpose", "month", "run"}


def test_the_raw_object_is_the_published_file_and_says_where_it_is_from(
    publish: Publish, tmp_path: Path
) -> None:
    content = csv_gz(in_month("2019-09"))
    platform, _ = publish({MIRRORED.format("2019-09"): content})
    assert platform.run("yellow_trips", "2019-09").success
    lake = platform.resources.lake
    (raw,) = lake.find("raw/yellow/yellow_tripdata_2019-09.")
    assert raw.uri == f"gs://{lake.bucket}/raw/yellow/yellow_tripdata_2019-09.csv.gz"
    (fetched,) = lake.find(raw.name)
    assert lake.download(fetched, tmp_path).read_bytes() == content
    assert raw.metadata["source_url"].endswith("/yellow_tripdata_2019-09.csv.gz")
    assert raw.metadata.keys() == {
        *("source_url", "etag", "last_modified", "sha256", "rows", "stored_at"),
    }
    assert raw.metadata["etag"]
    assert raw.metadata["last_modified"]


def test_the_same_bytes_by_another_etag_leave_the_object_and_note_the_etag(
    platform: Platform,
) -> None:
    # a publisher whose ETags take turns would otherwise have its months fetched without end
    content, path = csv_gz(in_month("2019-08")), MIRRORED.format("2019-08")
    lake = platform.resources.lake
    arrived = []
    with serving({f"/{path}": [body(content, '"v1"'), body(content, '"v2"')]}) as (base, _):
        its = with_publisher(platform, base)
        for etag in ('"v1"', '"v2"'):
            assert its.run("yellow_trips", "2019-08").success
            (raw,) = lake.find(object_paths(YELLOW, Month(2019, 8)).raw)
            assert raw.metadata["etag"] == etag
            client = CloudStorage(project=lake.project).get_client()
            arrived.append(client.bucket(lake.bucket).get_blob(raw.name).time_created)
            assert its.entry("yellow", "2019-08").adds_up
    # its generation stays, too, which the emulator gives anew
    assert arrived[0] == arrived[1]


GOOD = csv_gz(in_month("2019-10"), in_month("2019-10"))


@pytest.fixture
def good_month(platform: Platform) -> Entry:
    """Load the good file of 2019-10; return what the ledger has of it."""
    with serving({f"/{MIRRORED.format('2019-10')}": [body(GOOD, '"good"')]}) as (base, _):
        with_publisher(platform, base).load("yellow", "2019-10")
    entry = platform.entry("yellow", "2019-10")
    assert entry.adds_up
    return entry


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (GOOD[:-12], "yellow_tripdata_2019-10.csv.gz: the gzip is broken or cut short"),
        (b"<html>Sorry</html>", "yellow_tripdata_2019-10.csv.gz: not a gzip file"),
        (GOOD[:60] + b"wrong" + GOOD[65:], "2019-10.csv.gz: the gzip is broken or cut short"),
        (gzip.compress(b"", mtime=0), "yellow_tripdata_2019-10.csv.gz: the file is empty"),
        (
            csv_gz(header=YELLOW_HEADER.replace("tpep", "lpep") + ",ehail_fee,trip_type"),
            "its columns are those of green_trips, not of yellow_trips",
        ),
        (
            csv_gz("1,2", header="VendorID,Surprise"),
            "the required column 'tpep_pickup_datetime' or 'Trip_Pickup_DateTime' or 'pickup",
        ),
        (status(404), "yellow 2019-10 is not published: http://127.0.0.1:"),
        (missing_in_s3(), "yellow 2019-10 is not published: http://127.0.0.1:"),
        (status(400), "answered 400"),
    ],
    ids=[
        *("truncated", "no gzip", "wrong bytes", "empty", "another service", "column missing"),
        *("404", "S3's 403", "400"),
    ],
)
def test_a_bad_file_is_a_clear_failure_and_changes_no_store(
    publish: Publish, good_month: Entry, bad: bytes, said: str
) -> None:
    broken, _ = publish({MIRRORED.format("2019-10"): bad})
    result = broken.run("yellow_trips", "2019-10")
    assert said in failure_of(result)
    retries = [event for event in result.all_events if event.is_step_up_for_retry]
    assert retries == []
    assert broken.entry("yellow", "2019-10") == good_month


def test_a_broken_parquet_is_named_and_the_stores_keep_what_they_had(
    publish: Publish, tmp_path: Path
) -> None:
    write_parquet(YELLOW, Month(2022, 1), 100, tmp_path / "month.parquet")
    good = (tmp_path / "month.parquet").read_bytes()
    platform, _ = publish({AT_TLC.format("2022-01"): good})
    platform.load("yellow", "2022-01")
    before = platform.entry("yellow", "2022-01")
    assert before.adds_up
    broken, _ = publish({AT_TLC.format("2022-01"): good[:-50]})
    failure = failure_of(broken.run("yellow_trips", "2022-01"))
    assert failure.startswith("yellow_tripdata_2022-01.parquet: not a whole Parquet file")
    assert broken.entry("yellow", "2022-01") == before


def test_lines_that_are_no_rows_are_rejected_and_the_others_land(publish: Publish) -> None:
    good = in_month("2019-11")
    bad = [f'{good}"', f"{good}\0", "x" * 3_000_000, "not a row", good.replace("8,3", "eight,3")]
    platform, _ = publish({MIRRORED.format("2019-11"): csv_gz(good, *bad, good)})
    assert platform.run("yellow_trips", "2019-11").success
    entry = platform.entry("yellow", "2019-11")
    assert entry.adds_up
    assert entry.lake.rejected == {"unparsable": 5}
    assert {*entry.tables.values()} == {Tally(2, 2_360)}


def test_a_header_alone_that_is_let_through_makes_the_month_empty_everywhere(
    publish: Publish,
) -> None:
    platform, _ = publish({MIRRORED.format("2019-12"): csv_gz(in_month("2019-12"))})
    platform.load("yellow", "2019-12")
    platform, _ = publish({MIRRORED.format("2019-12"): csv_gz()})
    assert platform.run("yellow_trips", "2019-12", tags={ACCEPT_FEWER_ROWS: "true"}).success
    entry = platform.entry("yellow", "2019-12")
    assert entry.adds_up
    assert entry.lake.published == 0
    assert {*entry.tables.values()} == {Tally(0, 0)}


@pytest.mark.parametrize(
    ("month", "said"),
    [
        ("2008-12", "2008-12 is not a month of yellow: it has 2009-01 to 20"),
        ("2099-01", "2099-01 is not a month of yellow"),
        (None, """needs a month, given as a tag: dagster job execute """),
    ],
)
def test_an_unknown_month_is_a_clear_failure(
    platform: Platform, month: str | None, said: str
) -> None:
    assert said in failure_of(platform.run("yellow_trips", month))


def test_what_is_no_month_is_refused_by_dagster_before_a_run_begins(platform: Platform) -> None:
    with pytest.raises(ValueError, match="'January' does not match format '%Y-%m"):
        platform.run("yellow_trips", "January")


def test_postgres_keeps_the_old_month_when_rows_go_missing(publish: Publish) -> None:
    platform, _ = publish({MIRRORED.format("2019-11"): csv_gz(in_month("2019-11"))})
    platform.load("yellow", "2019-11")
    nothing = cleaned_file(YELLOW.trips, Month(2019, 11), [], 5)
    with pytest.raises(PermanentError, match="0 rows arrived of 5; nothing was changed"):
        platform.resources.postgres.replace(nothing, "a-run")
    assert platform.entry("yellow", "2019-11").tables[Postgres] == Tally(1, 1_180)


def test_what_is_tampered_with_does_not_add_up(publish: Publish) -> None:
    month = "2019-12"
    platform, _ = publish({MIRRORED.format(month): csv_gz(*[in_month(month)] * 3, "garbage")})
    lake, table = platform.resources.lake, "yellow_trips"
    place = object_paths(YELLOW, Month.parse(month))

    def load_again() -> None:
        platform.load("yellow", month)
        assert platform.entry("yellow", month).adds_up

    def tampered() -> bool:
        return not platform.entry("yellow", month).adds_up

    load_again()
    with psycopg.connect(platform.resources.postgres.url) as connection:
        connection.execute(
            "DELETE FROM tlc.yellow_trips_2019_12 WHERE ctid IN "
            "(SELECT ctid FROM tlc.yellow_trips_2019_12 LIMIT 1)"
        )
    assert tampered()
    load_again()
    platform.bigquery(f"INSERT INTO {table} (pickup_datetime) VALUES (DATETIME '{month}-15')")
    assert tampered()
    load_again()
    for prefix in (place.rejected, place.cleaned, place.raw):
        (found,) = lake.find(prefix)
        lake.delete(found)
        assert tampered()
        chosen = ["--service", "yellow", "--month", month]
        assert CliRunner().invoke(main, ["ledger", *chosen]).exit_code == 1
        load_again()


def test_a_raw_object_that_went_bad_is_fetched_again(publish: Publish, tmp_path: Path) -> None:
    content = csv_gz(in_month("2020-01"))
    platform, asked = publish({MIRRORED.format("2020-01"): content})
    platform.load("yellow", "2020-01")
    lake = platform.resources.lake
    (raw,) = lake.find("raw/yellow/yellow_tripdata_2020-01.")
    # another checksum than the bytes have is what bytes gone bad look like
    lake.annotate(raw, {"sha256": "0" * 64})
    asked.clear()
    assert platform.run("yellow_trips", "2020-01").success
    assert asked == [f"/{MIRRORED.format('2020-01')}"]
    (fetched,) = lake.find(raw.name)
    assert lake.download(fetched, tmp_path).read_bytes() == content
    assert fetched.metadata["sha256"] == raw.metadata["sha256"]


def test_first_months_of_two_services_at_once(platform: Platform) -> None:
    database = platform.resources.postgres
    with psycopg.connect(database.url) as connection:
        connection.execute("DROP SCHEMA IF EXISTS tlc CASCADE")

    def load(service: Service) -> None:
        database.replace(cleaned_file(service.trips, Month(2020, 2), [], 0), "a-run")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(load, [YELLOW, GREEN] * 3))
    assert platform.postgres("SELECT to_regclass('tlc.green_trips_2020_02') IS NULL") == [(False,)]


def test_nothing_is_left_beside_the_tables(platform: Platform) -> None:
    assert platform.run("yellow_trips", "2021-03").success
    tables = {name for (name,) in platform.postgres(
        "SELECT relname FROM pg_class WHERE relnamespace = 'tlc'::regnamespace AND relkind IN "
        "('r', 'p')"
    )}  # fmt: skip
    assert {name for name in tables if name.endswith("incoming")} == set()
    constraints = platform.postgres(
        "SELECT conname FROM pg_constraint WHERE conrelid IN "
        "('tlc.yellow_trips_2021_03'::regclass, 'tlc.yellow_trips_2021_03_rows'::regclass)"
    )
    assert constraints == []


def test_a_column_declared_later_is_added_to_the_tables(platform: Platform) -> None:
    platform.load("green", "2021-04")
    with psycopg.connect(platform.resources.postgres.url) as connection:
        connection.execute("ALTER TABLE tlc.green_trips DROP COLUMN extra")
    platform.bigquery("ALTER TABLE green_trips DROP COLUMN extra")
    assert platform.run("green_trips", "2021-05").success
    assert platform.run("green_trips", "2021-04").success
    ((here,),) = platform.postgres("SELECT count(extra) FROM tlc.green_trips_2021_04")
    ((there,),) = platform.bigquery(
        "SELECT COUNT(extra) FROM green_trips WHERE pickup_datetime < '2021-05-01' "
        "AND pickup_datetime >= '2021-04-01'"
    )
    assert here == there > 0


def test_a_column_declared_later_comes_last_in_bigquery(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from google.cloud import bigquery

    from taxi_pipeline.io.google import GoogleBigQuery

    # the emulator takes any order, so what is asked of BigQuery counts
    asked: list[list[str]] = []
    update = bigquery.Client.update_table

    def asking(client: bigquery.Client, table: bigquery.Table, *rest: Any, **more: Any) -> Any:
        asked.append([field.name for field in table.schema])
        return update(client, table, *rest, **more)

    monkeypatch.setattr(bigquery.Client, "update_table", asking)
    platform.load("green", "2021-06")
    month, warehouse = Month(2021, 6), platform.resources.bigquery
    (cleaned,) = platform.resources.lake.find(object_paths(GREEN, month).cleaned)
    rows = platform.entry("green", month.key).tables[BigQuery]
    table = replace(GREEN.trips, name="grown_trips")
    fields = schema_of(table)
    added = [field for field in fields if field.name in ("vendor_id", "trip_distance")]
    foreign = bigquery.SchemaField("notes", "STRING")
    before = [field for field in fields if field not in added]
    before.insert(3, foreign)
    with GoogleBigQuery(project=warehouse.project).get_client() as client:
        there = bigquery.Table(warehouse.uri(table).removeprefix("bigquery://"), schema=before)
        there.time_partitioning = bigquery.TimePartitioning(
            type_=bigquery.TimePartitioningType.MONTH, field="pickup_datetime"
        )
        client.create_table(there)
        assert rows
        warehouse.replace(cleaned_file(table, month, (), rows.rows, cleaned), "growing")
    assert asked == [[field.name for field in (*before, *added)]]
    assert warehouse.tallies(table, GREEN.total) == {month: rows}


def test_months_of_one_table_land_side_by_side(platform: Platform, tmp_path: Path) -> None:
    platform.load("green", "2021-07")
    lake, database = platform.resources.lake, platform.resources.postgres
    (cleaned,) = lake.find("cleaned/green/green_tripdata_2021-07.parquet")
    path = lake.download(cleaned, tmp_path)
    july = pq.read_table(path)
    months = [Month(2030, number) for number in range(1, 7)] * 2

    def load(month: Month) -> None:
        pickups = pa.array([month.start] * july.num_rows, DATETIME)
        table = july.set_column(1, "pickup_datetime", pickups)
        batches = table.to_batches()
        database.replace(cleaned_file(GREEN.trips, month, batches, table.num_rows), "a-run")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(load, months))
    tallies = database.tallies(GREEN.trips, GREEN.total, months[0], months[5])
    assert tallies == dict.fromkeys(months, tally_parquet(path, GREEN.total))
