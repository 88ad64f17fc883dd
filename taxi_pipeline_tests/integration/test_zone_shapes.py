"""The zones' shapes from the published zip to every store: rows, checks, ledger, GEOGRAPHYs."""

import json
import logging
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely
from click.testing import CliRunner

from taxi_pipeline.cli import main
from taxi_pipeline.io.google import GoogleBigQuery
from taxi_pipeline.lake.cleaned import open_cleaned
from taxi_pipeline.lake.metadata import RawMetadata
from taxi_pipeline.lake.paths import ZONE_SHAPES_PATHS
from taxi_pipeline.ledger import Depth, Entry, read_unpartitioned
from taxi_pipeline.local.generator import write_zone_shapes
from taxi_pipeline.local.publisher import ZONE_SHAPES
from taxi_pipeline.tlc.services import TAXI_ZONE_SHAPES
from taxi_pipeline_tests.conftest import Platform, Publish
from taxi_pipeline_tests.support.lake import put
from taxi_pipeline_tests.support.results import (
    EVERY_ROW,
    MATCHES,
    evaluations,
    failure_of,
    metadata_by_layer,
)
from taxi_pipeline_tests.support.shapefiles import NAME, made_up, of_shapes, square, write_zip

JOB = "taxi_zone_shapes"
CHECKS = {EVERY_ROW, ("cleaned", "from_publisher"), *MATCHES}
VIEW = "taxi_zone_shapes_geography"


@pytest.fixture(scope="module")
def first(platform: Platform) -> dg.ExecuteInProcessResult:
    """Return the run that has brought the shapes into the stores."""
    return platform.run(JOB)


@pytest.fixture
def filled(platform: Platform, first: dg.ExecuteInProcessResult) -> Iterator[Platform]:
    """Return the platform for a test that changes a store; run the shapes again afterwards."""
    yield platform
    for found in platform.resources.lake.find(ZONE_SHAPES_PATHS.raw):
        platform.resources.lake.delete(found)
    assert platform.run(JOB).success


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """Return the files of the stand-in's zip, by their endings."""
    return made_up(tmp_path_factory.mktemp("made_up"))


def zipped(folder: Path, files: Mapping[str, bytes]) -> bytes:
    return write_zip(folder / NAME, files).read_bytes()


def entry_of(platform: Platform, depth: Depth = Depth.ROWS) -> Entry:
    (entry,) = read_unpartitioned(TAXI_ZONE_SHAPES, platform.resources, depth)
    return entry


def cleaned_rows(platform: Platform) -> list[tuple[object, ...]]:
    (cleaned,) = platform.resources.lake.find(ZONE_SHAPES_PATHS.cleaned)
    with platform.resources.lake.opened(cleaned) as file:
        rows = pq.read_table(BytesIO(file.read())).to_pylist()
    return [tuple(row.values()) for row in rows]


def failed(result: dg.ExecuteInProcessResult) -> set[tuple[str, str]]:
    found = evaluations(result)
    assert found.keys() == CHECKS
    return {check for check, evaluation in found.items() if not evaluation.passed}


def test_the_shapes_land_in_every_store_and_every_check_passes(
    platform: Platform, first: dg.ExecuteInProcessResult, tmp_path: Path
) -> None:
    assert first.success
    assert failed(first) == set()
    write_zone_shapes(tmp_path / NAME)
    (raw,) = platform.resources.lake.find(ZONE_SHAPES_PATHS.raw)
    assert raw.name == "raw/taxi_zone_shapes/taxi_zones.zip"
    with platform.resources.lake.opened(raw) as file:
        assert file.read() == (tmp_path / NAME).read_bytes()
    noted = RawMetadata.parse(raw.metadata)
    assert noted.rows == 263
    assert noted.etag
    rows = cleaned_rows(platform)
    assert len(rows) == 263
    select = "SELECT * FROM {} ORDER BY object_id"
    assert platform.postgres(select.format("tlc.taxi_zone_shapes")) == rows
    assert platform.bigquery(select.format("taxi_zone_shapes")) == rows
    said = metadata_by_layer(first)
    assert said["cleaned"]["published"].value == 263
    assert said["cleaned"]["unknown_columns"].value == []


def test_every_cell_adds_up_and_one_that_is_changed_shows(filled: Platform) -> None:
    entry = entry_of(filled, Depth.PUBLISHED)
    assert entry.problems == []
    for sink in filled.resources.sinks.values():
        filled.execute(
            sink,
            f"UPDATE {sink.sql_name(TAXI_ZONE_SHAPES)} "
            "SET wkt = REPLACE(wkt, '40.4985138', '40.4985139') WHERE object_id = 1",
        )
    result = filled.run(f"{JOB}_checks")
    assert failed(result) == MATCHES
    for check in MATCHES:
        description = evaluations(result)[check].description or ""
        assert description.startswith("wkt (hashes): ")
        assert description.count(" has ") == 1
    assert entry_of(filled).adds_up  # by rows alone
    assert len(entry_of(filled, Depth.COLUMNS).problems) == 2


@pytest.mark.usefixtures("first")
def test_bigquerys_view_has_the_shapes_as_geographies(platform: Platform) -> None:
    by_id = {row[0]: shapely.from_wkt(row[-1]) for row in cleaned_rows(platform)}
    found = platform.bigquery(f"SELECT object_id, ST_AREA(geography), wkt FROM {VIEW}")
    assert {number: shapely.from_wkt(wkt) for number, _, wkt in found} == by_id
    earth = pyproj.Geod("+a=6371008.8 +b=6371008.8")
    for number, area, _ in found:
        assert area == pytest.approx(earth.geometry_area_perimeter(by_id[number])[0], rel=0.001)
    # in the hole of the second shape nothing is, on the island in the hole the shape itself
    part, _ = shapely.get_parts(by_id[2])
    west, south, _, _ = shapely.Polygon(part.interiors[0]).bounds
    middle = part.centroid
    for longitude, latitude, there in (
        (west + 0.001, south + 0.001, []),
        (middle.x, middle.y, [2]),
    ):
        point = f"ST_GEOGPOINT({longitude}, {latitude})"
        inside = platform.bigquery(
            f"SELECT object_id FROM {VIEW} WHERE ST_CONTAINS(geography, {point})"
        )
        assert [number for (number,) in inside] == there


def test_the_view_has_its_type_and_follows_its_table(filled: Platform) -> None:
    warehouse = filled.resources.bigquery
    view_id = f"{warehouse.project}.{warehouse.dataset}.{VIEW}"
    with GoogleBigQuery(project=warehouse.project).get_client() as client:
        view = client.get_table(view_id)
        names = [column.name for column in TAXI_ZONE_SHAPES.columns]
        assert view.table_type == "VIEW"
        assert [field.name for field in view.schema] == [*names, "geography"]
        assert view.schema[-1].field_type == "GEOGRAPHY"
        query, view.description = view.view_query, "Somebody's words."
        client.update_table(view, ["description"])
        filled.bigquery("DELETE FROM taxi_zone_shapes WHERE object_id > 3")
        assert filled.bigquery(f"SELECT COUNT(*) FROM {VIEW}") == [(3,)]
        assert filled.run(JOB).success
        assert filled.bigquery(f"SELECT COUNT(*) FROM {VIEW}") == [(263,)]
        view = client.get_table(view_id)
        assert view.view_query == query
        assert view.description == (
            f"{TAXI_ZONE_SHAPES.description} The geometry is a GEOGRAPHY here, too."
        )


def test_what_has_the_views_name_and_is_none_stays(filled: Platform) -> None:
    filled.bigquery(f"DROP VIEW {VIEW}")
    filled.bigquery(f"CREATE TABLE {VIEW} (note STRING)")
    result = filled.run(JOB)
    assert "is no view, where that of taxi_zone_shapes" in failure_of(result)
    assert filled.bigquery(f"SELECT COUNT(*) FROM {VIEW}") == [(0,)]
    filled.bigquery(f"DROP TABLE {VIEW}")


def test_first_loads_at_the_same_moment_make_one_view(filled: Platform) -> None:
    sink, log = filled.resources.bigquery, logging.getLogger()
    filled.bigquery(f"DROP VIEW {VIEW}")

    def load(run: str) -> None:
        with open_cleaned(
            filled.resources.lake, ZONE_SHAPES_PATHS, TAXI_ZONE_SHAPES, None, log
        ) as shapes:
            sink.replace(shapes.file, run)

    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(load, ("one", "another", "a-third"))] == [None] * 3
    assert filled.bigquery(f"SELECT COUNT(*) FROM {VIEW}") == [(263,)]


def test_a_shape_that_is_none_is_rejected_and_the_ledger_adds_up(
    filled: Platform, publish: Publish, files: Mapping[str, bytes], tmp_path: Path
) -> None:
    x = slice(156, 164)  # of the first shape's first point
    broken = bytearray(files[".shp"])
    broken[x] = struct.pack("<d", float("nan"))
    odd, _ = publish({ZONE_SHAPES: zipped(tmp_path, {**files, ".shp": bytes(broken)})})
    result = odd.run(JOB)
    assert result.success
    assert failed(result) == set()
    entry = entry_of(filled, Depth.PUBLISHED)
    assert entry.problems == []
    assert entry.lake.kept is not None
    assert (entry.lake.published, entry.lake.kept.rows) == (263, 262)
    assert entry.lake.rejected == {"unparsable": 1}
    (rejected,) = filled.resources.lake.find(ZONE_SHAPES_PATHS.rejected)
    with filled.resources.lake.opened(rejected) as file:
        (row,) = pq.read_table(BytesIO(file.read())).to_pylist()
    assert (row["OBJECTID"], row["number"]) == ("1", 1)
    assert row["problem"].endswith("a coordinate is no number")


def test_a_zip_that_is_not_all_of_tlcs_shapes_replaces_nothing(
    filled: Platform, publish: Publish, files: Mapping[str, bytes], tmp_path: Path
) -> None:
    lake = filled.resources.lake
    before = [*lake.find(ZONE_SHAPES_PATHS.raw), *lake.find(ZONE_SHAPES_PATHS.cleaned)]
    few = [[square(0, 900 * at, 900)] for at in range(200)]
    web = pyproj.CRS.from_epsg(3857).to_wkt("WKT1_ESRI").encode()
    for content, said in (
        (b"<html>no such file</html>", "taxi_zones.zip: it is no zip, or a broken one"),
        (zipped(tmp_path, of_shapes(few, files[".prj"])), "missing: 201, 202, "),
        (zipped(tmp_path, {**files, ".prj": web}), "another projection than EPSG:2263"),
    ):
        bad, _ = publish({ZONE_SHAPES: content})
        result = bad.run(JOB)
        assert said in failure_of(result)
        assert not filled.will_retry(result)
        assert [event.step_key for event in result.get_step_failure_events()] == ["zone_shapes_raw"]
    assert [*lake.find(ZONE_SHAPES_PATHS.raw), *lake.find(ZONE_SHAPES_PATHS.cleaned)] == before
    assert entry_of(filled).adds_up


def test_shapes_that_somebody_put_into_the_lake_go_their_way(
    filled: Platform, files: Mapping[str, bytes], tmp_path: Path
) -> None:
    shapes = [[square(0, 900 * at, 900)] for at in range(263)]
    content = of_shapes(shapes, files[".prj"])
    put(filled.resources.lake, f"{ZONE_SHAPES_PATHS.raw}zip", write_zip(tmp_path / NAME, content))
    requests = filled.tick("lake_arrivals").run_requests or ()
    (request,) = (each for each in requests if each.job_name == JOB)
    assert request.partition_key is None
    assert request.asset_selection
    result = filled.run(JOB, assets=request.asset_selection)
    assert result.success
    assert filled.bigquery("SELECT COUNT(DISTINCT borough) FROM taxi_zone_shapes") == [(1,)]
    entry = entry_of(filled)
    assert entry.adds_up
    assert JOB not in {each.job_name for each in filled.tick("lake_arrivals").run_requests or ()}


def test_the_ledger_has_a_line_of_the_shapes(filled: Platform) -> None:
    shown = CliRunner().invoke(main, ["ledger"])
    rows = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "taxi_zone_shapes - 263 263 0 263 263 - yes" in rows
    filled.bigquery("DELETE FROM taxi_zone_shapes WHERE object_id = 7")
    as_json = CliRunner().invoke(main, ["ledger", "--json"])
    assert as_json.exit_code == 1
    (shapes,) = [each for each in json.loads(as_json.stdout) if each["service"] == JOB]
    assert (shapes["month"], shapes["bigquery"], shapes["adds_up"]) == (None, 262, False)
    assert shapes["problems"] == ["BigQuery has 262 rows, the lake 263."]
    (cleaned,) = filled.resources.lake.find(ZONE_SHAPES_PATHS.cleaned)
    filled.resources.lake.delete(cleaned)
    said = "The lake has no cleaned shapes that can be read."
    assert said in entry_of(filled).problems
