"""Each setting that is missing or malformed is named, by itself and beside others."""

import pytest

from taxi_pipeline.doctor.context import Context, NotCheckedError
from taxi_pipeline.doctor.finding import Status
from taxi_pipeline.doctor.settings import check_settings
from taxi_pipeline.settings import _DEFAULTS, variables
from taxi_pipeline_tests.support.marked import MARK

MALFORMED = {
    "OPENLINEAGE_URL": f"https://ops:{MARK}@lineage.example.org",
    "TAXI_AUTOMATION": "yes",
    "TAXI_BIGQUERY_JOB_TIMEOUT": "soon",
    "TAXI_BIGQUERY_MAXIMUM_BYTES_BILLED": "5 GB",
    "TAXI_BIGQUERY_TIMEOUT": "0",
    "TAXI_BUCKET": "gs://a-lake",
    "TAXI_CHECK_DEPTH": "deep",
    "TAXI_DAGSTER_API_URL": "webserver:3000",
    "TAXI_DAGSTER_URL": f"https://ops:{MARK}@dagster.example.org",
    "TAXI_DATASET": "a-dataset",
    "TAXI_FEWER_ROWS_SHARE": "20%",
    "TAXI_GCP_PROJECT": "A Project",
    "TAXI_GCS_TIMEOUT": "1.5",
    "TAXI_HEARTBEAT_EVERY_SECONDS": "0",
    "TAXI_HEARTBEAT_TIMEOUT": "x",
    "TAXI_HEARTBEAT_URL": f"hc-ping.com/{MARK}",
    "TAXI_NOTIFY_TIMEOUT": "-1",
    "TAXI_NOTIFY_URL": f"slac://{MARK}/b/c",
    "TAXI_POSTGRES_CONNECT_TIMEOUT": "1h",
    "TAXI_POSTGRES_LOCK_TIMEOUT": "1e3",
    "TAXI_POSTGRES_TIMEOUT": "never",
    "TAXI_POSTGRES_URL": f"mysql://u:{MARK}@h/d",
    "TAXI_PUBLISHED_EVERY_SECONDS": "0",
    "TAXI_PUBLISHER_CONNECT_TIMEOUT": "x",
    "TAXI_PUBLISHER_DOWNLOAD_TIMEOUT": "x",
    "TAXI_PUBLISHER_LOOK_TIMEOUT": "x",
    "TAXI_PUBLISHER_READ_TIMEOUT": "x",
    "TAXI_PUBLISHER_URLS": "https://h/{service}.parquet",
    "TAXI_RECOUNT_DAYS": "monthly",
    "TAXI_REJECTED_SHARE": "5",
    "TAXI_RETRIES": "-1",
    "TAXI_RETRY_SECONDS": "0",
    "TAXI_SCHEDULE": "61 * * * *",
    "TAXI_ZONES_URL": "https://h/zones.parquet",
    "TAXI_ZONE_SHAPES_URL": "h/taxi_zones.zip",
}


def test_every_setting_can_be_malformed_below() -> None:
    # of the last two one's default is another setting's value, and one has none
    others = {"TAXI_DAGSTER_API_URL", "OPENLINEAGE_URL"}
    assert MALFORMED.keys() == {*variables(), *_DEFAULTS} | others


def test_settings_that_are_right_are_counted() -> None:
    finding = check_settings(Context(emulated=False))
    assert finding.status is Status.OK
    assert finding.message == "6 are set, the others have their defaults"


@pytest.mark.parametrize("variable", MALFORMED)
def test_a_malformed_setting_is_named_without_a_secret(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, MALFORMED[variable])
    finding = check_settings(Context(emulated=False))
    assert finding.status is Status.FAILED
    (problem,) = finding.details["problems"]
    assert problem == finding.message
    assert problem.startswith(variable)
    assert MARK not in problem


@pytest.mark.parametrize(
    "variable", [name for name, field in variables().items() if field.is_required()]
)
def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "")
    finding = check_settings(Context(emulated=False))
    assert finding.status is Status.FAILED
    assert finding.message.startswith(f"{variable}: not set. Set what .env.example shows")


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TAXI_BUCKET", "TAXI_ZONES_URL"):
        monkeypatch.delenv(variable)
    for variable in ("TAXI_RETRIES", "TAXI_POSTGRES_URL"):
        monkeypatch.setenv(variable, MALFORMED[variable])
    problems = check_settings(Context(emulated=False)).details["problems"]
    assert [problem.split()[0] for problem in problems] == [
        "TAXI_BUCKET,",
        "TAXI_POSTGRES_URL",
        "TAXI_RETRIES:",
    ]
    assert problems[0].startswith("TAXI_BUCKET, TAXI_ZONES_URL: not set.")


def test_what_a_wrong_setting_does_not_concern_is_checked_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TAXI_POSTGRES_TIMEOUT", "never")
    context = Context(emulated=False)
    assert context.lake.bucket == "a-lake"
    with pytest.raises(NotCheckedError, match="needs settings"):
        _ = context.postgres
