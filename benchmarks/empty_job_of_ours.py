"""Our code location with one more asset, that does nothing."""

import dagster as dg

from benchmarks.empty_job import nothing
from taxi_pipeline.definitions import build_definitions

defs = dg.Definitions.merge(
    build_definitions(),
    dg.Definitions([nothing], jobs=[dg.define_asset_job("empty", [nothing])]),
)
