"""Dagster as a backfill finds it: whether its daemon lives, how many runs go on at once, past runs.

All of it is asked of the webserver; what follows from it is for `pace` and `launch`.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from taxi_pipeline.assets.keys import LAYERS, asset_key
from taxi_pipeline.automation.webserver import Webserver
from taxi_pipeline.backfill.pace import PastRun, own_cores
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.services import Service

HEARTBEAT_SECONDS = 300  # of two a minute
PAST_RUNS = 20  # of a service, the newest
# No step takes more than a quarter of a month, so as many runs share a place in its pool.
_RUNS_A_PLACE = 4
_DAEMONS = ("BACKFILL", "QUEUED_RUN_COORDINATOR")

_INSTANCE = """
query {
  instance {
    daemonHealth { allDaemonStatuses { daemonType lastHeartbeatTime } }
    runQueueConfig { maxConcurrentRuns }
    runLauncher { name }
    poolConfig { poolGranularity defaultPoolLimit }
    concurrencyLimits { concurrencyKey limit }
  }
}
"""
_HEALTH = """
query {
  instance { daemonHealth { allDaemonStatuses { daemonType lastHeartbeatTime } } }
}
"""
_PAST = """
query ($asset: AssetKeyInput!, $limit: Int!) {
  assetOrError(assetKey: $asset) {
    ... on Asset {
      assetMaterializations(limit: $limit) {
        metadataEntries { label ... on IntMetadataEntry { intRepr } }
        runOrError {
          ... on Run {
            status
            assetSelection { path }
            stats { ... on RunStatsSnapshot { launchTime endTime } }
          }
        }
      }
    }
  }
}
"""


@dataclass(frozen=True)
class Queue:
    """Dagster's queue.

    Attributes:
        at_once: How many runs of months go on at once.
        cores: The cores that they share, as far as that is known; None where each has its own.
        silent_since: When its daemon was heard of last, where that is too long ago; empty where it
            lives.
    """

    at_once: int
    cores: int | None
    silent_since: str = ""

    def ensure_alive(self) -> None:
        """Raise `PermanentError` where no daemon would take a backfill out of the queue."""
        if self.silent_since:
            raise PermanentError(
                f"Dagster's daemon does not run (it was heard of {self.silent_since}), so nothing "
                "would begin. Start it: make dev, which has one, or in production dagster-daemon "
                "run, the container daemon of deploy/compose, the cluster's dagster-daemon."
            )


# What is taken for granted where Dagster does not answer: the pool `publisher` has two places.
UNKNOWN = Queue(2, own_cores())


def read_queue(webserver: Webserver) -> Queue:
    """Return Dagster's queue; raise `PermanentError` where the webserver does not answer."""
    instance = webserver.ask(_INSTANCE)
    pools = instance["poolConfig"] or {}
    limits = {one["concurrencyKey"]: one["limit"] for one in instance["concurrencyLimits"]}
    places = limits.get("publisher") or pools.get("defaultPoolLimit")
    if places and pools.get("poolGranularity") != "run":
        places *= _RUNS_A_PLACE
    runs = (instance["runQueueConfig"] or {}).get("maxConcurrentRuns")
    bounds = [bound for bound in (places, runs) if bound and bound > 0]
    launcher = (instance["runLauncher"] or {}).get("name", "")
    return Queue(
        min(bounds, default=1),
        None if "K8s" in launcher else own_cores(),
        _silent_since(instance["daemonHealth"]["allDaemonStatuses"]),
    )


def silent_since(webserver: Webserver) -> str:
    """Return when the daemon was heard of last, where that is too long ago; else nothing.

    Raises `PermanentError` where the webserver does not answer.
    """
    return _silent_since(webserver.ask(_HEALTH)["daemonHealth"]["allDaemonStatuses"])


def past_runs(webserver: Webserver, services: Iterable[Service]) -> list[PastRun]:
    """Return the newest runs of whole months of the services that the queue has launched."""
    return [run for service in services for run in _past_runs(webserver, service)]


def _silent_since(daemons: Sequence[Mapping[str, Any]]) -> str:
    heard = {one["daemonType"]: one["lastHeartbeatTime"] or 0.0 for one in daemons}
    last = min(heard.get(daemon, 0.0) for daemon in _DAEMONS)
    if time.time() - last < HEARTBEAT_SECONDS:
        return ""
    return f"last at {datetime.fromtimestamp(last, UTC):%Y-%m-%d %H:%M} UTC" if last else "never"


def _past_runs(webserver: Webserver, service: Service) -> Iterator[PastRun]:
    cleaned = asset_key(service.trips.name, "cleaned")
    answer = webserver.ask(_PAST, asset=cleaned.to_graphql_input(), limit=PAST_RUNS)
    for one in answer.get("assetMaterializations", []):
        run = one["runOrError"]
        numbers = {entry["label"]: entry.get("intRepr") for entry in one["metadataEntries"]}
        times = run.get("stats") or {}
        if (
            run.get("status") == "SUCCESS"
            and numbers.get("published")
            and times.get("launchTime")
            and times.get("endTime")
            and _is_whole(run["assetSelection"], service)
        ):
            rows = int(numbers["published"])
            yield PastRun(service.name, rows, times["launchTime"], times["endTime"])


def _is_whole(selection: Sequence[Mapping[str, Any]] | None, service: Service) -> bool:
    """Return whether a run had all assets of its month; one of a whole job selects none."""
    chosen = {tuple(asset["path"]) for asset in selection or ()}
    wanted = {tuple(asset_key(service.trips.name, layer).path) for layer in LAYERS}
    return not chosen or wanted <= chosen
