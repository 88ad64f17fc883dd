"""Which failures are transient, from the clients' own exceptions."""

import errno
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Thread

import psycopg
import pytest
import requests
from google.api_core.exceptions import Forbidden, GoogleAPICallError, RetryError, from_http_status
from google.auth.compute_engine import Credentials, _metadata
from google.auth.exceptions import RefreshError, TransportError
from google.auth.transport.requests import Request
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io import classification
from taxi_pipeline.io.classification import (
    TRANSIENT_STATUSES,
    classified,
    diagnose_http,
    retry_after,
)
from taxi_pipeline.resources.bigquery import errors as bigquery_errors
from taxi_pipeline.resources.bigquery.errors import TRANSIENT_REASONS
from taxi_pipeline.resources.postgres import errors as postgres_errors
from taxi_pipeline.resources.postgres.errors import TRANSIENT_SQLSTATES
from taxi_pipeline_tests.support.http import serving

REASONS = {**classification.TRANSIENT_REASONS, **TRANSIENT_REASONS}


def is_transient(error: Exception) -> bool | None:
    """Return what the diagnosis of an error is, of the system that it comes from.

    An error that none of the stores has signs of its own for is the same to all.
    """
    if isinstance(error, psycopg.Error):
        diagnosis = postgres_errors.diagnose(error)
    else:
        diagnosis = bigquery_errors.diagnose(error)
        if classification.reason_of(error) is None:
            assert diagnosis == diagnose_http(error) == postgres_errors.diagnose(error)
    return None if diagnosis is None else diagnosis.transient


class OtherError(Exception):
    """An error of somebody's who calls a method as Google's clients call a list."""

    def errors(self) -> list[str]:
        return []


def answered(status: int, **headers: str) -> GoogleAPICallError:
    response = requests.Response()
    response.status_code = status
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    error: GoogleAPICallError = from_http_status(status, "said", response=response)
    return error


@pytest.mark.parametrize("status", [*range(400, 418), *range(500, 505), 425, 429])
def test_a_status_is_transient_where_it_is_declared_so(status: int) -> None:
    assert is_transient(answered(status)) is (status in TRANSIENT_STATUSES)


@pytest.mark.parametrize("status", [507, 509, 511, 520, 521, 522, 523, 524, 529, 530, 598, 599])
def test_a_server_error_that_nobody_knows_is_transient(status: int) -> None:
    assert is_transient(answered(status)) is True
    assert is_transient(InvalidResponse(answered(status).response, "said")) is True


@pytest.mark.parametrize("status", [501, 505, 600, 999])
def test_what_a_server_cannot_do_is_permanent(status: int) -> None:
    assert is_transient(answered(status)) is False
    assert is_transient(InvalidResponse(answered(status).response, "said")) is False


@contextmanager
def refusing(message: str, sqlstate: str) -> Iterator[str]:
    """Refuse a connection as PostgreSQL and PgBouncer do; yield the server's URL."""
    fields = f"SFATAL\0VFATAL\0C{sqlstate}\0M{message}\0\0".encode()

    def refuse() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(10_000)  # the startup message
            connection.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = Thread(target=refuse)
        thread.start()
        yield f"postgresql://u@127.0.0.1:{server.getsockname()[1]}/d?sslmode=disable"
        thread.join()


@pytest.mark.parametrize(
    ("message", "sqlstate", "transient"),
    [
        ("no more connections allowed (max_client_conn)", "08P01", True),
        ("client connections exceeded (max_db_client_connections)", "08P01", True),
        ("client connections exceeded (max_user_client_connections)", "08P01", True),
        ("server login has been failing, try again later (server_login_retry)", "08P01", True),
        (
            "server login has been failing, cached error: connect failed (server_login_retry)",
            "08P01",
            True,
        ),
        ("query_wait_timeout", "08P01", True),
        ("unrecoverable: query_wait_timeout", "08P01", True),
        ("client_login_timeout", "08P01", True),
        ("client_login_timeout (server down)", "08P01", True),
        ("pgbouncer cannot connect to server", "08P01", True),
        ("server conn crashed?", "08P01", True),
        ("pooler is shutting down", "08P01", True),
        ("bouncer resources exhaustion", "08P01", True),
        ("Max client connections reached", "XX000", True),
        ("the database system is not accepting connections", "57P03", True),
        ("the database system is not yet accepting connections", "57P03", True),
        ("the database system is starting up", "57P03", True),
        ("the database system is shutting down", "57P03", True),
        ("the database system is in recovery mode", "57P03", True),
        ("canceling authentication due to timeout", "57014", True),
        ("terminating connection due to administrator command", "57P01", True),
        ("sorry, too many clients already", "53300", True),
        ('too many connections for role "taxi"', "53300", True),
        ("could not open relation mapping file: Too many open files in system", "53000", True),
        ("out of memory", "53200", True),
        ("could not write init file: No space left on device", "53100", True),
        ("no such database: taxi", "08P01", False),
        ('database "taxi" is disabled', "08P01", False),
        ('database "taxi" is not currently accepting connections', "55000", False),
        ('password authentication failed for user "taxi"', "28P01", False),
        ("SASL authentication failed", "08P01", False),
        ('no pg_hba.conf entry for host "10.0.0.5", user "taxi"', "28000", False),
        ('role "taxi" does not exist', "28000", False),
    ],
)
def test_a_refused_connection_is_transient_by_its_words(
    message: str, sqlstate: str, transient: bool
) -> None:
    with refusing(message, sqlstate) as url, pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(url, connect_timeout=10)
    assert f"FATAL:  {message}" in str(caught.value)
    assert is_transient(caught.value) is transient


def test_a_token_that_could_not_be_fetched_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    # as on a virtual machine, whose server of tokens is not there yet
    with serving({}) as (gone, _):
        pass
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", gone.removeprefix("http://"))
    monkeypatch.setattr(_metadata, "ExponentialBackoff", lambda total_attempts: range(1))
    with pytest.raises(RefreshError) as caught:
        Credentials().refresh(Request())
    assert caught.value.retryable is False
    assert is_transient(caught.value) is True
    with pytest.raises(TransientError), classified("BigQuery"):
        raise caught.value


def test_a_token_that_was_refused_is_permanent() -> None:
    refused = RefreshError("invalid_grant")
    refused.__cause__ = ValueError("no JSON")
    assert is_transient(refused) is False


@pytest.mark.parametrize("reason", [*REASONS, "accessDenied", "quotaExceeded", "invalid"])
def test_a_reason_of_bigquery_counts_before_its_status(reason: str) -> None:
    assert is_transient(Forbidden("said", errors=[{"reason": reason}])) is (reason in REASONS)


@pytest.mark.parametrize(
    "state",
    ["08006", "25P04", "40P01", "53100", "57P01", "57014", "55P03", "28P01", "42501", "22P02"],
)
def test_a_sqlstate_is_transient_where_it_or_its_class_is_declared_so(state: str) -> None:
    declared = bool({state, state[:2]} & TRANSIENT_SQLSTATES.keys())
    assert is_transient(psycopg.errors.lookup(state)("said")) is declared


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (psycopg.OperationalError("server closed the connection unexpectedly"), True),
        (psycopg.ProgrammingError("no results"), False),
        (requests.ConnectionError("refused"), True),
        (requests.ReadTimeout("slow"), True),
        (requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"), False),
        (requests.TooManyRedirects("a loop"), False),
        (TransportError("no token server"), True),
        (RefreshError("revoked"), False),
        (RefreshError("busy", retryable=True), True),
        (RetryError("gave up", None), True),
        (DataCorruption(None, "checksum"), True),
        (from_http_status(400, "Provided CRC32C doesn't match calculated CRC32C"), True),
        (TimeoutError(), True),
        (OSError(errno.ENOSPC, "full"), True),
        (OSError(errno.ENOENT, "missing"), None),
        (ExceptionGroup("of ours", [ValueError()]), None),
        (OtherError("of ours"), None),
        (ValueError("a fault of ours"), None),
    ],
)
def test_each_client_has_its_own_ways(error: Exception, transient: bool | None) -> None:
    assert is_transient(error) is transient


def test_the_error_says_where_what_and_what_to_do_and_shows_no_query() -> None:
    with (
        pytest.raises(PermanentError) as caught,
        classified("gs://bucket/x", {403: "Grant access."}),
    ):
        raise Forbidden("GET https://host/x?signature=s3cr3t: denied")
    assert str(caught.value) == "gs://bucket/x: GET https://host/x?… denied. Grant access."
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("state", "hint"), [("42501", " Grant it."), ("42P07", " Look."), ("22P02", "")]
)
def test_advice_goes_by_the_sqlstate_or_its_class(state: str, hint: str) -> None:
    with (
        pytest.raises(PermanentError) as caught,
        classified("PostgreSQL", {"42501": "Grant it.", "42": "Look."}, postgres_errors.diagnose),
    ):
        raise psycopg.errors.lookup(state)("denied")
    assert str(caught.value) == f"PostgreSQL: denied.{hint}"


@pytest.mark.parametrize(
    "url",
    [
        "https://host/x?signature=s3cr3t",
        "https://host/x?note=a)b&signature=s3cr3t",
        "https://host/x?note=a'b&signature=s3cr3t",
        "https://user:s3cr3t@host/x",
        "ftp://s3cr3t@host/x",
    ],
)
def test_no_secret_of_a_url_is_said(url: str) -> None:
    for said in (url, f"'{url}'", f"(url: {url}) (Caused by a fault)"):
        with pytest.raises(PermanentError) as caught, classified("https://host"):
            raise requests.exceptions.InvalidSchema(f"No connection adapters for {said}")
        assert "host" in str(caught.value)
        assert "s3cr3t" not in str(caught.value)


def test_advice_for_a_refusal_is_none_for_a_rate_limit() -> None:
    with pytest.raises(TransientError) as caught, classified("BigQuery", {403: "Grant access."}):
        raise Forbidden("too fast", errors=[{"reason": "rateLimitExceeded"}])
    assert str(caught.value) == "BigQuery: too fast."


def test_a_server_that_asks_to_wait_is_heeded() -> None:
    with pytest.raises(TransientError) as caught, classified("GCS"):
        raise answered(429, Retry_After="7")
    assert caught.value.retry_after == 7


def test_what_no_system_outside_has_said_passes() -> None:
    with pytest.raises(ValueError, match="ours"), classified("GCS"):
        raise ValueError("a fault of ours")


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after({"Retry-After": "120"}) == 120
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < (retry_after({"Retry-After": soon}) or 0) <= 60
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    assert retry_after({"Retry-After": past}) == 0
    no_time = f"Wed, 21 Oct {10**20} 07:28:00 GMT"
    out_of_range = "Fri, 31 Dec 9999 23:59:59 -0100"
    for said in ("", "soon", "-1", "٣", no_time, out_of_range):
        assert retry_after({"Retry-After": said}) is None
    assert retry_after({}) is None
