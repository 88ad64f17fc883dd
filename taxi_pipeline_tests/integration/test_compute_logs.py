"""What runs print, in the lake's bucket: kept there, and a bucket that is missing is named."""

from pathlib import Path

import click
import pytest

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.instance.compute_logs import BucketComputeLogManager
from taxi_pipeline.local.servers import PROJECT
from taxi_pipeline_tests.conftest import Platform


@pytest.fixture(autouse=True)
def _project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the project, as a key or the metadata server would."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)


def test_what_a_step_prints_lies_in_the_bucket(platform: Platform, tmp_path: Path) -> None:
    lake = platform.resources.lake
    manager = BucketComputeLogManager(lake.bucket, prefix="dagster-logs", local_dir=str(tmp_path))
    with manager.capture_logs(["a-run", "compute_logs", "a-step"]):
        click.echo("42 rows")
    (printed,) = lake.find("dagster-logs/storage/a-run/compute_logs/a-step.out")
    with lake.opened(printed) as content:
        assert content.read() == b"42 rows\n"


def test_a_bucket_that_is_not_there_is_named_with_its_setting(platform: Platform) -> None:
    with pytest.raises(PermanentError, match=r"gs://no-such-lake, .* Check TAXI_BUCKET"):
        BucketComputeLogManager("no-such-lake")
