import getpass

import pytest
from dagster._core.definitions.utils import MAX_TITLE_LENGTH

from taxi_pipeline.backfill.launch import launch
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN
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
