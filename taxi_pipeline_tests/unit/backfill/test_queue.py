"""What the webserver's answers mean for a backfill; real ones are in `integration` and `live`."""

from time import time
from typing import Any

import pytest

from taxi_pipeline.assets.keys import LAYERS, asset_key
from taxi_pipeline.automation.webserver import Webserver
from taxi_pipeline.backfill.pace import PastRun, own_cores
from taxi_pipeline.backfill.queue import past_runs, read_queue
from taxi_pipeline.tlc.services import GREEN, YELLOW


class Answering(Webserver):
    """A webserver with one answer."""

    def __init__(self, answer: Any) -> None:
        super().__init__("http://nowhere")
        vars(self)["answer"] = answer

    def ask(self, query: str, **variables: object) -> Any:
        return vars(self)["answer"]


def instance(
    runs: int | None = 20,
    granularity: str = "op",
    default: int | None = 2,
    publisher: int | None = None,
    launcher: str = "DefaultRunLauncher",
) -> Any:
    beats = {"BACKFILL": time(), "QUEUED_RUN_COORDINATOR": time(), "SENSOR": None}
    pool = [{"concurrencyKey": "publisher", "limit": publisher}] if publisher else []
    return {
        "daemonHealth": {
            "allDaemonStatuses": [
                {"daemonType": name, "lastHeartbeatTime": beat} for name, beat in beats.items()
            ]
        },
        "runQueueConfig": runs and {"maxConcurrentRuns": runs},
        "runLauncher": {"name": launcher},
        "poolConfig": {"poolGranularity": granularity, "defaultPoolLimit": default},
        "concurrencyLimits": pool,
    }


@pytest.mark.parametrize(
    ("answer", "at_once"),
    [
        (instance(runs=2, granularity="run"), 2),
        (instance(runs=20, granularity="run"), 2),
        (instance(runs=20, granularity="run", publisher=5), 5),
        (instance(runs=4), 4),  # a step's place is free while others of its run go on
        (instance(runs=20), 8),
        (instance(runs=-1, default=None), 1),  # nothing says how many
        (instance(runs=None, granularity="run", default=3), 3),
    ],
)
def test_as_many_go_on_at_once_as_queue_and_pools_let(answer: Any, at_once: int) -> None:
    assert read_queue(Answering(answer)).at_once == at_once


def test_in_a_cluster_each_run_has_its_own_cores() -> None:
    assert read_queue(Answering(instance(launcher="K8sRunLauncher"))).cores is None
    assert read_queue(Answering(instance())).cores == own_cores() >= 1


def made(seconds: float, status: str = "SUCCESS", layers: Any = LAYERS, **others: Any) -> Any:
    assets = layers and [{"path": [*asset_key("green_trips", layer).path]} for layer in layers]
    times = {"launchTime": 100.0, "endTime": 100.0 + seconds, **others}
    return {
        "metadataEntries": [{"label": "published", "intRepr": "70000"}, {"label": "preview"}],
        "runOrError": {"status": status, "assetSelection": assets, "stats": times},
    }


def test_only_whole_months_that_the_queue_has_launched_tell_the_pace() -> None:
    answer = {
        "assetMaterializations": [
            made(10),
            made(20, layers=None),  # a job's
            made(30, status="FAILURE"),
            made(40, layers=["cleaned"]),
            made(50, launchTime=None),  # a command line's
            {"metadataEntries": [], "runOrError": {}},  # of a run that somebody deleted
        ]
    }
    assert past_runs(Answering(answer), [GREEN]) == [
        PastRun("green", 70_000, 100, 110),
        PastRun("green", 70_000, 100, 120),
    ]
    assert past_runs(Answering({}), [YELLOW]) == []  # of which there is no asset yet
