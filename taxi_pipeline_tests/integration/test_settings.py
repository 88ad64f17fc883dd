"""Settings that are missing or malformed: each names itself and says what to do."""

import base64
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from taxi_pipeline import settings
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.google import CloudStorage, GoogleBigQuery
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.cleaned import cleaned_file
from taxi_pipeline_tests.support.http import silent

SECRET = "s3cr3t-w0rd"
NOWHERE = LakeObject("no/such/object", "gs://taxi-local/no/such/object", 1, 1, "", {}, "AAAAAA==")


@pytest.mark.parametrize(
    "variable",
    [
        "TAXI_BUCKET",
        "TAXI_GCP_PROJECT",
        "TAXI_POSTGRES_URL",
        "TAXI_PUBLISHER_URLS",
        "TAXI_ZONES_URL",
    ],
)
def test_an_unset_variable_is_named(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(PermanentError) as caught:
        settings.load_resources()
    assert str(caught.value).startswith(f"{variable}: not set. ")
    assert "taxi local" in str(caught.value)


def test_the_dataset_has_a_default(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAXI_DATASET")
    assert settings.load_resources().bigquery.dataset == "trips_data_all"
    assert settings.resources_for_dagster().bigquery.dataset == "trips_data_all"


def test_the_postgres_url_is_checked_and_its_password_kept_to_itself(platform: Platform) -> None:
    for url in (
        f"mysql://u:{SECRET}@h/d",
        f"postgresql://u:{SECRET}@h:port:1/%zz",
        f"postgresql://u:p@{SECRET}@h/d",
        f"postgresql://u:p/{SECRET}@h/d",
        SECRET,
    ):
        assert SECRET not in repr(Postgres(url=url))
        with pytest.raises(PermanentError, match="TAXI_POSTGRES_URL") as caught:
            Postgres(url=url).tallies(YELLOW.trips, YELLOW.total)
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None
    uri = Postgres(url=f"postgresql://u:{SECRET}@db.example:5433/taxi").uri(YELLOW.trips)
    assert uri == "postgresql://db.example:5433/taxi/tlc.yellow_trips"


def test_a_wrong_password_is_no_reason_to_try_again(platform: Platform) -> None:
    url = platform.resources.postgres.url
    password = url.split(":")[2].split("@")[0]
    with pytest.raises(PermanentError, match=r"check TAXI_POSTGRES_URL.*password"):
        Postgres(url=url.replace(password, SECRET)).tallies(YELLOW.trips, YELLOW.total)


def test_a_server_without_a_free_connection_is_a_reason_to(platform: Platform) -> None:
    url = platform.resources.postgres.url
    with psycopg.connect(url) as connection:
        connection.execute("CREATE ROLE crowd LOGIN PASSWORD 'p' CONNECTION LIMIT 0")
    taxi = url.split("//")[1].split("@")[0]
    with pytest.raises(TransientError, match=r"cannot be reached.*too many connections"):
        Postgres(url=url.replace(taxi, "crowd:p")).tallies(YELLOW.trips, YELLOW.total)


def test_a_server_that_is_not_there_is_a_reason_to(platform: Platform) -> None:
    with pytest.raises(TransientError, match="PostgreSQL cannot be reached"):
        Postgres(url="postgresql://u:p@127.0.0.1:1/d").tallies(YELLOW.trips, YELLOW.total)


@pytest.mark.parametrize("dataset", ["a-b", "a.b", "a` WHERE 1=1 --", ""])
def test_a_dataset_that_is_no_name_never_reaches_a_query(platform: Platform, dataset: str) -> None:
    with pytest.raises(PermanentError, match="TAXI_DATASET"):
        BigQuery(project="taxi-local", dataset=dataset).tallies(YELLOW.trips, YELLOW.total)


@pytest.mark.parametrize("project", ["", "My Project", "a`b"])
def test_a_project_that_is_none_never_reaches_a_query(platform: Platform, project: str) -> None:
    with pytest.raises(PermanentError, match="TAXI_GCP_PROJECT"):
        BigQuery(project=project, dataset="trips").tallies(YELLOW.trips, YELLOW.total)


def test_a_table_that_is_not_there_has_no_rows(platform: Platform) -> None:
    nowhere = replace(YELLOW.trips, name="nowhere")
    assert platform.resources.bigquery.tallies(nowhere, None) == {}
    assert platform.resources.postgres.tallies(nowhere, None) == {}
    with pytest.raises(PermanentError, match="TAXI_DATASET"):
        BigQuery(project="taxi-local", dataset="elsewhere").tallies(YELLOW.trips, YELLOW.total)


def test_a_dataset_that_is_not_there_is_named(platform: Platform) -> None:
    with pytest.raises(PermanentError, match="Check TAXI_GCP_PROJECT and TAXI_DATASET"):
        BigQuery(project="taxi-local", dataset="elsewhere").replace(
            cleaned_file(YELLOW.trips, None, (), 0), "a-run"
        )


def test_an_object_that_is_not_there_is_named(platform: Platform, tmp_path: Path) -> None:
    lake = platform.resources.lake
    with pytest.raises(TransientError, match="no/such/object was replaced while it was read"):
        lake.download(NOWHERE, tmp_path)
    with pytest.raises(PermanentError, match="Check TAXI_BUCKET"):
        Lake(bucket="no-such-bucket", project="taxi-local").find("")


@pytest.fixture
def _no_emulators(platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST", "GCP_CREDENTIALS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))


def clients() -> list[Any]:
    storage = CloudStorage(project="p").get_client()
    with GoogleBigQuery(project="p").get_client() as bigquery:
        return [storage, bigquery]


@pytest.fixture
def key() -> dict[str, str]:
    """Return a service account's key, as Google's console gives it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "service_account",
        "project_id": "p",
        "private_key_id": "1",
        "private_key": private.decode(),
        "client_email": "loader@p.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }


@pytest.mark.usefixtures("_no_emulators")
def test_a_key_in_base64_serves_both_clients(
    monkeypatch: pytest.MonkeyPatch, key: dict[str, str]
) -> None:
    encoded = base64.b64encode(json.dumps(key).encode()).decode()
    monkeypatch.setenv("GCP_CREDENTIALS", encoded)
    for client in clients():
        assert client._credentials.service_account_email == key["client_email"]


@pytest.mark.usefixtures("_no_emulators")
def test_a_key_by_path_serves_both_clients(
    monkeypatch: pytest.MonkeyPatch, key: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(key))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    for client in clients():
        assert client._credentials.service_account_email == key["client_email"]


@pytest.mark.usefixtures("_no_emulators")
@pytest.mark.parametrize(
    "value", [SECRET, base64.b64encode(SECRET.encode()).decode(), base64.b64encode(b"{}").decode()]
)
def test_a_key_that_is_none_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("GCP_CREDENTIALS", value)
    with pytest.raises(PermanentError, match="not a service account's key") as caught:
        clients()
    assert value not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.usefixtures("_no_emulators")
def test_no_credentials_at_all_says_where_they_may_be() -> None:
    with pytest.raises(PermanentError, match="gcloud auth application-default login"):
        clients()


@pytest.mark.usefixtures("_no_emulators")
def test_a_token_is_waited_for_no_longer_than_the_timeout(
    monkeypatch: pytest.MonkeyPatch, key: dict[str, str]
) -> None:
    with silent() as url:
        encoded = base64.b64encode(json.dumps(key | {"token_uri": url}).encode()).decode()
        monkeypatch.setenv("GCP_CREDENTIALS", encoded)
        began = time.monotonic()
        with pytest.raises(TransientError, match=r"gs://a-bucket/.*timed out"):
            Lake(bucket="a-bucket", project="p", timeout=0.2).find("")
        with pytest.raises(TransientError, match=r"BigQuery: .*timed out"):
            BigQuery(project="my-project", dataset="d", timeout=0.2).tallies(YELLOW.trips, None)
        assert time.monotonic() - began < 20  # the client's own timeout is two minutes
