"""What an asset's key says: the table, which is the job's name too, and the layer."""

import dagster as dg
import pytest

from taxi_pipeline.assets.keys import LAYERS, asset_key, layer_of, table_of
from taxi_pipeline.tlc.services import SERVICES, UNPARTITIONED

TABLES = [
    *(service.trips.name for service in SERVICES.values()),
    *(table.name for table in UNPARTITIONED),
]


@pytest.mark.parametrize("table", TABLES)
def test_a_key_says_its_table_and_its_layer(table: str) -> None:
    for layer in LAYERS:
        key = asset_key(table, layer)
        assert len(key.path) == 1
        assert (table_of(key), layer_of(key)) == (table, layer)


@pytest.mark.parametrize("mart", ["daily_trips", "monthly_zone_revenue"])
def test_a_mart_is_a_table_of_bigquerys(mart: str) -> None:
    key = dg.AssetKey(mart)
    assert (table_of(key), layer_of(key)) == (mart, "bigquery")


def test_a_view_is_in_each_sink() -> None:
    for layer in ("bigquery", "postgres"):
        key = dg.AssetKey(f"trips_{layer}")
        assert asset_key("trips", layer) == key
        assert (table_of(key), layer_of(key)) == ("trips", layer)


@pytest.mark.parametrize(
    "path", [["yellow_archive"], ["green_report"], ["zones_map"], ["raw"], ["blue_raw"]]
)
def test_an_asset_of_another_code_location_is_none_of_ours(path: list[str]) -> None:
    key = dg.AssetKey(path)
    assert (table_of(key), layer_of(key)) == (path[0], path[0])


def test_a_key_of_an_earlier_version_is_understood() -> None:
    key = dg.AssetKey(["raw", "yellow_trips"])
    assert (table_of(key), layer_of(key)) == ("yellow_trips", "raw")
