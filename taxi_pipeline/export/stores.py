"""What a store has, as the documents need it: each declared table with its asset and its checks.

A view counts as a table here.
"""

from dataclasses import dataclass

import dagster as dg

from taxi_pipeline.assets.keys import asset_key, layer_of, table_of
from taxi_pipeline.definitions import defs
from taxi_pipeline.marts import MARTS, TRIPS
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.services import PUBLISHED_TABLES, Table


@dataclass(frozen=True)
class StoredTable:
    """A declared table in a store.

    Attributes:
        table: The table.
        is_published: Whether TLC publishes it; else it is a mart or a view, which a query computes.
        grain: The columns that tell one row of a mart from another.
        asset: The asset whose runs fill it.
        checks: The checks of its rows: before they are loaded, and in the store.
    """

    table: Table
    is_published: bool
    grain: tuple[str, ...]
    asset: dg.AssetSpec
    checks: tuple[dg.AssetCheckSpec, ...]


def stored_tables(sink: type[Sink]) -> list[StoredTable]:
    """Return the tables that have an asset in a store, in the order of their declaration."""
    grains = {mart.name: mart.grain for mart in MARTS}
    assets = {
        table_of(spec.key): spec
        for spec in defs.resolve_all_asset_specs()
        if layer_of(spec.key) == sink.name
    }
    checks = [spec for group in defs.asset_checks or () for spec in group.check_specs]
    return [
        StoredTable(
            table,
            table in PUBLISHED_TABLES,
            grains.get(table.name, ()),
            asset,
            tuple(
                check
                for check in checks
                if check.asset_key in (asset.key, asset_key(table.name, "cleaned"))
            ),
        )
        for table in (*PUBLISHED_TABLES, *(mart.table for mart in MARTS), TRIPS.table)
        if (asset := assets.get(table.name))
    ]
