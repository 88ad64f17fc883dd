"""The jobs as CI runs them: `dagster job execute` in processes of their own, one of them cold."""

import pytest

from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.forkserver import Start, run, run_cold
from taxi_pipeline_tests.support.job_execute import job_execute


@pytest.mark.parametrize(
    ("service", "month", "start"),
    [
        pytest.param("yellow", "2021-06", run_cold, id="yellow-cold"),
        pytest.param("green", "2014-02", run, id="green"),
        pytest.param("fhv", "2018-03", run, id="fhv"),
        pytest.param("fhvhv", "2025-01", run, id="fhvhv"),
    ],
)
def test_the_command_of_the_readme_loads_a_month(
    platform: Platform, service: str, month: str, start: Start
) -> None:
    tags = f'{{"dagster/partition": "{month}"}}'
    done = job_execute(f"{service}_trips", "--tags", tags, start=start)
    assert done.returncode == 0, done.stderr
    assert "RUN_SUCCESS" in done.stderr
    assert platform.entry(service, month).adds_up
    password = platform.resources.postgres.url.split(":")[2].split("@")[0]
    assert password not in done.stdout + done.stderr


@pytest.mark.parametrize("job", ["green_trips", "green_trips_checks"])
def test_without_a_month_it_shows_the_right_command(platform: Platform, job: str) -> None:
    done = job_execute(job)
    assert done.returncode != 0
    sentence = (
        f"The job {job} needs a month, given as a tag: dagster job execute "
        f"""-m taxi_pipeline.definitions -j {job} --tags '{{"dagster/partition": "20"""
    )
    assert sentence in done.stderr
    assert "UP_FOR_RETRY" not in done.stderr


def test_an_unknown_service_is_refused(platform: Platform) -> None:
    done = job_execute("blue_trips", "--tags", '{"dagster/partition": "2021-06"}')
    assert done.returncode != 0
    assert "blue_trips" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TAXI_BUCKET", "", 'environment variable "TAXI_BUCKET" which is not set'),
        ("TAXI_BUCKET", "gs://lake", "TAXI_BUCKET: 'gs://lake' is not a bucket's name"),
        ("TAXI_BUCKET", "no-such-bucket", "Check TAXI_BUCKET"),
        ("TAXI_PUBLISHER_URLS", "http://h/x.csv.gz", "TAXI_PUBLISHER_URLS: 'http://h/x.csv.gz'"),
    ],
)
def test_a_bad_setting_names_itself(
    platform: Platform, variable: str, value: str, said: str
) -> None:
    month = ("--tags", '{"dagster/partition": "2021-06"}')
    done = job_execute("yellow_trips", *month, variables={variable: value})
    assert done.returncode != 0
    assert said in done.stderr
    assert "UP_FOR_RETRY" not in done.stderr
