"""The resources as the environment describes them: the one place where variables get their names.

Dagster gets them with the variables still unread, so that a missing one stops a run and names
itself instead of breaking the code location; others `load_resources`.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import dagster as dg

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.resources.database import Database
from taxi_pipeline.resources.lake import Lake
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.resources.urls import refuse_secrets
from taxi_pipeline.resources.warehouse import Warehouse


@dataclass(frozen=True)
class Resources:
    """All the resources, by the names under which assets ask for them."""

    publisher: Publisher
    lake: Lake
    warehouse: Warehouse
    database: Database
    notifier: Notifier


_REQUIRED = (
    "TAXI_BUCKET",
    "TAXI_GCP_PROJECT",
    "TAXI_POSTGRES_URL",
    "TAXI_PUBLISHER_URLS",
    "TAXI_ZONES_URL",
)
_DEFAULTS = {
    "TAXI_AUTOMATION": "off",
    "TAXI_DAGSTER_URL": "http://127.0.0.1:3000",
    "TAXI_DATASET": "trips_data_all",
    "TAXI_FEWER_ROWS_SHARE": "0.2",
    "TAXI_NOTIFY_URL": "",
    "TAXI_PUBLISHED_EVERY_SECONDS": "3600",
    "TAXI_REJECTED_SHARE": "0.05",
    "TAXI_RETRIES": "4",
    "TAXI_RETRY_SECONDS": "2",
    "TAXI_SCHEDULE": "0 6 25 * *",
}

# By resource, the variable of each of its timeouts and the field, which has the default.
TIMEOUTS: Mapping[type[dg.ConfigurableResource], Mapping[str, str]] = {  # type: ignore[type-arg]
    Publisher: {
        "TAXI_PUBLISHER_CONNECT_TIMEOUT": "connect_timeout",
        "TAXI_PUBLISHER_READ_TIMEOUT": "read_timeout",
        "TAXI_PUBLISHER_DOWNLOAD_TIMEOUT": "download_timeout",
        "TAXI_PUBLISHER_LOOK_TIMEOUT": "look_timeout",
    },
    Lake: {"TAXI_GCS_TIMEOUT": "timeout"},
    Warehouse: {
        "TAXI_BIGQUERY_TIMEOUT": "timeout",
        "TAXI_BIGQUERY_JOB_TIMEOUT": "job_timeout",
    },
    Database: {
        "TAXI_POSTGRES_CONNECT_TIMEOUT": "connect_timeout",
        "TAXI_POSTGRES_LOCK_TIMEOUT": "lock_timeout",
        "TAXI_POSTGRES_TIMEOUT": "timeout",
    },
    Notifier: {"TAXI_NOTIFY_TIMEOUT": "timeout"},
}


def resources_for_dagster() -> Resources:
    """Return the resources with their variables unread, for Dagster to read when a run starts."""
    return _resources(
        lambda name: (
            dg.EnvVar(name) if name in _REQUIRED or os.environ.get(name) else _DEFAULTS[name]
        )
    )


def load_resources() -> Resources:
    """Return the resources with their variables read; `PermanentError` names those unset."""
    if missing := [name for name in _REQUIRED if not os.environ.get(name)]:
        raise PermanentError(
            f"{', '.join(missing)}: not set. Set what .env.example shows, or run inside the "
            "embedded stack: taxi local COMMAND."
        )
    return _resources(_setting)


def rejected_share() -> float:
    """Return the share of rejected rows up to which a month is as expected."""
    return _share("TAXI_REJECTED_SHARE")


def fewer_rows_share() -> float:
    """Return the share by which a month may have fewer rows than what it is compared with."""
    return _share("TAXI_FEWER_ROWS_SHARE")


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
    return bool(_setting("TAXI_NOTIFY_URL"))


def dagster_url() -> str:
    """Return where people reach Dagster's UI, without a slash at the end.

    Raises `PermanentError` for what is no http(s) URL or has more than an address and a path in it.
    """
    text = _setting("TAXI_DAGSTER_URL")
    refuse_secrets(text, "TAXI_DAGSTER_URL")
    if not text.startswith(("http://", "https://")):
        raise PermanentError(f"TAXI_DAGSTER_URL: '{text}' is not an http(s) URL.")
    return text.rstrip("/")


def dagster_instance() -> dg.DagsterInstance:
    """Return Dagster's memory of its runs; raise `PermanentError` where DAGSTER_HOME has none."""
    if not os.environ.get("DAGSTER_HOME"):
        raise PermanentError(
            "DAGSTER_HOME: not set. Set it to the folder that Dagster's webserver has, or run "
            "inside the embedded stack: taxi local COMMAND."
        )
    try:
        return dg.DagsterInstance.get()
    except dg.DagsterInvariantViolationError as error:
        raise PermanentError(f"DAGSTER_HOME has no instance of Dagster: {error}") from error


def _setting(name: str) -> str:
    return os.environ.get(name) or _DEFAULTS[name]


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
    text = os.environ.get(name) or _DEFAULTS.get(name, "")
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise PermanentError(
            f"{name}: '{text}' is not a whole number of seconds above 0: write one such as 3600 "
            "for an hour."
        )
    return int(text)


def _resources(read: Callable[[str], str]) -> Resources:
    project = read("TAXI_GCP_PROJECT")
    return Resources(
        Publisher(
            urls=read("TAXI_PUBLISHER_URLS"),
            zones_url=read("TAXI_ZONES_URL"),
            **_timeouts(Publisher),
        ),
        Lake(bucket=read("TAXI_BUCKET"), project=project, **_timeouts(Lake)),
        Warehouse(project=project, dataset=read("TAXI_DATASET"), **_timeouts(Warehouse)),
        Database(url=read("TAXI_POSTGRES_URL"), **_timeouts(Database)),
        Notifier(url=read("TAXI_NOTIFY_URL"), **_timeouts(Notifier)),
    )


def _timeouts(resource: type[dg.ConfigurableResource]) -> dict[str, int]:  # type: ignore[type-arg]
    """Return those of a resource's timeouts that are set."""
    names = TIMEOUTS[resource]
    return {field: _seconds(name) for name, field in names.items() if os.environ.get(name)}
