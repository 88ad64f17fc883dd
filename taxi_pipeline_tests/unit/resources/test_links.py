"""Where people see what a store holds: pages of Google's console."""

import pytest

from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.tlc.services import GREEN

LAKE = Lake(bucket="taxi-lake", project="taxi")
OBJECT = "https://console.cloud.google.com/storage/browser/_details/taxi-lake/"


@pytest.fixture(autouse=True)
def _no_emulators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)


def test_an_object_has_a_page_in_the_console() -> None:
    name = "raw/green/green_tripdata_2021-01.csv.gz"
    assert LAKE.link(name) == OBJECT + name


def test_a_web_page_has_an_address_for_browsers(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "status/index.html"
    assert LAKE.page(name) == f"https://storage.cloud.google.com/taxi-lake/{name}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9/")
    assert LAKE.page(name) == LAKE.link(name) == f"http://127.0.0.1:9/taxi-lake/{name}"


def test_what_has_a_meaning_in_a_url_is_escaped_in_an_objects_name() -> None:
    assert LAKE.link("raw/a b?c#d%2F&é.csv") == OBJECT + "raw/a%20b%3Fc%23d%252F%26%C3%A9.csv"


def test_a_table_has_a_page_in_the_console() -> None:
    assert BigQuery(project="example.com:taxi", dataset="trips").link(GREEN.trips) == (
        "https://console.cloud.google.com/bigquery"
        "?p=example.com%3Ataxi&d=trips&t=green_trips&page=table"
    )


def test_the_emulators_tables_have_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:9")
    assert BigQuery(project="taxi", dataset="trips").link(GREEN.trips) is None
