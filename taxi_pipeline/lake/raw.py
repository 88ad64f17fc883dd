"""The published file in the lake, byte for byte: fetched, or put there by somebody else.

A file that is broken, or could not be cleaned for want of a column, leaves the lake as it was. What
fetches a file is the publisher's; how objects travel is `resources.gcs`'s.
"""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.scratch import scratch
from taxi_pipeline.lake.metadata import PENDING, CleanedMetadata, RawMetadata
from taxi_pipeline.lake.paths import ObjectPaths
from taxi_pipeline.lake.progress import progress
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.resources.publisher import Download, FileVersion, NotModified
from taxi_pipeline.tlc.services import Table

if TYPE_CHECKING:
    from taxi_pipeline.tlc.reading import Examination, SourceFile

# Fetches a file into a folder, given the version that is there and what takes progress in bytes.
type Fetch = Callable[[Path, FileVersion | None, Callable[[int], None]], Download | NotModified]

# Raises `PermanentError` where a file has the columns, but not what it must have beyond.
type Ensure = Callable[[SourceFile], None]

# The run tag by which the published file takes the place of one that somebody else put there.
REPLACE_RAW = "taxi/replace_raw"


@dataclass(frozen=True)
class RawFile:
    """The raw object that a step leaves in the lake, what is in it, and whether it is new."""

    stored: LakeObject
    examination: "Examination"
    is_downloaded: bool


def store_raw(
    lake: Lake,
    paths: ObjectPaths,
    table: Table,
    fetch: Fetch,
    log: logging.Logger,
    ensure: Ensure | None = None,
    *,
    first_rows: int = 0,
    replace: bool = False,
) -> RawFile:
    """Put the published file into the lake, byte for byte, unless the lake has it already.

    A file of the same bytes leaves the object and its generation: only what is said of it is new.
    An object that somebody else put into the lake stays, and the publisher is not asked.

    Args:
        lake: The lake.
        paths: Where the file lies in it.
        table: The table that the file is of.
        fetch: Fetches it.
        log: Gets warnings and the progress.
        ensure: Checks what the file must have beyond its columns.
        first_rows: How many rows the examination shows.
        replace: Whether the published file takes the place of whatever is there.

    Raises:
        PermanentError: The file is broken, or lacks what the table needs.
        TransientError: Somebody else has stored a file meanwhile.
    """
    before = newest_raw_objects(lake, paths)
    newest = next(iter(before), None)
    if newest and not is_fetched(newest) and not replace:
        return _keep(lake, table, ensure, newest, log, first_rows)
    return _fetch(lake, paths, table, ensure, fetch, before, log, first_rows, anew=replace)


def raw_objects(lake: Lake, paths: ObjectPaths) -> list[LakeObject]:
    """List the raw objects of a file, the newest first, which is the one that counts.

    An older one of another ending was left by a run that was killed before it could delete it, or
    lay there when somebody put the newer one beside it.
    """
    return [item for item in lake.find(paths.raw) if item.name in paths.raw_names]


def newest_raw_objects(lake: Lake, paths: ObjectPaths) -> list[LakeObject]:
    """List the raw objects of a file, the newest first; note on it when it was created.

    That lacks on an object whose run was killed as it stored it, and on one that an earlier release
    has stored: that is the one that the cleaned object was made of, or else a copy.
    """
    objects = raw_objects(lake, paths)
    if not objects:
        return objects
    newest, *older = objects
    noted = RawMetadata.parse(newest.metadata)
    if noted.source_url is None or noted.stored_at not in (None, PENDING):
        return objects
    cleaned = lake.get(paths.cleaned)
    of_earlier_release = (
        noted.stored_at is None
        and cleaned is not None
        and CleanedMetadata.parse(cleaned.metadata).raw_generation == newest.generation
    )
    if noted.stored_at == PENDING or of_earlier_release:
        newest = _annotate(lake, newest, RawMetadata(stored_at=newest.created))
    return [newest, *older]


def is_fetched(raw: LakeObject) -> bool:
    """Whether a run has fetched this raw object; otherwise somebody else put it there.

    A copy has the metadata of its original, but another time of creation than is noted there. A run
    that was killed as it stored the object has left the note pending.
    """
    noted = RawMetadata.parse(raw.metadata)
    return noted.source_url is not None and noted.stored_at in (raw.created, PENDING)


def not_published(raw: LakeObject) -> str:
    """Say that a raw object is not the publisher's, and how the publisher's comes back."""
    return (
        f"The month comes from {raw.uri}, which somebody else put into the lake. To have the "
        f"publisher's file again, delete it, or run raw with the tag {REPLACE_RAW}=true."
    )


@contextmanager
def not_published_named(raw: LakeObject) -> Iterator[None]:
    """Let an error about a file that is not the publisher's say so, and what to do."""
    try:
        yield
    except PermanentError as error:
        if is_fetched(raw):
            raise
        raise PermanentError(f"{error} {not_published(raw)}") from error


def note_counts(lake: Lake, raw: LakeObject, path: Path, rows: int) -> LakeObject:
    """Note on a raw object how many rows it has, and the SHA-256 of its copy at `path`."""
    noted = RawMetadata.parse(raw.metadata)
    stored_at = None
    if not is_fetched(raw) and noted.source_url is not None:
        # a copy of an object that an earlier release has stored: it is no original of ours
        stored_at = noted.stored_at or "unknown"
    counts = RawMetadata(rows=rows, sha256=sha256_of(path), stored_at=stored_at)
    if counts.to_metadata().items() <= raw.metadata.items():
        return raw
    return _annotate(lake, raw, counts)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(
    lake: Lake,
    table: Table,
    ensure: Ensure | None,
    raw: LakeObject,
    log: logging.Logger,
    first_rows: int,
) -> RawFile:
    """Leave a raw object that somebody else put into the lake, and count it."""
    from taxi_pipeline.tlc.reading import examine

    log.warning(f"{not_published(raw)} The publisher was not asked.")
    with scratch() as folder, not_published_named(raw):
        path = lake.download(raw, folder)
        examination = examine(path, first_rows)
        _ensure_usable(path, table, ensure)
        counted = note_counts(lake, raw, path, examination.rows)
        return RawFile(counted, examination, is_downloaded=False)


def _fetch(
    lake: Lake,
    paths: ObjectPaths,
    table: Table,
    ensure: Ensure | None,
    fetch: Fetch,
    before: list[LakeObject],
    log: logging.Logger,
    first_rows: int,
    *,
    anew: bool,
) -> RawFile:
    """Fetch the published file into the lake, unless it is the newest of the objects `before`.

    `anew` fetches it whatever the lake has.
    """
    from taxi_pipeline.tlc.reading import examine

    with scratch() as downloads, scratch() as stored:
        copy = None if anew else _intact_copy(lake, before, stored)
        with progress(f"Downloading {paths.stem}", log) as on_progress:
            fetched = fetch(downloads, copy and _version(copy[0]), partial(on_progress, 0))
        if copy and isinstance(fetched, NotModified):
            raw = copy[0]
            examination = examine(copy[1], first_rows)
        elif isinstance(fetched, Download):
            examination = examine(fetched.path, first_rows)
            _ensure_usable(fetched.path, table, ensure)
            origin = RawMetadata(
                source_url=fetched.url,
                stored_at=PENDING,
                etag=fetched.etag,
                last_modified=fetched.last_modified,
                sha256=fetched.sha256,
                rows=examination.rows,
            )
            raw = _store(lake, paths, fetched, origin, before, copy and copy[0], log)
    _delete_older(lake, paths, raw)  # what was served before, in another format
    return RawFile(raw, examination, isinstance(fetched, Download))


def _store(
    lake: Lake,
    paths: ObjectPaths,
    fetched: Download,
    origin: RawMetadata,
    before: list[LakeObject],
    intact: LakeObject | None,
    log: logging.Logger,
) -> LakeObject:
    """Store a fetched file beside or in place of the objects `before`; note when it was created.

    `intact` is the newest of them where its bytes are what a run has stored: the same bytes leave
    it as it is.
    """
    if _generations(raw_objects(lake, paths)) != _generations(before):
        raise TransientError(
            f"{lake.uri(paths.raw)}*: another file was stored while this one was fetched, "
            "which may be the older one: run the month again."
        )
    name = _raw_name(paths, fetched.path)
    if intact and (intact.name, RawMetadata.parse(intact.metadata).sha256) == (name, origin.sha256):
        unchanged = origin.to_metadata() | {"stored_at": intact.created}
        return lake.annotate(intact, unchanged)
    replaced = _generations(before).get(name, 0)
    with progress(f"Uploading {name}", log) as on_progress:
        raw = lake.upload(
            fetched.path, name, origin.to_metadata(), replaced, partial(on_progress, 0)
        )
    _give_way(lake, paths, raw, before)
    return _annotate(lake, raw, RawMetadata(stored_at=raw.created))


def _ensure_usable(path: Path, table: Table, ensure: Ensure | None) -> None:
    """Raise `PermanentError` where a file lacks a column, or what `ensure` asks for beyond."""
    from taxi_pipeline.tlc.reading import open_published

    source = open_published(path, table)
    if ensure:
        ensure(source)


def _annotate(lake: Lake, raw: LakeObject, noted: RawMetadata) -> LakeObject:
    return lake.annotate(raw, noted.to_metadata())


def _version(raw: LakeObject) -> FileVersion:
    """Return the version of the published file that a run has fetched."""
    noted = RawMetadata.parse(raw.metadata)
    return FileVersion(noted.source_url or "", noted.etag or "")


def _raw_name(paths: ObjectPaths, path: Path) -> str:
    """Return the raw object's name for a published file, which ends as the file's name does."""
    return next(
        f"{paths.raw}{ending}" for ending in paths.endings if path.name.endswith(f".{ending}")
    )


def _give_way(
    lake: Lake, paths: ObjectPaths, stored: LakeObject, before: Iterable[LakeObject]
) -> None:
    """Delete the stored object where somebody has put a file beside it while it was uploaded.

    Theirs is older by then, and would not count. Raises `TransientError`, since the next try finds
    it.
    """
    expected = _generations([*before, stored]).items()
    for other in raw_objects(lake, paths):
        if (other.name, other.generation) not in expected and not is_fetched(other):
            lake.delete(stored)
            raise TransientError(
                f"{other.uri} was put there by somebody else while the published file was stored: "
                "run the month again."
            )


def _delete_older(lake: Lake, paths: ObjectPaths, kept: LakeObject) -> None:
    """Delete the raw objects that a run has fetched before `kept`; all others stay."""
    objects = raw_objects(lake, paths)
    names = [each.name for each in objects]
    if kept.name in names:  # or else another run has replaced it
        for older in objects[names.index(kept.name) + 1 :]:
            if is_fetched(older):
                lake.delete(older)


def _generations(objects: Iterable[LakeObject]) -> dict[str, int]:
    return {each.name: each.generation for each in objects}


def _intact_copy(
    lake: Lake, objects: list[LakeObject], folder: Path
) -> tuple[LakeObject, Path] | None:
    """Copy the newest of the raw objects, unless there is none, or it is not what we stored."""
    newest = next(iter(objects), None)
    if newest is None or not is_fetched(newest):
        return None
    path = lake.download(newest, folder)
    is_intact = sha256_of(path) == RawMetadata.parse(newest.metadata).sha256
    return (newest, path) if is_intact else None
