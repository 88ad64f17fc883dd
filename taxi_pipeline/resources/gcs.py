"""The Dagster resource for Google Cloud Storage: the lake's bucket and its objects.

An upload is atomic and checksummed, so a reader sees the old object or the new one. What replaces
or deletes an object names the generation of it that is meant. Which objects there are, and what is
in them, is for `lake` to say.
"""

import base64
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from http import HTTPStatus
from io import BufferedReader, FileIO
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar
from urllib.parse import quote

import dagster as dg
from pydantic import Field

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.classification import classified
from taxi_pipeline.sink import Stamp

if TYPE_CHECKING:
    from google.cloud import storage

# Google's client would hold 100 MiB of a large file at a time; a multiple of 256 KiB.
_UPLOAD_CHUNK_BYTES = 16 << 20

_CONSOLE = "https://console.cloud.google.com/storage/browser/_details"

_BROWSER = "https://storage.cloud.google.com"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", re.ASCII)


class ReplacedError(TransientError):
    """An object of the lake is gone, or another one has taken its place."""


@dataclass(frozen=True)
class LakeObject:
    """An object of the lake.

    Attributes:
        name: The name in the bucket.
        uri: The `gs://` URI.
        size: The size in bytes.
        generation: Cloud Storage's number of this version.
        created: When its bytes arrived (ISO 8601).
        metadata: The custom metadata.
        crc32c: The CRC32C of its bytes, in base 64.
    """

    name: str
    uri: str
    size: int
    generation: int
    created: str
    metadata: dict[str, str]
    crc32c: str

    @property
    def stamp(self) -> Stamp:
        """Which version it is."""
        return Stamp(self.generation, self.crc32c)


class Lake(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The bucket. Google's client finds an emulator (STORAGE_EMULATOR_HOST) by itself.

    Raises, from every method that asks the server, `TransientError` where trying again can help;
    else `PermanentError`.
    """

    variables: ClassVar = {
        "bucket": "TAXI_BUCKET",
        "project": "TAXI_GCP_PROJECT",
        "timeout": "TAXI_GCS_TIMEOUT",
    }

    bucket: str = Field(description="The bucket's name, without gs:// (TAXI_BUCKET).")
    project: str = Field(description="The Google Cloud project (TAXI_GCP_PROJECT).")
    timeout: float = Field(
        default=60, description="Seconds to wait for the server's next bytes (TAXI_GCS_TIMEOUT)."
    )

    def uri(self, name: str) -> str:
        """Return the `gs://` URI of an object."""
        return f"gs://{self.bucket}/{name}"

    def link(self, name: str) -> str:
        """Return where people see an object: its page in Google's console, or the emulator's file.

        The emulator (STORAGE_EMULATOR_HOST) has no pages; there the link downloads the object.
        """
        return self._address(_CONSOLE, name)

    def page(self, name: str) -> str:
        """Return where a browser shows a web page of the bucket to who may read it.

        That is Google's address for people who are logged in, or the emulator's file.
        """
        return self._address(_BROWSER, name)

    def upload(
        self,
        path: Path,
        name: str,
        metadata: dict[str, str],
        replaced: int,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> LakeObject:
        """Put a file at `name`, replacing what is there in one step once all bytes have arrived.

        Its CRC32C goes ahead of it: Cloud Storage refuses bytes that do not match, and what was
        there stays.

        Args:
            path: The file.
            name: The object's name.
            metadata: The object's custom metadata.
            replaced: The generation of the object that is there; 0 for none.
            on_progress: Is called with the number of bytes of each part.

        Raises:
            TransientError: Another object is there than `replaced`, the bytes that arrived do not
                match, or Cloud Storage has lost them.
        """
        from google.api_core.exceptions import GoogleAPICallError, PreconditionFailed

        with self._errors_named(name):
            blob = self._bucket.blob(name, chunk_size=_UPLOAD_CHUNK_BYTES)
            blob.metadata = metadata
            blob.crc32c = checksum = _crc32c(path)
            # no checksum of the client's own: where the answer has another, it deletes the object
            try:
                with _ProgressFile(path, on_progress) as file:
                    blob.upload_from_file(
                        file,
                        size=path.stat().st_size,
                        content_type=guess_type(path.name)[0],
                        checksum=None,
                        if_generation_match=replaced,
                        **self._call_options,
                    )
            except PreconditionFailed:
                raise TransientError(
                    f"{self.uri(name)} was replaced by another run: run the month again."
                ) from None
            except GoogleAPICallError as error:
                if error.code != HTTPStatus.GONE:
                    raise
                raise TransientError(
                    f"{self.uri(name)}: Cloud Storage has lost the upload halfway."
                ) from None
            if blob.crc32c != checksum:
                raise TransientError(
                    f"{self.uri(name)}: Cloud Storage has got other bytes than those of {path.name}"
                    f" (CRC32C {blob.crc32c} instead of {checksum}). Run the month again."
                )
            return self._describe(blob)

    def download(self, item: LakeObject, folder: Path) -> Path:
        """Copy this version of an object into `folder` under its last name; check its checksum.

        Raises:
            ReplacedError: It is gone, or was replaced.
            TransientError: The checksum does not match.
        """
        path = folder / item.name.rpartition("/")[2]
        with self._version(item) as blob:
            # what a tool has stored with Content-Encoding: gzip would come decompressed
            blob.download_to_filename(str(path), raw_download=True, **self._call_options)
        return path

    @contextmanager
    def opened(self, item: LakeObject) -> Iterator[BinaryIO]:
        """Open this version of an object, to read parts of it.

        Yields:
            The object's bytes, seekable, which are fetched in parts of 256 KiB.

        Raises:
            ReplacedError: It is gone, or was replaced, before or in the context.
        """
        with self._version(item) as blob:
            blob.reload(**self._call_options)  # the reader would, with retries
            # small chunks: who reads a whole object downloads it
            with blob.open(
                "rb", chunk_size=1 << 18, raw_download=True, **self._call_options
            ) as file:
                yield file

    def annotate(self, item: LakeObject, metadata: dict[str, str]) -> LakeObject:
        """Add metadata to this version of an object. Its bytes and its generation stay.

        Args:
            item: The object.
            metadata: The entries to add, or to replace those of the same name.

        Returns:
            The object with all of its metadata.

        Raises:
            ReplacedError: It is gone, or was replaced.
        """
        with self._version(item) as blob:
            blob.metadata = item.metadata | metadata
            blob.patch(if_generation_match=item.generation, **self._call_options)
            # the emulator makes a generation of it, and answers without the rest
            return replace(item, generation=blob.generation, metadata=dict(blob.metadata))

    def ensure_current(self, item: LakeObject) -> None:
        """Raise `ReplacedError` where an object is gone, or another one has taken its place."""
        with self._version(item):
            newest = self._bucket.blob(item.name)
            newest.reload(**self._call_options)
        if newest.generation != item.generation:
            raise _replaced_error(item)

    @contextmanager
    def unchanged(self, item: LakeObject) -> Iterator[None]:
        """Ensure that an object is not replaced while the context lasts.

        Raises:
            ReplacedError: It was replaced. A `PermanentError` of the context gives way: the object
                that is there now may be good.
        """
        try:
            yield
        except PermanentError:
            self.ensure_current(item)
            raise
        self.ensure_current(item)

    def find(self, prefix: str) -> list[LakeObject]:
        """List the objects whose names begin with `prefix`, the newest first.

        Names that only begin so are among them, such as those of notes and backups.
        """
        with self._errors_named(prefix):
            blobs = list(self._bucket.list_blobs(prefix=prefix, **self._call_options))
        # by when its bytes arrived: to annotate an object makes it no newer
        blobs.sort(key=lambda blob: blob.time_created, reverse=True)
        return [self._describe(blob) for blob in blobs]

    def get(self, name: str) -> LakeObject | None:
        """Return the object of exactly that name; None where there is none."""
        return next((item for item in self.find(name) if item.name == name), None)

    def generation_of(self, name: str) -> int:
        """Return the generation of the object of that name, 0 where there is none."""
        item = self.get(name)
        return item.generation if item else 0

    def delete(self, item: LakeObject) -> None:
        """Delete this version of an object; one that is gone or replaced meanwhile stays so."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with self._errors_named(item.name), suppress(NotFound, PreconditionFailed):
            self._bucket.blob(item.name).delete(
                if_generation_match=item.generation, **self._call_options
            )

    def _address(self, base: str, name: str) -> str:
        """Return an object's address below a base, or below the emulator's where there is one."""
        base = os.environ.get("STORAGE_EMULATOR_HOST") or base
        return f"{base.rstrip('/')}/{self.bucket}/{quote(name)}"

    @property
    def _call_options(self) -> dict[str, Any]:
        """How a call is made: once, since it is steps that are tried again, and not for ever."""
        return {"retry": None, "timeout": self.timeout}

    @cached_property
    def _client(self) -> "storage.Client":
        from taxi_pipeline.io.google import CloudStorage

        return CloudStorage(project=self.project).get_client()

    @property
    def _bucket(self) -> "storage.Bucket":
        check_bucket_name(self.bucket)
        return self._client.bucket(self.bucket)

    def _describe(self, blob: "storage.Blob") -> LakeObject:
        return LakeObject(
            name=blob.name,
            uri=self.uri(blob.name),
            size=blob.size,
            generation=blob.generation,
            created=blob.time_created.isoformat(),
            metadata=dict(blob.metadata or {}),
            crc32c=blob.crc32c,
        )

    @contextmanager
    def _version(self, item: LakeObject) -> "Iterator[storage.Blob]":
        """Yield this version of an object; raise `ReplacedError` where it is gone meanwhile."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with self._errors_named(item.name):
            try:
                yield self._bucket.blob(item.name, generation=item.generation)
            except (NotFound, PreconditionFailed):
                raise _replaced_error(item) from None

    def _errors_named(self, name: str) -> AbstractContextManager[None]:
        """Say where an error of Cloud Storage's arose, and what to do about it."""
        return classified(
            self.uri(name),
            {
                403: "Grant the credentials in use access to the objects of TAXI_BUCKET.",
                404: "Check TAXI_BUCKET, and that the bucket and the object exist.",
            },
        )


def check_bucket_name(text: str) -> None:
    """Raise `PermanentError` where TAXI_BUCKET is no bucket's name."""
    if not _BUCKET.fullmatch(text):
        raise PermanentError(
            f"TAXI_BUCKET: '{text}' is not a bucket's name: lower-case letters, digits, dots, - "
            "and _, without gs://."
        )


class _ProgressFile(BufferedReader):
    """A file that reports how many bytes of it were read."""

    def __init__(self, path: Path, on_progress: Callable[[int], None]) -> None:
        super().__init__(FileIO(path))
        self._on_progress = on_progress

    def read(self, size: int | None = -1) -> bytes:
        """Read up to `size` bytes."""
        content = super().read(size)
        self._on_progress(len(content))
        return content


def _replaced_error(item: LakeObject) -> ReplacedError:
    return ReplacedError(f"{item.uri} was replaced while it was read: run the month again.")


def _crc32c(path: Path) -> str:
    """Return a file's CRC32C as Cloud Storage writes it: big-endian, in base64."""
    import google_crc32c

    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            checksum = google_crc32c.extend(checksum, chunk)
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()
