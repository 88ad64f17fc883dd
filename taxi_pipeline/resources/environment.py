"""The resources as the environment describes them: the one place where variables get their names.

Dagster gets them with the variables still unread, so that a missing one stops a run and names
itself instead of breaking the code location; others ask for them `ready`.
"""

from dataclasses import dataclass

import dagster as dg

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.resources.database import Database
from taxi_pipeline.resources.lake import Lake
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.resources.warehouse import Warehouse


@dataclass(frozen=True)
class Resources:
    """All the resources, by the names under which assets ask for them."""

    publisher: Publisher
    lake: Lake
    warehouse: Warehouse
    database: Database


def from_environment() -> Resources:
    """Return the resources with their variables unread, for Dagster to read when a run starts."""
    project = dg.EnvVar("TAXI_GCP_PROJECT")
    return Resources(
        Publisher(urls=dg.EnvVar("TAXI_PUBLISHER_URLS"), zones_url=dg.EnvVar("TAXI_ZONES_URL")),
        Lake(bucket=dg.EnvVar("TAXI_BUCKET"), project=project),
        Warehouse(project=project, dataset=dg.EnvVar("TAXI_DATASET")),
        Database(url=dg.EnvVar("TAXI_POSTGRES_URL")),
    )


def ready() -> Resources:
    """Return the resources with their variables read; `PermanentError` names one that is unset."""
    unread = from_environment()
    try:
        return Resources(
            unread.publisher.process_config_and_initialize(),
            unread.lake.process_config_and_initialize(),
            unread.warehouse.process_config_and_initialize(),
            unread.database.process_config_and_initialize(),
        )
    except dg.DagsterInvalidConfigError as error:
        missing = "; ".join(problem.message for problem in error.errors)
        raise PermanentError(
            f"{missing} Set it, as .env.example shows, or run inside the embedded stack: "
            "taxi local COMMAND."
        ) from error
