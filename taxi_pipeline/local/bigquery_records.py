"""What the BigQuery emulator keeps of its jobs and resources, which it reads from memory here.

It writes a job three times, by a statement that is slow in DuckDB, and reads jobs and descriptions
of tables anew whenever it needs one: half of a query's time. Here a job is written as it is
submitted and as it ends; jobs that run or ended last, and the descriptions that were read, stay in
memory. So INFORMATION_SCHEMA.JOBS, which is the folder's, has a running job as PENDING.
"""

import json
from collections.abc import Callable
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_bigquery.models import Job

_JOBS = 200  # that have ended, and are kept in memory
_LOOK_UPS = 2_000  # of descriptions, whose results are kept in memory


def install() -> None:
    """Replace the emulator's functions."""
    from local_bigquery.catalog import metadata, row_access
    from local_bigquery.jobs import store

    jobs = _Jobs()
    store.save, store.load, store.list_, store.delete = (
        jobs.save,
        jobs.load,
        jobs.list_,
        jobs.delete,
    )
    resources = _Resources()
    metadata.list_, metadata.save, metadata.delete = (
        resources.list_,
        resources.save,
        resources.delete,
    )
    row_access.secured = resources.secured


class _Jobs:
    """Keeps the jobs that have not ended, and the last ones that have."""

    def __init__(self) -> None:
        from local_bigquery.jobs import store

        self._save, self._load = store.save, store.load
        self._list, self._delete = store.list_, store.delete
        self._open: dict[tuple[str, str], Job] = {}
        self._ended: dict[tuple[str, str], Job] = {}  # the one that ended last comes last
        self._lock = RLock()

    def save(self, job: "Job") -> "Job":
        key = _key(job)
        with self._lock:
            if job.status.state == "DONE":
                self._end(key, job)
            else:
                if job.status.state == "PENDING":
                    _insert(job)
                self._open[key] = job
        return job

    def load(self, project: str, job_id: str) -> "Job | None":
        key = project, job_id
        with self._lock:
            return self._open.get(key) or self._ended.get(key) or self._load(*key)

    def list_(self, project: str, states: list[str] | None = None, *others: Any) -> list["Job"]:
        written = [*states, "PENDING"] if states else None
        with self._lock:
            running = dict(self._open)
        jobs = self._list(project, written, *others)
        jobs = [
            running.get(_key(job), job) if job.status.state == "PENDING" else job for job in jobs
        ]
        return [job for job in jobs if not states or job.status.state in states]

    def delete(self, project: str, job_id: str) -> None:
        with self._lock:
            self._open.pop((project, job_id), None)
            for key, job in [*self._ended.items()]:  # its statements, too, if it is a script
                if key[0] == project and job_id in (key[1], job.statistics.parentJobId):
                    del self._ended[key]
            self._delete(project, job_id)

    def _end(self, key: tuple[str, str], job: "Job") -> None:
        from local_bigquery.engine import database

        if key in self._open:
            database.execute(
                "UPDATE emulator.jobs SET state = ?, resource = ? "
                "WHERE project_id = ? AND job_id = ?",
                [job.status.state, json.dumps(job.dump()), *key],
            )
            del self._open[key]
        else:  # a statement of a script, or a job that an earlier process was at
            self._save(job)
        self._ended[key] = job
        if len(self._ended) > _JOBS:
            del self._ended[next(iter(self._ended))]


def _key(job: "Job") -> tuple[str, str]:
    return job.jobReference.projectId, job.jobReference.jobId


def _insert(job: "Job") -> None:
    import duckdb
    from local_bigquery.engine import database
    from local_bigquery.errors import already_exists

    project, job_id = _key(job)
    created = int(job.statistics.creationTime)
    row = [project, job_id, None, job.status.state, created, json.dumps(job.dump())]
    try:
        database.execute("INSERT INTO emulator.jobs VALUES (?, ?, ?, ?, ?, ?)", row)
    except duckdb.ConstraintException:
        raise already_exists("Job", f"{project}:{job_id}") from None


class _Resources:
    """Keeps the descriptions of datasets, tables and the like, until one of the kind changes."""

    def __init__(self) -> None:
        from local_bigquery.catalog import metadata, row_access

        self._list, self._save, self._delete = metadata.list_, metadata.save, metadata.delete
        self._secured = row_access.secured
        self._kept: dict[Any, Any] = {}
        self._lock = RLock()

    def list_(self, model: type, *keys: str) -> list[Any]:
        resources: list[Any] = self._find((model, keys), partial(self._list, model, *keys))
        return resources

    def secured(self) -> frozenset[tuple[str, str, str]]:
        """Return the tables that have policies for rows."""
        from local_bigquery.models import RowAccessPolicy

        tables: frozenset[tuple[str, str, str]] = self._find(
            (RowAccessPolicy, "secured"), self._secured
        )
        return tables

    def save(self, resource: Any, *keys: str) -> Any:
        with self._lock:
            self._forget(type(resource))
            return self._save(resource, *keys)

    def delete(self, model: type, *keys: str) -> None:
        with self._lock:
            self._forget(model)
            self._delete(model, *keys)

    def _find(self, key: Any, find: Callable[[], Any]) -> Any:
        with self._lock:
            if key not in self._kept:
                if len(self._kept) >= _LOOK_UPS:
                    self._kept.clear()
                self._kept[key] = find()
            return self._kept[key]

    def _forget(self, model: type) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if key[0] is not model}
