"""The assets' keys: one word each, which says what an asset holds and where: `yellow_raw`.

Dagster's lineage shows the last part of a key alone, so a key has no other. A mart is called by its
own name.
"""

import dagster as dg

from taxi_pipeline.marts import MARTS
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.tlc.services import SERVICES, UNPARTITIONED

LAYERS = ("raw", "cleaned", *(sink.name for sink in SINKS))


def asset_key(table: str, layer: str) -> dg.AssetKey:
    """Return the key of a table's asset in a layer: `yellow_raw` of yellow_trips' raw."""
    return dg.AssetKey(f"{_prefix(table)}_{layer}")


def table_of(key: dg.AssetKey) -> str:
    """Return the name of the table that an asset belongs to, which is its job's too.

    An asset of another code location or of an earlier version belongs to its key's last part.
    """
    table, _ = _split(key)
    return table or key.path[-1]


def layer_of(key: dg.AssetKey) -> str:
    """Return the layer that an asset belongs to; of a key that is none of ours, its first part."""
    if key in _MARTS:
        return BigQuery.name
    table, layer = _split(key)
    return layer if table else key.path[0]


def _prefix(table: str) -> str:
    return table.removesuffix("_trips").removeprefix("taxi_")


def _split(key: dg.AssetKey) -> tuple[str, str]:
    """Return the table and the layer of an asset; two empty texts for one that is none of ours."""
    prefix, _, layer = key.path[0].rpartition("_")
    is_ours = len(key.path) == 1 and prefix in _TABLES and layer in LAYERS
    return (_TABLES[prefix], layer) if is_ours else ("", "")


_MARTS = {dg.AssetKey(mart.name) for mart in MARTS}
_TABLES = {
    _prefix(table.name): table.name
    for table in (*(service.trips for service in SERVICES.values()), *UNPARTITIONED)
}
