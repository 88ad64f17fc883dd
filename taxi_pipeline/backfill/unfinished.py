"""Which months are being run already, so that nobody runs them twice; asked of the webserver.

A month counts where all of its assets are run: by a run that has not ended, or by a backfill that
has not come to it yet. What is left out for that is `survey`'s to say.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from taxi_pipeline.assets.keys import LAYERS, asset_key
from taxi_pipeline.automation.webserver import Webserver
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.services import Service

# How many are asked for, the newest: more runs than there are months of all services.
_RUNS = 2_000
_BACKFILLS = 25
_ENDED_RUNS = {"SUCCESS", "FAILURE", "CANCELED"}

_UNFINISHED = """
query ($limit: Int!) {
  runsOrError(
    filter: {statuses: [NOT_STARTED, MANAGED, QUEUED, STARTING, STARTED, CANCELING]}, limit: $limit
  ) {
    ... on PythonError { message }
    ... on Runs { results { jobName assetSelection { path } tags { key value } } }
  }
}
"""
_REQUESTED = """
query ($limit: Int!, $runs: Int!) {
  partitionBackfillsOrError(filters: {statuses: [REQUESTED]}, limit: $limit) {
    ... on PythonError { message }
    ... on PartitionBackfills {
      results {
        assetSelection { path }
        partitionNames
        runs(limit: $runs) { status tags { key value } }
      }
    }
  }
}
"""


def unfinished_months(
    webserver: Webserver, services: Iterable[Service]
) -> dict[str, frozenset[str]]:
    """Return the keys of the months that are being run already, by their service's name.

    Args:
        webserver: Dagster's webserver.
        services: The services.

    Raises:
        PermanentError: The webserver does not answer, or does not say it.
    """
    runs = _results(webserver, _UNFINISHED, limit=_RUNS)
    backfills = _results(webserver, _REQUESTED, limit=_BACKFILLS, runs=_RUNS)
    return {
        service.name: frozenset(
            [
                *(_month(run) for run in runs if _has_months_of(service, run)),
                *(
                    key
                    for backfill in backfills
                    if _has_months_of(service, backfill)
                    for key in _to_come(backfill)
                ),
            ]
        )
        for service in services
    }


def _results(webserver: Webserver, query: str, **variables: int) -> list[Any]:
    """Return what a query has found; an error of Dagster's must not pass for nothing."""
    answer = webserver.ask(query, **variables)
    if "results" not in answer:
        raise PermanentError(
            f"Dagster's webserver at {webserver.url} does not say what is being run: "
            f"{answer.get('message', answer)}"
        )
    results: list[Any] = answer["results"]
    return results


def _has_months_of(service: Service, run: Mapping[str, Any]) -> bool:
    """Return whether a run or a backfill has all assets of a service's months."""
    if not run["assetSelection"]:  # a whole job is run
        return run.get("jobName") == service.trips.name
    wanted = {tuple(asset_key(service.trips.name, layer).path) for layer in LAYERS}
    return wanted <= {tuple(asset["path"]) for asset in run["assetSelection"]}


def _to_come(backfill: Mapping[str, Any]) -> list[str]:
    """Return the keys of a backfill's months of which the newest run has not ended."""
    newest: dict[str, str] = {}
    for run in backfill["runs"]:
        newest.setdefault(_month(run), run["status"])
    return [key for key in backfill["partitionNames"] or () if newest.get(key) not in _ENDED_RUNS]


def _month(run: Mapping[str, Sequence[Mapping[str, str]]]) -> str:
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    return tags.get("dagster/partition", "")
