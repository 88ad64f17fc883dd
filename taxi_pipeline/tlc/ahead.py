"""Work done ahead of whoever asks for it, so that the stages of a stream go on side by side.

Only order and bounds belong here; Arrow does its work without Python's lock, so threads do.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

# One more core than the stage that takes the results: a month's cost is shared by few stages, and
# other months run beside it.
_WORKERS = 2


def map_ahead[T, R](work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `work(item)` for each item, in their order, while threads work on the next few.

    An error that `work` raises is raised in the place of its result.
    """
    with ThreadPoolExecutor(_WORKERS) as pool:
        under_way: deque[Future[R]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) > _WORKERS:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for left in under_way:
                left.cancel()
