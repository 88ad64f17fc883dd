"""Which failures are transient, from the clients' own exceptions."""

import errno
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import psycopg
import pytest
import requests
from google.api_core.exceptions import Forbidden, GoogleAPICallError, RetryError, from_http_status
from google.auth.exceptions import RefreshError, TransportError
from google.cloud.storage.exceptions import DataCorruption

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.classification import (
    TRANSIENT_REASONS,
    TRANSIENT_SQLSTATES,
    TRANSIENT_STATUSES,
    classified,
    is_transient,
    retry_after,
)


def answered(status: int, **headers: str) -> GoogleAPICallError:
    response = requests.Response()
    response.status_code = status
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    error: GoogleAPICallError = from_http_status(status, "said", response=response)
    return error


@pytest.mark.parametrize("status", [*range(400, 418), *range(500, 506), 425, 429])
def test_a_status_is_transient_where_it_is_declared_so(status: int) -> None:
    assert is_transient(answered(status)) is (status in TRANSIENT_STATUSES)


@pytest.mark.parametrize("reason", [*TRANSIENT_REASONS, "accessDenied", "quotaExceeded", "invalid"])
def test_a_reason_of_bigquery_counts_before_its_status(reason: str) -> None:
    assert is_transient(Forbidden("said", errors=[{"reason": reason}])) is (
        reason in TRANSIENT_REASONS
    )


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
        (psycopg.OperationalError("FATAL:  the database system is starting up"), True),
        (psycopg.OperationalError("FATAL:  the database system is not yet accepting"), True),
        (psycopg.OperationalError("FATAL:  password authentication failed"), False),
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
        classified("PostgreSQL", {"42501": "Grant it.", "42": "Look."}),
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
