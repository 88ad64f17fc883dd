"""The steps beside another run of the same month, or one that ended halfway, in the real lake."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.google import CloudStorage
from taxi_pipeline.lake.cleaned import Clean, open_cleaned, store_cleaned
from taxi_pipeline.lake.metadata import PENDING
from taxi_pipeline.lake.paths import ObjectPaths, month_of_object, object_paths
from taxi_pipeline.lake.raw import Fetch, is_fetched, raw_objects, store_raw
from taxi_pipeline.local.generator import write_parquet
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.resources.publisher import Download, FileVersion, NotModified
from taxi_pipeline.tlc.cleaning import ProgressCallback, Summary, clean_trips
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import SourceFile
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.lake import overwrite
from taxi_pipeline_tests.support.source_files import trip, write_csv

MONTH = Month(2021, 1)
PLACE = object_paths(YELLOW, MONTH)
REJECTED = trip(passenger_count="0")

LOG = logging.getLogger(__name__)
FOUND = Path(__file__).parents[1] / "fuzz" / "found"

clean: Clean = partial(clean_trips, MONTH)


@pytest.fixture
def lake(platform: Platform) -> Iterator[Lake]:
    """Return the lake, with nothing of the month in it before the test and after it."""
    lake = platform.resources.lake

    def empty() -> None:
        for prefix in (PLACE.raw, PLACE.cleaned, PLACE.rejected):
            for found in lake.find(prefix):
                lake.delete(found)

    empty()
    yield lake
    empty()


def put(lake: Lake, folder: Path, *rows: str) -> LakeObject:
    """Put a raw file into the lake, as somebody else would."""
    return overwrite(lake, write_csv(folder / "raw.csv.gz", rows), f"{PLACE.raw}csv.gz", {})


def cleaned(lake: Lake, clean: Clean = clean) -> None:
    store_cleaned(lake, PLACE, YELLOW.trips, clean, LOG)


def names(lake: Lake) -> tuple[str, list[str]]:
    """Return what the trips say is the object of their rejected rows, and all there are."""
    (trips,) = lake.find(PLACE.cleaned)
    return trips.metadata["rejected_rows"], [found.name for found in lake.find(PLACE.rejected)]


def test_the_same_file_makes_the_same_objects(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, trip(), REJECTED)
    cleaned(lake)
    named, there = names(lake)
    cleaned(lake)
    assert names(lake) == (named, there)
    assert there == [named]


def test_what_was_rejected_of_another_file_goes_once_the_trips_are_replaced(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake, tmp_path, trip(), REJECTED)
    cleaned(lake)
    before, _ = names(lake)
    put(lake, tmp_path, trip(), REJECTED, REJECTED)
    upload = Lake.upload

    def killed(lake: Lake, path: Path, name: str, *rest: Any) -> LakeObject:
        if name == PLACE.cleaned:
            raise KeyboardInterrupt
        return upload(lake, path, name, *rest)

    monkeypatch.setattr(Lake, "upload", killed)
    with pytest.raises(KeyboardInterrupt):
        cleaned(lake)
    monkeypatch.undo()
    named, there = names(lake)
    assert named == before
    assert before in there
    assert len(there) == 2
    cleaned(lake)
    named, there = names(lake)
    assert named != before
    assert there == [named]


def published(*rows: str, ending: str = "csv.gz") -> Fetch:
    """Return how to fetch a file of these rows."""

    def fetch(folder: Path, *_: object) -> Download:
        path = write_csv(folder / f"yellow.{ending}", rows)
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        return Download(path, f"http://publisher/{path.name}", "", "", len(content), sha256)

    return fetch


@pytest.mark.parametrize("before", [[], [trip()]])
def test_a_file_stored_meanwhile_by_another_run_is_not_replaced(
    lake: Lake, before: list[str]
) -> None:
    if before:
        store_raw(lake, PLACE, YELLOW.trips, published(*before), LOG)

    def overtaken(
        folder: Path, known: FileVersion | None, arrived: Callable[[int], None]
    ) -> Download | NotModified:
        older = published(trip(), trip())(folder, known, arrived)
        store_raw(lake, PLACE, YELLOW.trips, published(trip(), trip(), trip()), LOG)
        return older

    with pytest.raises(TransientError, match="another file was stored"):
        store_raw(lake, PLACE, YELLOW.trips, overtaken, LOG)
    (raw,) = lake.find(PLACE.raw)
    assert raw.metadata["rows"] == "3"


def test_a_file_of_another_format_that_another_run_stored_after_ours_stays(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = Lake.upload

    def overtaken(*asked: Any) -> LakeObject:
        stored = upload(*asked)
        monkeypatch.undo()
        store_raw(lake, PLACE, YELLOW.trips, published(trip(), trip(), ending="csv"), LOG)
        return stored

    monkeypatch.setattr(Lake, "upload", overtaken)
    with pytest.raises(TransientError, match="was replaced"):
        store_raw(lake, PLACE, YELLOW.trips, published(trip()), LOG)
    (raw,) = lake.find(PLACE.raw)
    assert raw.name == f"{PLACE.raw}csv"


def test_a_raw_file_replaced_while_it_is_cleaned_is_cleaned_anew(
    lake: Lake, tmp_path: Path
) -> None:
    put(lake, tmp_path, trip())

    def overtaken(
        source: SourceFile, kept: Path, rejected: Path, seen: ProgressCallback
    ) -> Summary:
        put(lake, tmp_path, trip(), trip())
        return clean(source, kept, rejected, seen)

    with pytest.raises(TransientError, match=r"2021-01\.csv\.gz was replaced while it was read"):
        cleaned(lake, overtaken)
    cleaned(lake)
    with open_cleaned(lake, PLACE, YELLOW.trips, MONTH, LOG) as trips:
        assert trips.file.rows == 2


def test_trips_that_another_run_has_replaced_meanwhile_stay(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, trip(), REJECTED)

    def overtaken(
        source: SourceFile, kept: Path, rejected: Path, seen: ProgressCallback
    ) -> Summary:
        cleaned(lake)
        return clean(source, kept, rejected, seen)

    with pytest.raises(TransientError, match=r"2021-01\.parquet was replaced by another run"):
        cleaned(lake, overtaken)
    named, there = names(lake)
    assert there == [named]


def test_trips_replaced_while_they_are_loaded_are_loaded_anew(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, trip())
    cleaned(lake)
    for reads in (False, True):
        opened = open_cleaned(lake, PLACE, YELLOW.trips, MONTH, LOG)
        trips = opened.__enter__()
        rows = sum(map(len, trips.file.batches())) if reads else trips.file.rows
        assert rows == 1
        cleaned(lake)
        with pytest.raises(TransientError, match=r"2021-01\.parquet was replaced"):
            opened.__exit__(None, None, None)


def test_trips_replaced_while_their_footer_is_read_are_loaded_anew(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The emulator may give a reader parts of the new object; Cloud Storage gives it none."""
    put(lake, tmp_path, trip())
    cleaned(lake)
    opened = Lake.opened

    @contextmanager
    def overtaken(lake: Lake, item: LakeObject) -> Iterator[BinaryIO]:
        monkeypatch.undo()
        with opened(lake, item) as file:
            cleaned(lake)
            yield BytesIO(bytes(len(file.read())))

    monkeypatch.setattr(Lake, "opened", overtaken)
    with pytest.raises(TransientError, match=r"2021-01\.parquet was replaced while it was read"):
        open_cleaned(lake, PLACE, YELLOW.trips, MONTH, LOG).__enter__()
    with open_cleaned(lake, PLACE, YELLOW.trips, MONTH, LOG) as trips:
        assert trips.file.rows == 1


@pytest.mark.parametrize("found", sorted(FOUND.glob("parquet-*")), ids=lambda path: path.name)
def test_a_cleaned_object_that_cannot_be_read_is_cleaned_again(lake: Lake, found: Path) -> None:
    overwrite(lake, found, PLACE.cleaned, {})
    opened = open_cleaned(lake, PLACE, YELLOW.trips, MONTH, LOG, first_rows=5)
    with pytest.raises(PermanentError, match=r"2021-01\.parquet cannot be read: "):
        opened.__enter__()


def test_a_cleaned_object_of_a_huge_footer_is_not_read(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "huge.parquet"
    path.write_bytes(b"PAR1" + bytes(5 << 20) + (5 << 20).to_bytes(4, "little") + b"PAR1")
    overwrite(lake, path, PLACE.cleaned, {})
    opened = open_cleaned(lake, PLACE, YELLOW.trips, MONTH, LOG)
    with pytest.raises(PermanentError, match="its footer says that it has 5,242,880 bytes"):
        opened.__enter__()


def test_a_file_of_somebody_else_stays_theirs(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, trip())
    cleaned(lake)
    (raw,) = lake.find(PLACE.raw)
    assert raw.metadata.keys() == {"rows", "sha256"}
    assert "source_url" not in raw.metadata


def test_trips_of_a_newer_file_that_another_run_cleaned_meanwhile_stay(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket keeps older generations, as Terraform sets it; the emulator keeps none."""
    put(lake, tmp_path, trip())
    older = lake.download(raw_objects(lake, PLACE)[0], tmp_path)
    listed = raw_objects
    download = Lake.download

    def overtaken(lake: Lake, place: ObjectPaths) -> list[LakeObject]:
        monkeypatch.undo()
        monkeypatch.setattr(Lake, "download", keeping_generations)
        objects = listed(lake, place)
        put(lake, tmp_path / "..", trip(), trip())
        cleaned(lake)
        return objects

    def keeping_generations(lake: Lake, known: LakeObject, folder: Path) -> Path:
        if known.generation == listed(lake, PLACE)[0].generation:
            return download(lake, known, folder)
        return Path(shutil.copy(older, folder))

    monkeypatch.setattr("taxi_pipeline.lake.raw.raw_objects", overtaken)
    with pytest.raises(TransientError):
        cleaned(lake)
    with open_cleaned(lake, PLACE, YELLOW.trips, MONTH, LOG) as trips:
        assert trips.file.rows == 2


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_the_raw_objects_name_ends_as_the_published_file_does(
    lake: Lake, tmp_path: Path, ending: str
) -> None:
    def fetch(folder: Path, *_: object) -> Download:
        path = folder / f"yellow.2021-01.v2.{ending}"
        if ending == "parquet":
            write_parquet(YELLOW, MONTH, 3, path)
        else:
            write_csv(path, [trip()])
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        return Download(path, f"http://mirror/{path.name}", "", "", path.stat().st_size, sha256)

    store_raw(lake, PLACE, YELLOW.trips, fetch, LOG)
    (raw,) = lake.find(PLACE.raw)
    assert raw.name == f"{PLACE.raw}{ending}"
    assert month_of_object(raw.name) == (YELLOW, MONTH)
    assert is_fetched(raw)


def test_a_run_that_died_as_it_stored_raw_has_left_a_fetched_object(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> LakeObject:
        raise KeyboardInterrupt

    monkeypatch.setattr(Lake, "annotate", killed)
    with pytest.raises(KeyboardInterrupt):
        store_raw(lake, PLACE, YELLOW.trips, published(trip()), LOG)
    monkeypatch.undo()
    (raw,) = lake.find(PLACE.raw)
    assert is_fetched(raw)
    assert raw.metadata["stored_at"] == PENDING
    store_raw(lake, PLACE, YELLOW.trips, published(trip(), trip()), LOG)
    (raw,) = lake.find(PLACE.raw)
    assert raw.metadata["rows"] == "2"
    assert raw.metadata["stored_at"] == raw.created


def test_rejected_rows_that_another_run_deletes_meanwhile_are_stored_anew(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lake, tmp_path, trip(), REJECTED)
    bucket = CloudStorage(project=lake.project).get_client().bucket(lake.bucket)
    upload = Lake.upload

    def overtaken(lake: Lake, path: Path, name: str, *rest: Any, **more: Any) -> LakeObject:
        stored = upload(lake, path, name, *rest, **more)
        if name == PLACE.cleaned:
            bucket.blob(stored.metadata["rejected_rows"]).delete()
        return stored

    monkeypatch.setattr(Lake, "upload", overtaken)
    with pytest.raises(TransientError, match="was replaced while it was read"):
        cleaned(lake)
    monkeypatch.undo()
    cleaned(lake)
    named, there = names(lake)
    assert there == [named]


@pytest.mark.parametrize("before", [[], [trip()]], ids=["none before", "one before"])
def test_a_file_that_another_run_stores_at_the_last_moment_is_not_replaced(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, before: list[str]
) -> None:
    if before:
        store_raw(lake, PLACE, YELLOW.trips, published(*before), LOG)
    upload = Lake.upload

    def overtaken(lake: Lake, path: Path, *rest: Any, **more: Any) -> LakeObject:
        monkeypatch.undo()
        store_raw(lake, PLACE, YELLOW.trips, published(trip(), trip()), LOG)
        return upload(lake, path, *rest, **more)

    monkeypatch.setattr(Lake, "upload", overtaken)
    with pytest.raises(TransientError, match="was replaced by another run"):
        store_raw(lake, PLACE, YELLOW.trips, published(trip(), trip(), trip()), LOG)
    (raw,) = lake.find(PLACE.raw)
    assert raw.metadata["rows"] == "2"


@pytest.mark.parametrize("before", [[], [trip()]], ids=["none before", "one before"])
def test_a_file_that_somebody_puts_beside_ours_as_it_is_uploaded_counts(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: list[str]
) -> None:
    if before:
        store_raw(lake, PLACE, YELLOW.trips, published(*before), LOG)
    upload = Lake.upload

    def overtaken(lake: Lake, *asked: Any) -> LakeObject:
        monkeypatch.undo()
        overwrite(lake, write_csv(tmp_path / "theirs.csv", [trip()] * 7), f"{PLACE.raw}csv", {})
        return upload(lake, *asked)

    monkeypatch.setattr(Lake, "upload", overtaken)
    with pytest.raises(TransientError, match=r"2021-01\.csv was put there by somebody else"):
        store_raw(lake, PLACE, YELLOW.trips, published(trip(), trip()), LOG)
    store_raw(lake, PLACE, YELLOW.trips, published(trip(), trip()), LOG)  # as the step does
    newest, *_ = raw_objects(lake, PLACE)
    assert (newest.name, newest.metadata["rows"]) == (f"{PLACE.raw}csv", "7")


def test_of_what_an_earlier_release_stored_only_the_original_is_a_fetched_object(
    lake: Lake, tmp_path: Path
) -> None:
    origin = {"source_url": "http://publisher/yellow.csv.gz", "etag": '"1"'}
    path = write_csv(tmp_path / "raw.csv.gz", [trip()])
    raw = overwrite(lake, path, f"{PLACE.raw}csv.gz", origin)
    made_of = {"raw_generation": str(raw.generation)}
    overwrite(lake, path, PLACE.cleaned, made_of)
    store_raw(lake, PLACE, YELLOW.trips, published(trip(), trip()), LOG)
    (raw,) = raw_objects(lake, PLACE)
    assert raw.metadata["rows"] == "2"  # the publisher's took its place

    overwrite(lake, path, f"{PLACE.raw}csv.gz", origin)  # an older generation, copied back
    for _ in range(2):
        cleaned(lake)
        store_raw(lake, PLACE, YELLOW.trips, published(trip(), trip()), LOG)
        (raw,) = raw_objects(lake, PLACE)
        assert not is_fetched(raw)
        assert raw.metadata["rows"] == "1"
