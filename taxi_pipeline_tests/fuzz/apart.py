"""Work with hostile files in a process of its own, which they may end or fill with their bytes.

Such a process is a fork of a server that has imported what the work needs, which takes longer than
the work.
"""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

_CONTEXT = get_context("forkserver")
# pytest's script is what a process of ours takes for its main module
_CONTEXT.set_forkserver_preload(["pytest", "taxi_pipeline_tests.fuzz.target"])


def apart[T](work: Callable[..., T], *arguments: object) -> T:
    """Return what the work returns in a process of its own; raise if that ends before."""
    with ProcessPoolExecutor(1, _CONTEXT) as pool:
        return pool.submit(work, *arguments).result()
