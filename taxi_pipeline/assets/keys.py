"""The assets' keys: one word each, which says what an asset holds and where: `yellow_raw`.

Dagster's lineage shows the last part of a key alone, so a key has no other. A mart is called by its
own name.
"""

from collections.abc import Mapping

import dagster as dg

from taxi_pipeline.tlc.services import DAILY_TRIPS, SERVICES, TAXI_ZONES

LAYERS = ("raw", "cleaned", "bigquery", "postgres")
MART = dg.AssetKey(DAILY_TRIPS.name)


def asset_key(table: str, layer: str) -> dg.AssetKey:
    """Return the key of a table's asset in a layer: `yellow_raw` of yellow_trips' raw."""
    return dg.AssetKey(f"{table.removesuffix('_trips').removeprefix('taxi_')}_{layer}")


_NAMES: Mapping[dg.AssetKey, tuple[str, str]] = {
    **{
        asset_key(table.name, layer): (table.name, layer)
        for table in (*(service.trips for service in SERVICES.values()), TAXI_ZONES)
        for layer in LAYERS
    },
    MART: (DAILY_TRIPS.name, "bigquery"),
}


def table_of(key: dg.AssetKey) -> str:
    """Return the name of the table that an asset belongs to, which is its job's too.

    An asset of another code location or of an earlier version belongs to its key's last part.
    """
    table, _ = _NAMES.get(key, (key.path[-1], None))
    return table


def layer_of(key: dg.AssetKey) -> str:
    """Return the layer that an asset belongs to; of a key that is none of ours, its first part."""
    _, layer = _NAMES.get(key, (None, key.path[0]))
    return layer
