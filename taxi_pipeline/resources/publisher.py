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
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dagster as dg
from pydantic import Field

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.classification import classified, is_transient_status, retry_after
from taxi_pipeline.resources.urls import refuse_secrets
from taxi_pipeline.tlc.legible import legible
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service

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
class Published:
    """A published file that was not downloaded; `etag` and `last_modified` as in `Download`."""

    url: str
    etag: str
    last_modified: str


@dataclass(frozen=True)
class Unchanged:
    """The publisher's word that the file at `url` is still the one with that ETag."""

    url: str
    etag: str


def _unwatched(size: int) -> None:
    """Watch nothing."""


class Publisher(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where published files come from, in order of preference: the first that has a month wins."""

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
        known: Unchanged | None = None,
        arrived: Callable[[int], None] = _unwatched,
    ) -> Download | Unchanged:
        """Download the published file of a month into `folder`, unless it is the `known` one.

        `arrived` is told of the bytes as they come, so many since its last call.

        Raises `PermanentError` that names the month and every URL tried where none has it, and
        `TransientError` where a publisher could not be asked: another URL is no way out then. A
        month that is missing between published ones is a `TransientError`, too: publishers do not
        withdraw months, but may fail to find them.
        """
        urls = self._urls(service, month)
        for url in urls:
            found = self._fetch(url, folder, known, arrived)
            if found is not None:
                return found
            _refuse_to_change(url, known)
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
        self, service: Service, month: Month, known: Unchanged | None = None
    ) -> Published | Unchanged | None:
        """Ask what `fetch_month` would find, without downloading; None where no URL has the month.

        Raises `TransientError` where a publisher could not be asked.
        """
        timeouts = (self.look_timeout, self.look_timeout)
        limit = _Limit(self.look_timeout, "TAXI_PUBLISHER_LOOK_TIMEOUT")
        for url in self._urls(service, month):
            see = partial(_seen, url)
            try:
                found = _answer("HEAD", url, known, timeouts, limit, see)
            except _HeadRefusedError:
                # a byte, which is not read: an empty range cannot be asked for
                found = _answer("GET", url, known, timeouts, limit, see, {"Range": "bytes=0-0"})
            if found is not None:
                return found
            _refuse_to_change(url, known)
        return None

    def fetch_zones(
        self,
        folder: Path,
        known: Unchanged | None = None,
        arrived: Callable[[int], None] = _unwatched,
    ) -> Download | Unchanged:
        """Download the taxi zones into `folder`, unless they are the `known` ones."""
        refuse_secrets(self.zones_url, "TAXI_ZONES_URL")
        _check_url(self.zones_url, "TAXI_ZONES_URL", (".csv",))
        found = self._fetch(self.zones_url, folder, known, arrived)
        if found is None:
            raise PermanentError(
                f"The taxi zones are not at {self.zones_url}. Set TAXI_ZONES_URL to where they are."
            )
        return found

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
        self, url: str, folder: Path, known: Unchanged | None, arrived: Callable[[int], None]
    ) -> Download | Unchanged | None:
        """Fetch one URL; None where it is not published."""
        timeouts = (self.connect_timeout, self.read_timeout)
        limit = _Limit(self.download_timeout, "TAXI_PUBLISHER_DOWNLOAD_TIMEOUT")
        return _answer("GET", url, known, timeouts, limit, partial(_saved, url, folder, arrived))


@dataclass(frozen=True)
class _Limit:
    """How many seconds an exchange may last in all, and the setting that says so."""

    seconds: float
    setting: str


def _answer[T](
    method: str,
    url: str,
    known: Unchanged | None,
    timeouts: tuple[float, float],
    limit: _Limit,
    read: "Callable[[requests.Response], T]",
    headers: Mapping[str, str] | None = None,
) -> T | Unchanged | None:
    """Ask for a URL, and `read` the answer if it has the file; None where it has not."""
    from taxi_pipeline.resources.deadline import session_until

    with session_until(limit.seconds) as (session, deadline):
        try:
            with (
                classified(url),
                _asked(session, method, url, _headers(url, known, headers), timeouts) as response,
            ):
                answer = _judged(url, response, known, read)
        except TransientError:
            if not deadline.passed.is_set():
                raise
        if deadline.passed.is_set():
            raise TransientError(
                f"{url}: not all of the answer has arrived in {limit.seconds:g} s. If that is the "
                f"line's speed, set {limit.setting} higher."
            )
        return answer


def _asked(
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


def _headers(url: str, known: Unchanged | None, others: Mapping[str, str] | None) -> dict[str, str]:
    # Accept-Encoding: the published bytes themselves are wanted, gzip'd or not
    headers = {"Accept-Encoding": "identity", "User-Agent": "taxi_pipeline", **(others or {})}
    if known and known.url == url and known.etag:
        headers["If-None-Match"] = known.etag
    return headers


def _judged[T](
    url: str,
    response: "requests.Response",
    known: Unchanged | None,
    read: "Callable[[requests.Response], T]",
) -> T | Unchanged | None:
    if response.status_code == 304 and known:
        return known
    if _is_refusal_of_head(response):
        raise _HeadRefusedError
    if response.status_code == 404 or _is_missing_in_s3(response):
        return None
    said = f"{url} answered {response.status_code} {legible(response.reason)}"
    if response.status_code == 403:
        raise TransientError(
            f"{said}, and not as for a file that it does not have: the publisher refuses us, "
            "because it has blocked our address or we have asked too often. Ask again later.",
            retry_after(response.headers),
        )
    if is_transient_status(response.status_code):
        raise TransientError(f"{said}.", retry_after(response.headers))
    is_part = response.status_code == 206 and "Range" in response.request.headers
    if response.status_code != 200 and not is_part:
        raise PermanentError(
            f"{said}; 200 was expected. Check the address in TAXI_PUBLISHER_URLS and "
            "TAXI_ZONES_URL."
        )
    return read(response)


def _refuse_to_change(url: str, known: Unchanged | None) -> None:
    """Raise `TransientError` where a URL does not have the file that was fetched from it.

    Else a publisher that fails to find its files would make their months change their publisher.
    """
    if known and known.url == url:
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


def _saved(
    url: str, folder: Path, arrived: Callable[[int], None], response: "requests.Response"
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
            arrived(len(chunk))
    seen = _seen(url, response)
    return Download(path, url, seen.etag, seen.last_modified, size, digest.hexdigest())


def _seen(url: str, response: "requests.Response") -> Published:
    return Published(url, _noted(response, "ETag"), _noted(response, "Last-Modified"))


def _noted(response: "requests.Response", name: str) -> str:
    """Return a header's value, empty if it is none to note: then the file is only fetched again."""
    value = response.headers.get(name, "")
    return value if len(value) <= _NOTED_CHARACTERS and value.isprintable() else ""


def _check_url(url: str, variable: str, endings: tuple[str, ...]) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise PermanentError(f"{variable}: '{url}' is not an http(s) URL.")
    if not parts.path.endswith(endings):
        raise PermanentError(f"{variable}: '{url}' must end in {' or '.join(endings)}.")
