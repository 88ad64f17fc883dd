"""The publisher: TLC's published files over HTTP, whichever mirror has the month.

Knows URLs and what a publisher answers. What is in a file is for `tlc.reading` to find out.
"""

import hashlib
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.classification import classified, is_transient_status, retry_after
from taxi_pipeline.io.urls import refuse_secrets
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service
from taxi_pipeline.tlc.text import printable

if TYPE_CHECKING:
    import requests

_ENDINGS = (".csv.gz", ".parquet")

_CHUNK_BYTES = 1 << 20
_LARGEST_BYTES = 16 << 30  # the largest month of all has some 0.5 GB
_LATER_MONTHS = 3  # that are asked for where a month is missing
# of a header's value that is noted on what was fetched; Cloud Storage takes 8 KiB for all of them
_NOTED_CHARACTERS = 1000


@dataclass(frozen=True)
class Download:
    """A published file on the local disk, with what the publisher said of it.

    `size` in bytes; `etag` and `last_modified` as the headers gave them, empty where they did not
    or gave what is too long or does not print.
    """

    path: Path
    url: str
    etag: str
    last_modified: str
    size: int
    sha256: str


@dataclass(frozen=True)
class RemoteFile:
    """A published file that was not downloaded; `etag` and `last_modified` as in `Download`."""

    url: str
    etag: str
    last_modified: str


@dataclass(frozen=True)
class FileVersion:
    """A file that was fetched before: its URL, and the ETag that it had."""

    url: str
    etag: str


@dataclass(frozen=True)
class NotModified:
    """The publisher's answer that a file is still of the version that it was asked with."""


def _ignore_progress(size: int) -> None:
    """Report nothing."""


class Publisher(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where published files come from, in order of preference: the first that has a month wins."""

    variables: ClassVar = {
        "urls": "TAXI_PUBLISHER_URLS",
        "zones_url": "TAXI_ZONES_URL",
        "connect_timeout": "TAXI_PUBLISHER_CONNECT_TIMEOUT",
        "read_timeout": "TAXI_PUBLISHER_READ_TIMEOUT",
        "download_timeout": "TAXI_PUBLISHER_DOWNLOAD_TIMEOUT",
        "look_timeout": "TAXI_PUBLISHER_LOOK_TIMEOUT",
    }

    urls: str = Field(
        description="URL templates with {service} and {month}, separated by commas "
        "(TAXI_PUBLISHER_URLS)."
    )
    zones_url: str = Field(description="URL of the taxi zones, a CSV (TAXI_ZONES_URL).")
    connect_timeout: int = Field(
        default=10, description="Seconds to wait for a connection (TAXI_PUBLISHER_CONNECT_TIMEOUT)."
    )
    read_timeout: int = Field(
        default=300,
        description="Seconds to wait for the server's next bytes (TAXI_PUBLISHER_READ_TIMEOUT).",
    )
    download_timeout: int = Field(
        default=3600,
        description="Seconds that a whole download may take (TAXI_PUBLISHER_DOWNLOAD_TIMEOUT).",
    )
    look_timeout: int = Field(
        default=5,
        description="Seconds to wait for an answer where nothing is downloaded "
        "(TAXI_PUBLISHER_LOOK_TIMEOUT).",
    )

    def fetch_month(
        self,
        service: Service,
        month: Month,
        folder: Path,
        known_version: FileVersion | None = None,
        on_progress: Callable[[int], None] = _ignore_progress,
    ) -> Download | NotModified:
        """Download the published file of a month into `folder`, unless it is `known_version`.

        `on_progress` is called with the number of bytes received since the previous call.

        Raises `PermanentError` that names the month and every URL tried where none has it, and
        `TransientError` where a publisher could not be asked: another URL is no way out then. A
        month that is missing between published ones is a `TransientError`, too: publishers do not
        withdraw months, but may fail to find them.
        """
        urls = self._urls(service, month)
        for url in urls:
            answer = self._fetch(url, folder, known_version, on_progress)
            if answer is not None:
                return answer
            _refuse_to_change(url, known_version)
        tried = f"{' and '.join(urls)} do not have it"
        if later := self._later(service, month):
            raise TransientError(
                f"{service.name} {month} is missing: {tried}, although {later} is published. If it "
                "stays so, see whether they refuse us, or have withdrawn it."
            )
        raise PermanentError(
            f"{service.name} {month} is not published: {tried}. TLC publishes a month about two "
            "months after its end."
        )

    def look(
        self, service: Service, month: Month, known_version: FileVersion | None = None
    ) -> RemoteFile | NotModified | None:
        """Ask what `fetch_month` would find, without downloading; None where no URL has the month.

        Raises `TransientError` where a publisher could not be asked.
        """
        timeouts = (self.look_timeout, self.look_timeout)
        limit = _Limit(self.look_timeout, "TAXI_PUBLISHER_LOOK_TIMEOUT")
        for url in self._urls(service, month):
            read = partial(_remote_file, url)
            try:
                answer = _answer("HEAD", url, known_version, timeouts, limit, read)
            except _HeadRefusedError:
                # a byte, which is not read: an empty range cannot be asked for
                answer = _answer(
                    "GET", url, known_version, timeouts, limit, read, {"Range": "bytes=0-0"}
                )
            if answer is not None:
                return answer
            _refuse_to_change(url, known_version)
        return None

    def fetch_zones(
        self,
        folder: Path,
        known_version: FileVersion | None = None,
        on_progress: Callable[[int], None] = _ignore_progress,
    ) -> Download | NotModified:
        """Download the taxi zones into `folder`, unless they are `known_version`."""
        refuse_secrets(self.zones_url, "TAXI_ZONES_URL")
        _check_url(self.zones_url, "TAXI_ZONES_URL", (".csv",))
        answer = self._fetch(self.zones_url, folder, known_version, on_progress)
        if answer is None:
            raise PermanentError(
                f"The taxi zones are not at {self.zones_url}. Set TAXI_ZONES_URL to where they are."
            )
        return answer

    def _later(self, service: Service, month: Month) -> Month | None:
        """Return a later month that is published, of the next few that are due."""
        newest = Month.newest_published(date.today())  # noqa: DTZ011 - a day more or less is no matter
        for _ in range(_LATER_MONTHS):
            month = month.next
            if month > newest:
                break
            if self.look(service, month):
                return month
        return None

    def _urls(self, service: Service, month: Month) -> list[str]:
        return [
            template.format(service=service.name, month=month.key) for template in self._templates()
        ]

    def _templates(self) -> list[str]:
        refuse_secrets(self.urls, "TAXI_PUBLISHER_URLS")
        templates = [template.strip() for template in self.urls.split(",")]
        for template in templates:
            try:
                parsed = list(string.Formatter().parse(template))
            except ValueError as error:
                raise PermanentError(
                    f"TAXI_PUBLISHER_URLS: '{template}' is no URL template: {error}."
                ) from error
            fields = {name for _, name, _, _ in parsed if name is not None}
            if fields != {"service", "month"} or any(form or kind for _, _, form, kind in parsed):
                raise PermanentError(
                    f"TAXI_PUBLISHER_URLS: '{template}' must have {{service}} and {{month}} in it "
                    "and nothing else in braces; several templates are separated by commas."
                )
            _check_url(template, "TAXI_PUBLISHER_URLS", _ENDINGS)
        return templates

    def _fetch(
        self,
        url: str,
        folder: Path,
        known_version: FileVersion | None,
        on_progress: Callable[[int], None],
    ) -> Download | NotModified | None:
        """Fetch one URL; None where it is not published."""
        timeouts = (self.connect_timeout, self.read_timeout)
        limit = _Limit(self.download_timeout, "TAXI_PUBLISHER_DOWNLOAD_TIMEOUT")
        return _answer(
            "GET", url, known_version, timeouts, limit, partial(_save, url, folder, on_progress)
        )


@dataclass(frozen=True)
class _Limit:
    """How many seconds an exchange may last in all, and the setting that says so."""

    seconds: float
    setting: str


def _answer[T](
    method: str,
    url: str,
    known_version: FileVersion | None,
    timeouts: tuple[float, float],
    limit: _Limit,
    read: "Callable[[requests.Response], T]",
    headers: Mapping[str, str] | None = None,
) -> T | NotModified | None:
    """Ask for a URL, and `read` the answer if it has the file; None where it has not."""
    from taxi_pipeline.io.deadline import session_until

    with session_until(limit.seconds) as (session, deadline):
        try:
            with (
                classified(url),
                _request(
                    session, method, url, _headers(url, known_version, headers), timeouts
                ) as response,
            ):
                answer = _interpret(url, response, known_version, read)
        except TransientError:
            if not deadline.passed.is_set():
                raise
        if deadline.passed.is_set():
            raise TransientError(
                f"{url}: not all of the answer has arrived in {limit.seconds:g} s. If that is the "
                f"line's speed, set {limit.setting} higher."
            )
        return answer


def _request(
    session: "requests.Session",
    method: str,
    url: str,
    headers: dict[str, str],
    timeouts: tuple[float, float],
) -> "requests.Response":
    """Return the answer, its body unread, where redirects have led to it."""
    import requests

    try:
        return session.request(method, url, headers=headers, stream=True, timeout=timeouts)
    except ValueError as error:
        if isinstance(error, requests.RequestException):
            raise
        # without its cause, which may show a part of it
        raise PermanentError(f"{url}: a redirect leads to what is no URL.") from None


def _headers(
    url: str, known_version: FileVersion | None, others: Mapping[str, str] | None
) -> dict[str, str]:
    # Accept-Encoding: the published bytes themselves are wanted, gzip'd or not
    headers = {"Accept-Encoding": "identity", "User-Agent": "taxi_pipeline", **(others or {})}
    if known_version and known_version.url == url and known_version.etag:
        headers["If-None-Match"] = known_version.etag
    return headers


def _interpret[T](
    url: str,
    response: "requests.Response",
    known_version: FileVersion | None,
    read: "Callable[[requests.Response], T]",
) -> T | NotModified | None:
    if response.status_code == 304 and known_version:
        return NotModified()
    if _is_refusal_of_head(response):
        raise _HeadRefusedError
    if response.status_code == 404 or _is_missing_in_s3(response):
        return None
    status = f"{url} answered {response.status_code} {printable(response.reason)}"
    if response.status_code == 403:
        raise TransientError(
            f"{status}, and not as for a file that it does not have: the publisher refuses us, "
            "because it has blocked our address or we have asked too often. Ask again later.",
            retry_after(response.headers),
        )
    if is_transient_status(response.status_code):
        raise TransientError(f"{status}.", retry_after(response.headers))
    is_part = response.status_code == 206 and "Range" in response.request.headers
    if response.status_code != 200 and not is_part:
        raise PermanentError(
            f"{status}; 200 was expected. Check the address in TAXI_PUBLISHER_URLS and "
            "TAXI_ZONES_URL."
        )
    return read(response)


def _refuse_to_change(url: str, known_version: FileVersion | None) -> None:
    """Raise `TransientError` where a URL does not have the file that was fetched from it.

    Else a publisher that fails to find its files would make their months change their publisher.
    """
    if known_version and known_version.url == url:
        raise TransientError(
            f"{url} does not have the file that was fetched from it. If it has been withdrawn for "
            "good, take its publisher out of TAXI_PUBLISHER_URLS."
        )


class _HeadRefusedError(Exception):
    """The server does not take HEAD, but may take GET."""


def _is_refusal_of_head(response: "requests.Response") -> bool:
    """Return whether it may be the method alone that was refused.

    A mirror may redirect to a URL whose signature is for GET, and any server may not know HEAD.
    """
    codes = (401, 403, 405, 501) if response.history else (405, 501)
    return response.request.method == "HEAD" and response.status_code in codes


def _is_missing_in_s3(response: "requests.Response") -> bool:
    """Return whether an answer is Amazon S3's for a key that is not there, as TLC's bucket has it.

    CloudFront, which stands before that bucket, and mirrors answer 403 as well, to whom they have
    blocked. The headers tell them apart, because the answer to HEAD has no body. A URL with a query
    is a redirect's, with a signature that may be what was refused.
    """
    headers = response.headers
    is_limit = "Retry-After" in headers or headers.get("X-RateLimit-Remaining") == "0"
    is_s3 = "x-amz-request-id" in headers or (
        headers.get("Server") == "AmazonS3" and "xml" in headers.get("Content-Type", "")
    )
    is_signed = bool(urlsplit(response.url).query)
    return response.status_code == 403 and is_s3 and not is_limit and not is_signed


def _save(
    url: str, folder: Path, on_progress: Callable[[int], None], response: "requests.Response"
) -> Download:
    path = folder / urlsplit(url).path.rpartition("/")[2]
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        # undecoded: a server that labels the gzip as an encoding must not have it undone
        for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
            size += len(chunk)
            if size > _LARGEST_BYTES:
                raise PermanentError(
                    f"{url}: more than {_LARGEST_BYTES:,} bytes arrived, which no published file "
                    "has. Check what the publisher serves there."
                )
            file.write(chunk)
            digest.update(chunk)
            on_progress(len(chunk))
    remote = _remote_file(url, response)
    return Download(path, url, remote.etag, remote.last_modified, size, digest.hexdigest())


def _remote_file(url: str, response: "requests.Response") -> RemoteFile:
    return RemoteFile(
        url, _header_value(response, "ETag"), _header_value(response, "Last-Modified")
    )


def _header_value(response: "requests.Response", name: str) -> str:
    """Return a header's value, empty if it is none to note: then the file is only fetched again."""
    value = response.headers.get(name, "")
    return value if len(value) <= _NOTED_CHARACTERS and value.isprintable() else ""


def _check_url(url: str, variable: str, endings: tuple[str, ...]) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise PermanentError(f"{variable}: '{url}' is not an http(s) URL.")
    if not parts.path.endswith(endings):
        raise PermanentError(f"{variable}: '{url}' must end in {' or '.join(endings)}.")
