"""What Dagster loads: the assets, their partitions, the jobs."""

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from taxi_pipeline import assets
from taxi_pipeline.assets.keys import LAYERS, asset_key, layer_of, table_of
from taxi_pipeline.assets.published import PublishedTable
from taxi_pipeline.assets.status_page import KEY as STATUS_PAGE
from taxi_pipeline.assets.trips import months_of, published_trips
from taxi_pipeline.assets.zones import published_zone_shapes, published_zones
from taxi_pipeline.checks import mart_checks, published_checks
from taxi_pipeline.definitions import build_definitions, defs
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.marts import MARTS, TRIPS, Mart
from taxi_pipeline.resources import SINKS
from taxi_pipeline.tlc.services import (
    GREEN,
    SERVICES,
    TAXI_ZONES,
    UNPARTITIONED,
    YELLOW,
    Service,
    Table,
)
from taxi_pipeline_tests.support.results import SINK_LAYERS

ASSETS = Path(assets.__file__).parent
VIEWS = {dg.AssetKey(f"trips_{layer}"): layer for layer in SINK_LAYERS}
each_mart = pytest.mark.parametrize("mart", MARTS, ids=lambda mart: mart.name)


@pytest.fixture(scope="module")
def specs() -> Mapping[dg.AssetKey, dg.AssetSpec]:
    return {spec.key: spec for spec in defs.resolve_all_asset_specs()}


def test_the_definitions_are_sound() -> None:
    dg.Definitions.validate_loadable(build_definitions())


def test_every_table_has_an_asset_a_layer_and_there_are_marts_views_and_a_page(
    specs: Mapping[dg.AssetKey, dg.AssetSpec],
) -> None:
    published = {
        dg.AssetKey(f"{name}_{layer}")
        for name in (*SERVICES, "zones", "zone_shapes")
        for layer in LAYERS
    }
    marts = {dg.AssetKey("daily_trips"), dg.AssetKey("monthly_zone_revenue")}
    assert specs.keys() == published | marts | VIEWS.keys() | {dg.AssetKey("status_page")}


@each_mart
def test_a_mart_is_grouped_and_linked_to_the_tables_that_it_reads(
    specs: Mapping[dg.AssetKey, dg.AssetSpec], mart: Mart
) -> None:
    spec = specs[dg.AssetKey(mart.name)]
    assert spec.group_name == "marts"
    assert spec.kinds == {"bigquery", "table"}
    assert spec.description
    assert spec.automation_condition
    zones = {"zones_bigquery"} if TAXI_ZONES in mart.sources else set()
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {
        f"{service}_bigquery" for service in SERVICES
    } | zones
    job = defs.resolve_job_def(mart.name)
    assert job.asset_layer.selected_asset_keys == {spec.key}


def test_a_view_is_an_asset_of_each_store_that_reads_its_tables(
    specs: Mapping[dg.AssetKey, dg.AssetSpec],
) -> None:
    for key, layer in VIEWS.items():
        spec = specs[key]
        assert spec.group_name == "marts"
        assert spec.kinds == {layer, "view"}
        assert spec.partitions_def is None
        assert spec.code_version
        assert spec.automation_condition
        assert {dep.asset_key.to_user_string() for dep in spec.deps} == {
            f"{name}_{layer}" for name in (*SERVICES, "zones")
        }
    job = defs.resolve_job_def(TRIPS.name)
    assert job.asset_layer.selected_asset_keys == VIEWS.keys()


def test_the_status_page_follows_every_table_of_the_services(
    specs: Mapping[dg.AssetKey, dg.AssetSpec],
) -> None:
    spec = specs[STATUS_PAGE]
    assert spec.group_name == "status"
    assert spec.kinds == {"gcs", "html"}
    assert spec.partitions_def is None
    assert not spec.automation_condition  # which would share a run with the views
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {
        f"{name}_{layer}" for name in SERVICES for layer in SINK_LAYERS
    }
    job = defs.resolve_job_def("status_page")
    assert job.asset_layer.selected_asset_keys == {STATUS_PAGE}
    assert defs.resolve_sensor_def("status_page").job_name == "status_page"


@each_mart
def test_a_backfill_of_a_mart_reaches_months_that_not_all_services_have(mart: Mart) -> None:
    graph = defs.resolve_asset_graph()
    mappings = graph.get(dg.AssetKey(mart.name)).partition_mappings
    assert {key.to_user_string() for key in mappings} >= {f"{name}_bigquery" for name in SERVICES}
    for mapping in mappings.values():
        assert isinstance(mapping, dg.TimeWindowPartitionMapping)
        assert mapping.allow_nonexistent_upstream_partitions


@pytest.mark.parametrize("service", [YELLOW, GREEN], ids=lambda service: service.name)
def test_a_services_assets_are_grouped_described_and_linked(
    specs: Mapping[dg.AssetKey, dg.AssetSpec], service: Service
) -> None:
    mine = {layer: specs[asset_key(service.trips.name, layer)] for layer in LAYERS}
    for spec in mine.values():
        assert spec.group_name == service.name
        assert spec.description
        assert spec.kinds
        assert spec.partitions_def == months_of(service)
    upstream = {
        layer: [layer_of(dep.asset_key) for dep in spec.deps] for layer, spec in mine.items()
    }
    assert upstream == {
        "raw": [],
        "cleaned": ["raw"],
        "bigquery": ["cleaned"],
        "postgres": ["cleaned"],
    }


def test_every_asset_has_an_owner_and_says_its_service_and_layer(
    specs: Mapping[dg.AssetKey, dg.AssetSpec],
) -> None:
    page = specs[STATUS_PAGE]
    assert ([*page.owners], page.tags["layer"]) == (["team:taxi-data"], "status")
    for key, spec in specs.items():
        if key == STATUS_PAGE:
            continue
        layer, table = layer_of(key), table_of(key)
        service = table.removesuffix("_trips")
        marts = dict.fromkeys((*(mart.name for mart in MARTS), TRIPS.name))
        of = {"taxi_zones": "zones", "taxi_zone_shapes": "zone_shapes", **marts}.get(table, service)
        assert [*spec.owners] == ["team:taxi-data"]
        assert (spec.tags.get("service"), spec.tags["layer"]) == (of, layer)
        store = {"raw": "gcs", "cleaned": "gcs"}.get(layer, layer)
        assert store in spec.kinds


def test_every_asset_links_to_the_lines_that_make_it(
    specs: Mapping[dg.AssetKey, dg.AssetSpec],
) -> None:
    for key, spec in specs.items():
        layer = layer_of(key)
        (code,) = spec.metadata["dagster/code_references"].code_references
        of_mart = {dg.AssetKey(mart.name): ("compute", "marts.py") for mart in MARTS}
        of_view = dict.fromkeys(VIEWS, ("defined", "views.py"))
        of_table = (layer if layer in ("raw", "cleaned") else "loaded", "published.py")
        of_page = {STATUS_PAGE: ("write", "status_page.py")}
        name, module = (of_mart | of_view | of_page).get(key, of_table)
        assert Path(code.file_path) == ASSETS / module
        from_there = Path(code.file_path).read_text().splitlines()[code.line_number - 1 :]
        head = next(line.strip() for line in from_there if line.strip().startswith("def "))
        assert from_there[0].strip().startswith(("@dg.asset(", "@_asset(", "@dg.multi_asset("))
        assert head.startswith(f"def {name}(")


def test_columns_show_before_the_first_run(specs: Mapping[dg.AssetKey, dg.AssetSpec]) -> None:
    for table in (*(service.trips for service in SERVICES.values()), *UNPARTITIONED):
        for layer in ("cleaned", *SINK_LAYERS):
            schema = specs[asset_key(table.name, layer)].metadata["dagster/column_schema"]
            assert described(schema) == described(table)
    computed = {dg.AssetKey(mart.name): mart.table for mart in MARTS}
    for key, table in (computed | dict.fromkeys(VIEWS, TRIPS.table)).items():
        assert described(specs[key].metadata["dagster/column_schema"]) == described(table)


def test_a_tables_name_shows_before_the_first_run_where_the_environment_says_it(
    specs: Mapping[dg.AssetKey, dg.AssetSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    def names() -> dict[str, str]:
        return {
            spec.key.to_user_string(): spec.metadata["dagster/table_name"]
            for spec in build_definitions().resolve_all_asset_specs()
            if "dagster/table_name" in spec.metadata
        }

    monkeypatch.setenv("TAXI_GCP_PROJECT", "a-project")
    monkeypatch.setenv("TAXI_DATASET", "trips")
    monkeypatch.setenv("TAXI_POSTGRES_URL", "postgresql://u:p@h/db")
    shown = names()
    assert shown.keys() == {key.to_user_string() for key in specs if layer_of(key) in SINK_LAYERS}
    assert shown["yellow_bigquery"] == "a-project.trips.yellow_trips"
    assert shown["daily_trips"] == "a-project.trips.daily_trips"
    assert shown["trips_postgres"] == "tlc.trips"
    monkeypatch.setenv("TAXI_DATASET", "no; dataset")
    monkeypatch.delenv("TAXI_POSTGRES_URL")
    assert names() == {}


def described(table: Table | dg.TableSchema) -> list[tuple[str, str | None]]:
    return [(column.name, column.description) for column in table.columns]


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_a_service_is_checked_month_by_month(service: Service) -> None:
    cleaned, *loaded = (asset_key(service.trips.name, layer) for layer in ("cleaned", *SINK_LAYERS))
    specs = {
        spec.key: spec
        for check in published_checks(published_trips(service), SINKS)
        for spec in check.check_specs
    }
    assert [(key.asset_key, key.name) for key in specs] == [
        (cleaned, "every_row_accounted_for"),
        (cleaned, "rows_as_before"),
        (cleaned, "from_publisher"),
        (cleaned, "rejected_share"),
        (cleaned, "unknown_columns"),
        (cleaned, "unknown_codes"),
        *([(cleaned, "negative_fares")] if service.total else []),
        *((table, "matches_lake") for table in loaded),
    ]
    assert [key.name for key, spec in specs.items() if spec.blocking] == [
        "every_row_accounted_for",
        "rows_as_before",
    ]
    for spec in specs.values():
        assert spec.partitions_def == months_of(service)
        assert spec.description
    for name in (service.trips.name, f"{service.trips.name}_checks"):
        graph = defs.resolve_job_def(name).asset_layer.asset_graph
        assert graph.asset_check_keys == specs.keys()
    assert graph.materializable_asset_keys == set()


@pytest.mark.parametrize(
    ("published", "prefix"),
    [(published_zones(), "zones"), (published_zone_shapes(), "zone_shapes")],
)
def test_zones_and_shapes_are_checked_without_a_month(
    published: PublishedTable, prefix: str
) -> None:
    specs = {
        spec.key: spec for check in published_checks(published, SINKS) for spec in check.check_specs
    }
    assert [(key.asset_key.path, key.name, spec.blocking) for key, spec in specs.items()] == [
        ([f"{prefix}_cleaned"], "every_row_accounted_for", True),
        ([f"{prefix}_cleaned"], "from_publisher", False),
        *(([f"{prefix}_{layer}"], "matches_lake", False) for layer in SINK_LAYERS),
    ]
    for spec in specs.values():
        assert spec.partitions_def is None
        assert spec.description
    for name in (f"taxi_{prefix}", f"taxi_{prefix}_checks"):
        job = defs.resolve_job_def(name)
        assert job.asset_layer.asset_graph.asset_check_keys == specs.keys()
        assert job.partitions_def is None


@each_mart
def test_a_mart_is_checked_month_by_month(mart: Mart) -> None:
    key = dg.AssetKey(mart.name)
    (spec,) = (spec for check in mart_checks(mart) for spec in check.check_specs)
    assert (spec.asset_key, spec.name, spec.blocking) == (key, "matches_trips", False)
    assert spec.partitions_def == defs.resolve_asset_graph().get(key).partitions_def
    assert spec.description
    for name in (mart.name, f"{mart.name}_checks"):
        graph = defs.resolve_job_def(name).asset_layer.asset_graph
        assert graph.asset_check_keys == {spec.key}


def test_loading_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dg.Definitions.validate_loadable(build_definitions())


def test_a_wrong_url_of_dagster_stops_the_loading_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TAXI_DAGSTER_URL", "https://ops:s3cr3t@dagster.example.org")
    with pytest.raises(PermanentError, match=r"^TAXI_DAGSTER_URL: a URL must have no user"):
        build_definitions()


def test_zones_have_no_months(specs: Mapping[dg.AssetKey, dg.AssetSpec]) -> None:
    for table in UNPARTITIONED:
        for layer in LAYERS:
            assert specs[asset_key(table.name, layer)].partitions_def is None


@pytest.mark.parametrize(
    ("service", "first"), [(YELLOW, "2009-01"), (GREEN, "2013-08")], ids=["yellow", "green"]
)
def test_months_run_from_the_first_to_the_newest_that_is_published(
    service: Service, first: str
) -> None:
    months = months_of(service)
    with dg.partition_loading_context(datetime(2026, 11, 22, tzinfo=UTC)):
        keys = months.get_partition_keys()
    assert (keys[0], keys[-1]) == (first, "2026-09")


def test_a_job_runs_its_services_assets_in_one_process() -> None:
    for name in ("yellow_trips", "green_trips", "taxi_zones", "taxi_zone_shapes"):
        job = defs.resolve_job_def(name)
        assert job.executor_def is dg.in_process_executor
        assert {table_of(key) for key in job.asset_layer.selected_asset_keys} == {name}
        assert len(job.asset_layer.selected_asset_keys) == 4


def test_what_asks_a_system_does_it_in_that_systems_pool() -> None:
    for table in (*(service.trips for service in SERVICES.values()), *UNPARTITIONED):
        for layer, pool in (
            ("raw", "publisher"),
            ("cleaned", None),
            ("bigquery", "bigquery"),
            ("postgres", "postgres"),
        ):
            asset = defs.resolve_assets_def(asset_key(table.name, layer))
            assert asset.op.pool == pool


def test_a_table_is_stale_when_no_month_has_come_for_long(
    specs: Mapping[dg.AssetKey, dg.AssetSpec],
) -> None:
    fresh = {key for key, spec in specs.items() if spec.freshness_policy}
    assert fresh == {
        asset_key(service.trips.name, layer)
        for layer in SINK_LAYERS
        for service in SERVICES.values()
    }
