"""What a server that is not Dagster's, or does not answer, means to whoever asks it."""

import pytest

from taxi_pipeline.automation.webserver import UnreachableError, Webserver
from taxi_pipeline.errors import PermanentError
from taxi_pipeline_tests.support.dagster_dev import free_port
from taxi_pipeline_tests.support.http import Answer, body, serving, status

QUERY = "query { version }"


def test_one_that_does_not_answer_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UnreachableError, match=f"does not answer at {url}: start it .make dev."):
        Webserver(url).ask(QUERY)


@pytest.mark.parametrize("code", [502, 503, 504])
def test_a_proxy_before_one_that_is_away_does_not_answer_either(code: int) -> None:
    with serving({"/graphql": [status(code)]}) as (url, _), pytest.raises(UnreachableError):
        Webserver(url).ask(QUERY)


@pytest.mark.parametrize(
    "answer", [status(401), status(404), body(b"<html>"), body(b'{"errors": [{"message": "no"}]}')]
)
def test_another_server_is_named(answer: Answer) -> None:
    with serving({"/graphql": [answer]}) as (url, _):
        with pytest.raises(PermanentError, match=f"Dagster's webserver at {url}: ") as caught:
            Webserver(url).ask(QUERY)
        assert not isinstance(caught.value, UnreachableError)
