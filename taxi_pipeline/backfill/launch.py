"""Backfills, one a service: launched through Dagster, and followed until they have ended."""

import getpass
import json
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from uuid import uuid4

from taxi_pipeline.assets.keys import LAYERS, asset_key
from taxi_pipeline.automation.pods import pod_tags
from taxi_pipeline.automation.priorities import FILLING
from taxi_pipeline.automation.webserver import FaultyAnswerError, UnreachableError, Webserver
from taxi_pipeline.backfill.months import as_spans
from taxi_pipeline.backfill.queue import silent_since
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.settings import dagster_url
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service

LAUNCHED_BY = "taxi/launched_by"  # the tag that says who has typed the command
LAUNCH_ID = "taxi/launch_id"  # the tag by which a launch is found of which the answer was lost

EVERY_SECONDS = 2.0  # of a few months; of hundreds a look is work for the webserver
_MONTHS_A_SECOND = 20
PATIENCE_SECONDS = 300.0  # a webserver that is being replaced is away for less
DAEMON_SECONDS = 60.0  # without a change, after which it is asked whether the daemon lives

_ENDED_RUNS = {"SUCCESS", "FAILURE", "CANCELED"}
_ENDED_BACKFILLS = {"COMPLETED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
_LONGEST_TITLE = 100  # Dagster refuses a longer one
_LOOKS = 15  # for such a launch: half a minute
_NEWEST = 100  # backfills among which it is looked for
_MOST_RUNS = 2_000  # of a backfill, with the runs that Dagster tries again

_STATUS = """
query ($id: String!, $limit: Int!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill {
      status
      error { message }
      runs(limit: $limit) { status tags { key value } }
    }
    ... on BackfillNotFoundError { message }
    ... on PythonError { message }
  }
}
"""
_LAUNCHES = """
query ($limit: Int!) {
  partitionBackfillsOrError(limit: $limit) {
    ... on PartitionBackfills { results { id tags { key value } } }
  }
}
"""
_WHAT = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill { status title assetSelection { path } }
    ... on BackfillNotFoundError { message }
    ... on PythonError { message }
  }
}
"""


class LostLaunchError(PermanentError):
    """The answer to a launch was lost, and the backfill was not found: it may come yet."""


@dataclass(frozen=True)
class Launched:
    """A backfill of a service's months; `id` is Dagster's."""

    service: Service
    months: Sequence[Month]
    id: str


@dataclass(frozen=True)
class State:
    """How a backfill is.

    Attributes:
        status: What Dagster says of it: REQUESTED, COMPLETED_SUCCESS, FAILED, ….
        runs: How the newest run of each month is, of those that have one.
        error: Why Dagster has given up the backfill; empty where it has not.
        total: How many months there are.
    """

    status: str
    runs: Mapping[str, str]
    error: str
    total: int

    def count(self, *statuses: str) -> int:
        """Return how many months have such a run."""
        return sum(status in statuses for status in self.runs.values())

    @property
    def succeeded(self) -> bool:
        """Whether each month has succeeded."""
        return self.count("SUCCESS") == self.total

    @property
    def ended(self) -> bool:
        """Whether nothing more happens.

        Dagster itself looks at a backfill but twice a minute, so where all has succeeded its word
        is not waited for. Where something has failed it is: it may be tried again.
        """
        return self.succeeded or self.status in _ENDED_BACKFILLS

    @property
    def failed(self) -> list[str]:
        """The keys of the months whose run has failed, or was canceled."""
        return sorted(
            key for key, status in self.runs.items() if status in _ENDED_RUNS - {"SUCCESS"}
        )


def launch(webserver: Webserver, service: Service, months: Sequence[Month]) -> Launched:
    """Launch a backfill of a service's months, behind whatever is new; return it.

    Args:
        webserver: Dagster's webserver.
        service: The service.
        months: The months, in their order.

    Raises:
        LostLaunchError: The webserver has not said whether it launched it.
        PermanentError: The webserver did not launch it.
    """
    assets = [asset_key(service.trips.name, layer) for layer in LAYERS]
    title = _title(service, months)
    launch_id = uuid4().hex
    tags = {**FILLING, LAUNCHED_BY: _user(), LAUNCH_ID: launch_id}
    # else the runs, which have no job of ours, would ask a cluster for as much as the largest
    tags |= {tag: json.dumps(value) for tag, value in pod_tags(service.trips.name).items()}
    keys = [month.key for month in months]
    try:
        backfill = webserver.launch_backfill(assets, keys, tags, title)
    except (UnreachableError, FaultyAnswerError) as error:
        existing = _find(webserver, launch_id)
        if not existing:
            raise LostLaunchError(
                f"{title} may have been launched. Before you launch it again, look at "
                f"{dagster_url()}/runs?view=backfills for the tag {LAUNCH_ID}: {launch_id}. {error}"
            ) from error
        backfill = existing
    return Launched(service, months, backfill)


def follow(
    webserver: Webserver,
    launched: Iterable[Launched],
    on_progress: Callable[[Mapping[str, State]], None],
    on_silence: Callable[[str], None] = lambda _: None,
) -> dict[str, State]:
    """Wait until backfills have ended; return how each is, by its id.

    Args:
        webserver: Dagster's webserver. It may be away, or answer with errors, for a while.
        launched: The backfills.
        on_progress: Is called with how each is, whenever it was asked.
        on_silence: Is called once where Dagster's daemon does not run any more, with when it was
            heard of last.

    Raises:
        PermanentError: The webserver has not answered well for five minutes, or knows no such
            backfill.
    """
    backfills = [*launched]
    states: dict[str, State] = {}
    every = max(EVERY_SECONDS, sum(len(one.months) for one in backfills) / _MONTHS_A_SECOND)
    answered = looked = monotonic()
    silent = False
    while not all(one.id in states and states[one.id].ended for one in backfills):
        if states:
            sleep(every)
        before = {**states}
        try:
            for one in backfills:
                states[one.id] = state_of(webserver, one)
            if states != before:
                looked = monotonic()
            elif not silent and monotonic() - looked >= DAEMON_SECONDS:
                looked = monotonic()
                if since := silent_since(webserver):
                    silent = True
                    on_silence(since)
        except (UnreachableError, FaultyAnswerError):
            if monotonic() - answered > PATIENCE_SECONDS:
                raise
            sleep(EVERY_SECONDS)
            continue
        answered = monotonic()
        on_progress(states)
    return states


def cancel(webserver: Webserver, backfill: str) -> str:
    """Cancel a backfill that goes on; return its title, or its assets where it has none.

    Args:
        webserver: Dagster's webserver.
        backfill: The backfill's id.

    Raises:
        PermanentError: There is no such backfill, it has ended already, or the webserver did not
            cancel it.
    """
    answer = webserver.ask(_WHAT, id=backfill)
    refused = f"Dagster's webserver at {webserver.url} did not cancel the backfill {backfill}"
    if answer["__typename"] != "PartitionBackfill":
        raise PermanentError(f"{refused}: {answer.get('message') or answer['__typename']}")
    assets = ", ".join("/".join(asset["path"]) for asset in answer["assetSelection"] or ())
    title: str = answer["title"] or assets
    if answer["status"] in _ENDED_BACKFILLS:  # Dagster would write over how it has ended
        raise PermanentError(f"{refused} ({title}): ended already: {answer['status']}.")
    webserver.cancel_backfill(backfill)
    return title


def state_of(webserver: Webserver, launched: Launched) -> State:
    """Return how a backfill is; raise `PermanentError` where Dagster does not say it."""
    answer = webserver.ask(_STATUS, id=launched.id, limit=_MOST_RUNS)
    if answer["__typename"] == "PythonError":  # Dagster's storage may be away
        raise FaultyAnswerError(f"Dagster's webserver at {webserver.url}: {answer['message']}")
    if answer["__typename"] != "PartitionBackfill":
        raise PermanentError(
            f"Dagster's webserver at {webserver.url} does not know the backfill {launched.id}: "
            f"{answer.get('message') or answer['__typename']}"
        )
    runs: dict[str, str] = {}
    for run in answer["runs"]:  # the newest first
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        runs.setdefault(tags.get("dagster/partition", ""), run["status"])
    error = (answer["error"] or {}).get("message", "")
    return State(answer["status"], runs, error.strip(), len(launched.months))


def _find(webserver: Webserver, launch_id: str) -> str | None:
    """Return the id of the backfill that a launch has made; None where there is none so far."""
    for _ in range(_LOOKS):
        try:
            newest = webserver.ask(_LAUNCHES, limit=_NEWEST).get("results", [])
        except (UnreachableError, FaultyAnswerError):
            newest = []
        for each in newest:
            if {"key": LAUNCH_ID, "value": launch_id} in each["tags"]:
                return str(each["id"])
        sleep(EVERY_SECONDS)
    return None


def _title(service: Service, months: Sequence[Month]) -> str:
    """Return what Dagster's UI calls a backfill: with each gap, where there is room for them."""
    title = f"taxi backfill {service.name} {as_spans(months)}"
    if len(title) <= _LONGEST_TITLE:
        return title
    return f"taxi backfill {service.name}, {len(months)} months of {months[0]} to {months[-1]}"


def _user() -> str:
    """Return who types, and where."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = "somebody"
    return f"{name}@{socket.gethostname()}"
