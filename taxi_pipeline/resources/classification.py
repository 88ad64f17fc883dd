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

# Of PostgreSQL, and of PgBouncer before it, where they refuse a connection: by psycopg such an
# error has no SQLSTATE. Any other refusal is permanent. Capitals and small letters count alike.
TRANSIENT_REFUSALS = {
    "starting up": "the server is starting",
    "not yet accepting": "the server is starting",
    "not accepting connections": "the server is a standby that takes none yet",
    "recovery mode": "the server recovers from a crash",
    "shutting down": "the server, or PgBouncer, is being stopped",
    "administrator command": "the server is being stopped, or somebody ended the session",
    "too many": "the server has no more connections, or its system no more files",
    "remaining connection slots": "the server has no more connections but an administrator's",
    "out of memory": "the server has no more memory",
    "no space left": "the server's disk is full",
    "authentication due to timeout": "the server was too busy to let us in",
    "no more connections allowed": "PgBouncer has no more connections",
    "connections exceeded": "PgBouncer has no more connections for the database or the role",
    "max client connections reached": "the pooler has no more connections",
    "resources exhaustion": "PgBouncer has no more memory",
    "cannot connect to server": "PgBouncer does not reach the server",
    "server login has been failing": "PgBouncer does not reach the server, and will try again",
    "server conn crashed": "PgBouncer's connection to the server broke",
    "query_wait_timeout": "PgBouncer had no connection to the server in time",
    "client_login_timeout": "PgBouncer was too busy to let us in",
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
_MESSAGE_CHARACTERS = 1000

_BUSY = re.compile("|".join(map(re.escape, TRANSIENT_REFUSALS)), re.IGNORECASE)


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
        message = f"{where}: {_message(error)}".rstrip(". ") + "."
        signs = _signs(error)
        if hint := next((text for sign, text in (advice or {}).items() if sign in signs), None):
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
                or is_transient_status(_status(error) or 0)
                or _DAMAGED in str(error)
            )
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


def _message(error: Exception) -> str:
    """Return the error's own words on one line, without any URL's query, user and password."""
    diagnosis = getattr(error, "diag", None)  # of PostgreSQL, which else quotes the statement too
    parts = [diagnosis.message_primary, diagnosis.message_detail] if diagnosis else []
    message = ": ".join(filter(None, parts)) or getattr(error, "message", None) or error
    words = " ".join(str(message).split())
    return _USER.sub("…@", _QUERY.sub("?…", words))[:_MESSAGE_CHARACTERS] or type(error).__name__
