"""`make dev` for tests: Dagster's webserver and daemon on an embedded stack of their own."""

import os
import random
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from .libraries import NO_THREADS
from .processes import PATIENCE, killed_leftovers, until
from .webserver import Webserver

_WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"
TAXI = [sys.executable, "-m", "taxi_pipeline"]
ROWS = ("--rows", "500")

# What lets the code server start runs warm: their processes are forked, and import nothing anew.
WARM = {
    "PYTHONPATH": f"{Path(__file__).with_name('warm')}{os.pathsep}{_WORKSPACE.parent}",
    **NO_THREADS,
}

# How a script starts a command in the background: SIGINT and SIGQUIT are ignored there.
OF_A_SCRIPT = ("sh", "-c", '"$@" & wait', "sh")


@dataclass(frozen=True)
class DagsterDev(Webserver):
    """The webserver, the process that `make dev` would be, and what joins its stack."""

    process: psutil.Process
    stack: Sequence[str]

    def await_answer(self) -> None:
        """Wait until the webserver answers."""
        until(lambda: self._answers() or not _runs(self.process), every=0.2)
        assert _runs(self.process), "it has ended"

    def ledger(
        self, *options: str, wrapper: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run `taxi ledger` in the stack, which it starts if it has ended."""
        command = [*self.stack, *wrapper, *TAXI, "ledger", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/server_info", timeout=5).close()
        except OSError:
            return False
        return True


@contextmanager
def dagster_dev(
    folder: Path, *wrapper: str, settings: Sequence[str] = ROWS
) -> Iterator[DagsterDev]:
    """Run it on a stack in `folder`, inside of the `wrapper` command, until the block is left.

    It is ended as by Ctrl-C, and must leave no process behind.
    """
    with started_dagster_dev(folder, *wrapper, settings=settings) as dev:
        dev.await_answer()
        yield dev


@contextmanager
def started_dagster_dev(
    folder: Path,
    *wrapper: str,
    settings: Sequence[str] = ROWS,
    starter: Sequence[str] = (),
    ended_by: signal.Signals = signal.SIGINT,
) -> Iterator[DagsterDev]:
    """Start it, by a `starter` command if there is one; yield it before the webserver answers.

    When the block is left, `taxi` gets the signal, and all of it must end.
    """
    stack = [*TAXI, "local", "--data-dir", f"{folder}/data", *settings]
    port = free_port()
    dagster = str(Path(sys.executable).with_name("dagster"))
    dev = [dagster, "dev", "-w", str(_WORKSPACE), "-h", "127.0.0.1", "-p", str(port)]
    # by default Dagster gives up a launch after a minute, which a slow machine may need
    environment = {**os.environ, "DAGSTER_GRPC_TIMEOUT_SECONDS": str(PATIENCE)}
    # in a group of its own: Ctrl-C is then pytest's, which ends it in order
    with psutil.Popen(
        [*starter, *stack, *wrapper, *dev], process_group=0, env=environment
    ) as process:
        taxi = psutil.Process(process.pid)
        try:
            if starter:
                (taxi,) = until(process.children)
            yield DagsterDev(f"http://127.0.0.1:{port}", taxi, stack)
        finally:
            left = _left_of(process, taxi, ended_by) + killed_leftovers(folder)
    assert left == []


def _left_of(
    process: psutil.Process, taxi: psutil.Process, number: signal.Signals
) -> list[psutil.Process]:
    """Send `taxi` a signal; kill, and return, who of the process and its family does not end."""
    with suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        taxi.send_signal(number)
        _, left = psutil.wait_procs(family, timeout=PATIENCE)
        for one in left:
            one.kill()
        return left
    return []


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def free_port() -> int:
    """Return a port of those that the system hands to nobody while Dagster is not yet there."""
    for port in random.sample(range(20_000, 32_000), 100):
        with suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is no free port")
