"""How long runs take that wait for workers and for places in pools: Dagster's queue, on paper.

A run has phases, one after another. In the queue's order it gets a worker, and keeps it to its end.
A phase with a pool begins when there is a place in it, and until then the run waits with its
worker, as a step of production's does. Each worker is as fast beside others as alone: whatever all
share (a publisher's line, a database's disk) is to be said by the pools.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush


@dataclass(frozen=True)
class Phase:
    """A part of a run: its seconds, and the pool in which it needs a place; "" for none."""

    seconds: float
    pool: str = ""


type Run = Sequence[Phase]


def simulate(runs: Iterable[Run], workers: int, places: Mapping[str, int]) -> float:
    """Return the seconds from the first run's begin to the last one's end.

    Args:
        runs: The runs, in the queue's order.
        workers: How many runs go on at once.
        places: How many places a pool has; any other has as many as are wanted.
    """
    queue = deque(runs)
    free = dict(places)
    waiting: defaultdict[str, deque[deque[Phase]]] = defaultdict(deque)
    ends: list[tuple[float, int, deque[Phase]]] = []  # of phases; the number is for equal times
    now, number = 0.0, 0

    def begin(run: deque[Phase]) -> None:
        """Begin a run's first phase, or let it wait for a place."""
        nonlocal number
        pool = run[0].pool
        if free.get(pool, 1) < 1:
            waiting[pool].append(run)
            return
        if pool in free:
            free[pool] -= 1
        number += 1
        heappush(ends, (now + run[0].seconds, number, run))

    for _ in range(min(workers, len(queue))):
        begin(deque(queue.popleft()))
    while ends:
        now, _, run = heappop(ends)
        pool = run.popleft().pool
        if pool in free:
            free[pool] += 1
            if waiting[pool]:
                begin(waiting[pool].popleft())
        if run:
            begin(run)
        elif queue:
            begin(deque(queue.popleft()))
    return now
