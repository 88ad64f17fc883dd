"""BigQuery's jobs: started once under an id, waited for, cancelled where they take too long.

A job that replaces something has an id made of what it replaces and of what it puts there:

    taxi_<the dataset>_yellow_trips_202101_<the object's generation>_<the run>_1

So a second try finds the job whose answer was lost, instead of loading twice; and jobs of ours that
still write to the same place, for a run that was killed or beside us, are waited for.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Literal

from taxi_pipeline.errors import TransientError

if TYPE_CHECKING:
    from google.cloud import bigquery
    from google.cloud.bigquery.table import RowIterator


# What a job is for, as its label `purpose` says.
type Purpose = Literal["load", "mart", "tally", "columns", "fingerprint", "stamps", "stamp"]


@dataclass(frozen=True)
class Jobs:
    """A project's jobs.

    Attributes:
        client: Google's client.
        timeout: Seconds to wait for the server's next bytes.
        job_timeout: Seconds that a job may take.
        maximum_bytes_billed: The bytes that a query may bill, or it fails; None for any number.
    """

    client: "bigquery.Client"
    timeout: float
    job_timeout: float
    maximum_bytes_billed: int | None

    @property
    def call_options(self) -> dict[str, Any]:
        """How a call is made: once, since it is steps that are tried again, and not for ever."""
        return {"retry": None, "timeout": self.timeout}

    @property
    def timeout_ms(self) -> int:
        """The milliseconds after which BigQuery itself ends a job."""
        return int(self.job_timeout * 1000)

    def query_config(
        self,
        labels: Mapping[str, str],
        parameters: "Iterable[bigquery.ScalarQueryParameter]" = (),
    ) -> "bigquery.QueryJobConfig":
        """Return how a query is run: with how much time, and at what cost at most.

        Args:
            labels: The job's labels, by which its cost can be found.
            parameters: The query's parameters.
        """
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(
            query_parameters=[*parameters], job_timeout_ms=self.timeout_ms, labels={**labels}
        )
        if self.maximum_bytes_billed is not None:
            config.maximum_bytes_billed = self.maximum_bytes_billed
        return config

    def run_replacing[J: (bigquery.LoadJob, bigquery.QueryJob)](
        self, prefix: str, name: str, location: str | None, start: Callable[[str], J]
    ) -> J:
        """Run a job that replaces rows, after all others that replace the same rows.

        Where an earlier try has started it, that one is waited for, unless it failed.

        Args:
            prefix: How the ids begin of all jobs that write to the same place.
            name: What of the id is this job's own.
            location: The table's location.
            start: Starts the job, given its id.

        Returns:
            The job when it is done.

        Raises:
            TransientError: A job took longer than `job_timeout`, or the one that an earlier try has
                started cannot be found yet.
            google.api_core.exceptions.GoogleAPICallError: The job failed.
        """
        from google.api_core.exceptions import Conflict

        self._await_others(prefix)
        numbers = count(1)
        while True:
            job_id = f"{prefix}{name}_{next(numbers)}"
            try:
                job = start(job_id)
            except Conflict:
                job = self._get(job_id, location)
                if self._wait_or_cancel(job).error_result:
                    continue
            return self._result_or_raise(job)

    def query_rows(self, query: str, config: "bigquery.QueryJobConfig") -> "RowIterator":
        """Return a query's rows.

        Raises:
            TransientError: The job took longer than `job_timeout`.
            google.api_core.exceptions.GoogleAPICallError: The job failed.
        """
        job = self.query(query, config)
        # not by the job's own method, which waits for two minutes at least
        return self.client.list_rows(job.destination, **self.call_options)

    def query(
        self, query: str, config: "bigquery.QueryJobConfig", location: str | None = None
    ) -> "bigquery.QueryJob":
        """Run a query or a statement; return its job when it is done.

        Raises:
            TransientError: The job took longer than `job_timeout`.
            google.api_core.exceptions.GoogleAPICallError: The job failed.
        """
        started = self.client.query(
            query, config, location=location, job_retry=None, **self.call_options
        )
        return self._result_or_raise(started)

    def _get(self, job_id: str, location: str | None) -> Any:
        """Return a job that BigQuery has said it knows, of the kind that was started."""
        from google.api_core.exceptions import NotFound

        try:
            return self.client.get_job(job_id, location=location, **self.call_options)
        except NotFound:  # as happens for a moment
            raise TransientError(
                f"BigQuery's job {job_id} has been started, but cannot be found yet."
            ) from None

    def _await_others(self, prefix: str) -> None:
        """Wait for the jobs whose ids begin with `prefix`."""
        # pending ones first: one that begins to run in between is found twice, and not never
        for state in ("pending", "running"):
            for job in self.client.list_jobs(state_filter=state, **self.call_options):
                if job.job_id.startswith(prefix) and not self._wait(job):
                    raise TransientError(
                        f"BigQuery's job {job.job_id} still replaces the same rows after "
                        f"{self.job_timeout:g} seconds: wait for it, or cancel it."
                    )

    def _result_or_raise[J: (bigquery.LoadJob, bigquery.QueryJob)](self, job: J) -> J:
        """Return a job when it is done; raise what it failed with."""
        error = self._wait_or_cancel(job).exception(timeout=self.timeout)
        if error:
            raise error
        return job

    def _wait_or_cancel[J: (bigquery.LoadJob, bigquery.QueryJob)](self, job: J) -> J:
        """Wait for a job; cancel it where it takes too long, or where we are interrupted."""
        try:
            ended = self._wait(job)
        except Exception:  # of the connection: the job goes on, and the next try finds it
            raise
        except BaseException:
            self._cancel(job)
            raise
        if not ended:
            self._cancel(job)
            raise TransientError(
                f"BigQuery's job {job.job_id} was cancelled: it took longer than "
                f"{self.job_timeout:g} seconds."
            )
        return job

    def _wait(self, job: "bigquery.LoadJob | bigquery.QueryJob") -> bool:
        """Wait for a job; return whether it is done within `job_timeout`."""
        from google.api_core.retry import exponential_sleep_generator

        deadline = monotonic() + self.job_timeout
        pauses = exponential_sleep_generator(initial=0.1, maximum=5)
        while not job.done(**self.call_options):
            if monotonic() > deadline:
                return False
            sleep(next(pauses))
        return True

    def _cancel(self, job: "bigquery.LoadJob | bigquery.QueryJob") -> None:
        with suppress(Exception):  # it has a limit of its own
            job.cancel(**self.call_options)
