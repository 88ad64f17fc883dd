"""What `dagster dev` on an embedded stack uses, by its parts: CPU seconds, and memory at its peak.

Only the processes that it started count, so other work of the machine is in no figure but the
clock's.
"""

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

RUNS, DAGSTER = "runs", "Dagster's daemon, webserver and code server"
_EVERY_SECONDS = 5.0
_CODE_SERVER = {"api", "grpc"}  # words of the command whose children are the runs


class Footprint:
    """The CPU seconds and the peaks of memory of each part, as they were looked at last."""

    def __init__(self, taxi: psutil.Process, data: Path) -> None:
        """Look at the processes of a `taxi local` command, whose data lie in that folder."""
        self._taxi = taxi
        servers = json.loads((data / "stack.json").read_text())["servers"]
        self._servers = {server["pid"]: server["name"] for server in servers}
        self.cpu: dict[str, float] = {}
        self.peaks: defaultdict[str, int] = defaultdict(int)
        self.largest_run = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look every few seconds until the block is left, and then once more."""
        end = threading.Event()

        def watch() -> None:
            while not end.wait(_EVERY_SECONDS):
                self._look()

        self._look()
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()
            self._look()

    def _look(self) -> None:
        cpu: defaultdict[str, float] = defaultdict(float)
        memory: defaultdict[str, int] = defaultdict(int)
        for process, part in self._parts():
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                times, size = process.cpu_times(), process.memory_full_info().pss
                cpu[part] += times.user + times.system
                # who has ended is in the times of who waited for it: a run in its code server's
                of_ended = RUNS if part == DAGSTER and _is_code_server(process) else part
                cpu[of_ended] += times.children_user + times.children_system
                memory[part] += size
                if part == RUNS:
                    self.largest_run = max(self.largest_run, size)
        self.cpu = dict(cpu)
        for part, size in {**memory, "all together": sum(memory.values())}.items():
            self.peaks[part] = max(self.peaks[part], size)

    def _parts(self) -> Iterator[tuple[psutil.Process, str]]:
        """Yield each process, and which part it belongs to."""
        waiting = [(self._taxi, DAGSTER)]
        while waiting:
            process, part = waiting.pop()
            yield process, part
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                below = RUNS if part == DAGSTER and _is_code_server(process) else part
                waiting += [
                    (child, self._servers.get(child.pid, below)) for child in process.children()
                ]


def _is_code_server(process: psutil.Process) -> bool:
    return {*process.cmdline()} >= _CODE_SERVER
