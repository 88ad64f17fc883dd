"""The zones' shapes: TLC's own and made-up ones, as WKT on the map, and as rings to draw."""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import shapely

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.local.generator import write_zone_shapes
from taxi_pipeline.tlc.reading import examine
from taxi_pipeline.tlc.shapes import REGION, read_zone_shapes
from taxi_pipeline.tlc.zones import SHAPE_IDS
from taxi_pipeline_tests.support.parquet import read_parquet
from taxi_pipeline_tests.support.real_files import REAL_FILES, with_real_files
from taxi_pipeline_tests.support.shapefiles import (
    NAME,
    Ring,
    batches,
    clean,
    hole,
    made_up,
    of_shapes,
    read,
    square,
    written,
)

REAL = REAL_FILES / "misc" / NAME


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """Return the files of the stand-in's zip, by their endings."""
    return made_up(tmp_path_factory.mktemp("made_up"))


@with_real_files
def test_all_shapes_of_tlcs_own_file_are_kept_where_they_are_on_the_map(tmp_path: Path) -> None:
    (path := tmp_path / NAME).symlink_to(REAL)
    assert examine(path, 1).rows == 263
    summary, kept, _ = clean(path)
    assert (summary.published, summary.kept, summary.rejected.total()) == (263, 263, 0)
    rows = read_parquet(kept).to_pylist()
    assert [row["object_id"] for row in rows] == [*range(1, 264)]
    elsewhere = {
        row["object_id"]: row["location_id"]
        for row in rows
        if row["object_id"] != row["location_id"]
    }
    assert elsewhere == {57: 56, 104: 103, 105: 103}
    shapes = {row["object_id"]: shapely.from_wkt(row["wkt"]) for row in rows}
    assert shapely.is_valid([*shapes.values()]).all()
    for number, longitude, latitude in (
        (1, -74.174, 40.692),  # Newark Airport
        (43, -73.966, 40.782),  # Central Park
        (132, -73.787, 40.647),  # JFK
        (138, -73.873, 40.775),  # LaGuardia
        (161, -73.978, 40.758),  # Midtown Center
    ):
        middle = shapes[number].centroid
        assert (middle.x, middle.y) == pytest.approx((longitude, latitude), abs=0.003)
    earth = pyproj.Geod(ellps="WGS84")
    areas = {n: earth.geometry_area_perimeter(shape)[0] / 1e6 for n, shape in shapes.items()}
    assert areas[43] == pytest.approx(3.55, abs=0.1)  # km2: the park has 3.41, the zone its streets
    assert sum(areas.values()) == pytest.approx(793, abs=5)  # the city has 778 km2 of land
    # TLC's areas are in square degrees, with the water, of which zones inland have none
    shares = [shapes[row["object_id"]].area / row["shape_area"] for row in rows]
    assert max(shares) < 1.0001
    assert sum(share > 0.9999 for share in shares) > 100


@with_real_files
def test_real_shapes_are_those_that_proj_makes_of_the_published_points(tmp_path: Path) -> None:
    (path := tmp_path / NAME).symlink_to(REAL)
    (first, _) = batches(path)
    published = first.as_published(pa.array([131]))["geometry"][0].as_py()
    parts, points = struct.unpack("<ii", published[36:44])
    feet = np.frombuffer(published[44 + 4 * parts :]).reshape(points, 2)
    to_degrees = pyproj.Transformer.from_crs(2263, 4326, always_xy=True)
    expected = np.column_stack(to_degrees.transform(feet[:, 0], feet[:, 1]))
    shape = shapely.from_wkt(first.rows["wkt"][131].as_py())
    assert {*map(tuple, shapely.get_coordinates(shape))} == {*map(tuple, expected.round(7))}


def test_holes_and_islands_go_to_the_smallest_ring_around_them(
    tmp_path: Path, files: Mapping[str, bytes]
) -> None:
    rings: list[Ring] = [
        hole(4000, 4000, 500),  # of the island, though the large one is around it, too
        square(3000, 3000, 3000),
        square(0, 0, 9000),
        hole(2000, 2000, 5000),
        square(20_000, 0, 1000),
    ]
    (wkt,), (problem,) = read(tmp_path, of_shapes([rings], files[".prj"]))
    assert problem is None
    parts = shapely.get_parts(shapely.from_wkt(wkt))
    assert [len(part.interiors) for part in parts] == [1, 1, 0]
    island, large, _ = parts
    assert large.contains(shapely.Polygon(island.interiors[0])) is False
    for part in parts:
        assert part.is_valid
        assert part.exterior.is_ccw
        assert not any(ring.is_ccw for ring in part.interiors)
        assert part.exterior.coords[0] == part.exterior.coords[-1]
    feet = 0.3048**2
    areas = [pyproj.Geod(ellps="WGS84").geometry_area_perimeter(part)[0] / feet for part in parts]
    expected = [3000**2 - 500**2, 9000**2 - 5000**2, 1000**2]
    assert areas == pytest.approx(expected, rel=0.001)


def test_a_ring_that_is_left_open_is_closed(tmp_path: Path, files: Mapping[str, bytes]) -> None:
    ring = square(0, 0, 900)
    (opened, closed), problems = read(tmp_path, of_shapes([[ring[:-1]], [ring]], files[".prj"]))
    assert problems == [None, None]
    assert opened == closed


def test_the_stand_ins_zip_is_the_same_every_time_and_like_tlcs(tmp_path: Path) -> None:
    for name in ("first.zip", NAME):
        write_zone_shapes(tmp_path / name)
    path = tmp_path / NAME
    assert path.read_bytes() == (tmp_path / "first.zip").read_bytes()
    assert path.stat().st_size < 20_000
    summary, kept, _ = clean(path)
    assert (summary.published, summary.kept) == (263, 263)
    rows = read_parquet(kept)
    assert {*rows["location_id"].to_pylist()} == {*SHAPE_IDS}
    kinds = shapely.get_type_id(shapely.from_wkt(rows["wkt"].to_pylist())).tolist()
    assert (kinds.count(3), kinds.count(6)) == (262, 1)  # polygons, and one of several parts


@with_real_files
def test_the_stand_ins_file_has_the_columns_and_the_projection_of_tlcs(tmp_path: Path) -> None:
    real, stand_in = written(REAL), made_up(tmp_path)
    header = struct.unpack("<H", real[".dbf"][8:10])[0]
    assert stand_in[".dbf"][:8] == real[".dbf"][:8]  # the day and the number of records, too
    columns = [
        (dbf[at : at + 12], dbf[at + 16 : at + 18])
        for dbf in (real[".dbf"], stand_in[".dbf"])
        for at in range(32, header - 1, 32)
    ]
    assert columns[: len(columns) // 2] == columns[len(columns) // 2 :]
    assert stand_in[".prj"] == real[".prj"]


def test_shapes_to_draw_are_few_points_and_keep_their_neighbours(tmp_path: Path) -> None:
    path = tmp_path / NAME
    write_zone_shapes(path)
    _, kept, _ = clean(path)
    zones = read_zone_shapes(kept)
    assert [zone.location_id for zone in zones] == [*SHAPE_IDS]
    by_id = {zone.location_id: zone for zone in zones}
    assert len(by_id[103].rings) == 3
    assert len(by_id[2].rings) == 3  # a part with a hole, and the island in it
    west, south, east, north = REGION
    for zone in zones:
        for ring in zone.rings:
            assert ring.dtype == np.float64
            assert ring.shape[1] == 2
            assert (ring[0] == ring[-1]).all()
            assert ((ring > (west, south)) & (ring < (east, north))).all()
    corners = [{*map(tuple, by_id[zone].rings[0])} for zone in (3, 4)]
    assert len(corners[0] & corners[1]) == 2  # the boundary that they share


@with_real_files
def test_real_shapes_to_draw_have_a_tenth_of_their_points(tmp_path: Path) -> None:
    (path := tmp_path / NAME).symlink_to(REAL)
    _, kept, _ = clean(path)
    whole, drawn = read_zone_shapes(kept, tolerance=0), read_zone_shapes(kept)
    points = [sum(len(ring) for zone in zones for ring in zone.rings) for zones in (whole, drawn)]
    assert points[0] > 98_000
    assert points[1] < points[0] / 9
    for before, after in zip(whole, drawn, strict=True):
        assert before.location_id == after.location_id
        assert len(after.rings) == len(before.rings)
        box = [np.concatenate(zone.rings) for zone in (before, after)]
        assert box[1].min(axis=0) == pytest.approx(box[0].min(axis=0), abs=0.01)
        assert box[1].max(axis=0) == pytest.approx(box[0].max(axis=0), abs=0.01)


@pytest.mark.parametrize(
    "of_somebody",
    [
        lambda rows: rows.set_column(6, "wkt", pa.array(["POLYGON ((1 2"] * len(rows))),
        lambda rows: rows.set_column(6, "wkt", pa.array(["POINT (1 2)"] * len(rows))),
        lambda rows: rows.set_column(6, "wkt", pa.array(["LINESTRING (1 2, 3 4)"] * len(rows))),
        lambda rows: rows.set_column(6, "wkt", pa.nulls(len(rows), pa.string())),
        lambda rows: rows.set_column(6, "wkt", pa.array(range(len(rows)))),
        lambda rows: rows.drop_columns(["wkt"]),
        lambda rows: rows.drop_columns(["location_id"]),
    ],
    ids=["no WKT", "points", "lines", "nulls", "numbers", "no shapes", "no ids"],
)
def test_cleaned_shapes_that_are_none_are_an_error(
    tmp_path: Path, of_somebody: Callable[[pa.Table], pa.Table]
) -> None:
    path = tmp_path / NAME
    write_zone_shapes(path)
    _, kept, _ = clean(path)
    pq.write_table(of_somebody(read_parquet(kept)), kept)
    with pytest.raises(PermanentError, match="Materialize the cleaned asset again"):
        read_zone_shapes(kept)
