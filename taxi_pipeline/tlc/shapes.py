"""The zones' shapes: rings in a file's own coordinates into WKT, and WKT into rings to draw.

What a shapefile is belongs to `reading`. Coordinates here are longitudes and latitudes of WGS 84.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.text import printable

# Points, as an array of two columns: x and y, or the longitude and the latitude.
type Points = NDArray[np.float64]

# New York's State Plane, Long Island, in US feet: what every taxi_zones.zip has been drawn in.
PROJECTION = "EPSG:2263"

# West, south, east and north of all that a taxi zone can be.
REGION = (-75.0, 40.0, -71.0, 42.0)

_DECIMALS = 7  # a centimetre
_LEAST_POINTS = 4  # of a ring, whose last point is its first
_MOST_RINGS = 300  # of a shape, which are compared with each other; Jamaica Bay's has 33
# Degrees, some 50 m. The shapes of all zones have a tenth of their points then.
DRAWN_TO = 0.0005


class ShapeError(ValueError):
    """A shape is none; the message says what is wrong with it."""


@lru_cache(1)  # PROJ takes a tenth of a second, and a step reads its file some times
def projection_of(prj: str, file: str) -> Callable[[Points], Points]:
    """Return what turns coordinates of a file into longitudes and latitudes, by its `.prj`.

    Args:
        prj: The projection as the file describes it, in WKT of ESRI's.
        file: The file's name, for the message.

    Raises:
        PermanentError: It describes none, or another one than `PROJECTION`.
    """
    import pyproj

    described = printable(prj.strip())
    try:
        projection = pyproj.CRS.from_wkt(prj)
    except pyproj.exceptions.CRSError as error:
        raise PermanentError(
            f"{file}: its .prj describes no projection: {described!r}. Check what the publisher "
            "serves at its address."
        ) from error
    if not projection.equals(pyproj.CRS.from_user_input(PROJECTION), ignore_axis_order=True):
        raise PermanentError(
            f"{file}: its .prj describes another projection than {PROJECTION}, New York's State "
            f"Plane in feet: {described}. If TLC draws the zones in that one now, declare it as "
            "PROJECTION in tlc/shapes.py."
        )
    # Into the degrees of its own datum, NAD 83, which are WGS 84's to a metre or two: PROJ's way
    # between them changes nothing, or what a grid says that one machine has and another has not.
    inverse = pyproj.Transformer.from_crs(projection, projection.geodetic_crs, always_xy=True)

    def project(points: Points) -> Points:
        return np.column_stack(inverse.transform(points[:, 0], points[:, 1]))

    return project


def wkt_of(rings: Sequence[Points], project: Callable[[Points], Points]) -> str:
    """Return the WKT of a shape: of one part a POLYGON, of more a MULTIPOLYGON.

    Outer rings run counterclockwise in it, inner ones clockwise, and each ends where it begins.

    Args:
        rings: The shape's rings as a shapefile has them, in any order: outer ones run clockwise,
            inner ones counterclockwise.
        project: Turns the rings' coordinates into longitudes and latitudes.

    Raises:
        ShapeError: There is no ring, one has a coordinate that is no number or lies outside of
            `REGION`, or rings cross.
    """
    import shapely

    if not rings:
        raise ShapeError("it has no points")
    if len(rings) > _MOST_RINGS:
        raise ShapeError(f"it has more than {_MOST_RINGS:,} rings")
    if any(len(ring) < _LEAST_POINTS for ring in rings):
        raise ShapeError(f"a ring has fewer than {_LEAST_POINTS} points")
    if not all(np.isfinite(ring).all() for ring in rings):
        raise ShapeError("a coordinate is no number")
    degrees = [project(ring).round(_DECIMALS) for ring in rings]
    west, south, east, north = REGION
    for ring in degrees:
        if not ((ring >= (west, south)) & (ring <= (east, north))).all():  # infinity is not
            raise ShapeError("it lies outside of New York")
    try:
        polygons = _polygons([shapely.linearrings(ring) for ring in degrees])
        shape = polygons[0] if len(polygons) == 1 else shapely.multipolygons(polygons)
        shape = shapely.orient_polygons(shapely.remove_repeated_points(shape))
        if not shapely.is_valid(shape):
            raise ShapeError(f"it is no valid polygon: {shapely.is_valid_reason(shape)}")
    except shapely.errors.GEOSException as error:
        raise ShapeError(f"it is no valid polygon: {error}") from error
    wkt: str = shapely.to_wkt(shape, rounding_precision=_DECIMALS)
    return wkt


def _polygons(rings: Sequence[Any]) -> list[Any]:
    """Return the polygons of some rings: each inner ring is a hole of the smallest one around it.

    Raises:
        ShapeError: An inner ring lies in no outer one.
    """
    import shapely

    is_inner = shapely.is_ccw(rings)
    outer = [ring for ring, inner in zip(rings, is_inner, strict=True) if not inner]
    bodies = [shapely.polygons(ring) for ring in outer]
    areas, around = shapely.area(bodies), shapely.STRtree(bodies)
    holes: dict[int, list[Any]] = defaultdict(list)
    for ring in (ring for ring, inner in zip(rings, is_inner, strict=True) if inner):
        hole = shapely.polygons(ring)
        found = around.query(shapely.point_on_surface(hole), predicate="within")
        found = found[areas[found] > shapely.area(hole)]  # not an island in the hole
        if not len(found):
            raise ShapeError("an inner ring, which runs counterclockwise, lies in no outer one")
        holes[min(found, key=areas.__getitem__)].append(ring)
    return [shapely.polygons(ring, holes.get(index)) for index, ring in enumerate(outer)]


@dataclass(frozen=True)
class ZoneShape:
    """A zone to draw.

    Attributes:
        location_id: The zone's id.
        borough: The borough.
        zone: The zone's name.
        rings: The rings of all shapes of that id, each an array of longitudes and latitudes whose
            last point is its first. Outer rings run counterclockwise, holes clockwise: what fills
            a path by its winding leaves the holes out.
    """

    location_id: int
    borough: str | None
    zone: str | None
    rings: tuple[Points, ...]


def read_zone_shapes(path: Path, tolerance: float = DRAWN_TO) -> list[ZoneShape]:
    """Read the cleaned shapes, simplified to draw all zones small: neighbours stay neighbours.

    Args:
        path: The cleaned file of `taxi_zone_shapes`.
        tolerance: How far a boundary may move, in degrees, roughly; 0 for not at all. A zone that
            is as small keeps a few points.

    Returns:
        A zone for each id that has shapes, by the id.

    Raises:
        PermanentError: The file cannot be read, or a text of it is no polygon's WKT.
    """
    import pyarrow as pa
    import shapely

    from taxi_pipeline.tlc.reading import opened_parquet

    with opened_parquet(path) as file:
        rows = file.read(["location_id", "borough", "zone", "wkt"], use_threads=False)
    try:
        known = rows.filter(pa.compute.is_valid(rows["location_id"])).to_pylist()
        shapes = shapely.from_wkt([row["wkt"] for row in known])
        if not all(isinstance(shape, shapely.Polygon | shapely.MultiPolygon) for shape in shapes):
            raise ValueError("there is one that is no polygon")
        if tolerance:
            shapes = shapely.coverage_simplify(shapes, tolerance)
    # of columns that are missing, or of another type, in a file of somebody's
    except (shapely.errors.GEOSException, KeyError, TypeError, ValueError) as error:
        raise PermanentError(
            f"{path.name}: a shape of it is none: {error}. Materialize the cleaned asset again."
        ) from error
    zones: dict[int, ZoneShape] = {}
    for row, shape in sorted(
        zip(known, shapes, strict=True), key=lambda each: each[0]["location_id"]
    ):
        key = row["location_id"]
        before = zones[key].rings if key in zones else ()
        zones[key] = ZoneShape(key, row["borough"], row["zone"], (*before, *_rings(shape)))
    return [*zones.values()]


def _rings(shape: Any) -> list[Points]:
    import shapely

    parts = shapely.get_parts(shapely.orient_polygons(shape))
    return [shapely.get_coordinates(ring) for part in parts for ring in shapely.get_rings(part)]
