"""What a server that is not Dagster's, or does not answer, means to whoever asks it."""

import pytest

from taxi_pipeline.automation.webserver import FaultyAnswerError, UnreachableError, Webserver
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


@pytest.mark.parametrize(
    ("answer", "may_pass"),
    [
        (status(401), False),
        (status(404), True),  # of a proxy that has no route to it now
        (status(500), True),
        (body(b"<html>"), False),
        (body(b'{"errors": [{"message": "the database system is starting up"}]}'), True),
    ],
)
def test_an_error_that_may_pass_is_told_from_one_that_stays(answer: Answer, may_pass: bool) -> None:
    with serving({"/graphql": [answer]}) as (url, _):
        with pytest.raises(PermanentError) as caught:
            Webserver(url).ask(QUERY)
        assert isinstance(caught.value, FaultyAnswerError) == may_pass
