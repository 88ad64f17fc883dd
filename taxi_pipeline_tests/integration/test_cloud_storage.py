"""The lake on a Cloud Storage that does what the emulator leaves out."""

import gzip
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.lake.cleaned import open_cleaned, store_cleaned
from taxi_pipeline.lake.metadata import CleanedMetadata
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.lake.raw import is_fetched, store_raw
from taxi_pipeline.resources.gcs import Lake, LakeObject, ReplacedError
from taxi_pipeline.tlc.cleaning import clean_trips
from taxi_pipeline.tlc.daily import trips_by_day
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.cloud_storage import CloudStorage
from taxi_pipeline_tests.support.contracts import edge
from taxi_pipeline_tests.support.http import serving_application
from taxi_pipeline_tests.support.source_files import green_month

NAME = "raw/tests/object"
LARGE = 9 << 20  # bytes; above 8 MiB Google's client sends a file in parts
LARGER = 17 << 20  # in two parts


@pytest.fixture(scope="module")
def _served() -> Iterator[tuple[CloudStorage, str]]:
    google = CloudStorage()
    with serving_application(google.application) as url:
        yield google, url


@pytest.fixture
def google(_served: tuple[CloudStorage, str], monkeypatch: pytest.MonkeyPatch) -> CloudStorage:
    """Return a Cloud Storage without objects, which clients that are made now ask."""
    google, url = _served
    google.objects.clear()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    return google


@pytest.fixture
def lake(google: CloudStorage) -> Lake:
    return Lake(bucket="a-bucket", project="a-project")


def file(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", [5, LARGE, LARGER])
def test_an_object_is_replaced_by_whoever_knows_it_and_by_nobody_else(
    google: CloudStorage, lake: Lake, tmp_path: Path, size: int
) -> None:
    first = lake.upload(file(tmp_path, bytes(size)), NAME, {"of": "first"}, 0)
    with pytest.raises(TransientError, match="was replaced by another run"):
        lake.upload(file(tmp_path, b"x" * size), NAME, {}, 0)
    second = lake.upload(file(tmp_path, b"2" * size), NAME, {"of": "second"}, first.generation)
    with pytest.raises(TransientError, match="was replaced by another run"):
        lake.upload(file(tmp_path, b"x" * size), NAME, {}, first.generation)
    assert lake.find("raw/") == [second]
    assert google.objects[NAME].content == b"2" * size
    assert second.size == size


def test_what_is_put_there_while_a_large_file_is_sent_stays(
    google: CloudStorage, lake: Lake, tmp_path: Path
) -> None:
    """The server looks at the precondition again when all parts have arrived."""

    def put(sent: int) -> None:
        if sent and NAME not in google.objects:
            google.put(NAME, b"hers")

    with pytest.raises(TransientError, match="was replaced by another run"):
        lake.upload(file(tmp_path, bytes(LARGER)), NAME, {}, 0, put)
    assert google.objects[NAME].content == b"hers"


def opened(lake: Lake, item: LakeObject, _: Path) -> None:
    with lake.opened(item) as stream:
        stream.read()


READS: dict[str, Callable[[Lake, LakeObject, Path], object]] = {
    "download": lambda lake, item, folder: lake.download(item, folder),
    "opened": opened,
    "annotate": lambda lake, item, _: lake.annotate(item, {"more": "words"}),
    "ensure_current": lambda lake, item, _: lake.ensure_current(item),
}


@pytest.mark.parametrize("call", READS)
@pytest.mark.parametrize("there", [True, False])
def test_what_is_about_a_version_is_not_done_to_another(
    google: CloudStorage, lake: Lake, tmp_path: Path, call: str, there: bool
) -> None:
    stored = lake.upload(file(tmp_path, b"old"), NAME, {}, 0)
    del google.objects[NAME]
    if there:
        google.put(NAME, b"new", metadata={"hers": "kept"})
    with pytest.raises(ReplacedError, match="was replaced while it was read"):
        READS[call](lake, stored, tmp_path)
    lake.delete(stored)
    assert [item.metadata for item in lake.find("raw/")] == [{"hers": "kept"}] * there


def test_an_object_with_more_words_is_the_same_version(
    google: CloudStorage, lake: Lake, tmp_path: Path
) -> None:
    stored = lake.upload(file(tmp_path, b"bytes"), NAME, {"one": "1"}, 0)
    annotated = lake.annotate(stored, {"two": "2"})
    annotated = lake.annotate(annotated, {"two": "3", "three": "3"})
    assert (annotated.generation, annotated.created) == (stored.generation, stored.created)
    assert annotated.metadata == {"one": "1", "two": "3", "three": "3"}
    assert lake.find("raw/") == [annotated]
    assert google.objects[NAME].metageneration == 3
    for known in (stored, annotated):  # whoever has listed it before goes on reading
        assert lake.download(known, tmp_path).read_bytes() == b"bytes"
        lake.ensure_current(known)
    lake.delete(stored)
    assert google.objects == {}


def test_bytes_that_do_not_match_their_checksum_are_refused(
    google: CloudStorage, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taxi_pipeline.resources.gcs._crc32c", lambda path: "AAAAAA==")
    for size in (5, LARGE):
        with pytest.raises(TransientError, match="doesn't match calculated"):
            lake.upload(file(tmp_path, b"x" * size), NAME, {}, 0)
    assert google.objects == {}


def test_many_objects_are_all_found(google: CloudStorage, lake: Lake) -> None:
    for number in range(5):
        google.put(f"raw/{number}", b"?")
    google.put("cleaned/1", b"?")
    assert {item.name for item in lake.find("raw/")} == {f"raw/{number}" for number in range(5)}
    assert lake.find("nothing/") == []


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_an_object_that_is_stored_compressed_comes_as_it_is_stored(
    google: CloudStorage, lake: Lake, tmp_path: Path, size: int
) -> None:
    """As tools upload a file that ends in .gz; what counts is what its checksum is of."""
    compressed = gzip.compress(bytes(range(100)) * (size // 100))
    google.put(f"{NAME}.csv.gz", compressed, contentEncoding="gzip")
    (item,) = lake.find("raw/")
    assert lake.download(item, tmp_path).read_bytes() == compressed
    with lake.opened(item) as stream:
        stream.seek(2)
        assert stream.read() == compressed[2:]


def test_a_month_that_a_tool_has_uploaded_as_compressed_is_read(
    google: CloudStorage, lake: Lake, tmp_path: Path
) -> None:
    def asked(*_: object) -> NoReturn:
        pytest.fail("the publisher was asked")

    month, rows = Month(2021, 3), 50
    content = green_month(tmp_path, month.key, rows).read_bytes()
    paths = object_paths(GREEN, month)
    google.put(f"{paths.raw}csv.gz", content, contentEncoding="gzip", contentType="text/csv")
    raw = store_raw(lake, paths, GREEN.trips, asked, logging.getLogger())
    assert raw.examination.rows == rows
    assert raw.stored.metadata["rows"] == str(rows)


def test_a_month_goes_through_the_lake_as_often_as_one_likes(
    platform: Platform, google: CloudStorage, lake: Lake
) -> None:
    month, log = Month(2021, 2), logging.getLogger()
    paths, fetch = object_paths(GREEN, month), platform.resources.publisher.fetch_month
    generations = []
    for _ in range(2):
        raw = store_raw(lake, paths, GREEN.trips, partial(fetch, GREEN, month), log)
        assert is_fetched(raw.stored)
        days = partial(trips_by_day, month=month)
        cleaned = store_cleaned(lake, paths, GREEN.trips, partial(clean_trips, month), log, days)
        noted = CleanedMetadata.parse(cleaned.stored.metadata)
        assert noted.raw_generation == raw.stored.generation
        with open_cleaned(lake, paths, GREEN.trips, month, log) as trips:
            assert sum(len(batch) for batch in trips.file.batches()) == noted.kept
        generations.append((raw.stored.generation, cleaned.stored.generation))
    # the same file is stored once, what is made of it anew
    assert generations[0][0] == generations[1][0]
    assert len(google.objects) == 3


def test_metadata_that_cloud_storage_has_no_room_for_is_said_to_be_too_long(
    google: CloudStorage, lake: Lake, tmp_path: Path
) -> None:
    with edge.refusals_expected() as refused:
        for size in (5, LARGE):
            with pytest.raises(PermanentError, match="the custom metadata has"):
                lake.upload(file(tmp_path, bytes(size)), NAME, {"words": "w" * 9_000}, 0)
    assert len(refused) == 2
    assert google.objects == {}
