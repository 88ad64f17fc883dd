"""Processes that tests start: waiting for what they do, and seeing that none is left."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


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
            process.wait(60)
        finally:
            process.kill()


def until[T](condition: Callable[[], T], seconds: float = 60, every: float = 0.02) -> T:
    """Wait until the condition holds, asking so often."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        threading.Event().wait(every)
    return value
