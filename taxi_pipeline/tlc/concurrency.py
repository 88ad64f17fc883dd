"""Work in threads, a few items before they are asked for: a stream's stages run side by side.

Only order and bounds belong here; Arrow does its work without Python's lock, so threads do.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor


def ordered_parallel_map[T, R](
    work: Callable[[T], R], items: Iterable[T], threads: int = 2, seconds: float | None = None
) -> Generator[R]:
    """Map items in threads that work on the next few before they are asked for.

    Args:
        work: Is called in a thread for each item; with one thread, in the items' order.
        items: Are taken in the caller's thread.
        threads: How many threads there are, and how many items are taken ahead at the most.
        seconds: How long the results may take, all together; None for no limit.

    Yields:
        `work(item)` for each item, in their order. An error of `work` is raised in the place of its
        result.

    Raises:
        TimeoutError: A result has not come in time. What is under way is waited for, and nothing
            more is begun.
    """
    ends = None if seconds is None else time.monotonic() + seconds

    def result(of: Future[R]) -> R:
        return of.result(None if ends is None else max(0.0, ends - time.monotonic()))

    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[R]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) > threads:
                    yield result(under_way.popleft())
            while under_way:
                yield result(under_way.popleft())
        finally:
            for left in under_way:
                left.cancel()
