"""Published shapefiles, zipped: a shape and its record of the .dbf are a row.

How much a zip may hold is `guard.zips`'s to say, what makes rings a polygon `shapes`'s.
"""

import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import batched, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.header import Header
from taxi_pipeline.tlc.reading.guard.zips import read_zip
from taxi_pipeline.tlc.reading.source import Batch, Examination, Problems, SourceFile
from taxi_pipeline.tlc.services import TEXT, Table
from taxi_pipeline.tlc.shapes import Points, ShapeError, projection_of, wkt_of
from taxi_pipeline.tlc.text import printable

if TYPE_CHECKING:
    import shapefile

GEOMETRY = "geometry"  # what the column is called that has the shape

_ENDINGS = (".shp", ".dbf", ".prj")  # what else there is only makes it faster to search
_ROWS = 256  # of a batch, of which most have some ten kilobytes
_PRJ_BYTES = 1 << 16
_MOST_SHAPES = 10_000  # TLC has 263, and each that is none takes time to say so
# Of a .shp: its header, and each shape's, which has a number and a length in words of two bytes.
_HEADER_BYTES = 100
_SHAPE_HEADER = struct.Struct(">ii")
_WORD_BYTES = 2

type _Record = list[str | None]


def examine_shapefile(path: Path, first_rows: int) -> Examination:
    """Read all of a shapefile, and return its rows' number, its columns and the first rows.

    Args:
        path: The zip.
        first_rows: How many rows to return, as texts; of a shape how much there is of it.

    Returns:
        The number of the shapes in the .shp, which is that of the records in the .dbf.

    Raises:
        PermanentError: It is no zipped shapefile, or a broken one. A shape that is none is no
            matter here.
    """
    content = _Shapefile.read(path)
    rows: list[dict[str, str | None]] = []
    for index in range(len(content.shapes)):
        record, (_, described) = content.record(index), content.rings(index)
        if index < first_rows:
            rows.append(dict(zip(content.names, [*record, described], strict=True)))
    return Examination(len(content.shapes), content.schema, rows)


class ShapeFile(SourceFile):
    """A zipped shapefile, whose shapes are read as WKT in degrees."""

    @classmethod
    def open(cls, path: Path, table: Table) -> Self:
        """Open the file, and match its columns with the table's.

        Raises:
            PermanentError: It is no zipped shapefile, or its columns do not match the table's.
        """
        return cls(path, table, Header.match(_Shapefile.read(path).names, table, path.name))

    @property
    def published_schema(self) -> pa.Schema:
        """The .dbf's columns as text, the shape's bytes in the .shp, and `line`, which is null."""
        fields = [(name, TEXT) for name in self.header.published[:-1]]
        return pa.schema([*fields, (GEOMETRY, pa.binary()), ("line", TEXT)])

    def each[T](self, work: Callable[[Batch], T]) -> Iterator[T]:
        """Stream the shapes, some hundred at a time, in the caller's thread alone.

        Raises:
            PermanentError: The projection is not the zones', too.
        """
        content = _Shapefile.read(self.path)
        project = projection_of(content.prj, self.path.name)
        for indices in batched(range(len(content.shapes)), _ROWS, strict=False):
            yield work(self._batch(content, project, indices))

    def _batch(
        self,
        content: "_Shapefile",
        project: Callable[[Points], Points],
        indices: Sequence[int],
    ) -> Batch:
        problems: Problems = {}
        records: list[_Record] = []
        shapes: list[str | None] = []
        for row, index in enumerate(indices):
            record, problem = self._declared(content.record(index))
            rings, described = content.rings(index)
            wkt = None
            try:
                wkt = wkt_of(rings, project)
            except ShapeError as error:
                problem = problem or f"the shape, {described}: {printable(str(error))}"
            if content.is_deleted(index):
                problem = "the .dbf has the record marked as deleted"
            if problem:
                problems[row] = problem
            records.append(record)
            shapes.append(wkt)
        columns = [*zip(*records, strict=True), shapes]
        published = {
            name: pa.array(values, TEXT)
            for name, values in zip(self.header.published, columns, strict=True)
        }
        rows, misfits = self._canonical(published, len(indices))

        def as_published(chosen: pa.Array) -> pa.RecordBatch:
            originals = [indices[row] for row in chosen.to_pylist()]
            texts = [[_shown(value) for value in content.record(each)] for each in originals]
            columns = [pa.array(column, TEXT) for column in zip(*texts, strict=True)] or [
                pa.nulls(0, TEXT) for _ in content.names[:-1]
            ]
            bodies = pa.array([content.body(each) for each in originals], pa.binary())
            line = pa.nulls(len(originals), TEXT)
            return pa.record_batch([*columns, bodies, line], schema=self.published_schema)

        numbers = pa.array(np.array(indices, np.int64) + 1)
        return Batch.with_problems(rows, misfits | problems, numbers, as_published)

    def _declared(self, record: _Record) -> tuple[_Record, str]:
        """Return a record with nulls for what is no text, and what of that is in a known column."""
        problem = ""
        texts: _Record = []
        for name, known, value in zip(
            self.header.published, self.header.columns, record, strict=False
        ):
            is_text = value is None or _is_text(value)
            if known and not is_text:
                problem = problem or f"{known}: {_shown(value)!r} of {printable(name)} is no UTF-8"
            texts.append(value if is_text else None)
        return texts, problem


@dataclass(frozen=True)
class _Shapefile:
    """What a zipped shapefile has in it.

    Attributes:
        records: The .dbf, of which every column is read as text.
        content: The .shp.
        reader: Reads the shapes in it.
        shapes: Where each of them lies in it, without its header.
        prj: The projection, as the .prj describes it.
    """

    records: "shapefile.DbfReader"
    content: bytes
    reader: "shapefile.ShpReader"
    shapes: Sequence[slice]
    prj: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file; raise `PermanentError` where it is no shapefile, or a broken one."""
        import shapefile

        files = read_zip(path, _ENDINGS)
        if missing := [ending for ending in _ENDINGS if ending not in files]:
            raise _broken(path, f"it has no {' and no '.join(missing)} in it")
        records = _records(path, files[".dbf"])
        shapes = _shapes(path, files[".shp"])
        if len(records) != len(shapes):
            raise _broken(
                path, f"the .shp has {len(shapes):,} shapes, the .dbf {len(records):,} records"
            )
        prj = files[".prj"][:_PRJ_BYTES].decode(errors="backslashreplace")
        with warnings.catch_warnings(action="ignore"):  # where the header's length is another
            reader = shapefile.ShpReader(BytesIO(files[".shp"]))
        return cls(records, files[".shp"], reader, shapes, prj)

    @cached_property
    def names(self) -> list[str]:
        """The names of the .dbf's columns, and `GEOMETRY`."""
        return [*(field.name for field in self.records.data_fields), GEOMETRY]

    @property
    def schema(self) -> pa.Schema:
        """The columns, as they are read."""
        return pa.schema([(name, TEXT) for name in self.names])

    def record(self, index: int) -> _Record:
        """Return a record's texts without the blanks around them, which pad them; None for none.

        A byte that is no UTF-8 is a surrogate in it. A record that is marked as deleted has nulls.
        """
        with warnings.catch_warnings(action="ignore"):  # of bytes that pad a text in an odd way
            values = self.records.record(index)
        if values is None:
            return [None] * (len(self.names) - 1)
        return [str(value).strip() or None for value in values]

    def is_deleted(self, index: int) -> bool:
        """Whether a record is marked as deleted."""
        return self.records.record(index, fields=[]) is None

    def body(self, index: int) -> bytes:
        """Return a shape as it is in the .shp."""
        return self.content[self.shapes[index]]

    def rings(self, index: int) -> tuple[list[Points], str]:
        """Return a shape's rings, and what there is of it; no rings where it is no polygon."""
        import shapefile

        place = self.shapes[index]
        begin, length = place.start - _SHAPE_HEADER.size, place.stop - place.start
        try:
            shape = self.reader.shape(index, begin, length)
        except (shapefile.ShapefileException, struct.error, LookupError, ValueError) as error:
            return [], f"which cannot be read ({printable(str(error))})"
        if shape is None or not isinstance(shape, shapefile.Polygon):
            return [], f"a {shape.shapeTypeName if shape else 'NULL'}"
        points = np.array([point[:2] for point in shape.points], np.float64).reshape(-1, 2)
        ends = [*shape.parts, len(points)]
        described = f"{len(shape.parts):,} parts, {len(points):,} points"
        if ends[0] != 0 or any(end <= start for start, end in pairwise(ends)):
            return [], f"{described}, whose parts do not begin one after the other"
        return [points[start:end] for start, end in pairwise(ends)], described


def _records(path: Path, content: bytes) -> "shapefile.DbfReader":
    """Return the records of a .dbf whose header does not contradict itself."""
    import shapefile

    try:
        with warnings.catch_warnings(action="ignore"):
            reader = shapefile.DbfReader(BytesIO(content), encodingErrors="surrogateescape")
    except (shapefile.ShapefileException, struct.error, LookupError, ValueError) as error:
        raise _broken(path, f"the .dbf has no header: {printable(str(error))}") from error
    names = [field.name for field in reader.data_fields]
    if not names or not all(name and _is_text(name) for name in names):
        raise _broken(path, "a column of the .dbf has no name")
    if len({*names}) < len(names):
        raise _broken(path, "a column's name is there twice in the .dbf")
    # texts alone: a number that does not parse would be none at all
    as_text = shapefile.FieldType.C
    reader.fields = [field._replace(field_type=as_text) for field in reader.fields]
    header, length = struct.unpack("<HH", content[8:12])
    if sum(field.size for field in reader.fields) != length:
        raise _broken(path, "the columns of the .dbf are not as long as its records")
    if header + length * len(reader) > len(content):
        raise _broken(path, f"the .dbf is cut short of its {len(reader):,} records")
    return reader


def _shapes(path: Path, content: bytes) -> list[slice]:
    """Return where the shapes of a .shp lie, each after the one before it, up to the end."""
    if len(content) < _HEADER_BYTES or content[:4] != b"\0\0\x27\x0a":
        raise _broken(path, "the .shp has not a shapefile's header")
    shapes: list[slice] = []
    place = _HEADER_BYTES
    while place < len(content):
        start = place + _SHAPE_HEADER.size
        _, words = _SHAPE_HEADER.unpack(content[place:start].ljust(_SHAPE_HEADER.size, b"\xff"))
        place = start + words * _WORD_BYTES
        if not start < place <= len(content):
            raise _broken(path, f"the .shp is broken or cut short after {len(shapes):,} shapes")
        shapes.append(slice(start, place))
        if len(shapes) > _MOST_SHAPES:
            raise _broken(path, f"the .shp has more than {_MOST_SHAPES:,} shapes")
    return shapes


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def _shown(value: str | None) -> str | None:
    """Return a text with what is no UTF-8 escaped."""
    if value is None or _is_text(value):
        return value
    return value.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _broken(path: Path, why: str) -> PermanentError:
    return PermanentError(
        f"{path.name}: it is no shapefile, or a broken one: {why}. Check what the publisher serves "
        "at its address."
    )
