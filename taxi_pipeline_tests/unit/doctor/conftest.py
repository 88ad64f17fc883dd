"""What the doctor's tests share: settings that are complete, and Google at the HTTP edge."""

from collections.abc import Iterator

import pytest

from taxi_pipeline.doctor import google
from taxi_pipeline.doctor.context import Context
from taxi_pipeline.settings import _DEFAULTS, variables
from taxi_pipeline_tests.support.google import (
    BUCKET,
    DATASET,
    PROJECT,
    FakeGoogle,
    serving_google,
)

SETTINGS = {
    "TAXI_BUCKET": BUCKET,
    "TAXI_DATASET": DATASET,
    "TAXI_GCP_PROJECT": PROJECT,
    "TAXI_POSTGRES_URL": "postgresql://taxi:pass@127.0.0.1:1/trips",
    "TAXI_PUBLISHER_URLS": "http://127.0.0.1:1/{service}_{month}.parquet",
    "TAXI_ZONES_URL": "http://127.0.0.1:1/zones.csv",
}


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what is required, and nothing else."""
    for name in (*variables(), *_DEFAULTS, "GCP_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="package")
def _google() -> Iterator[tuple[FakeGoogle, str]]:
    with serving_google() as served:
        yield served


@pytest.fixture
def fake(_google: tuple[FakeGoogle, str], monkeypatch: pytest.MonkeyPatch) -> FakeGoogle:
    """Return Google, whose APIs have no answers yet."""
    answers, url = _google
    answers.answers.clear()
    answers.asked.clear()
    for variable in ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"):
        monkeypatch.setenv(variable, url)
    monkeypatch.setattr(google, "_RESOURCE_MANAGER", url)
    return answers


@pytest.fixture
def context(fake: FakeGoogle) -> Iterator[Context]:
    """Return the checks' context, in which the clients ask Google, and no emulator."""
    with Context(emulated=False).closed() as each:
        yield each
