"""What a step takes in its own process: seconds by the clock, seconds of CPU, and peak memory.

Our ways and the peers', which have another environment, are measured by the same lines. So nothing
is imported here but the standard library.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

type Took = defaultdict[str, list[dict[str, float]]]


@contextmanager
def measured(way: str, took: Took) -> Iterator[None]:
    """Add to what a way took what the block takes, as the fields of a `Cost`."""
    began, cpu = time.perf_counter(), _cpu_seconds()
    yield
    seconds, cpu = time.perf_counter() - began, _cpu_seconds() - cpu
    took[way].append({"seconds": seconds, "cpu": cpu, "peak": _peak_bytes()})


def _peak_bytes() -> int:
    """Return the most memory that the process has had; getrusage would count its parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return int(status["VmHWM"].split()[0]) * 1024


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
