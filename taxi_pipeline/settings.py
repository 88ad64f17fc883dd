"""The settings: environment variables, and the resources that they describe.

A variable that sets a field of a resource is declared in the resource's `variables`; the others are
declared here. Dagster gets the resources with the required variables still unread, so that a
missing one stops a run and names itself instead of breaking the code location; others call
`load_resources`.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import dagster as dg
from pydantic.fields import FieldInfo

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.classification import message_of
from taxi_pipeline.io.urls import refuse_secrets
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.resources.heartbeat import Heartbeat
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.sink import Sink

type _Resource = Publisher | Lake | Sink | Notifier | Heartbeat


@dataclass(frozen=True)
class Resources:
    """All the resources.

    Attributes:
        publisher: TLC's files.
        lake: The bucket.
        notifier: Where people are told.
        heartbeat: Who is called while all is well.
        sinks: The stores that keep tables, by name, in the order of the registry.
    """

    publisher: Publisher
    lake: Lake
    notifier: Notifier
    heartbeat: Heartbeat
    sinks: Mapping[str, Sink]

    @property
    def bigquery(self) -> BigQuery:
        """The sink that keeps the marts, too."""
        return cast("BigQuery", self.sinks[BigQuery.name])

    @property
    def postgres(self) -> Postgres:
        """The sink for people's own SQL."""
        return cast("Postgres", self.sinks[Postgres.name])

    def by_name(self) -> dict[str, _Resource]:
        """Return the resources by the names under which assets ask for them."""
        return {
            "publisher": self.publisher,
            "lake": self.lake,
            "notifier": self.notifier,
            "heartbeat": self.heartbeat,
            **self.sinks,
        }


# The units of a resource's numbers, each with an example of one.
_UNITS = {"seconds": "3600 for an hour", "bytes": "100000000000 for 100 GB"}
_DEFAULTS = {
    "TAXI_AUTOMATION": "off",
    "TAXI_CHECK_DEPTH": "columns",
    "TAXI_DAGSTER_URL": "http://127.0.0.1:3000",
    "TAXI_FEWER_ROWS_SHARE": "0.2",
    "TAXI_HEARTBEAT_EVERY_SECONDS": "60",
    "TAXI_PUBLISHED_EVERY_SECONDS": "3600",
    "TAXI_RECOUNT_DAYS": "30",
    "TAXI_REJECTED_SHARE": "0.05",
    "TAXI_RETRIES": "4",
    "TAXI_RETRY_SECONDS": "2",
    "TAXI_SCHEDULE": "0 6 25 * *",
}


def variables(sinks: Sequence[type[Sink]] = SINKS) -> dict[str, FieldInfo]:
    """Return the field of a resource that each environment variable sets.

    Args:
        sinks: The stores that keep tables, whose variables are returned with the other resources'.
    """
    resources: tuple[type[_Resource], ...] = (Publisher, Lake, *sinks, Notifier, Heartbeat)
    return {
        variable: resource.model_fields[field]
        for resource in resources
        for field, variable in resource.variables.items()
    }


def resources_for_dagster(sinks: Sequence[type[Sink]] = SINKS) -> Resources:
    """Return the resources for Dagster, with their texts unread: it reads them when a run starts.

    What a variable sets to a number is read now.

    Args:
        sinks: The stores that keep tables.

    Raises:
        PermanentError: One of those is not set to a whole number above 0.
    """
    return _resources(sinks, dg.EnvVar)


def load_resources(sinks: Sequence[type[Sink]] = SINKS) -> Resources:
    """Return the resources with their variables read.

    Args:
        sinks: The stores that keep tables.

    Raises:
        PermanentError: Required variables are not set, which it names, or one that sets a number is
            not a whole one above 0.
    """
    _ensure_set(variables(sinks))
    return _resources(sinks, os.environ.__getitem__)


def load_resource[R: _Resource](resource: type[R]) -> R:
    """Return one resource with its variables read; raise as `load_resources` does."""
    fields = resource.model_fields
    _ensure_set({name: fields[field] for field, name in resource.variables.items()})
    return resource(**_fields(cast("type[_Resource]", resource), os.environ.__getitem__))


def find_sink(sink: type[Sink]) -> Sink | None:
    """Return a store with its variables read; None where a required one is not set."""
    fields = sink.model_fields
    if any(
        fields[field].is_required() and not os.environ.get(variable)
        for field, variable in sink.variables.items()
    ):
        return None
    return sink(**_fields(sink, os.environ.__getitem__))


def read_number(variable: str, field: FieldInfo) -> int:
    """Return the number that a variable sets a resource's field to.

    Raises:
        PermanentError: It is not set to a whole number above 0.
    """
    extra = field.json_schema_extra
    unit = str(extra["unit"]) if isinstance(extra, dict) and "unit" in extra else "seconds"
    return _above_zero(variable, unit, _UNITS[unit])


def rejected_share() -> float:
    """Return the share of rejected rows up to which a month is as expected."""
    return _share("TAXI_REJECTED_SHARE")


def fewer_rows_share() -> float:
    """Return the share by which a month may have fewer rows than what it is compared with."""
    return _share("TAXI_FEWER_ROWS_SHARE")


def check_depth() -> str:
    """Return how closely a run compares each sink with the lake: "rows", "columns" or "cells"."""
    text = _setting("TAXI_CHECK_DEPTH")
    if text not in ("rows", "columns", "cells"):
        raise PermanentError(f"TAXI_CHECK_DEPTH: '{text}' is none of rows, columns and cells.")
    return text


def automation_is_on() -> bool:
    """Return whether schedules and sensors run unless somebody has turned them off in the UI."""
    text = _setting("TAXI_AUTOMATION")
    if text not in ("on", "off"):
        raise PermanentError(f"TAXI_AUTOMATION: '{text}' is neither on nor off.")
    return text == "on"


def schedule_cron() -> str:
    """Return when the schedules ask for the newest month, as cron in New York time."""
    return _setting("TAXI_SCHEDULE")


def published_every_seconds() -> int:
    """Return how many seconds lie between two looks at what the publisher has."""
    return _seconds("TAXI_PUBLISHED_EVERY_SECONDS")


def recount_days() -> int:
    """Return within how many days the schedules that recount take up each month once."""
    return _above_zero("TAXI_RECOUNT_DAYS", "days", "30 for each month once a month")


def retries() -> int:
    """Return how often a step is tried again that failed for something a retry can cure."""
    text = _setting("TAXI_RETRIES")
    if not (text.isascii() and text.isdecimal()):
        raise PermanentError(f"TAXI_RETRIES: '{text}' is not a whole number: write one such as 4.")
    return int(text)


def retry_seconds() -> int:
    """Return for how many seconds the first retry waits; by 2 they wait some 2, 6, 14 and 30."""
    return _seconds("TAXI_RETRY_SECONDS")


def notifications_enabled() -> bool:
    """Return whether there is somewhere to send messages to."""
    return bool(os.environ.get("TAXI_NOTIFY_URL"))


def heartbeat_enabled() -> bool:
    """Return whether there is a monitor to call while all is well."""
    return bool(os.environ.get("TAXI_HEARTBEAT_URL"))


def heartbeat_every_seconds() -> int:
    """Return how many seconds lie between two calls of the monitor."""
    return _seconds("TAXI_HEARTBEAT_EVERY_SECONDS")


def lineage_url() -> str:
    """Return the address of the catalog that gets the lineage of runs; an empty text for none.

    Raises:
        PermanentError: As `dagster_url` does.
    """
    name = "OPENLINEAGE_URL"  # this and the next are the names of OpenLineage's client
    return _web_address(name) if os.environ.get(name) else ""


def lineage_key() -> str:
    """Return the key for the catalog of lineage; an empty text for none."""
    return os.environ.get("OPENLINEAGE_API_KEY", "")


def lineage_namespace() -> str:
    """Return the namespace that our jobs have in the catalog of lineage."""
    return os.environ.get("OPENLINEAGE_NAMESPACE") or "taxi_pipeline"


def dagster_url() -> str:
    """Return where people reach Dagster's UI, without a slash at the end.

    Raises:
        PermanentError: It is no http(s) URL, or has more than an address and a path in it.
    """
    return _web_address("TAXI_DAGSTER_URL")


def dagster_api_url() -> str:
    """Return where programs reach Dagster's webserver: where people do, unless it is set.

    Raises:
        PermanentError: As `dagster_url` does.
    """
    name = "TAXI_DAGSTER_API_URL"
    return _web_address(name) if os.environ.get(name) else dagster_url()


def dagster_instance() -> dg.DagsterInstance:
    """Return Dagster's memory of its runs.

    Raises:
        PermanentError: DAGSTER_HOME is not set, has no dagster.yaml, or has one that is wrong.
    """
    home = os.environ.get("DAGSTER_HOME")
    if not home:
        raise PermanentError(
            "DAGSTER_HOME: not set. Set it to the folder that Dagster's webserver has, or run "
            "inside the embedded stack: taxi local COMMAND."
        )
    # without it Dagster begins an empty memory of its own there, in which nothing has ever failed
    if not Path(home, "dagster.yaml").is_file():
        raise PermanentError(
            f"DAGSTER_HOME: '{home}' has no dagster.yaml, so it is no instance of Dagster. Set it "
            "to the folder that Dagster's webserver has, or run this where the webserver runs."
        )
    try:
        return dg.DagsterInstance.get()
    except dg.DagsterError as error:
        # on one line, and without a password that a URL in it may have
        raise PermanentError(
            f"DAGSTER_HOME has no instance of Dagster: {message_of(error)}"
        ) from error


def _setting(name: str) -> str:
    return os.environ.get(name) or _DEFAULTS[name]


def _web_address(name: str) -> str:
    text = _setting(name)
    refuse_secrets(text, name)
    if not text.startswith(("http://", "https://")):
        raise PermanentError(f"{name}: '{text}' is not an http(s) URL.")
    return text.rstrip("/")


def _share(name: str) -> float:
    text = _setting(name)
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise PermanentError(
            f"{name}: '{text}' is not a share: write a number from 0 to 1, such as "
            f"{_DEFAULTS[name]} for {float(_DEFAULTS[name]):.0%}."
        )
    return share


def _seconds(name: str) -> int:
    return _above_zero(name, "seconds", _UNITS["seconds"])


def _above_zero(name: str, unit: str, example: str) -> int:
    text = os.environ.get(name) or _DEFAULTS.get(name, "")
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise PermanentError(
            f"{name}: '{text}' is not a whole number of {unit} above 0: write one such as "
            f"{example}."
        )
    return int(text)


def _ensure_set(fields: Mapping[str, FieldInfo]) -> None:
    """Raise `PermanentError` where a variable is not set whose field is required."""
    required = {name for name, field in fields.items() if field.is_required()}
    if missing := sorted(name for name in required if not os.environ.get(name)):
        raise PermanentError(
            f"{', '.join(missing)}: not set. Set what .env.example shows, or run inside the "
            "embedded stack: taxi local COMMAND."
        )


def _resources(sinks: Sequence[type[Sink]], read: Callable[[str], str]) -> Resources:
    return Resources(
        Publisher(**_fields(Publisher, read)),
        Lake(**_fields(Lake, read)),
        Notifier(**_fields(Notifier, read)),
        Heartbeat(**_fields(Heartbeat, read)),
        {sink.name: sink(**_fields(sink, read)) for sink in sinks},
    )


def _fields(resource: type[_Resource], read: Callable[[str], str]) -> dict[str, Any]:
    """Return the values of a resource's fields that are required or set; `read` gives texts."""
    fields = resource.model_fields
    return {
        field: read(variable)
        if fields[field].annotation is str
        else read_number(variable, fields[field])
        for field, variable in resource.variables.items()
        if fields[field].is_required() or os.environ.get(variable)
    }
