"""docs/requests.md and the permissions of the platform are those of the requests that it sends."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.permissions import (
    BUCKET_PERMISSIONS,
    DATASET_PERMISSIONS,
    PROJECT_PERMISSIONS,
)
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.contracts import edge
from taxi_pipeline_tests.support.contracts.flows import recorded
from taxi_pipeline_tests.support.contracts.page import PAGE, Shape, page_of, shapes
from taxi_pipeline_tests.support.contracts.permissions import (
    OF_THE_DOCTOR,
    needed_by,
    permissions_of,
)

_BIGQUERYS = re.compile(r"`(bigquery\.(?:jobs|tables|datasets)\.\w+)`")
ALL = {*BUCKET_PERMISSIONS, *PROJECT_PERMISSIONS, *DATASET_PERMISSIONS}


@pytest.fixture(scope="module")
def found(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Shape]:
    """Return the shapes of all requests that the platform sends."""
    return shapes(recorded(platform, tmp_path_factory.mktemp("files")))


def test_the_page_has_every_request_as_it_is_sent(found: Mapping[str, Shape]) -> None:
    assert PAGE.read_text() == page_of(found), "make docs writes it anew"


def test_the_permissions_are_those_that_the_requests_need(found: Mapping[str, Shape]) -> None:
    assert needed_by(found) == ALL | OF_THE_DOCTOR
    assert {each.split(".")[0] for each in BUCKET_PERMISSIONS} == {"storage"}
    assert set(PROJECT_PERMISSIONS) == {each for each in ALL if each.startswith("bigquery.jobs.")}
    assert set(DATASET_PERMISSIONS) == {each for each in ALL if each.startswith("bigquery.tables.")}


def test_bigquerys_permissions_are_those_that_google_names_for_the_method(
    found: Mapping[str, Shape],
) -> None:
    compared = 0
    for kind, shape in found.items():
        _, headed, named = shape.method.description.partition("# IAM Permissions")
        if not headed:
            continue
        # of one's own jobs, which are all that the platform asks for
        _, _, of_ones_own = named.partition("If the user matches the creator of the job")
        if "Requires no specific IAM permission" in named:
            google: set[str] = set()
        else:
            google = {*_BIGQUERYS.findall(of_ones_own or named)}
        beyond = {"bigquery.tables.export"}  # of an export
        needed = set(permissions_of(kind))
        assert google - beyond <= needed, kind
        # what a job does, and what a view selects from, is left to other pages
        if "insert" not in kind and "a view" not in kind:
            assert google == needed, kind
        compared += 1
    assert compared > 10


class Curious(Lake):
    """A lake that asks for more than the page has."""

    @property
    def _call_options(self) -> dict[str, Any]:
        return {**super()._call_options, "delimiter": "/"}


def test_a_request_that_the_page_has_not_is_refused(platform: Platform) -> None:
    lake = Curious(bucket=platform.resources.lake.bucket, project="a-project")
    words = "has no query delimiter of 'storage.objects.list': run `make docs`"
    with edge.refusals_expected() as refused, pytest.raises(PermanentError, match=words):
        lake.find("raw/")
    assert [words in each for each in refused] == [True]
