"""Zipped shapefiles that tests write, in New York's State Plane: whole ones, and broken ones."""

import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import shapefile

from taxi_pipeline.local.generator import write_zone_shapes
from taxi_pipeline.tlc.cleaning import Summary, clean_zone_shapes
from taxi_pipeline.tlc.reading import Batch, open_published
from taxi_pipeline.tlc.services import TAXI_ZONE_SHAPES

type Ring = Sequence[tuple[float, float]]

NAME = "taxi_zones.zip"
# Central Park is at about (995000, 225000) feet.
WEST, SOUTH = 995_000.0, 225_000.0


def square(x: float, y: float, side: float) -> Ring:
    """Return an outer ring, which runs clockwise, at so many feet from Central Park."""
    west, south = WEST + x, SOUTH + y
    east, north = west + side, south + side
    return [(west, south), (west, north), (east, north), (east, south), (west, south)]


def hole(x: float, y: float, side: float) -> Ring:
    """Return an inner ring, which runs counterclockwise."""
    return square(x, y, side)[::-1]


def written(path: Path) -> dict[str, bytes]:
    """Return the files of a zip, by their endings."""
    with zipfile.ZipFile(path) as archive:
        return {f".{name.rpartition('.')[2]}": archive.read(name) for name in archive.namelist()}


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a zip of files by their names; one that is an ending alone gets TLC's name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"taxi_zones/taxi_zones{name}" if name[0] == "." else name, content)
    return path


def made_up(folder: Path) -> dict[str, bytes]:
    """Return the files of the publisher's stand-in."""
    path = folder / "made_up.zip"
    write_zone_shapes(path)
    return written(path)


def of_shapes(shapes: Sequence[Sequence[Ring]], prj: bytes) -> dict[str, bytes]:
    """Return the files of a shapefile of these shapes, whose ids are their places, from 1."""
    files = {ending: BytesIO() for ending in ("shp", "shx", "dbf")}
    with shapefile.Writer(**files, shapeType=shapefile.POLYGON) as writer:
        writer.field("OBJECTID", "N", 9)
        writer.field("LocationID", "N", 4)
        for name in ("zone", "borough", "remarks"):
            writer.field(name, "C")
        for number, rings in enumerate(shapes, start=1):
            if rings:
                writer.poly([list(ring) for ring in rings])
            else:
                writer.null()
            writer.record(number, number, f"Zone {number}", "Queens", "no remark")
    return {f".{ending}": file.getvalue() for ending, file in files.items()} | {".prj": prj}


def batches(path: Path) -> list[Batch]:
    """Return what the reader makes of a zip."""
    return list(open_published(path, TAXI_ZONE_SHAPES).each(lambda batch: batch))


def read(folder: Path, files: Mapping[str, bytes]) -> tuple[list[str | None], list[str | None]]:
    """Return the WKT and the problem of each shape."""
    (batch,) = batches(write_zip(folder / NAME, files))
    return batch.rows["wkt"].to_pylist(), batch.problems.to_pylist()


def clean(path: Path) -> tuple[Summary, Path, Path]:
    """Clean a zip; return the counts, and where the kept and the rejected rows are."""
    kept, rejected = path.with_name("kept.parquet"), path.with_name("rejected.parquet")
    source = open_published(path, TAXI_ZONE_SHAPES)
    return clean_zone_shapes(source, kept, rejected), kept, rejected
