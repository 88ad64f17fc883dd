"""No error, log line or resource shows a secret; what a whole platform writes is in `live`."""

import base64
import json
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from psycopg import sql

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import TAXI_ZONES, YELLOW
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.cleaned import cleaned_file
from taxi_pipeline_tests.support.http import receiving, serving, status
from taxi_pipeline_tests.support.marked import KEY, MARK, PASSWORD, TOKEN


def service_account_key() -> dict[str, str]:
    """Return a key as Google's console gives it."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KEY | {"private_key": private.decode()}


def wrong_password(platform: Platform) -> object:
    url = platform.resources.postgres.url
    return tallies(f"postgresql://taxi:{quote(PASSWORD, safe='')}@{url.partition('@')[2]}")


def server_away(*_: object) -> object:
    return tallies(f"postgresql://taxi:{quote(PASSWORD, safe='')}@127.0.0.1:1/postgres")


def statement_that_fails(platform: Platform) -> None:
    with psycopg.connect(platform.resources.postgres.url, autocommit=True) as connection:
        its = {"role": sql.Identifier("powerless"), "password": sql.Literal(PASSWORD)}
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {role}").format(**its))
        connection.execute(sql.SQL("CREATE ROLE {role} LOGIN PASSWORD {password}").format(**its))
        connection.execute("CREATE SCHEMA IF NOT EXISTS tlc")
    url = platform.resources.postgres.url
    user = f"powerless:{quote(PASSWORD, safe='')}"
    database = Postgres(url=f"postgresql://{user}@{url.partition('@')[2]}")
    database.replace(cleaned_file(TAXI_ZONES, None, [], 0), "a-run")


def tallies(url: str) -> object:
    return Postgres(url=url).tallies(YELLOW.trips, YELLOW.total)


MALFORMED = [
    f"{MARK}",
    f"mysql://u:{MARK}@h/d",
    f"postgresql://u:a/{MARK}@h/d",
    f"postgresql://u:{MARK}/d",
    f"postgresql://u:{MARK}@h:5432/d?x",
]
WITH_SECRETS = [
    f"https://u:{MARK}@h/{{service}}_{{month}}.parquet",
    f"https://u:{MARK}@h/{{service}}.parquet",
    f"https://u:{MARK},{MARK}@h/{{service}}_{{month}}.parquet",
    f"https://u:{MARK}/{MARK}@h/{{service}}_{{month}}.parquet",
    f"https://u:{MARK}@[h/{{service}}_{{month}}.parquet",
    f"https://u:{MARK}{{@h/{{service}}_{{month}}.parquet",
    f"https://h/{{service}}_{{month}}.parquet?sig={MARK}",
    f"https://h/{{service}}_{{month}}.parquet#{MARK}",
]


@pytest.mark.parametrize("fails", [wrong_password, server_away, statement_that_fails])
def test_no_error_of_postgres_shows_a_password(
    platform: Platform, fails: Callable[[Platform], object]
) -> None:
    with pytest.raises((PermanentError, TransientError)) as caught:
        fails(platform)
    assert not shows(caught.value)


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_database_is_not_shown(platform: Platform, url: str) -> None:
    with pytest.raises(PermanentError, match="TAXI_POSTGRES_URL") as caught:
        tallies(url)
    assert not shows(caught.value)


@pytest.mark.parametrize("url", WITH_SECRETS)
def test_a_url_of_the_publisher_may_hold_no_secret_and_is_not_shown(
    url: str, tmp_path: Path
) -> None:
    publisher = Publisher(urls=url, zones_url=url.replace(".parquet", ".csv"))
    shapes = publisher.model_copy(update={"zone_shapes_url": url.replace(".parquet", ".zip")})
    for ask, variable in (
        (partial(publisher.fetch_month, YELLOW, Month(2021, 1), tmp_path), "TAXI_PUBLISHER_URLS"),
        (partial(publisher.look, YELLOW, Month(2021, 1)), "TAXI_PUBLISHER_URLS"),
        (partial(publisher.fetch_zones, tmp_path), "TAXI_ZONES_URL"),
        (partial(shapes.fetch_zone_shapes, tmp_path), "TAXI_ZONE_SHAPES_URL"),
    ):
        with pytest.raises(PermanentError, match=variable) as caught:
            ask()
        assert not shows(caught.value)


@pytest.mark.parametrize("store", ["lake", "warehouse"])
def test_a_key_that_google_refuses_is_not_shown(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    key = service_account_key()
    with serving({"/token": [status(400)]}) as (base, asked):
        encoded = base64.b64encode(json.dumps(key | {"token_uri": f"{base}/token"}).encode())
        monkeypatch.setenv("GCP_CREDENTIALS", encoded.decode())
        for variable in ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"):
            monkeypatch.delenv(variable)
        lake, warehouse = (
            Lake(bucket="taxi", project="taxi"),
            BigQuery(project="taxi", dataset="t"),
        )
        with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind
            lake.find("") if store == "lake" else warehouse.tallies(YELLOW.trips, YELLOW.total)
    assert {*asked} == {"/token"}
    told = "".join(traceback.format_exception(caught.value))
    assert [line for line in key["private_key"].splitlines()[1:-1] if line in told] == []
    assert encoded.decode()[:40] not in told


@pytest.mark.parametrize("code", [200, 403])
def test_a_service_that_takes_or_refuses_a_message_is_logged_without_its_token(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], code: int
) -> None:
    with receiving(code) as (url, _):
        notifier = Notifier(url=url.replace("//", f"//u:{TOKEN}@") + TOKEN)
        with nullcontext() if code == 200 else pytest.raises(TransientError) as caught:
            notifier.send("title", "body")
    assert caught is None or not shows(caught.value)
    assert MARK not in caplog.text + "".join(capfd.readouterr())


def test_no_resource_shows_its_secret() -> None:
    for resource in (
        Postgres(url=f"postgresql://u:{MARK}@h/d"),
        Notifier(url=f"slack://{MARK}"),
    ):
        assert MARK not in f"{resource!r} {resource} {resource.model_dump()}"


def shows(error: BaseException) -> bool:
    """Whether a secret is in an error, as a log shows it with all its causes."""
    return MARK in "".join(traceback.format_exception(error))
