"""Dagster's real daemon, watched: a sensor of its own that fails, and the daemon killed.

The monitor outside is a server that counts its calls. It refuses them at first, so the sensor that
calls it is the one that fails at each tick; no store is needed. Code server and daemon are two
processes, as in production.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import dagster as dg
import pytest

from taxi_pipeline import local
from taxi_pipeline_tests.support.dagster_dev import free_port
from taxi_pipeline_tests.support.forkserver import Forked
from taxi_pipeline_tests.support.http import Answer, listening, receiving, status
from taxi_pipeline_tests.support.processes import PATIENCE, until

SECRET = "s3cr3t-t0k3n"
EVERY = 5  # seconds between two looks of Dagster's daemon at its sensors
UI = "https://dagster.example.org"
REFUSED = (
    "PermanentError: The monitor of heartbeats answered 404. Its URL (TAXI_HEARTBEAT_URL) is not "
    "shown here, for the secret in it."
)


@dataclass
class Monitor:
    """The monitor outside: what it answers, and when it was called."""

    answer: Answer = field(default_factory=lambda: status(404))
    calls: list[float] = field(default_factory=list)

    def is_silent(self) -> bool:
        """Whether it would tell people by now: no call has come for longer than two would take."""
        return time.monotonic() - self.calls[-1] > 3 * EVERY

    @contextmanager
    def serving(self) -> Iterator[str]:
        monitor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                monitor.calls.append(time.monotonic())
                monitor.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        with listening(Handler) as address:
            yield f"http://{address}/{SECRET}"


@dataclass(frozen=True)
class Told:
    """What came to the monitor and to people, while the daemon lived and after it was killed."""

    beats: int
    calls_after_kill: int
    messages: list[dict[str, str]]
    errors: list[str]


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    """Let the monitor refuse; kill the daemon, start it anew and let the monitor take its calls.

    Then kill that one, too.
    """
    monitor = Monitor()
    with (
        receiving() as (told_at, messages),
        monitor.serving() as url,
        TemporaryDirectory(prefix="taxi-") as home,
        ExitStack() as processes,
    ):
        environment = os.environ | {
            "DAGSTER_HOME": home,
            "TAXI_HEARTBEAT_URL": url,
            "TAXI_HEARTBEAT_EVERY_SECONDS": str(EVERY),
            "TAXI_NOTIFY_URL": told_at,
            "TAXI_DAGSTER_URL": UI,
        }
        shutil.copy(Path(local.__file__).with_name("dagster.yaml"), home)
        log = Path(home, "log")
        start = _starter(processes, environment, log)
        port = str(free_port())
        address = ("-h", "127.0.0.1", "-p", port)
        start("dagster", "api", "grpc", *address, "-m", "taxi_pipeline.definitions")
        until(
            lambda: b"Started Dagster code server" in log.read_bytes()
        )  # or the daemon waits long
        of_code = ("--grpc-host", "127.0.0.1", "--grpc-port", port)
        daemon = start("dagster-daemon", "run", *of_code)
        with dg.DagsterInstance.from_config(home) as instance:
            # the message has left before the daemon keeps that it has
            until(lambda: _state(instance, "failed_ticks").cursor, every=0.2)
        daemon.kill()
        daemon.wait(PATIENCE)
        refused = len(monitor.calls)
        monitor.answer = status(200)
        daemon = start("dagster-daemon", "run", *of_code)
        until(lambda: len(messages) > 1, every=0.2)
        beats = len(monitor.calls) - refused
        calls_after_kill = _killed(daemon, monitor)
        yield Told(beats, calls_after_kill, messages, _errors(home))


def _starter(processes: ExitStack, environment: dict[str, str], log: Path) -> Callable[..., Forked]:
    """Return what starts a command of Dagster's, which is killed at the end."""
    output = processes.enter_context(log.open("wb")).fileno()

    def start(command: str, *arguments: str) -> Forked:
        path = str(Path(sys.executable).with_name(command))
        forked = Forked([path, *arguments], stdout=output, stderr=output, env=environment)
        return processes.enter_context(forked)

    return start


def _killed(daemon: Forked, monitor: Monitor) -> int:
    """Kill the daemon; return how often the monitor was called from then until it told people."""
    daemon.kill()
    daemon.wait(PATIENCE)
    before = len(monitor.calls)
    until(monitor.is_silent, every=0.5)
    return len(monitor.calls) - before


class _State(NamedTuple):
    """What Dagster keeps of a sensor: its two ids, and its cursor once people were told."""

    origin: str
    selector: str
    cursor: str | None


def _state(instance: dg.DagsterInstance, sensor: str) -> _State:
    for state in instance.all_instigator_state():
        if state.name == sensor and state.sensor_instigator_data:
            cursor = state.sensor_instigator_data.cursor
            told = cursor if cursor and json.loads(cursor) else None
            return _State(state.instigator_origin_id, state.selector_id, told)
    return _State("", "", None)


def _errors(home: str) -> list[str]:
    """Return what Dagster keeps of the ticks that failed."""
    with dg.DagsterInstance.from_config(home) as instance:
        state = _state(instance, "heartbeat")
        ticks = instance.get_ticks(state.origin, state.selector)
        return [repr(tick.error) for tick in ticks if tick.error]


def test_a_killed_daemon_is_a_monitor_that_is_not_called_any_more(told: Told) -> None:
    assert told.beats >= 1
    # the code server may be about to call it as the daemon dies
    assert told.calls_after_kill <= 1


def test_a_sensor_that_fails_is_told_once_by_two_daemons_and_that_it_recovered(told: Told) -> None:
    failing, well = told.messages
    assert failing["title"] == "heartbeat failed three times in a row"
    assert failing["message"].splitlines()[0] == f"heartbeat: {REFUSED}"
    assert (well["title"], well["message"]) == ("heartbeat recovered", f"{UI}/automation")


def test_the_monitors_secret_is_in_no_error_that_dagster_keeps(told: Told) -> None:
    assert len(told.errors) >= 3
    assert SECRET not in repr((told.errors, told.messages))
