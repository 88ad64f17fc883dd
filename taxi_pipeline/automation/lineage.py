"""The lineage of runs, sent to a catalog outside by the standard OpenLineage.

What is sent is what Dagster knows of each asset that a run made: of what it was made, and each
column of which columns. The sensor is there only where OPENLINEAGE_URL is set, and nothing of
OpenLineage's client is imported without it. How an event is written is for `lineage_events` to say,
and how it reaches the catalog for the client's own variables.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import takewhile
from time import monotonic, time
from typing import TYPE_CHECKING, Self, cast

import dagster as dg
from pydantic import BaseModel, ValidationError

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.classification import classified, is_transient_status, message_of
from taxi_pipeline.settings import lineage_key, lineage_url

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_SECONDS = 20.0  # after which a tick begins with no other run; Dagster gives it up after 60
_OVERLAP = 60.0  # seconds within which a run that ended earlier may become visible later
_SETTING_STATUSES = (401, 403, 404, 405, 407)  # a wrong URL or key, by which no run is taken
_FAILED = "The lineage could not be sent (OPENLINEAGE_URL)"


def lineage_sensors() -> list[dg.SensorDefinition]:
    """Return the sensor that sends the lineage of each run that has ended; none without a URL.

    A catalog that is away gets the runs later: the cursor moves on when it has taken them. A run
    that it refuses is left out.

    Raises:
        PermanentError: OPENLINEAGE_URL is set wrongly, or OpenLineage's client is not installed.
    """
    if not lineage_url():
        return []
    if find_spec("openlineage") is None:
        raise PermanentError(
            "OPENLINEAGE_URL is set, but the package openlineage-python is not installed: install "
            "taxi-pipeline[openlineage], or build the image with --build-arg "
            "REQUIREMENTS=requirements-openlineage.lock, or unset it."
        )

    @dg.sensor(
        name="lineage",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Sends the lineage of each run that has ended, with its columns, to a catalog "
        "outside (OPENLINEAGE_URL).",
    )
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        cursor = _Cursor.read(context.cursor)
        if cursor is None:
            cursor = _Cursor(since=time())
            records = cursor.ended_runs(context.instance)
            before = [record.dagster_run.run_id for record in records]
            context.update_cursor(cursor.after(records, before).model_dump_json())
            return dg.SkipReason("The lineage of runs that end from now on will be sent.")
        return dg.SkipReason(_send_all(context, cursor))

    return [sensor]


class _Cursor(BaseModel):
    """What a tick leaves to the next: until when runs were sent, and which of the last minute."""

    since: float
    sent: list[str] = []

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        """Read the cursor; return None for none, and for one that is damaged."""
        try:
            return cls.model_validate_json(text or "")
        except ValidationError:
            return None

    def ended_runs(self, instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
        """Return the runs that have ended since, and those of the minute before it, in order."""
        since = self.since - _OVERLAP
        records = instance.get_run_records(
            dg.RunsFilter(statuses=_ENDED, updated_after=datetime.fromtimestamp(since, UTC))
        )
        # one that somebody tags is updated long after its end
        return sorted((record for record in records if _end(record) > since), key=_end)

    def after(self, records: Sequence[dg.RunRecord], sent: Sequence[str]) -> "_Cursor":
        """Return the cursor after some of the runs were sent."""
        times = {record.dagster_run.run_id: _end(record) for record in records}
        since = max([self.since, *(times[run] for run in sent)])
        recent = [run for run in (*self.sent, *sent) if times.get(run, 0.0) > since - _OVERLAP]
        return _Cursor(since=since, sent=recent)


class _RefusedError(PermanentError):
    """The catalog is there, and does not take this run."""


def _end(record: dg.RunRecord) -> float:
    return record.end_time or record.update_timestamp.timestamp()


def _send_all(context: dg.SensorEvaluationContext, cursor: _Cursor) -> str:
    """Send the runs that were not sent yet, and move the cursor on with each; return what was done.

    Raises one of our errors where the catalog has not taken the first one.
    """
    from taxi_pipeline.automation.lineage_events import events_of

    records = cursor.ended_runs(context.instance)
    # Dagster evaluates no sensor without it
    graph = cast("dg.RepositoryDefinition", context.repository_def).asset_graph
    new = [record for record in records if record.dagster_run.run_id not in cursor.sent]
    began, sent, problems = monotonic(), 0, []
    for record in takewhile(lambda _: monotonic() - began < _SECONDS, new):
        run = record.dagster_run.run_id
        try:
            _send(events_of(context.instance, graph, record))
            sent += 1
        except _RefusedError as error:
            problems.append(f"Run {run} is left out. {error}")
            context.log.warning(problems[-1])
        except (PermanentError, TransientError) as error:
            # Dagster keeps no cursor of a tick that fails: the next one does, at this run
            if not sent and not problems:
                raise
            problems.append(str(error))
            break
        cursor = cursor.after(records, [run])
        context.update_cursor(cursor.model_dump_json())
    return " ".join([f"The lineage of {sent} runs was sent.", *problems])


def _send(events: "Iterable[RunEvent]") -> None:
    """Send events to the catalog; raise one of our errors where it does not take one."""
    from openlineage.client import OpenLineageClient
    from requests import HTTPError

    key = lineage_key()
    transport = {
        "type": "http",
        "url": lineage_url(),
        "retry": {"total": 0, "status_forcelist": []},  # the next tick is the next try
        **({"auth": {"type": "api_key", "apiKey": key}} if key else {}),
    }
    client = OpenLineageClient(config={"transport": transport})
    with classified(_FAILED):
        for event in events:
            try:
                client.emit(event)
            except HTTPError as error:
                raise _error_of(error.response.status_code, message_of(error)) from None


def _error_of(status: int, message: str) -> PermanentError | TransientError:
    """Return which of our errors an answer of the catalog is."""
    sentence = f"{_FAILED}: {message.rstrip('. ')}."
    if is_transient_status(status):
        return TransientError(sentence)
    if status in _SETTING_STATUSES:
        return PermanentError(sentence)
    return _RefusedError(sentence)
