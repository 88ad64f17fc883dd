"""Functions in processes of their own, forked where what they import is imported already.

Python has one such server a process, and takes what it preloads from whoever starts it.
"""

import multiprocessing
from multiprocessing.context import ForkServerContext

_PRELOADED = [
    "dagster_gcp",
    "pgpq",
    "psycopg",
    "pyarrow.parquet",
    "taxi_pipeline_tests.integration.test_postgres",
    "taxi_pipeline_tests.integration.test_sinks",
]


def forked() -> ForkServerContext:
    """Return the context that starts processes so."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context
