"""Dagster's webserver, asked as the UI's pages ask it: to launch and terminate, and for what runs.

Who starts the webserver, and what runs must lead to, is not said here.
"""

import json
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from taxi_pipeline.assets.keys import LAYERS, asset_key, table_of

from .processes import PATIENCE, until

ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
REPOSITORY = {"repositoryLocationName": "taxi_pipeline", "repositoryName": "__repository__"}

_LAUNCH = """
mutation ($selector: JobOrPipelineSelector!, $tags: [ExecutionTag!]!) {
  launchRun(executionParams: {
    mode: "default", selector: $selector, executionMetadata: {tags: $tags}
  }) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
_LAUNCH_BACKFILL = """
mutation ($months: [String!]!, $assets: [AssetKeyInput!]!) {
  launchPartitionBackfill(backfillParams: {partitionNames: $months, assetSelection: $assets}) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
_TERMINATE = """
mutation ($run: String!) {
  terminateRun(runId: $run, terminatePolicy: SAFE_TERMINATE) {
    __typename
    ... on TerminateRunFailure { message }
    ... on PythonError { message }
  }
}
"""
_RUNS = """
query {
  runsOrError {
    __typename
    ... on Runs {
      results {
        runId status startTime endTime jobName assetSelection { path } tags { key value }
      }
    }
    ... on PythonError { message }
  }
}
"""
_EVENTS = """
query ($run: ID!) {
  runOrError(runId: $run) {
    ... on Run {
      eventConnection { events { __typename ... on MessageEvent { message } } }
    }
  }
}
"""


@dataclass(frozen=True)
class Run:
    """A run as the UI shows it: its table and partition; when it `started` and `ended`, if so."""

    id: str
    month: tuple[str, str]
    status: str
    started: float | None
    ended: float | None
    tags: Mapping[str, str]

    @property
    def service(self) -> str:
        """The service, of trips."""
        return self.month[0].removesuffix("_trips")


@dataclass(frozen=True)
class Webserver:
    """The webserver at a URL. Raises `OSError` or `ValueError` where it has no answer."""

    url: str

    def graphql(self, query: str, **variables: object) -> Any:
        """Return the data of GraphQL's answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            answer = json.load(response)
        if answer.get("errors"):
            raise ValueError(answer["errors"])
        return answer["data"]

    def launch(self, table: str, month: str) -> str:
        """Launch a run of a month's four assets as "Materialize" does; return its id."""
        selector = {**REPOSITORY, "jobName": "__ASSET_JOB", "assetSelection": _assets(table)}
        tags = [{"key": "dagster/partition", "value": month}]
        launched = self._done("LaunchRunSuccess", _LAUNCH, selector=selector, tags=tags)
        run: str = launched["run"]["runId"]
        return run

    def backfill(self, table: str, months: Sequence[str]) -> str:
        """Launch a backfill of a table's four assets; return its id."""
        launched = self._done(
            "LaunchBackfillSuccess", _LAUNCH_BACKFILL, months=months, assets=_assets(table)
        )
        backfill: str = launched["backfillId"]
        return backfill

    def terminate(self, run: str) -> None:
        """Ask for a run's termination."""
        self._done("TerminateRunSuccess", _TERMINATE, run=run)

    def runs(self) -> list[Run]:
        """Return all runs, the newest first."""
        return [_run(found) for found in self._done("Runs", _RUNS)["results"]]

    def status(self, run: str) -> str:
        """Return how a run is."""
        query = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
        found: str = self.graphql(query, run=run)["runOrError"]["status"]
        return found

    def events(self, run: str, kinds: Collection[str] = ()) -> list[str]:
        """Return what a run's events say, of all kinds or of some."""
        events = self.graphql(_EVENTS, run=run)["runOrError"]["eventConnection"]["events"]
        return [event["message"] for event in events if not kinds or event["__typename"] in kinds]

    def await_ended(self, run: str, seconds: float = PATIENCE) -> str:
        """Wait until a run has ended; return how."""
        until(lambda: self.status(run) in ENDED, seconds, every=0.5)
        return self.status(run)

    def await_backfill(self, backfill: str, number: int, seconds: float = PATIENCE) -> list[str]:
        """Wait until so many runs of a backfill have ended, which are all; return how."""

        def ended() -> list[str]:
            runs = [run for run in self.runs() if run.tags.get("dagster/backfill") == backfill]
            statuses = [run.status for run in runs]
            return statuses if len(runs) == number and not {*statuses} - ENDED else []

        return until(ended, seconds, every=1)  # no person's page asks more often

    def _done(self, expected: str, query: str, **variables: object) -> Any:
        """Return the only field's value, which must be of the expected type."""
        (found,) = self.graphql(query, **variables).values()
        if found["__typename"] != expected:
            raise ValueError(found)
        return found


def _assets(table: str) -> list[dict[str, list[str]]]:
    return [{"path": [*asset_key(table, layer).path]} for layer in LAYERS]


def _run(found: Mapping[str, Any]) -> Run:
    tags = {tag["key"]: tag["value"] for tag in found["tags"]}
    assets = found["assetSelection"]  # none where a job is run as a whole, which has its name
    table = table_of(dg.AssetKey(assets[0]["path"])) if assets else found["jobName"]
    month = (table, tags.get("dagster/partition", ""))
    return Run(found["runId"], month, found["status"], found["startTime"], found["endTime"], tags)
