"""NYC taxi trips, month by month, in a GCS lake, BigQuery and PostgreSQL, run from Dagster.

`definitions` is the front door for Dagster, `cli` the one for a shell, `read_trips` and
`read_zone_shapes` the one for a notebook; ARCHITECTURE.md shows the house. Importing the package
costs nothing.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taxi_pipeline.frames import read_trips, read_zone_shapes

__all__ = ["read_trips", "read_zone_shapes"]

# Arrow reads it as it is loaded: a pool that is set later is not that of its Parquet writer. Its
# other allocators keep what threads have freed, and memory would grow with the month.
if sys.platform == "linux":  # elsewhere its packages have no jemalloc
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from taxi_pipeline import frames

    return getattr(frames, name)
