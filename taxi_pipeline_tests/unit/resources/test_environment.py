import pytest

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.resources.environment import (
    automation_is_on,
    dagster_url,
    from_environment,
    published_every_seconds,
    ready,
    rejected_share,
    schedule_cron,
)


@pytest.mark.parametrize(
    ("text", "share"), [(None, 0.05), ("", 0.05), ("0.1", 0.1), ("0", 0), ("1", 1), ("1e-3", 0.001)]
)
def test_the_rejected_share_is_a_number_from_0_to_1(
    monkeypatch: pytest.MonkeyPatch, text: str | None, share: float
) -> None:
    monkeypatch.delenv("TAXI_REJECTED_SHARE", raising=False)
    if text is not None:
        monkeypatch.setenv("TAXI_REJECTED_SHARE", text)
    assert rejected_share() == share


@pytest.mark.parametrize("text", ["5%", "5", "-0.1", "nan", "0,05", "inf"])
def test_any_other_share_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TAXI_REJECTED_SHARE", text)
    with pytest.raises(PermanentError, match="TAXI_REJECTED_SHARE") as caught:
        rejected_share()
    assert f"'{text}' is not a share: write a number from 0 to 1" in str(caught.value)


def test_an_empty_dataset_is_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BUCKET", "GCP_PROJECT", "POSTGRES_URL", "PUBLISHER_URLS", "ZONES_URL"):
        monkeypatch.setenv(f"TAXI_{name}", "x")
    monkeypatch.setenv("TAXI_DATASET", "")
    assert from_environment().warehouse.dataset == "trips_data_all"
    assert ready().warehouse.dataset == "trips_data_all"


def test_automation_is_off_unless_it_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, on in (("", False), ("off", False), ("on", True)):
        monkeypatch.setenv("TAXI_AUTOMATION", text)
        assert automation_is_on() is on
    monkeypatch.setenv("TAXI_AUTOMATION", "yes")
    with pytest.raises(PermanentError, match="TAXI_AUTOMATION: 'yes' is neither on nor off"):
        automation_is_on()


def test_the_schedule_is_the_25th_at_6_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXI_SCHEDULE", "")
    assert schedule_cron() == "0 6 25 * *"
    monkeypatch.setenv("TAXI_SCHEDULE", "30 7 * * *")
    assert schedule_cron() == "30 7 * * *"


def test_dagsters_url_has_no_slash_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXI_DAGSTER_URL", "https://dagster.example.org/taxi/")
    assert dagster_url() == "https://dagster.example.org/taxi"
    monkeypatch.setenv("TAXI_DAGSTER_URL", "dagster")
    with pytest.raises(PermanentError, match="TAXI_DAGSTER_URL: 'dagster'"):
        dagster_url()


def test_the_publisher_is_looked_at_every_hour_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, seconds in (("", 3600), ("1", 1), ("86400", 86_400)):
        monkeypatch.setenv("TAXI_PUBLISHED_EVERY_SECONDS", text)
        assert published_every_seconds() == seconds


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1h", "1e3", " 5", "²", "\u0665"])
def test_any_other_number_of_seconds_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TAXI_PUBLISHED_EVERY_SECONDS", text)
    with pytest.raises(PermanentError, match=f"^TAXI_PUBLISHED_EVERY_SECONDS: '{text}' is not"):
        published_every_seconds()
