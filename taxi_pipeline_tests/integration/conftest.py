"""What integration tests share beside the platform."""

from uuid import uuid4

import pytest

from taxi_pipeline.io.google import CloudStorage
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline_tests.conftest import Platform, with_resources


@pytest.fixture
def isolated(platform: Platform) -> Platform:
    """Return a platform whose lake is empty: a bucket that no other test has."""
    lake = platform.resources.lake
    empty = Lake(bucket=f"taxi-{uuid4().hex}", project=lake.project)
    CloudStorage(project=lake.project).get_client().create_bucket(empty.bucket)
    return with_resources(platform, lake=empty)
