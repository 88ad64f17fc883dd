"""Work in threads, a few items before they are asked for: a stream's stages run side by side.

Only order and bounds belong here; Arrow does its work without Python's lock, so threads do.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor


def ordered_parallel_map[T, R](
    work: Callable[[T], R], items: Iterable[T], threads: int = 2
) -> Iterator[R]:
    """Map items in threads that work on the next few before they are asked for.

    Args:
        work: Is called in a thread for each item; with one thread, in the items' order.
        items: Are taken in the caller's thread.
        threads: How many threads there are, and how many items are taken ahead at the most.

    Yields:
        `work(item)` for each item, in their order. An error of `work` is raised in the place of its
        result.
    """
    with ThreadPoolExecutor(threads) as pool:
        under_way: deque[Future[R]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) > threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for left in under_way:
                left.cancel()
