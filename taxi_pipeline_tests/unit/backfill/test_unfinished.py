"""What the webserver's answers say of months that are being run; real ones are in `integration`."""

import pytest

from taxi_pipeline.backfill.unfinished import unfinished_months
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.services import GREEN
from taxi_pipeline_tests.unit.backfill.test_queue import Answering


def test_an_error_does_not_pass_for_nothing_that_is_being_run() -> None:
    with pytest.raises(PermanentError, match="does not say what is being run: storage is away"):
        unfinished_months(Answering({"message": "storage is away"}), [GREEN])


def test_a_run_of_a_whole_job_has_all_assets_of_its_month() -> None:
    tags = [{"key": "dagster/partition", "value": "2021-01"}]
    jobs = [
        {"jobName": name, "assetSelection": None, "tags": tags, "partitionNames": [], "runs": []}
        for name in ("green_trips", "green_trips_checks", "yellow_trips")
    ]
    assert unfinished_months(Answering({"results": jobs[:1]}), [GREEN]) == {"green": {"2021-01"}}
    assert unfinished_months(Answering({"results": jobs[1:]}), [GREEN]) == {"green": set()}
