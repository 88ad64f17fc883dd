"""`taxi backfill` as a person types it, beside the platform: one that is watched, one interrupted.

Both are of a service that no other story has.
"""

import os
import re
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from taxi_pipeline_tests.support.dagster_dev import TAXI
from taxi_pipeline_tests.support.processes import PATIENCE, until

from .scene import Scene

SERVICE = "fhv"
WATCHED = ["2019-01", "2019-02"]
INTERRUPTED = "2019-03"

_HEARD = """
query {
  instance { daemonHealth { daemonStatus(daemonType: "BACKFILL") { lastHeartbeatTime } } }
}
"""


@dataclass(frozen=True)
class Done:
    """How a command has ended, and what it has printed."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Commands:
    """The command that is watched, and how the other one ended, whose backfill goes on."""

    watched: subprocess.Popen[str]
    interrupted: Done

    @property
    def goes_on(self) -> str:
        """The backfill of the one that was interrupted, as it has said it."""
        (said,) = re.findall(r"taxi backfill --cancel (\w+),", self.interrupted.stderr)
        return str(said)

    def end(self) -> Done:
        """Wait for the end of the one that is watched."""
        return _ended(self.watched)


def type_commands(scene: Scene) -> Commands:
    """Start both once the daemon is heard of; interrupt one as soon as it has launched."""
    dev = scene.live.dev

    def heard() -> bool:
        health = dev.graphql(_HEARD)["instance"]["daemonHealth"]
        return health["daemonStatus"]["lastHeartbeatTime"] is not None

    until(heard, every=0.5)
    watched = _start(scene, *(word for month in WATCHED for word in ("--month", month)), "--yes")
    interrupted = _start(scene, "--month", INTERRUPTED, "--yes")
    assert interrupted.stdout
    until(lambda: interrupted.stdout and "Launched" in interrupted.stdout.readline())
    interrupted.send_signal(signal.SIGINT)
    return Commands(watched, _ended(interrupted))


def say_only(scene: Scene) -> Done:
    """Return what the command says that it would take."""
    return _ended(_start(scene, "--month", INTERRUPTED, "--dry-run"))


def _start(scene: Scene, *words: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        **scene.live.variables,
        "TAXI_DAGSTER_URL": scene.live.dev.url,
        "TAXI_PUBLISHER_URLS": scene.settings["TAXI_PUBLISHER_URLS"],
    }
    command: Sequence[str] = [*TAXI, "backfill", SERVICE, *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def _ended(process: subprocess.Popen[str]) -> Done:
    with process:
        try:
            stdout, stderr = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    return Done(process.returncode, stdout, stderr)
