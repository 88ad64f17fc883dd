"""Processes that tests start: waiting for what they do, and seeing that none is left."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PATIENCE = 600  # seconds: what takes as long hangs, however slow a machine is


def killed_leftovers(folder: Path) -> list[psutil.Process]:
    """Kill, and return, the processes that still have this folder in their command line."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(folder) in word for word in process.cmdline()) and process.is_running():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    for process in found:
        process.kill()
    return found


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command; kill it if the test has not ended it."""
    with subprocess.Popen(command) as process:
        try:
            yield process
            process.wait(PATIENCE)
        finally:
            process.kill()


def run_with_family(
    command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; where it hangs or the test is over, kill all that it has started.

    A stack that outlived its `taxi local` would fail whatever tests come after.
    """
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=env
    ) as process:
        try:
            stdout, stderr = process.communicate(timeout=PATIENCE)
        except BaseException:
            _kill_family(process.pid)
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _kill_family(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for one in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def until[T](condition: Callable[[], T], seconds: float = PATIENCE, every: float = 0.02) -> T:
    """Wait until the condition holds, asking so often."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        threading.Event().wait(every)
    return value
