"""What the checks share: resources as far as their settings are right, and one client a system.

Each is made when a check asks for it first. Nothing is checked here.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dagster as dg
    from google.auth.credentials import Credentials
    from google.cloud import storage
    from google.cloud.bigquery import Client as BigQueryClient
    from google.cloud.bigquery import Dataset

    from taxi_pipeline.resources.bigquery import BigQuery
    from taxi_pipeline.resources.gcs import Lake
    from taxi_pipeline.resources.notifier import Notifier
    from taxi_pipeline.resources.postgres import Postgres
    from taxi_pipeline.resources.publisher import Publisher
    from taxi_pipeline.sink import Sink

# For an answer, however much longer a run waits: who checks a deployment sits before the terminal.
ANSWER_SECONDS = 10

EMULATORS = ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST")


class NotCheckedError(Exception):
    """A check cannot be made, and the message says why."""


@dataclass
class Context:
    """What the checks share.

    Attributes:
        emulated: Whether Google's services are emulators, of which not everything can be asked.
        runs_elsewhere: Whether Dagster's instance lets runs go on in containers of their own, as
            far as it has been looked at.
        concurrent_runs: How many runs Dagster's instance lets go on at once, the same.
    """

    emulated: bool = field(
        default_factory=lambda: any(os.environ.get(variable) for variable in EMULATORS)
    )
    runs_elsewhere: bool = False
    concurrent_runs: int = 20  # deploy/dagster.yaml's
    _ends: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def lake(self) -> "Lake":
        """The bucket's resource."""
        from taxi_pipeline.resources.gcs import Lake

        return self._load(Lake)

    @cached_property
    def bigquery(self) -> "BigQuery":
        """BigQuery's resource."""
        from taxi_pipeline.resources.bigquery import BigQuery

        return self._load(BigQuery)

    @cached_property
    def postgres(self) -> "Postgres":
        """PostgreSQL's resource."""
        from taxi_pipeline.resources.postgres import Postgres

        return self._load(Postgres)

    @cached_property
    def publisher(self) -> "Publisher":
        """The publisher's resource."""
        from taxi_pipeline.resources.publisher import Publisher

        return self._load(Publisher)

    @cached_property
    def notifier(self) -> "Notifier":
        """The notifier."""
        from taxi_pipeline.resources.notifier import Notifier

        return self._load(Notifier)

    @cached_property
    def credentials(self) -> "Credentials":
        """Google's credentials; those for Cloud Storage and BigQuery are the same."""
        from taxi_pipeline.io.google import find_credentials

        return find_credentials(EMULATORS[0])

    @cached_property
    def bucket(self) -> "storage.Bucket":
        """The bucket, of which nothing has been asked."""
        from taxi_pipeline.io.google import CloudStorage

        return CloudStorage(project=self.lake.project).get_client().bucket(self.lake.bucket)

    @cached_property
    def bigquery_client(self) -> "BigQueryClient":
        """BigQuery's client."""
        from taxi_pipeline.io.google import GoogleBigQuery

        return self._ends.enter_context(GoogleBigQuery(project=self.bigquery.project).get_client())

    @cached_property
    def dataset(self) -> "Dataset":
        """The dataset as BigQuery describes it."""
        bigquery = self.bigquery
        return self.bigquery_client.get_dataset(
            f"{bigquery.project}.{bigquery.dataset}", **self.call_options
        )

    @cached_property
    def instance(self) -> "dg.DagsterInstance":
        """Dagster's instance."""
        from taxi_pipeline.settings import dagster_instance

        return self._ends.enter_context(dagster_instance())

    @property
    def call_options(self) -> dict[str, Any]:
        """How Google's clients are called: once, and not for long."""
        return {"retry": None, "timeout": ANSWER_SECONDS}

    @contextmanager
    def closed(self) -> Iterator["Context"]:
        """Close at the end what was opened."""
        with self._ends:
            yield self

    def _load[R: Lake | Sink | Publisher | Notifier](self, resource: type[R]) -> R:
        from taxi_pipeline.doctor.settings import problem_of
        from taxi_pipeline.settings import load_resource

        if any(problem_of(variable) for variable in resource.variables.values()):
            raise NotCheckedError("needs settings")
        return load_resource(resource)
