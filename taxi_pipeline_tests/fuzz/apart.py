"""Work with hostile files in a process of its own, which they may end or fill with their bytes."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from taxi_pipeline_tests.support.forked import forked


def apart[T](work: Callable[..., T], *arguments: object) -> T:
    """Return what the work returns in a process of its own; raise if that ends before."""
    with ProcessPoolExecutor(1, forked()) as pool:
        return pool.submit(work, *arguments).result()
