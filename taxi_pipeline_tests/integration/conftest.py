"""What integration tests share: a platform for each module, whose places no other module has."""

import os
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from taxi_pipeline.io.google import CloudStorage, GoogleBigQuery
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.settings import load_resources
from taxi_pipeline_tests.conftest import Platform, in_memory_instance, with_resources


@pytest.fixture(scope="module")
def platform(stack: Path) -> Iterator[Platform]:
    """Return the platform on the stack, with a bucket, a dataset and a database of its own.

    So no test meets the months of another module, in whatever order they run.
    """
    name = f"taxi_{uuid4().hex}"
    project, url = os.environ["TAXI_GCP_PROJECT"], os.environ["TAXI_POSTGRES_URL"]
    CloudStorage(project=project).get_client().create_bucket(name)
    with GoogleBigQuery(project=project).get_client() as client:
        client.create_dataset(name)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    own = {
        "TAXI_BUCKET": name,
        "TAXI_DATASET": name,
        "TAXI_POSTGRES_URL": urlsplit(url)._replace(path=f"/{name}").geturl(),
    }
    with patch.dict(os.environ, own), in_memory_instance(stack) as instance:
        yield Platform(load_resources(), instance)


@pytest.fixture
def isolated(platform: Platform) -> Platform:
    """Return a platform whose lake is empty: a bucket that no other test has."""
    lake = platform.resources.lake
    empty = Lake(bucket=f"taxi-{uuid4().hex}", project=lake.project)
    CloudStorage(project=lake.project).get_client().create_bucket(empty.bucket)
    return with_resources(platform, lake=empty)
