"""Functions in processes of their own, forked where what they import is imported already.

Python has one such server a process, and its first start decides what that preloads. So all that
any test forks for is preloaded here: who brought a list of his own would take it from the others,
and each of their processes would import for seconds.
"""

import multiprocessing
from multiprocessing.context import ForkServerContext

_PRELOADED = [
    "pytest",  # whose script a process of ours takes for its main module
    "dagster_gcp",
    "pgpq",
    "psycopg",
    "pyarrow.parquet",
    "taxi_pipeline_tests.fuzz.target",
    "taxi_pipeline_tests.integration.test_postgres",
    "taxi_pipeline_tests.integration.test_sinks",
]


def forked() -> ForkServerContext:
    """Return the context that starts processes so."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context
