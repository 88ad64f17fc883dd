"""What unit tests share: an instance of Dagster, which takes longer to make than to use."""

from collections.abc import Iterator

import dagster as dg
import pytest


@pytest.fixture(scope="session")
def _instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def instance(_instance: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    """Return an instance in memory that knows of no run, no event and no backfill."""
    yield _instance
    _instance.wipe()
