"""Which failures of the systems outside a retry can cure, for all that speak HTTP.

A store with signs of its own declares them in its package; docs/reliability.md has the tables. What
is wrong with a file or with a setting is found, and called permanent, where it is read.
"""

import errno
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from taxi_pipeline.errors import PermanentError, TransientError

if TYPE_CHECKING:
    import requests

# Of HTTP, which the publisher, Cloud Storage and BigQuery speak, and so is any other 5xx but those
# below. Any other status is permanent.
TRANSIENT_STATUSES = {
    408: "the server waited for us too long",
    425: "asked too early",
    429: "too many requests",
    500: "the server failed",
    502: "a gateway could not reach the server",
    503: "the server is busy or down",
    504: "a gateway waited too long",
}
# By RFC 9110, section 15, a status that is not known counts as the first of its class, here 500.
TRANSIENT_CLASSES = {
    "5xx": "the server, or a network before it, failed in another way, such as 507, 520 or 598",
}
_PERMANENT_SERVER_ERRORS = (501, 505)  # what the server does not know, it will not know later

# The reason in an answer of Google's APIs. It comes with statuses of all sorts (a rate limit with
# 403), so it counts before the status.
TRANSIENT_REASONS = {
    "backendError": "the service failed",
    "badGateway": "a gateway could not reach the service",
    "internalError": "the service failed",
    "rateLimitExceeded": "too many requests in a short time",
}

# Of our own disk.
TRANSIENT_ERRNOS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk's quota is used up",
    errno.EFBIG: "the file is larger than allowed",
}

# Without a status or a code; `diagnose_http` knows them by their types.
TRANSIENT_OTHERS = {
    "broken": "a connection could not be made, was cut, or broke off inside an answer",
    "timeout": "no answer, or no end of it, within the timeout that is set",
    "damaged": "a checksum does not match what arrived",
}

_DAMAGED = "doesn't match calculated"  # Cloud Storage's words for a checksum, with status 400

# A URL has no space in it, but may have quotes and brackets.
_QUERY = re.compile(r"\?\S+")
_USER = re.compile(r"(?<=://)[^\s/?]*@")
_MESSAGE_CHARACTERS = 1000


@dataclass(frozen=True)
class Diagnosis:
    """What a failure of a system outside means.

    Attributes:
        transient: Whether trying again can cure it.
        signs: What advice may go by: an HTTP status, or a code of the system's own.
        message: What the system said; None for the error's own words.
    """

    transient: bool
    signs: Collection[int | str] = ()
    message: str | None = None


def diagnose_http(error: Exception) -> Diagnosis | None:
    """Return what an error of HTTP, of a connection or of our own disk means.

    Args:
        error: An error of requests, urllib3, Google's clients or the operating system.

    Returns:
        The diagnosis; None for an error that no system outside has caused.
    """
    transient = _is_transient(error)
    if transient is None:
        return None
    if reason_of(error) in TRANSIENT_REASONS:  # whatever the status, which may be a refusal's
        return Diagnosis(transient=True)
    status = _status(error)
    return Diagnosis(transient, () if status is None else (status,))


@contextmanager
def classified(
    where: str,
    advice: Mapping[int, str] | Mapping[str, str] | Mapping[int | str, str] | None = None,
    diagnose: Callable[[Exception], Diagnosis | None] = diagnose_http,
) -> Iterator[None]:
    """Raise what a system outside fails with as one of our two errors; let all others pass.

    Args:
        where: What the message begins with.
        advice: By sign, the sentence that the message ends with; the first that applies.
        diagnose: Returns what an error means; None for one that the system has not caused.

    Raises:
        TransientError: Trying again can help.
        PermanentError: It cannot. Neither message shows a URL's query or user: there may be a
            signature in it, or a password.
    """
    try:
        yield
    except Exception as error:
        diagnosis = diagnose(error)
        if diagnosis is None:
            raise
        message = f"{where}: {message_of(diagnosis.message or error)}".rstrip(". ") + "."
        hints = (text for sign, text in (advice or {}).items() if sign in diagnosis.signs)
        if hint := next(hints, None):
            message = f"{message} {hint}"
        # without its cause, which would show the URL
        if diagnosis.transient:
            raise TransientError(message, _retry_after_of(error)) from None
        raise PermanentError(message) from None


def _is_transient(error: Exception) -> bool | None:
    """Return whether trying again can cure a failure of a system outside; None for other errors."""
    import requests
    import urllib3
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    match error:
        case GoogleAPICallError() | InvalidResponse():
            return is_transient_status(_status(error) or 0) or _DAMAGED in str(error)
        case GoogleAuthError() if not isinstance(error, TransportError):
            # the cause alone says it where a virtual machine's server of tokens was not reached
            return bool(error.retryable) or isinstance(error.__cause__, TransportError)
        case requests.exceptions.SSLError():
            return "CERTIFICATE_VERIFY_FAILED" not in str(error)
        case (
            requests.ConnectionError()
            | requests.Timeout()
            | requests.exceptions.ChunkedEncodingError()
            | urllib3.exceptions.HTTPError()
            | TransportError()
            | RetryError()
            | DataCorruption()
            | ConnectionError()
            | TimeoutError()
        ):
            return True
        case requests.RequestException():
            return False
        case OSError() if error.errno in TRANSIENT_ERRNOS:
            return True
    return None


def reason_of(error: Exception) -> str | None:
    """Return the reason that one of Google's APIs gave in the error; None for any other error."""
    details = getattr(error, "errors", None)
    first = details[0] if isinstance(details, list | tuple) and details else None
    return first.get("reason") if isinstance(first, Mapping) else None


def is_transient_status(status: int) -> bool:
    """Return whether trying again can cure what an HTTP server answered with this status."""
    is_server_error = 500 <= status <= 599 and status not in _PERMANENT_SERVER_ERRORS
    return status in TRANSIENT_STATUSES or is_server_error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return for how many seconds an answer's Retry-After asks us to wait, if it does.

    It is a number of seconds or a date, by RFC 9110, section 10.2.3; what is neither is ignored.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an error of Google's clients; None for any other."""
    status = getattr(error, "code", None) or getattr(_response(error), "status_code", None)
    return None if status is None else int(status)


def _response(error: Exception) -> "requests.Response | None":
    return getattr(error, "response", None)


def _retry_after_of(error: Exception) -> float | None:
    headers = getattr(_response(error), "headers", None)
    return None if headers is None else retry_after(headers)


def message_of(error: Exception | str) -> str:
    """Return an error's own words on one line, without any URL's query, user and password."""
    words = " ".join(str(getattr(error, "message", None) or error).split())
    return _USER.sub("…@", _QUERY.sub("?…", words))[:_MESSAGE_CHARACTERS] or type(error).__name__
