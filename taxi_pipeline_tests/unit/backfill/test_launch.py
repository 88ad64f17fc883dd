import getpass
import json

import pytest
from dagster._core.definitions.utils import MAX_TITLE_LENGTH

from taxi_pipeline.automation.webserver import FaultyAnswerError, Webserver
from taxi_pipeline.backfill import launch as launching
from taxi_pipeline.backfill.launch import Launched, follow, launch
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN
from taxi_pipeline_tests.support.http import Answer, body, serving, status
from taxi_pipeline_tests.unit.backfill.test_queue import Answering


@pytest.mark.parametrize("number", [1, 5, 9, 10, 300])
def test_no_title_is_longer_than_dagster_lets(number: int) -> None:
    titles: list[str] = []

    class Noting(Answering):
        def launch_backfill(self, *words: object) -> str:
            titles.append(str(words[3]))
            return "id"

    odd = [Month(2009 + each // 6, each % 6 * 2 + 1) for each in range(number)]
    launch(Noting(None), GREEN, odd)
    (title,) = titles
    assert len(title) <= MAX_TITLE_LENGTH
    assert title.startswith("taxi backfill green")
    assert f"{odd[-1]}" in title


def test_a_user_without_a_name_launches_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise OSError("no username set in the environment")

    tags: dict[str, str] = {}

    class Noting(Answering):
        def launch_backfill(self, *words: object) -> str:
            assert isinstance(words[2], dict)
            tags.update(words[2])
            return "id"

    monkeypatch.setattr(getpass, "getuser", nameless)
    launched = launch(Noting(None), GREEN, [Month(2021, 1)])
    assert launched.id == "id"
    assert tags["taxi/launched_by"].startswith("somebody@")


def answer(**found: object) -> Answer:
    return body(json.dumps({"data": {"partitionBackfillOrError": found}}).encode())


STORAGE_IS_AWAY: list[Answer] = [
    status(500),
    status(404),
    body(b'{"errors": [{"message": "the database system is starting up"}]}'),
    answer(__typename="PythonError", message="the database system is starting up"),
]


def test_errors_of_a_webserver_whose_storage_is_replaced_are_waited_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launching, "sleep", lambda _: None)
    ended = answer(__typename="PartitionBackfill", status="FAILED", error=None, runs=[])
    with serving({"/graphql": [*STORAGE_IS_AWAY, ended]}) as (url, asked):
        states = follow(Webserver(url), [Launched(GREEN, [Month(2021, 1)], "id")], lambda _: None)
    assert states["id"].status == "FAILED"
    assert len(asked) == len(STORAGE_IS_AWAY) + 1


@pytest.mark.parametrize("error", STORAGE_IS_AWAY)
def test_errors_that_do_not_pass_end_the_waiting(
    monkeypatch: pytest.MonkeyPatch, error: Answer
) -> None:
    monkeypatch.setattr(launching, "PATIENCE_SECONDS", -1)
    with serving({"/graphql": [error]}) as (url, _), pytest.raises(FaultyAnswerError, match=url):
        follow(Webserver(url), [Launched(GREEN, [Month(2021, 1)], "id")], lambda _: None)
