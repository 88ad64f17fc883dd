"""The publisher's stand-in answers as the real ones do."""

from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import requests

from taxi_pipeline.local.publisher import ZONES, application, url_templates
from taxi_pipeline.tlc.month import Month
from taxi_pipeline_tests.support.http import serving_application

CSV = "/releases/yellow/yellow_tripdata_2021-01.csv.gz"
PARQUET = "/trip-data/green_tripdata_2023-05.parquet"
NEWEST = Month.newest_published(datetime.now(UTC).date())


class Client(requests.Session):
    """A session that knows where its server is."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        return super().request(method, self.base + url, *args, **kwargs)


@pytest.fixture
def generating(tmp_path: Path) -> Iterator[Client]:
    with serving_application(application(tmp_path, 100)) as base, Client(base) as client:
        yield client


def test_a_file_has_an_etag_a_date_and_ranges(generating: Client) -> None:
    whole = generating.get(CSV)
    assert whole.status_code == 200
    assert whole.headers["etag"]
    assert whole.headers["last-modified"]
    part = generating.get(CSV, headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, whole.content[2:6])
    head = generating.head(CSV)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.content))
    same = generating.get(CSV, headers={"If-None-Match": whole.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")


def test_generated_files_stay_as_they_are(generating: Client, tmp_path: Path) -> None:
    assert generating.get(CSV).headers["etag"] == generating.get(CSV).headers["etag"]
    assert [path.name for path in (tmp_path / CSV[1:]).parent.iterdir()] == [Path(CSV).name]


def test_parquet_months_and_zones_are_generated_too(generating: Client, tmp_path: Path) -> None:
    assert generating.get(PARQUET).status_code == 200
    assert pq.read_metadata(tmp_path / PARQUET[1:]).num_rows == 100
    assert generating.get(f"/{ZONES}").text.startswith('"LocationID"')


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/trip-data/yellow_tripdata_{NEWEST}.parquet", 200),
        (f"/trip-data/yellow_tripdata_{NEWEST.next}.parquet", 403),
        ("/trip-data/yellow_tripdata_2009-01.parquet", 200),
        ("/trip-data/yellow_tripdata_2008-12.parquet", 403),
        ("/trip-data/green_tripdata_2014-01.parquet", 200),
        ("/trip-data/green_tripdata_2013-12.parquet", 403),
        ("/trip-data/fhv_tripdata_2015-01.parquet", 200),
        ("/trip-data/fhv_tripdata_2014-12.parquet", 403),
        ("/trip-data/fhvhv_tripdata_2019-02.parquet", 200),
        ("/trip-data/fhvhv_tripdata_2019-01.parquet", 403),
        (f"/trip-data/fhvhv_tripdata_{NEWEST}.parquet", 200),
        ("/trip-data/yellow_tripdata_2021-13.parquet", 403),
        ("/trip-data/blue_tripdata_2021-01.parquet", 403),
        ("/releases/yellow/yellow_tripdata_2021-08.csv.gz", 404),
        ("/releases/yellow/green_tripdata_2021-01.csv.gz", 404),
        ("/releases/yellow/yellow_tripdata_2018-12.csv.gz", 404),
        ("/releases/yellow/yellow_tripdata_2021-07.csv.gz", 200),
        ("/releases/green/green_tripdata_2019-01.csv.gz", 200),
        ("/releases/green/green_tripdata_2018-12.csv.gz", 404),
        ("/releases/green/green_tripdata_2021-08.csv.gz", 404),
        ("/releases/fhv/fhv_tripdata_2018-12.csv.gz", 404),
        ("/releases/fhv/fhv_tripdata_2019-01.csv.gz", 200),
        ("/releases/fhv/fhv_tripdata_2019-12.csv.gz", 200),
        ("/releases/fhv/fhv_tripdata_2020-01.csv.gz", 404),
        ("/releases/fhvhv/fhvhv_tripdata_2020-12.csv.gz", 404),
        ("/releases/fhvhv/fhvhv_tripdata_2021-01.csv.gz", 200),
        ("/releases/fhvhv/fhvhv_tripdata_2021-06.csv.gz", 200),
        ("/releases/fhvhv/fhvhv_tripdata_2021-07.csv.gz", 404),
        ("/elsewhere", 404),
        ("/", 404),
    ],
)
def test_what_is_not_published_is_refused_as_by_the_real_ones(
    generating: Client, path: str, status: int
) -> None:
    assert generating.get(path).status_code == status


def test_what_tlc_has_not_published_is_refused_as_by_s3(generating: Client) -> None:
    path = f"/trip-data/yellow_tripdata_{NEWEST.next}.parquet"
    for method in ("GET", "HEAD"):
        refused = generating.request(method, path)
        assert refused.status_code == 403
        assert refused.headers["Server"] == "AmazonS3"
        assert refused.headers["Content-Type"].startswith("application/xml")
        assert refused.headers["x-amz-request-id"]
    assert "<Code>AccessDenied</Code>" in generating.get(path).text
    assert "Server" not in generating.get("/releases/yellow/yellow_tripdata_2021-08.csv.gz").headers


@pytest.mark.parametrize("path", ["/../../evil/x.txt", "/%2e%2e/evil/x.csv", "/some/where/x"])
def test_asking_for_anything_else_leaves_no_trace(
    generating: Client, tmp_path: Path, path: str
) -> None:
    host, _, port = generating.base.removeprefix("http://").partition(":")
    connection = HTTPConnection(host, int(port))  # requests would tidy the path
    connection.request("GET", path)
    assert connection.getresponse().status == 404
    connection.close()
    assert list(tmp_path.iterdir()) == []
    assert not (tmp_path.parent / "evil").exists()


def test_a_folder_is_served_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / CSV[1:]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"published")
    with serving_application(application(tmp_path, None)) as base, Client(base) as client:
        assert client.get(CSV).content == b"published"
        assert client.get(PARQUET).status_code == 403


def test_the_templates_name_what_is_served(generating: Client) -> None:
    mirror, tlc = url_templates("").split(",")
    assert generating.get(mirror.format(service="yellow", month="2021-01")).status_code == 200
    assert generating.get(tlc.format(service="yellow", month="2021-01")).status_code == 200
