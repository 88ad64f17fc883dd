"""Dagster's webserver, as programs ask it by GraphQL: to launch, to cancel, and how all goes.

So what is launched is queued as if a person had launched it, and nothing here needs Dagster's own
storage. What is launched, and what becomes of it, is for those who ask.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from taxi_pipeline.errors import PermanentError

if TYPE_CHECKING:
    from gql import Client
    from gql.transport import Transport

_SECONDS = 60  # for an answer

_LAUNCH_BACKFILL = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PartitionKeysNotFoundError { message }
    ... on UnauthorizedError { message }
    ... on PythonError { message }
  }
}
"""
_CANCEL_BACKFILL = """
mutation ($id: String!) {
  cancelPartitionBackfill(backfillId: $id) {
    __typename
    ... on UnauthorizedError { message }
    ... on PythonError { message }
  }
}
"""


class UnreachableError(PermanentError):
    """The webserver does not answer now: it has not been started, or is being replaced."""


class FaultyAnswerError(PermanentError):
    """The webserver answers with an error, as it does while its storage is being replaced."""


@dataclass(frozen=True)
class Webserver:
    """Dagster's webserver.

    Attributes:
        url: Where it is reached from here.
    """

    url: str

    def ask(self, query: str, **variables: object) -> Any:
        """Return the value of the only field of GraphQL's answer.

        Args:
            query: The query or mutation.
            **variables: Its variables.

        Raises:
            UnreachableError: The webserver does not answer.
            FaultyAnswerError: It answers with an error, which may pass.
            PermanentError: It does not answer as Dagster's does.
        """
        from gql import GraphQLRequest
        from gql.transport.exceptions import (
            TransportConnectionFailed,
            TransportError,
            TransportQueryError,
            TransportServerError,
        )

        said = f"Dagster's webserver at {self.url}"

        try:
            request = GraphQLRequest(query, variable_values=variables)
            (value,) = self._client.execute(request).values()
        except TransportConnectionFailed as error:
            raise self._unreachable() from error
        except TransportServerError as error:
            if error.code in (502, 503, 504):  # of a proxy before it
                raise self._unreachable() from error
            may_pass = error.code is not None and (error.code == 404 or error.code >= 500)
            kind = FaultyAnswerError if may_pass else PermanentError
            raise kind(f"{said}: {error}") from error
        except TransportQueryError as error:
            raise FaultyAnswerError(f"{said}: {error}") from error
        except TransportError as error:
            raise PermanentError(f"{said}: {error}") from error
        return value

    def launch_run(
        self, job: str, tags: Mapping[str, str], assets: Iterable[dg.AssetKey], name: str
    ) -> str:
        """Launch a run of a job's assets; return its id.

        Args:
            job: The job.
            tags: The run's tags.
            assets: The assets.
            name: What is run, for messages.

        Raises:
            UnreachableError: The webserver does not answer.
            PermanentError: It did not launch the run.
        """
        from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
        from gql.transport.exceptions import TransportConnectionFailed

        # the host is of no matter beside the transport
        client = DagsterGraphQLClient("", transport=self._transport)
        try:
            return client.submit_job_execution(job, tags={**tags}, asset_selection=[*assets])
        except DagsterGraphQLClientError as error:
            if isinstance(error.__cause__, TransportConnectionFailed):
                raise self._unreachable() from error
            raise PermanentError(
                f"Dagster's webserver at {self.url} did not launch {name}: "
                f"{error.__cause__ or error}"
            ) from error

    def launch_backfill(
        self,
        assets: Iterable[dg.AssetKey],
        partitions: Sequence[str],
        tags: Mapping[str, str],
        title: str,
    ) -> str:
        """Launch a backfill of assets, whose partitions are the same; return its id.

        Args:
            assets: The assets.
            partitions: The keys of their partitions.
            tags: The tags of the backfill and of its runs.
            title: What Dagster's UI calls it.

        Raises:
            UnreachableError: The webserver does not answer.
            PermanentError: It did not launch the backfill.
        """
        params = {
            "assetSelection": [asset.to_graphql_input() for asset in assets],
            "partitionNames": [*partitions],
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
            "title": title,
        }
        answer = self.ask(_LAUNCH_BACKFILL, params=params)
        if answer["__typename"] != "LaunchBackfillSuccess":
            raise PermanentError(
                f"Dagster's webserver at {self.url} did not launch {title}: "
                f"{answer.get('message') or answer['__typename']}"
            )
        backfill: str = answer["backfillId"]
        return backfill

    def cancel_backfill(self, backfill: str) -> None:
        """Cancel a backfill: its queued runs go, and those that go on are terminated.

        Args:
            backfill: Its id.

        Raises:
            UnreachableError: The webserver does not answer.
            PermanentError: It did not cancel the backfill.
        """
        answer = self.ask(_CANCEL_BACKFILL, id=backfill)
        if answer["__typename"] != "CancelBackfillSuccess":
            raise PermanentError(
                f"Dagster's webserver at {self.url} did not cancel the backfill {backfill}: "
                f"{answer.get('message') or answer['__typename']}"
            )

    @cached_property
    def _transport(self) -> "Transport":
        from gql.transport.requests import RequestsHTTPTransport

        return RequestsHTTPTransport(f"{self.url}/graphql", use_json=True, timeout=_SECONDS)

    @cached_property
    def _client(self) -> "Client":
        from gql import Client

        return Client(transport=self._transport)

    def _unreachable(self) -> UnreachableError:
        return UnreachableError(
            f"Dagster's webserver does not answer at {self.url}: start it (make dev), or set "
            "TAXI_DAGSTER_API_URL to where it is reached from here."
        )
