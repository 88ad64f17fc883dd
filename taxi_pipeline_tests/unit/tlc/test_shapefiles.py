"""Zipped shapefiles: what is read of them, and what breaks them."""

import random
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyproj
import pytest

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.reading import examine, open_published, shapefiles
from taxi_pipeline.tlc.reading.guard import zips
from taxi_pipeline.tlc.services import TAXI_ZONE_SHAPES
from taxi_pipeline_tests.support.parquet import read_parquet
from taxi_pipeline_tests.support.shapefiles import (
    NAME,
    SOUTH,
    WEST,
    Ring,
    batches,
    clean,
    hole,
    made_up,
    of_shapes,
    read,
    square,
    write_zip,
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """Return the files of the stand-in's zip, by their endings."""
    return made_up(tmp_path_factory.mktemp("made_up"))


NAN = float("nan")
BROKEN: Mapping[str, tuple[list[Ring], str]] = {
    "no points": ([], "the shape, a NULL: it has no points"),
    "two points": ([square(0, 0, 9)[:2]], "a ring has fewer than 4 points"),
    "a point alone": ([[square(0, 0, 9)[0]] * 4], "it is no valid polygon"),
    "NaN": ([[*square(0, 0, 9)[:3], (NAN, 1.0), square(0, 0, 9)[0]]], "a coordinate is no number"),
    "infinity": (
        [[*square(0, 0, 9)[:3], (1.0, float("inf")), square(0, 0, 9)[0]]],
        "a coordinate is no number",
    ),
    "elsewhere": ([square(9e6, 0, 900)], "it lies outside of New York"),
    "beyond the earth": ([square(1e300, 0, 1e299)], "it lies outside of New York"),
    "a bow tie": (
        [[*square(0, 0, 9000)[:3], (WEST - 900, SOUTH + 99), square(0, 0, 9000)[0]]],
        "it is no valid polygon",
    ),
    "a hole alone": ([hole(0, 0, 900)], "lies in no outer one"),
    "a hole outside": ([square(0, 0, 900), hole(2000, 0, 100)], "lies in no outer one"),
    "the same twice": ([square(0, 0, 900)] * 2, "it is no valid polygon"),
    "too many rings": ([square(0, 0, 900)] * 301, "it has more than 300 rings"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_shape_that_is_none_is_rejected_with_the_reason_and_its_bytes(
    tmp_path: Path, files: Mapping[str, bytes], kind: str
) -> None:
    rings, said = BROKEN[kind]
    content = of_shapes([[square(0, 0, 900)], rings, [square(0, 900, 900)]], files[".prj"])
    path = write_zip(tmp_path / NAME, content)
    assert examine(path, 3).rows == 3
    (batch,) = batches(path)
    problems = batch.problems.to_pylist()
    assert [problem is None for problem in problems] == [True, False, True]
    assert said in problems[1]
    original = batch.as_published(pa.array([1]))
    assert original["zone"].to_pylist() == ["Zone 2"]
    assert original["geometry"][0].as_py() in content[".shp"]
    assert batch.numbers.to_pylist() == [1, 2, 3]


def test_a_polygon_that_says_it_has_no_points_is_rejected(
    tmp_path: Path, files: Mapping[str, bytes]
) -> None:
    content = of_shapes([[square(0, 0, 900)], [square(0, 900, 900)]], files[".prj"])
    counts = struct.pack("<ii", 1, 5)
    assert content[".shp"].count(counts) == 2
    for said, parts, points in (
        ("requires non-empty points", 0, 0),
        ("requires non-empty points", 1, 0),
        ("it lies outside of New York", 0, 5),  # its points begin elsewhere
        ("unpack requires a buffer", 1, 2**31 - 1),
        ("unpack requires a buffer", 2**31 - 1, 5),
        ("bad char in struct format", -1, 5),
    ):
        changed = content[".shp"].replace(counts, struct.pack("<ii", parts, points), 1)
        wkt, problems = read(tmp_path, {**content, ".shp": changed})
        assert said in (problems[0] or "")
        assert (wkt[0], problems[1]) == (None, None)


def test_a_record_that_is_none_is_rejected_beside_a_good_shape(
    tmp_path: Path, files: Mapping[str, bytes]
) -> None:
    content = of_shapes([[square(0, 900 * at, 900)] for at in range(5)], files[".prj"])
    records = bytearray(content[".dbf"])
    header, length = struct.unpack("<HH", records[8:12])
    places = [header + length * at for at in range(5)]
    records[places[1]] = ord("*")
    records[places[2] + 10 : places[2] + 14] = b"five"
    records[places[3] + 14 : places[3] + 16] = b"\xff\xfe"
    records[places[4] + 10 : places[4] + 14] = b"    "
    path = write_zip(tmp_path / NAME, {**content, ".dbf": bytes(records)})
    (batch,) = batches(path)
    assert batch.problems.to_pylist() == [
        None,
        "the .dbf has the record marked as deleted",
        "location_id: 'five' does not fit int32",
        "zone: '\\\\xff\\\\xfene 4' of zone is no UTF-8",
        None,
    ]
    assert batch.rows["location_id"].to_pylist() == [1, None, None, 4, None]
    original = batch.as_published(pa.array([2, 3])).to_pylist()
    assert [row["LocationID"] for row in original] == ["five", "4"]
    assert original[1]["zone"] == "\\xff\\xfene 4"


def test_bytes_that_are_no_text_in_an_undeclared_column_reject_nothing(
    tmp_path: Path, files: Mapping[str, bytes]
) -> None:
    content = of_shapes([[square(0, 0, 900)]], files[".prj"])
    records = content[".dbf"].replace(b"no remark", b"n\xff remark")
    (batch,) = batches(write_zip(tmp_path / NAME, {**content, ".dbf": records}))
    assert batch.problems.to_pylist() == [None]
    original = batch.as_published(pa.array([0]))
    assert original["remarks"].to_pylist() == ["n\\xff remark"]


def without(ending: str) -> Callable[[Mapping[str, bytes]], Mapping[str, bytes]]:
    return lambda files: {name: content for name, content in files.items() if name != ending}


def instead(ending: str, change: Callable[[bytes], bytes]) -> Callable[..., Mapping[str, bytes]]:
    return lambda files: {**files, ending: change(files[ending])}


def patched(place: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content[:place] + value + content[place + len(value) :]


OTHER_PROJECTION = pyproj.CRS.from_epsg(3857).to_wkt("WKT1_ESRI").encode()
METRES = pyproj.CRS.from_epsg(32118).to_wkt("WKT1_ESRI").encode()
HOSTILE: Mapping[str, tuple[Callable[..., Mapping[str, bytes]], str]] = {
    "no .dbf": (without(".dbf"), r"it has no \.dbf in it"),
    "no .shp": (without(".shp"), r"it has no \.shp in it"),
    "no .prj": (without(".prj"), r"it has no \.prj in it"),
    "nothing": (lambda _: {"readme.txt": b"hello"}, r"it has no \.shp and no \.dbf and no \.prj"),
    "two .shp": (
        lambda files: {**files, "other/taxi_zones.SHP": files[".shp"]},
        r"more than one file whose name ends in \.shp",
    ),
    "no text in .prj": (instead(".prj", lambda _: b"\xff\0\x1b[31m"), "describes no projection"),
    "an empty .prj": (instead(".prj", lambda _: b""), "describes no projection"),
    "a file for a .prj": (
        instead(".prj", lambda _: b"+proj=lcc +nadgrids=/etc/passwd"),
        "describes no projection",
    ),
    "web mercator": (
        instead(".prj", lambda _: OTHER_PROJECTION),
        r"another projection than EPSG:2263.*WGS_1984_Web_Mercator.*declare it as PROJECTION",
    ),
    "metres": (instead(".prj", lambda _: METRES), "another projection than EPSG:2263"),
    "no header in .shp": (instead(".shp", lambda _: b"PK" * 60), "has not a shapefile's header"),
    "a .shp cut short": (instead(".shp", lambda shp: shp[:-3]), "cut short after 262 shapes"),
    "a shape that ends before it begins": (
        instead(".shp", patched(104, struct.pack(">i", -4))),
        "broken or cut short after 0 shapes",
    ),
    "a shape of all bytes": (
        instead(".shp", patched(104, struct.pack(">i", 2**31 - 1))),
        "broken or cut short after 0 shapes",
    ),
    "a record less": (
        instead(".dbf", patched(4, struct.pack("<L", 262))),
        "the .shp has 263 shapes, the .dbf 262 records",
    ),
    "records beyond the end": (
        instead(".dbf", patched(4, struct.pack("<L", 2**32 - 1))),
        "cut short of its 4,294,967,295 records",
    ),
    "long records": (
        instead(".dbf", patched(10, struct.pack("<H", 65535))),
        "columns of the .dbf are not as long as its records",
    ),
    "no header in .dbf": (instead(".dbf", lambda dbf: dbf[:20]), "the .dbf has no header"),
    "a column of no type": (instead(".dbf", patched(43, b"?")), "the .dbf has no header"),
    "a column without a name": (instead(".dbf", patched(32, b"\0" * 10)), "has no name"),
    "a column twice": (
        instead(".dbf", lambda dbf: dbf.replace(b"borough\0", b"zone\0\0\0\0")),
        "a column's name is there twice",
    ),
    "another column": (
        instead(".dbf", lambda dbf: dbf.replace(b"LocationID", b"LocalityID")),
        "the required column 'LocationID' or 'location_id' is missing",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_shapefile_of_the_zones_is_an_error_that_names_it(
    tmp_path: Path, files: Mapping[str, bytes], kind: str
) -> None:
    change, said = HOSTILE[kind]
    path = write_zip(tmp_path / NAME, change(files))
    with pytest.raises(PermanentError, match=said) as raised:
        clean(path)
    assert str(raised.value).startswith("taxi_zones.zip: ")
    assert str(raised.value).isprintable()


def bomb(path: Path, files: Mapping[str, bytes]) -> None:
    write_zip(path, {**files, ".dbf": bytes(zips.UNZIPPED_BYTES)})


def liar(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a bomb that says it unpacks to ten bytes."""
    bomb(path, files)
    size = struct.pack("<L", zips.UNZIPPED_BYTES)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<L", 10)))


def encrypted(path: Path, files: Mapping[str, bytes]) -> None:
    content = bytearray(write_zip(path, files).read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)


def packed_by_lzma(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for ending, content in files.items():
            archive.writestr(f"taxi_zones{ending}", content)


def damaged(path: Path, files: Mapping[str, bytes]) -> None:
    content = bytearray(write_zip(path, files).read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)


def cut_short(path: Path, files: Mapping[str, bytes]) -> None:
    path.write_bytes(write_zip(path, files).read_bytes()[:-40])


ZIPS: Mapping[str, tuple[Callable[[Path, Mapping[str, bytes]], object], str]] = {
    "no zip": (lambda path, _: path.write_bytes(b"<html>" * 100), "no zip, or a broken one"),
    "empty": (lambda path, _: path.write_bytes(b""), "no zip, or a broken one"),
    "too large": (
        lambda path, _: path.open("wb").truncate(zips.ZIP_BYTES + 1),
        "it has 16,777,217 bytes, and at most 16,777,216 are read",
    ),
    "a bomb": (bomb, "it unpacks to more than 16,777,216 bytes"),
    "a bomb that lies": (liar, "no zip, or a broken one"),
    "encrypted": (encrypted, "encrypted, or packed oddly"),
    "packed by LZMA": (packed_by_lzma, "encrypted, or packed oddly"),
    "damaged": (damaged, "no zip, or a broken one"),
    "cut short": (cut_short, "no zip, or a broken one"),
}


def test_more_shapes_than_tlc_could_have_are_an_error_at_once(
    tmp_path: Path, files: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shapefiles, "_MOST_SHAPES", 9)
    path = write_zip(tmp_path / NAME, files)
    with pytest.raises(PermanentError, match=r"the \.shp has more than 9 shapes"):
        examine(path, 0)


@pytest.mark.parametrize("kind", ZIPS)
def test_a_zip_that_is_broken_or_a_bomb_is_an_error(
    tmp_path: Path, files: Mapping[str, bytes], kind: str
) -> None:
    write, said = ZIPS[kind]
    path = tmp_path / NAME
    write(path, files)
    with pytest.raises(PermanentError, match=said):
        examine(path, 0)
    with pytest.raises(PermanentError, match=said):
        open_published(path, TAXI_ZONE_SHAPES)


def test_names_that_lead_elsewhere_are_read_like_others_and_write_nothing(
    tmp_path: Path, files: Mapping[str, bytes]
) -> None:
    (folder := tmp_path / "in" / "here").mkdir(parents=True)
    evil = {f"../../evil/taxi_zones{ending}": content for ending, content in files.items()}
    evil |= {"/etc/cron.d/evil.sh": b"x", "__MACOSX/._taxi_zones.shp": b"of a Mac"}
    path = write_zip(folder / NAME, evil)
    assert clean(path)[0].kept == 263
    assert {each.name for each in tmp_path.rglob("*") if each.is_file()} == {
        NAME,
        "kept.parquet",
        "rejected.parquet",
    }


def test_shapes_of_all_zones_or_nothing(tmp_path: Path, files: Mapping[str, bytes]) -> None:
    few = of_shapes([[square(0, 900 * at, 900)] for at in range(56)], files[".prj"])
    with pytest.raises(PermanentError, match=r"missing: 58, 59, .* and 184 more\. Nothing was"):
        clean(write_zip(tmp_path / NAME, few))
    shapes: list[list[Ring]] = [[square(0, 0, 900)]] * 131 + [[]] * 132
    with pytest.raises(PermanentError, match=r"132 of its 263 shapes cannot be read, the first"):
        clean(write_zip(tmp_path / NAME, of_shapes(shapes, files[".prj"])))
    shapes = [[square(0, 0, 900)]] * 132 + [[]] * 131
    summary, kept, rejected = clean(write_zip(tmp_path / NAME, of_shapes(shapes, files[".prj"])))
    assert (summary.published, summary.kept) == (263, 132)
    assert summary.rejected == {"unparsable": 131}
    assert read_parquet(kept)["location_id"].to_pylist() == [*range(1, 133)]
    rows = read_parquet(rejected).to_pylist()
    assert [row["number"] for row in rows] == [*range(133, 264)]
    assert {row["problem"] for row in rows} == {"the shape, a NULL: it has no points"}


def test_no_byte_that_is_changed_loses_a_shape(tmp_path: Path, files: Mapping[str, bytes]) -> None:
    """A changed file is an error, or each of its shapes is read or has a problem."""
    small = of_shapes([[square(0, 900 * at, 900)] for at in range(4)], files[".prj"])
    draw = random.Random(4)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(300):
        changed = {ending: bytearray(content) for ending, content in small.items()}
        content = changed[draw.choice([".shp", ".dbf"])]
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(len(content))] = draw.choice([0, 1, 127, 128, 255])
        path = write_zip(tmp_path / NAME, {name: bytes(each) for name, each in changed.items()})
        try:
            rows = examine(path, 5).rows
            found = batches(path)
        except PermanentError:
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        assert sum(len(batch.rows) for batch in found) == rows
        for batch in found:
            for wkt, problem in zip(batch.rows["wkt"], batch.problems, strict=True):
                assert wkt.is_valid or problem.is_valid
    assert min(outcomes.values()) > 20
