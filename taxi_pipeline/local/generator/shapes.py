"""The zones' shapes: a chequered New York, in the format, projection and ids of TLC's file."""

import zipfile
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from math import dist, sin
from pathlib import Path

from taxi_pipeline.local.generator.zones import described

type _Ring = Sequence[tuple[float, float]]

_SHAPES = 263
_LOCATION_IDS = {57: 56, 104: 103, 105: 103}  # of the shapes whose number is not their zone's
_WITH_ISLAND = 2  # Jamaica Bay: the only shape with a hole, in which another part lies

# Feet of New York's State Plane, as TLC's shapes lie from (913175, 120122) to (1067383, 272844).
_WEST, _SOUTH = 914_000, 121_000
_ACROSS = 17
_SIDE = 9_000
_FEET_OF_DEGREE = 364_000.0

_FIELDS = (
    ("OBJECTID", "N", 9, 0),
    ("Shape_Leng", "F", 19, 11),
    ("Shape_Area", "F", 19, 11),
    ("zone", "C", 254, 0),
    ("LocationID", "N", 4, 0),
    ("borough", "C", 254, 0),
)
_PRJ = (
    'PROJCS["NAD_1983_StatePlane_New_York_Long_Island_FIPS_3104_Feet",'
    'GEOGCS["GCS_North_American_1983",DATUM["D_North_American_1983",'
    'SPHEROID["GRS_1980",6378137.0,298.257222101]],PRIMEM["Greenwich",0.0],'
    'UNIT["Degree",0.0174532925199433]],PROJECTION["Lambert_Conformal_Conic"],'
    'PARAMETER["False_Easting",984250.0],PARAMETER["False_Northing",0.0],'
    'PARAMETER["Central_Meridian",-74.0],PARAMETER["Standard_Parallel_1",40.66666666666666],'
    'PARAMETER["Standard_Parallel_2",41.03333333333333],'
    'PARAMETER["Latitude_Of_Origin",40.16666666666666],UNIT["Foot_US",0.3048006096012192]]'
)


def write_zone_shapes(path: Path) -> None:
    """Write a zipped shapefile as TLC publishes it, with a quadrangle for each of the real shapes.

    The same bytes come out every time.
    """
    import shapefile

    files = {ending: BytesIO() for ending in ("shp", "shx", "dbf")}
    with shapefile.Writer(**files, shapeType=shapefile.POLYGON) as writer:
        for name, kind, size, decimals in _FIELDS:
            writer.field(name, kind, size, decimals)
        for number in range(1, _SHAPES + 1):
            rings = _rings(number)
            zone = _LOCATION_IDS.get(number, number)
            borough, name, _ = described(zone)
            writer.poly(rings)
            writer.record(number, _length(rings), _area(rings), name, zone, borough)
    dbf = bytearray(files["dbf"].getvalue())
    dbf[1:4] = (115, 9, 21)  # the day on which it was written: TLC's, of 2015
    contents = {
        "shp": files["shp"].getvalue(),
        "shx": files["shx"].getvalue(),
        "dbf": bytes(dbf),
        "prj": _PRJ.encode(),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for ending, content in contents.items():
            item = zipfile.ZipInfo(f"taxi_zones/taxi_zones.{ending}")
            archive.writestr(item, content, zipfile.ZIP_DEFLATED)


def _rings(number: int) -> list[_Ring]:
    """Return the rings of a shape: the outer ones clockwise, a hole counterclockwise."""
    row, column = divmod(number - 1, _ACROSS)
    outer = [
        _corner(column + right, row + up) for right, up in ((0, 0), (0, 1), (1, 1), (1, 0), (0, 0))
    ]
    if number != _WITH_ISLAND:
        return [outer]
    return [outer, _square(outer, 3000)[::-1], _square(outer, 1500)]


def _corner(column: int, row: int) -> tuple[float, float]:
    """Return a corner that up to four shapes share, moved off its grid by up to 1,500 feet."""
    along, up = (round(1500 * sin(step * column + 78 * row)) for step in (13, 37))
    return _WEST + column * _SIDE + along, _SOUTH + row * _SIDE + up


def _square(around: _Ring, side: int) -> _Ring:
    """Return a square, clockwise, in the middle of a ring."""
    (west, south), (east, north) = around[0], around[2]
    middle = (west + east) / 2, (south + north) / 2
    steps = ((-1, -1), (-1, 1), (1, 1), (1, -1), (-1, -1))
    return [(middle[0] + side / 2 * x, middle[1] + side / 2 * y) for x, y in steps]


def _length(rings: Sequence[_Ring]) -> float:
    feet = sum(dist(*ends) for ring in rings for ends in pairwise(ring))
    return feet / _FEET_OF_DEGREE


def _area(rings: Sequence[_Ring]) -> float:
    twice = sum(
        y * other_x - x * other_y for ring in rings for (x, y), (other_x, other_y) in pairwise(ring)
    )
    return twice / 2 / _FEET_OF_DEGREE**2
