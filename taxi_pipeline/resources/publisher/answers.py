"""What a publisher answers over HTTP, and what it means: a file, none, an unchanged one, a failure.

Which URLs are asked is `resource`'s.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.classification import classified, is_transient_status, retry_after
from taxi_pipeline.tlc.text import printable

if TYPE_CHECKING:
    import requests

_CHUNK_BYTES = 1 << 20
_LARGEST_BYTES = 16 << 30  # the largest month of all has some 0.5 GB
# of a header's value that is noted on what was fetched; Cloud Storage takes 8 KiB for all of them
_NOTED_CHARACTERS = 1000
_SIZE_DIGITS = 15  # of the bytes of a file: more are no size, and hard to reckon with


@dataclass(frozen=True)
class Download:
    """A published file on the local disk, with what the publisher said of it.

    Attributes:
        path: The file.
        url: The URL that was asked.
        etag: The ETag as the header gave it; empty where there was none, or it is more than 1,000
            characters long, or does not print.
        last_modified: Last-Modified, in the same way.
        size: The size in bytes.
        sha256: The SHA-256, in hex.
    """

    path: Path
    url: str
    etag: str
    last_modified: str
    size: int
    sha256: str


@dataclass(frozen=True)
class RemoteFile:
    """A published file that was not downloaded.

    Attributes:
        url: The URL that was asked.
        etag: As in `Download`.
        last_modified: As in `Download`.
        size: The size in bytes; None where the publisher does not say it.
    """

    url: str
    etag: str
    last_modified: str
    size: int | None


@dataclass(frozen=True)
class FileVersion:
    """A file that was fetched before.

    Attributes:
        url: Its URL.
        etag: The ETag that it had; empty for none.
    """

    url: str
    etag: str


@dataclass(frozen=True)
class NotModified:
    """The publisher's answer that a file is still of the version that it was asked with."""


@dataclass(frozen=True)
class Limit:
    """How long an exchange may last in all.

    Attributes:
        seconds: The limit in seconds.
        setting: The environment variable that sets it, for messages.
    """

    seconds: float
    setting: str


def ask[T](
    method: str,
    url: str,
    known_version: FileVersion | None,
    timeouts: tuple[float, float],
    limit: Limit,
    read: "Callable[[requests.Response], T]",
    headers: Mapping[str, str] | None = None,
) -> T | NotModified | None:
    """Ask for a URL, and read the answer if it has the file.

    Args:
        method: GET or HEAD.
        url: The URL.
        known_version: The version that is there already.
        timeouts: Seconds to wait for a connection, and for the server's next bytes.
        limit: How long all of it may take.
        read: Reads an answer that has the file.
        headers: Headers of the request, beside those of every request.

    Returns:
        What `read` returns; `NotModified` where the file is still `known_version`; None where the
        URL has no file.

    Raises:
        PermanentError: The answer is one that asking again cannot change.
        TransientError: The publisher could not be asked, or not to the end.
        HeadRefusedError: It refused HEAD.
    """
    from taxi_pipeline.resources.publisher.deadline import session_until

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


def ask_for_headers[T](
    url: str,
    known_version: FileVersion | None,
    limit: Limit,
    read: "Callable[[requests.Response], T]",
) -> T | NotModified | None:
    """Ask for a URL without its body, by HEAD, or by GET where a server refuses HEAD.

    Args:
        url: The URL.
        known_version: The version that is there already.
        limit: How long each exchange may take.
        read: Reads the headers of an answer that has the file.

    Returns:
        As `ask`.

    Raises:
        PermanentError: The answer is one that asking again cannot change.
        TransientError: The publisher could not be asked.
    """
    timeouts = (limit.seconds, limit.seconds)
    try:
        return ask("HEAD", url, known_version, timeouts, limit, read)
    except HeadRefusedError:
        # a byte, which is not read: an empty range cannot be asked for
        one_byte = {"Range": "bytes=0-0"}
        return ask("GET", url, known_version, timeouts, limit, read, one_byte)


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
    if response.status_code == 304 and "If-None-Match" in response.request.headers:
        return NotModified()
    if _is_refusal_of_head(response):
        raise HeadRefusedError
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
            f"{status}; 200 was expected. Check the address in TAXI_PUBLISHER_URLS, "
            "TAXI_ZONES_URL and TAXI_ZONE_SHAPES_URL."
        )
    return read(response)


def refuse_to_change(url: str, known_version: FileVersion | None) -> None:
    """Raise `TransientError` where a URL that has no file is the one of the known file.

    Else a publisher that fails to find its files would make their months change their publisher.

    Args:
        url: The URL that has no file.
        known_version: The file that was fetched before; None for none.
    """
    if known_version and known_version.url == url:
        raise TransientError(
            f"{url} does not have the file that was fetched from it. If it has been withdrawn for "
            "good, take its publisher out of TAXI_PUBLISHER_URLS."
        )


class HeadRefusedError(Exception):
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


def save(
    url: str, folder: Path, on_progress: Callable[[int], None], response: "requests.Response"
) -> Download:
    """Write an answer's body into a folder, under the URL's last name; no gzip is undone.

    Args:
        url: The URL that was asked.
        folder: The folder.
        on_progress: Is called with the number of bytes received since the previous call.
        response: The answer, its body unread.

    Raises:
        PermanentError: More than 16 GiB arrived, which no published file has.
    """
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
    remote = remote_file(url, response)
    return Download(path, url, remote.etag, remote.last_modified, size, digest.hexdigest())


def remote_file(url: str, response: "requests.Response") -> RemoteFile:
    """Return what an answer's headers say of the file."""
    return RemoteFile(
        url,
        _header_value(response, "ETag"),
        _header_value(response, "Last-Modified"),
        _size(response),
    )


def _size(response: "requests.Response") -> int | None:
    """Return the file's size, of which the answer may have a part alone."""
    if response.status_code == 206:
        text = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        text = response.headers.get("Content-Length", "")
    is_size = text.isascii() and text.isdecimal() and len(text) <= _SIZE_DIGITS
    return int(text) if is_size else None


def _header_value(response: "requests.Response", name: str) -> str:
    """Return a header's value, empty if it is none to note: then the file is only fetched again."""
    value = response.headers.get(name, "")
    return value if len(value) <= _NOTED_CHARACTERS and value.isprintable() else ""
