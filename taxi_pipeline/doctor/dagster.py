"""Dagster: its instance, the pools' limits, the daemon, and the webserver.

Dagster's calls to its storage have no limit of time, so each is waited for in a thread, and so is
the webserver's whole answer.
"""

import logging
import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from queue import Empty, Queue
from threading import Thread
from time import time
from typing import Any

from taxi_pipeline import settings
from taxi_pipeline.doctor.context import ANSWER_SECONDS, Context
from taxi_pipeline.doctor.finding import Finding, failed, ok, skipped
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.classification import classified, message_of

_STORAGE_SECONDS = 30
_HEARTBEAT_SECONDS = 300  # of two a minute; Dagster itself waits for half an hour
_POOLS = ("publisher", "bigquery", "postgres")
_NOT_STARTED = "the embedded stack's alone, where make dev starts it"


def check_instance(context: Context) -> Finding:
    """Check that DAGSTER_HOME has an instance, whose storage all processes of a run reach."""
    from dagster_postgres.utils import DagsterPostgresException

    def read() -> tuple[str, str, int | None]:
        instance = context.instance
        # its name alone: a launcher that is made may want a cluster
        launcher = instance.get_ref().run_launcher_data
        queue = instance.get_concurrency_config().run_queue_config
        return (
            type(instance.run_storage).__name__,
            launcher.class_name if launcher else "",
            queue.max_concurrent_runs if queue else None,
        )

    # of each try to connect: who reads it may be no one to see the address
    logging.getLogger().addFilter(_is_no_retry)
    try:
        storage, launcher, concurrent_runs = _within_limit(read)
    except DagsterPostgresException as error:
        words = message_of(str(error.__cause__ or error)).partition(" (Background on")[0]
        # of a password with an @ that is not percent-encoded, the rest is taken for the host
        words = re.sub(r'"[^"\s]*@', '"…@', words)
        raise TransientError(
            f"Dagster's storage cannot be reached: {words}. See that its PostgreSQL is up, and "
            "check DAGSTER_POSTGRES_URL."
        ) from None
    finally:
        logging.getLogger().removeFilter(_is_no_retry)
    home = os.environ["DAGSTER_HOME"]
    context.runs_elsewhere = launcher not in ("DefaultRunLauncher", "")
    if concurrent_runs and concurrent_runs > 0:  # -1 is no limit
        context.concurrent_runs = concurrent_runs
    kinds = {"storage": storage, "launcher": launcher}
    if context.runs_elsewhere and "Sqlite" in storage:
        return failed(
            f"{home}: runs go on elsewhere ({launcher}), but Dagster's storage is files of this "
            "machine (SQLite): name a PostgreSQL in dagster.yaml, as deploy/dagster.yaml does.",
            blocking=False,
            **kinds,
        )
    return ok(f"{home}: {storage}, {launcher}", **kinds)


def check_pools(context: Context) -> Finding:
    """Check that each pool has a limit: one of its own, or the default."""

    def read() -> tuple[int | None, Mapping[str, int]]:
        instance = context.instance
        default = instance.get_concurrency_config().pool_config.default_pool_limit
        limits = instance.event_log_storage.get_pool_limits()
        return default, {pool.name: pool.limit for pool in limits if not pool.from_default}

    default, limits = _within_limit(read)
    pools = {name: limits.get(name, default) for name in _POOLS}
    problems = {
        "without a limit": [name for name, limit in pools.items() if limit is None],
        "with a limit of 0, so that nothing of theirs starts": [
            name for name, limit in pools.items() if limit is not None and limit < 1
        ],
    }
    if wrong := {problem: names for problem, names in problems.items() if names}:
        listed = "; ".join(f"{', '.join(names)} {problem}" for problem, names in wrong.items())
        commands = "; ".join(
            f"dagster instance concurrency set {name} 2"
            for names in wrong.values()
            for name in names
        )
        return failed(f"{listed}: {commands}.", limits=pools)
    texts = (f"{pool} {pools[pool]}{'' if pool in limits else ' (default)'}" for pool in _POOLS)
    return ok(", ".join(texts), limits=pools)


def check_daemon(context: Context) -> Finding:
    """Check that each of the daemon's threads that the instance asks for lives, without errors."""

    def read() -> tuple[dict[str, str], dict[str, str]]:
        silent, errors = {}, {}
        for name, status in context.instance.get_daemon_statuses().items():
            heartbeat = status.last_heartbeat
            if heartbeat is None or time() - heartbeat.timestamp > _HEARTBEAT_SECONDS:
                silent[name] = _last_heartbeat(heartbeat)
            elif heartbeat.errors:
                errors[name] = message_of(heartbeat.errors[0].message)
        return silent, errors

    silent, errors = _within_limit(read)
    if silent and context.emulated:
        return skipped(_NOT_STARTED, dead=silent)
    problems = []
    if silent:
        listed = ", ".join(f"{name} ({when})" for name, when in sorted(silent.items()))
        problems.append(
            f"not heard of lately: {listed}. See that dagster-daemon runs, and what its log says."
        )
    problems += [
        f"{name} had an error in the last minutes: {words.rstrip('.')}."
        for name, words in sorted(errors.items())
    ]
    if problems:
        return failed(" ".join(problems), dead=silent, errors=errors)
    return ok("was heard of lately")


def check_webserver(context: Context) -> Finding:
    """Check that Dagster's webserver answers."""
    import requests

    address = settings.dagster_api_url()
    url = f"{address}/server_info"
    try:
        with classified(url):
            answer = _within_limit(
                # the timeout is for each of its bytes
                lambda: requests.get(url, timeout=ANSWER_SECONDS, allow_redirects=False),
                2 * ANSWER_SECONDS,
                f"{url}: not all of the answer has arrived in {2 * ANSWER_SECONDS} s.",
            )
    except (PermanentError, TransientError) as error:
        if context.emulated:
            return skipped(_NOT_STARTED)
        return failed(
            f"{error} Start Dagster's webserver, or set TAXI_DAGSTER_API_URL to "
            "where it is reached from here."
        )
    try:
        version = answer.json()["dagster_version"]
    except (ValueError, KeyError, TypeError):
        return failed(
            f"{url} answered {answer.status_code}, and not as Dagster's webserver does: something "
            "before it asks who we are, or TAXI_DAGSTER_API_URL is another's."
        )
    return ok(f"Dagster {version} at {address}", version=version)


def _is_no_retry(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Retrying failed database connection")


def _last_heartbeat(heartbeat: Any) -> str:
    if heartbeat is None:
        return "never"
    return f"last at {datetime.fromtimestamp(heartbeat.timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _within_limit[T](
    call: Callable[[], T], seconds: float | None = None, silence: str | None = None
) -> T:
    """Return what a call returns, or raise what it raises.

    Args:
        call: The call.
        seconds: How long it may take; None for as long as Dagster's storage may.
        silence: What is wrong where it takes longer; None for Dagster's storage.

    Raises:
        TransientError: It did not end in time. Its thread ends with the process.
    """
    results: Queue[tuple[T | None, Exception | None]] = Queue()

    def run() -> None:
        try:
            results.put((call(), None))
        except Exception as error:
            results.put((None, error))

    Thread(target=run, daemon=True).start()
    try:
        value, error = results.get(timeout=_STORAGE_SECONDS if seconds is None else seconds)
    except Empty:
        raise TransientError(
            silence
            or f"Dagster's storage does not answer within {_STORAGE_SECONDS} s: see that its "
            "PostgreSQL is up, and check DAGSTER_POSTGRES_URL."
        ) from None
    if error:
        raise error
    return value  # type: ignore[return-value]  # set where there is no error
