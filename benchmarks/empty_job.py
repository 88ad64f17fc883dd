"""A project of one asset that does nothing, with Dagster's own defaults."""

import dagster as dg


@dg.asset
def nothing() -> None:
    """Do nothing."""


defs = dg.Definitions([nothing], jobs=[dg.define_asset_job("empty", [nothing])])
