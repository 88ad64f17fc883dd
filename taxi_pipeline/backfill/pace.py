"""How fast months go: by the seconds that past ones took here, or by the line that was measured.

The line is a month's seconds where it runs alone: `_MONTH`, and some for each million rows. Of past
months it is asked how many seconds of the line a second of the clock was worth while they ran, so
that what two at once cost each other counts.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from taxi_pipeline.tlc.services import FHV, FHVHV, GREEN, YELLOW

# Between the two machines of docs/performance.md (5 and 7 seconds a month; 7 and 13 a million rows
# of fhvhv), each of which had two cores for runs and servers. The others as they were beside fhvhv:
# 18.2 s for 1.37 million rows of yellow, and 8 s for 1.4 million of fhv.
_MONTH = 6.0
_MILLION_ROWS: Mapping[str, float] = {
    YELLOW.name: 7.0,
    GREEN.name: 7.0,
    FHV.name: 2.0,
    FHVHV.name: 10.5,
}
# Twelve months of yellow, two at once, took 14.2 s each, 1.28 times as fast as alone.
_BUSY_CORES = 2 / 1.28
# Dagster's daemon looks for backfills every 30 seconds.
LAUNCH_SECONDS = 15.0

MEASURED = "what others took on two cores (docs/performance.md)"


@dataclass(frozen=True)
class PastRun:
    """A run of a month that has succeeded.

    Attributes:
        service: The name of its service.
        rows: The rows of the published file.
        began: When it was launched, in seconds since 1970.
        ended: When it ended.
    """

    service: str
    rows: int
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


@dataclass(frozen=True)
class Pace:
    """How fast months go.

    Attributes:
        speed: The seconds of the line that a second of the clock is worth.
        source: What it is known by, for people.
    """

    speed: float
    source: str

    def seconds(self, months: Iterable[tuple[str, float]]) -> float:
        """Return how long months take, from their launch on.

        Args:
            months: The service of each, and its rows.
        """
        return LAUNCH_SECONDS + sum(seconds_alone(*month) for month in months) / self.speed


def seconds_alone(service: str, rows: float) -> float:
    """Return how long a month takes by the line, where it runs alone."""
    return _MONTH + _MILLION_ROWS[service] * rows / 1e6


def speedup(at_once: float, cores: int | None) -> float:
    """Return how many times as fast months go where so many of them run at once.

    Args:
        at_once: How many run at once, in the mean.
        cores: The cores that all of them share; None where each has its own.
    """
    return at_once if cores is None else min(at_once, max(1.0, cores / _BUSY_CORES))


def pace(past: Sequence[PastRun], at_once: int, cores: int | None) -> Pace:
    """Return how fast months go where so many of them run at once.

    Args:
        past: Past months; none where the line is to be taken.
        at_once: How many run at once.
        cores: The cores that all runs share; None where each has its own.
    """
    together = speedup(at_once, cores)
    busy = _busy_seconds(past)
    if not busy:
        return Pace(together, MEASURED)
    worth = sum(seconds_alone(run.service, run.rows) for run in past) / busy
    before = speedup(sum(run.seconds for run in past) / busy, cores)
    number = f"{len(past)} past months" if len(past) > 1 else "one past month"
    return Pace(worth * together / before, f"the seconds of {number}")


def _busy_seconds(past: Iterable[PastRun]) -> float:
    """Return for how many seconds of the clock at least one of the runs went on."""
    busy, until = 0.0, float("-inf")
    for run in sorted(past, key=lambda run: run.began):
        busy += max(0.0, run.ended - max(run.began, until))
        until = max(until, run.ended)
    return busy


def own_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
