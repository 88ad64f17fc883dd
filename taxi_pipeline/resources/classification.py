"""Which failures of the systems outside a retry can cure: the one place that decides it.

What each system says to us is declared here with its meaning; docs/reliability.md has the table.
What is wrong with a file or with a setting is found, and called permanent, where it is read.
"""

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from taxi_pipeline.errors import PermanentError, TransientError

if TYPE_CHECKING:
    import psycopg
    import requests

# Of HTTP, which the publisher, Cloud Storage and BigQuery speak. Any other status is permanent.
TRANSIENT_STATUSES = {
    408: "the server waited for us too long",
    425: "asked too early",
    429: "too many requests",
    500: "the server failed",
    502: "a gateway could not reach the server",
    503: "the server is busy or down",
    504: "a gateway waited too long",
}

# Of a BigQuery job or answer, of https://docs.cloud.google.com/bigquery/docs/error-messages. They
# come with statuses of all sorts (a rate limit with 403), so the reason counts before the status.
TRANSIENT_REASONS = {
    "backendError": "BigQuery failed",
    "badGateway": "a gateway could not reach BigQuery",
    "internalError": "BigQuery failed",
    "jobBackendError": "BigQuery failed in the job",
    "jobInternalError": "BigQuery failed in the job",
    "jobRateLimitExceeded": "too many jobs in a short time",
    "rateLimitExceeded": "too many requests in a short time",
    "stopped": "somebody cancelled the job, or it took longer than it may",
    "tableUnavailable": "the table is being moved",
}

# Of PostgreSQL, https://www.postgresql.org/docs/current/errcodes-appendix.html: a SQLSTATE, or the
# class that it begins with. Any other is permanent.
TRANSIENT_SQLSTATES = {
    "08": "the connection broke",
    "25P03": "the transaction was idle for longer than the server allows",
    "25P04": "the transaction took longer than the server allows",
    "40": "the transaction was rolled back: a deadlock",
    "53": "the server has no more disk, memory or connections",
    "55006": "others use the object",
    "55P03": "others hold the lock",
    "57014": "somebody cancelled the statement, or it took longer than it may",
    "57P01": "the server is being stopped",
    "57P02": "the server crashed",
    "57P03": "the server is starting",
    "57P05": "the session was idle for longer than the server allows",
    "58": "the server's disk or system failed",
}

# Of our own disk.
TRANSIENT_ERRNOS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk's quota is used up",
    errno.EFBIG: "the file is larger than allowed",
}

# Without a status or a code; `is_transient` knows them by their types.
TRANSIENT_OTHERS = {
    "broken": "a connection could not be made, was cut, or broke off inside an answer",
    "timeout": "no answer, or no end of it, within the timeout that is set",
    "damaged": "a checksum does not match what arrived",
}

_DAMAGED = "doesn't match calculated"  # Cloud Storage's words for a checksum, with status 400

# A URL has no space in it, but may have quotes and brackets.
_QUERY = re.compile(r"\?\S+")
_USER = re.compile(r"(?<=://)[^\s/?]*@")
_SAID_CHARACTERS = 1000

# A server that refuses a connection answers FATAL and, by psycopg, no SQLSTATE.
_BUSY = re.compile(
    "starting up|shutting down|recovery mode|not yet accepting|too many|remaining connection slots"
)


@contextmanager
def classified(
    where: str, advice: Mapping[int, str] | Mapping[str, str] | None = None
) -> Iterator[None]:
    """Raise what a system outside fails with as one of our two errors; let all others pass.

    The message begins with `where`, and ends with the first `advice` for the HTTP status, the
    SQLSTATE or its class, if there is one. It shows no query of a URL, nor a user: there may be a
    signature in it, or a password.
    """
    try:
        yield
    except Exception as error:
        transient = is_transient(error)
        if transient is None:
            raise
        message = f"{where}: {_said(error)}".rstrip(". ") + "."
        signs = _signs(error)
        if hint := next((said for sign, said in (advice or {}).items() if sign in signs), None):
            message = f"{message} {hint}"
        # without its cause, which would show the URL
        if transient:
            raise TransientError(message, _retry_after_of(error)) from None
        raise PermanentError(message) from None


def is_transient(error: Exception) -> bool | None:
    """Return whether trying again can cure a failure of a system outside; None for other errors."""
    import psycopg
    import requests
    import urllib3
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    match error:
        case psycopg.Error():
            return _postgres_is_transient(error)
        case GoogleAPICallError() | InvalidResponse():
            return (
                _reason(error) in TRANSIENT_REASONS
                or _status(error) in TRANSIENT_STATUSES
                or _DAMAGED in str(error)
            )
        case GoogleAuthError() if not isinstance(error, TransportError):
            return bool(error.retryable)
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


def _postgres_is_transient(error: "psycopg.Error") -> bool:
    import psycopg

    state = error.sqlstate
    if state:
        return state in TRANSIENT_SQLSTATES or state[:2] in TRANSIENT_SQLSTATES
    refused = "FATAL:" in str(error)
    return isinstance(error, psycopg.OperationalError) and (
        not refused or bool(_BUSY.search(str(error)))
    )


def _signs(error: Exception) -> set[int | str | None]:
    """Return what advice may go by: the HTTP status, or the SQLSTATE and its class."""
    if _reason(error) in TRANSIENT_REASONS:  # whatever the status, which may be that of a refusal
        return set()
    state = getattr(error, "sqlstate", None)
    return {state, state[:2]} if state else {_status(error)}


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an error of Google's clients; None for any other."""
    status = getattr(error, "code", None) or getattr(_response(error), "status_code", None)
    return None if status is None else int(status)


def _reason(error: Exception) -> str | None:
    """Return the reason that BigQuery gave in the error."""
    details = getattr(error, "errors", None) or [{}]
    return details[0].get("reason") if isinstance(details[0], Mapping) else None


def _response(error: Exception) -> "requests.Response | None":
    return getattr(error, "response", None)


def _retry_after_of(error: Exception) -> float | None:
    headers = getattr(_response(error), "headers", None)
    return None if headers is None else retry_after(headers)


def _said(error: Exception) -> str:
    """Return the error's own words on one line, without any URL's query, user and password."""
    diagnosis = getattr(error, "diag", None)  # of PostgreSQL, which else quotes the statement too
    its = [diagnosis.message_primary, diagnosis.message_detail] if diagnosis else []
    said = ": ".join(filter(None, its)) or getattr(error, "message", None) or error
    words = " ".join(str(said).split())
    return _USER.sub("…@", _QUERY.sub("?…", words))[:_SAID_CHARACTERS] or type(error).__name__
