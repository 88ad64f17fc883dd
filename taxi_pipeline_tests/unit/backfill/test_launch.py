import getpass

import pytest

from taxi_pipeline.backfill.launch import launch
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN
from taxi_pipeline_tests.unit.backfill.test_queue import Answering


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
