"""The steps beside another run of the same month, or one that ended halfway, in the real lake."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from taxi_pipeline.assets.steps import (
    Clean,
    Fetch,
    clean_raw,
    cleaned_copy,
    cleaned_in_lake,
    store_raw,
)
from taxi_pipeline.errors import TransientError
from taxi_pipeline.resources.lake import REJECTED_ROWS, SOURCE_URL, Lake, LakeObject, place_of
from taxi_pipeline.resources.publisher import Download, Unchanged
from taxi_pipeline.tlc.cleaning import Seen, Summary, clean_trips
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import PublishedFile
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.published import trip, write_csv

MONTH = Month(2021, 1)
PLACE = place_of(YELLOW, MONTH)
REJECTED = trip(passenger_count="0")

LOG = logging.getLogger(__name__)

clean: Clean = partial(clean_trips, MONTH)


@pytest.fixture
def lake(platform: Platform) -> Iterator[Lake]:
    """Return the lake, with nothing of the month in it before the test and after it."""
    lake = platform.resources.lake

    def empty() -> None:
        for prefix in (PLACE.raw, PLACE.cleaned, PLACE.rejected):
            for found in lake.find(prefix):
                lake.delete(found.name)

    empty()
    yield lake
    empty()


def put(lake: Lake, folder: Path, *rows: str) -> LakeObject:
    """Put a raw file into the lake, as somebody else would."""
    return lake.upload(write_csv(folder / "raw.csv.gz", rows), f"{PLACE.raw}csv.gz", {})


def cleaned(lake: Lake, clean: Clean = clean) -> None:
    clean_raw(lake, PLACE, YELLOW.trips, clean, LOG)


def names(lake: Lake) -> tuple[str, list[str]]:
    """Return what the trips say is the object of their rejected rows, and all there are."""
    (trips,) = lake.find(PLACE.cleaned)
    return trips.metadata[REJECTED_ROWS], [found.name for found in lake.find(PLACE.rejected)]


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
def test_a_file_that_another_run_stored_meanwhile_is_not_replaced_by_an_older_one(
    lake: Lake, before: list[str]
) -> None:
    if before:
        store_raw(lake, PLACE, YELLOW.trips, published(*before), LOG)

    def overtaken(
        folder: Path, known: Unchanged | None, arrived: Callable[[int], None]
    ) -> Download | Unchanged:
        older = published(trip(), trip())(folder, known, arrived)
        store_raw(lake, PLACE, YELLOW.trips, published(trip(), trip(), trip()), LOG)
        return older

    with pytest.raises(TransientError, match="another run has stored"):
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
    store_raw(lake, PLACE, YELLOW.trips, published(trip()), LOG)
    (raw,) = lake.find(PLACE.raw)
    assert raw.name == f"{PLACE.raw}csv"


def test_a_raw_file_replaced_while_it_is_cleaned_is_cleaned_anew(
    lake: Lake, tmp_path: Path
) -> None:
    put(lake, tmp_path, trip())

    def overtaken(source: PublishedFile, kept: Path, rejected: Path, seen: Seen) -> Summary:
        put(lake, tmp_path, trip(), trip())
        return clean(source, kept, rejected, seen)

    with pytest.raises(TransientError, match=r"2021-01\.csv\.gz was replaced while it was read"):
        cleaned(lake, overtaken)
    cleaned(lake)
    with cleaned_in_lake(lake, PLACE, YELLOW.trips) as trips:
        assert trips.rows == 2


def test_trips_that_another_run_has_replaced_meanwhile_stay(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, trip(), REJECTED)

    def overtaken(source: PublishedFile, kept: Path, rejected: Path, seen: Seen) -> Summary:
        cleaned(lake)
        return clean(source, kept, rejected, seen)

    with pytest.raises(TransientError, match=r"2021-01\.parquet was replaced by another run"):
        cleaned(lake, overtaken)
    named, there = names(lake)
    assert there == [named]


def test_trips_replaced_while_they_are_loaded_are_loaded_anew(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, trip())
    cleaned(lake)
    for opened in (cleaned_in_lake, partial(cleaned_copy, log=LOG)):
        with (
            pytest.raises(TransientError, match=r"2021-01\.parquet was replaced"),
            opened(lake, PLACE, YELLOW.trips),
        ):
            cleaned(lake)


def test_a_file_of_somebody_else_stays_theirs(lake: Lake, tmp_path: Path) -> None:
    put(lake, tmp_path, trip())
    cleaned(lake)
    (raw,) = lake.find(PLACE.raw)
    assert raw.metadata.keys() == {"rows", "sha256"}
    assert SOURCE_URL not in raw.metadata
