"""What Python reads first in a platform whose code server starts its runs warm.

Dagster starts a process for each run as a new interpreter, which takes seconds of a processor to
import the libraries. On PYTHONPATH this lets such a process be forked where they are imported, by
Python's own server of `multiprocessing`. Its pid, signals and end are its own.
"""

import multiprocessing
from multiprocessing.context import BaseContext
from typing import Any

_get_context: Any = multiprocessing.get_context


def _warm_context(method: str | None = None) -> BaseContext:
    """Return Python's context of this method, of the server in place of new interpreters."""
    if method != "spawn":
        context: BaseContext = _get_context(method)
        return context
    from taxi_pipeline_tests.support.libraries import LIBRARIES

    server = _get_context("forkserver")
    server.set_forkserver_preload([*LIBRARIES])
    warm: BaseContext = server
    return warm


multiprocessing.get_context = _warm_context  # type: ignore[assignment]  # of fewer overloads
