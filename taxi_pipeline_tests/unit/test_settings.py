import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.resources.publisher.urls import url_templates
from taxi_pipeline.settings import (
    _DEFAULTS,
    automation_is_on,
    check_depth,
    dagster_api_url,
    dagster_url,
    fewer_rows_share,
    load_resources,
    published_every_seconds,
    recount_days,
    rejected_share,
    resources_for_dagster,
    retries,
    schedule_cron,
    variables,
)
from taxi_pipeline.tlc.addresses import ADDRESSES

SHARES = [
    pytest.param("TAXI_REJECTED_SHARE", rejected_share, 0.05, id="rejected"),
    pytest.param("TAXI_FEWER_ROWS_SHARE", fewer_rows_share, 0.2, id="fewer rows"),
]


@pytest.mark.parametrize(("name", "read", "default"), SHARES)
@pytest.mark.parametrize(
    ("text", "share"), [(None, None), ("", None), ("0.1", 0.1), ("0", 0), ("1", 1), ("1e-3", 0.001)]
)
def test_a_share_is_a_number_from_0_to_1(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    read: Callable[[], float],
    default: float,
    text: str | None,
    share: float | None,
) -> None:
    monkeypatch.delenv(name, raising=False)
    if text is not None:
        monkeypatch.setenv(name, text)
    assert read() == (default if share is None else share)


@pytest.mark.parametrize(("name", "read", "default"), SHARES)
@pytest.mark.parametrize("text", ["5%", "5", "-0.1", "nan", "0,05", "inf"])
def test_any_other_share_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    read: Callable[[], float],
    default: float,
    text: str,
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(PermanentError) as caught:
        read()
    said = f"{name}: '{text}' is not a share: write a number from 0 to 1, such as {default} for "
    assert str(caught.value).startswith(said)


@pytest.fixture
def _required(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, field in variables().items():
        if field.is_required():
            monkeypatch.setenv(name, "x")


@pytest.mark.usefixtures("_required")
def test_an_empty_dataset_is_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXI_DATASET", "")
    assert resources_for_dagster().bigquery.dataset == "trips_data_all"
    assert load_resources().bigquery.dataset == "trips_data_all"


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


def test_programs_reach_dagster_where_people_do_unless_it_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TAXI_DAGSTER_API_URL", "")
    monkeypatch.setenv("TAXI_DAGSTER_URL", "https://dagster.example.org/taxi")
    assert dagster_api_url() == "https://dagster.example.org/taxi"
    monkeypatch.setenv("TAXI_DAGSTER_API_URL", "http://webserver:3000/")
    assert dagster_api_url() == "http://webserver:3000"
    assert dagster_url() == "https://dagster.example.org/taxi"
    monkeypatch.setenv("TAXI_DAGSTER_API_URL", "webserver:3000")
    with pytest.raises(PermanentError, match="TAXI_DAGSTER_API_URL: 'webserver:3000'"):
        dagster_api_url()


@pytest.mark.parametrize(
    "url",
    [
        "https://ops:s3cr3t@dagster.example.org",
        "https://s3cr3t@dagster.example.org/taxi",
        "https://dagster.example.org/?token=s3cr3t",
        "https://dagster.example.org/#s3cr3t",
        "ops:s3cr3t@dagster.example.org",
    ],
)
def test_dagsters_url_has_nothing_in_it_that_nobody_may_see(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    for name, read in (
        ("TAXI_DAGSTER_URL", dagster_url),
        ("TAXI_DAGSTER_API_URL", dagster_api_url),
    ):
        monkeypatch.setenv(name, url)
        with pytest.raises(PermanentError) as caught:
            read()
        assert str(caught.value).startswith(f"{name}: a URL must have no user, password")
        assert "s3cr3t" not in str(caught.value)


def test_the_publisher_is_looked_at_every_hour_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, seconds in (("", 3600), ("1", 1), ("86400", 86_400)):
        monkeypatch.setenv("TAXI_PUBLISHED_EVERY_SECONDS", text)
        assert published_every_seconds() == seconds


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1h", "1e3", " 5", "²", "\u0665"])
def test_any_other_number_of_seconds_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TAXI_PUBLISHED_EVERY_SECONDS", text)
    with pytest.raises(PermanentError, match=f"^TAXI_PUBLISHED_EVERY_SECONDS: '{text}' is not"):
        published_every_seconds()


def test_each_month_is_recounted_once_in_thirty_days_unless_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for text, days in (("", 30), ("1", 1), ("365", 365)):
        monkeypatch.setenv("TAXI_RECOUNT_DAYS", text)
        assert recount_days() == days
    for text in ("0", "-1", "a week"):
        monkeypatch.setenv("TAXI_RECOUNT_DAYS", text)
        with pytest.raises(PermanentError, match=f"^TAXI_RECOUNT_DAYS: '{text}' is not a whole"):
            recount_days()


def test_a_run_compares_columns_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, depth in (("", "columns"), ("rows", "rows"), ("cells", "cells")):
        monkeypatch.setenv("TAXI_CHECK_DEPTH", text)
        assert check_depth() == depth
    monkeypatch.setenv("TAXI_CHECK_DEPTH", "Rows")
    with pytest.raises(PermanentError, match="TAXI_CHECK_DEPTH: 'Rows' is none of rows"):
        check_depth()


def test_a_step_is_retried_four_times_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, times in (("", 4), ("0", 0), ("12", 12)):
        monkeypatch.setenv("TAXI_RETRIES", text)
        assert retries() == times
    monkeypatch.setenv("TAXI_RETRIES", "-1")
    with pytest.raises(PermanentError, match=r"^TAXI_RETRIES: '-1' is not a whole number"):
        retries()


def test_every_field_of_a_resource_is_a_setting_that_its_description_names() -> None:
    resources: list[type[Any]] = [Publisher, Lake, *SINKS, Notifier]
    for resource in resources:
        fields = resource.model_fields
        assert resource.variables.keys() == fields.keys()
        for field, variable in resource.variables.items():
            assert f"({variable})" in str(fields[field].description)


@pytest.mark.usefixtures("_required")
def test_every_timeout_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = {name: field for name, field in variables().items() if name.endswith("_TIMEOUT")}
    before = resources_for_dagster().by_name().values()
    for name in timeouts:
        monkeypatch.setenv(name, "17")
    for resources in (resources_for_dagster(), load_resources()):
        after = {type(resource): resource for resource in resources.by_name().values()}
        for resource in before:
            for field, name in type(resource).variables.items():
                if name in timeouts:
                    assert getattr(resource, field) == timeouts[name].default
                    assert getattr(after[type(resource)], field) == 17


@pytest.mark.usefixtures("_required")
def test_a_timeout_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXI_GCS_TIMEOUT", "never")
    with pytest.raises(PermanentError, match=r"^TAXI_GCS_TIMEOUT: 'never' is not a whole number"):
        resources_for_dagster()


@pytest.mark.usefixtures("_required")
def test_a_limit_of_bytes_is_a_whole_number_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_resources().bigquery.maximum_bytes_billed is None
    monkeypatch.setenv("TAXI_BIGQUERY_MAXIMUM_BYTES_BILLED", "5000000000")
    assert load_resources().bigquery.maximum_bytes_billed == 5_000_000_000
    monkeypatch.setenv("TAXI_BIGQUERY_MAXIMUM_BYTES_BILLED", "5 GB")
    with pytest.raises(PermanentError, match="'5 GB' is not a whole number of bytes above 0"):
        load_resources()


def test_the_example_names_every_setting() -> None:
    example = (Path(__file__).parents[2] / ".env.example").read_text()
    names = {*variables(), *_DEFAULTS, "TAXI_DAGSTER_API_URL"}
    assert names <= set(re.findall(r"^(?:# )?(TAXI_\w+)=", example, re.MULTILINE))


def test_the_addresses_of_tlc_are_those_of_the_example() -> None:
    example = (Path(__file__).parents[2] / ".env.example").read_text()
    given = dict(re.findall(r"^(?:# )?(TAXI_\w+)=(.*)$", example, re.MULTILINE))
    assert {name: given[name] for name in ADDRESSES} == ADDRESSES
    assert url_templates(ADDRESSES["TAXI_PUBLISHER_URLS"])
