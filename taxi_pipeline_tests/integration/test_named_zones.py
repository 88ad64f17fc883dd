"""What has the zones' names: the mart of months by zone, and the view of all services' trips."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import psycopg
import pytest

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.frames import read_trips
from taxi_pipeline.io.google import GoogleBigQuery
from taxi_pipeline.lake.paths import ZONE_SHAPES_PATHS
from taxi_pipeline.marts import MONTHLY_ZONE_REVENUE, TRIPS, View
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.services import GREEN, SERVICES
from taxi_pipeline_tests.conftest import Platform, with_resources
from taxi_pipeline_tests.support.lake import put
from taxi_pipeline_tests.support.results import SINK_LAYERS, evaluations, failure_of

MART, VIEW = MONTHLY_ZONE_REVENUE.name, TRIPS.name
MONTH = "2025-01"
TIPS = {"yellow": "tip_amount", "green": "tip_amount", "fhvhv": "tips"}
CHARGES = [
    "base_passenger_fare",
    "tolls",
    "bcf",
    "sales_tax",
    "congestion_surcharge",
    "airport_fee",
    "cbd_congestion_fee",
    "tips",
]
each_sink = pytest.mark.parametrize("sink", SINK_LAYERS)


@pytest.fixture(scope="module")
def loaded(platform: Platform) -> Platform:
    """Return a platform with a month of all services, the zones, the mart and the view."""
    assert platform.run("taxi_zones").success
    for service in SERVICES:
        platform.load(service, MONTH)
    assert platform.run(MART, MONTH).success
    assert platform.run(VIEW).success
    return platform


@pytest.fixture(scope="module")
def trips(loaded: Platform) -> dict[str, pd.DataFrame]:
    """Return the month's trips of each service as the lake has them, with the zones' names."""
    return {service: read_trips(service, MONTH, zones=True, meanings=True) for service in SERVICES}


def query(platform: Platform, sink: str) -> Callable[[str], list[Any]]:
    """Return what asks a sink; the view is called `trips` in the query."""
    if sink == BigQuery.name:
        return platform.bigquery
    return lambda text: platform.postgres(text.replace("FROM trips", "FROM tlc.trips"))


def dollars(amounts: pd.Series) -> float | None:
    return round(math.fsum(amounts.dropna()), 2) if amounts.notna().any() else None


def median(numbers: pd.Series) -> Any:
    """Return the median; pandas may take the middle between two numbers by another formula."""
    known = numbers.dropna()
    return pytest.approx(known.median(), rel=1e-12) if len(known) else None


def minutes(trips: pd.DataFrame) -> pd.Series:
    return (trips["dropoff_datetime"] - trips["pickup_datetime"]).dt.total_seconds() / 60


def test_a_months_zones_are_those_of_the_lake(
    loaded: Platform, trips: dict[str, pd.DataFrame]
) -> None:
    expected = {}
    nothing = pd.Series(dtype="float64")
    for service, of_month in trips.items():
        total, distance = SERVICES[service].total, SERVICES[service].distance
        for zone, group in of_month.groupby("pickup_location_id", dropna=False):
            expected[service, None if pd.isna(zone) else zone] = (
                date(2025, 1, 1),
                *(None if pd.isna(name) else name for name in _names(group)),
                len(group),
                dollars(group[total] if total else nothing),
                dollars(group[TIPS[service]] if service in TIPS else nothing),
                median(group[distance] if distance else nothing),
                median(minutes(group)),
            )
    rows = loaded.bigquery(f"SELECT service, pickup_location_id, * FROM {MART}")
    found = {(service, zone): (month, *rest) for service, zone, _, month, _, *rest in rows}
    assert len(found) == len(rows)
    assert found == expected
    assert {service for service, _ in found} == {*SERVICES}


def _names(group: pd.DataFrame) -> tuple[Any, Any]:
    return group["pickup_zone"].iloc[0], group["pickup_borough"].iloc[0]


def test_a_second_run_of_the_mart_ends_the_same_and_its_check_passes(loaded: Platform) -> None:
    before = loaded.bigquery(f"SELECT * FROM {MART} ORDER BY service, pickup_location_id")
    result = loaded.run(MART, MONTH)
    assert result.success
    assert evaluations(result)["bigquery", "matches_trips"].passed
    assert loaded.bigquery(f"SELECT * FROM {MART} ORDER BY service, pickup_location_id") == before
    for service in SERVICES:
        entry = loaded.entry(service, MONTH)
        assert entry.adds_up
        assert entry.marts == {MART: entry.tables[BigQuery]}


def test_a_months_page_shows_a_map_once_the_lake_has_the_shapes(loaded: Platform) -> None:
    def metadata() -> dict[str, dg.MetadataValue[Any]]:
        result = loaded.run(MART, MONTH)
        assert result.success
        (event,) = result.get_asset_materialization_events()
        return dict(event.materialization.metadata)

    assert "picture" not in metadata()
    assert loaded.run("taxi_zone_shapes").success
    picture = metadata()["picture"]
    assert isinstance(picture, dg.MarkdownMetadataValue)
    ((count,),) = loaded.bigquery(f"SELECT SUM(trips) FROM {MART}")
    assert f"![pick-ups by zone, {MONTH}: {count:,} trips](data:image/png;" in picture.value
    put(loaded.resources.lake, ZONE_SHAPES_PATHS.cleaned, b"PAR1, and no shapes")
    assert "picture" not in metadata()  # and the month is there anyhow


def test_a_mart_that_lacks_a_zone_is_caught_by_check_and_ledger(loaded: Platform) -> None:
    ((zone, count),) = loaded.bigquery(
        f"SELECT pickup_location_id, trips FROM {MART} WHERE service = 'green' "
        "ORDER BY trips DESC, pickup_location_id LIMIT 1"
    )
    loaded.bigquery(f"DELETE FROM {MART} WHERE service = 'green' AND pickup_location_id = {zone}")
    entry = loaded.entry("green", MONTH)
    of_table = entry.tables[BigQuery]
    assert of_table
    said = (
        f"The mart {MART} has {of_table.rows - count:,} trips, BigQuery {of_table.rows:,}: "
        f"run {MART} for the month."
    )
    assert entry.problems == [said]
    check = evaluations(loaded.run(f"{MART}_checks", MONTH))["bigquery", "matches_trips"]
    assert not check.passed
    assert check.description == f"green: {said}"
    assert loaded.run(MART, MONTH).success
    assert loaded.entry("green", MONTH).adds_up


@each_sink
def test_the_view_has_every_trip_once_and_as_the_lake_has_it(
    loaded: Platform, trips: dict[str, pd.DataFrame], sink: str
) -> None:
    columns = [column.name for column in TRIPS.table.columns]
    rows = query(loaded, sink)(f"SELECT {', '.join(columns)} FROM trips")
    found = pd.DataFrame(rows, columns=columns)
    for service, of_month in trips.items():
        expected = _as_viewed(service, of_month)
        mine = found[found["service"] == service].drop(columns="service")
        assert len(mine) == len(expected)
        key = [*columns[1:3], "pickup_location_id", "dropoff_location_id", "total", "distance"]
        left, right = (frame.sort_values(key, ignore_index=True) for frame in (mine, expected))
        pd.testing.assert_frame_equal(left.astype(right.dtypes), right)


def _as_viewed(service: str, of_month: pd.DataFrame) -> pd.DataFrame:
    """Return what the view is to have of a service, computed by pandas."""
    lacking = pd.Series(None, index=of_month.index, dtype="object")

    def column(*names: str) -> pd.Series:
        return next((of_month[name] for name in names if name in of_month), lacking)

    is_taxi = service in ("yellow", "green")
    total = column("total_amount")
    if service == "fhvhv":
        total = of_month[CHARGES[0]] + of_month[CHARGES[1:]].fillna(0).sum(axis="columns")
    frame = pd.DataFrame(
        {
            "pickup_datetime": of_month["pickup_datetime"],
            "dropoff_datetime": of_month["dropoff_datetime"],
            "minutes": minutes(of_month),
            "distance": column("trip_distance", "trip_miles").astype("Float64"),
            "pickup_location_id": of_month["pickup_location_id"].astype("Int32"),
            "pickup_zone": of_month["pickup_zone"],
            "pickup_borough": of_month["pickup_borough"],
            "dropoff_location_id": of_month["dropoff_location_id"].astype("Int32"),
            "dropoff_zone": of_month["dropoff_zone"],
            "dropoff_borough": of_month["dropoff_borough"],
            "payment": column("payment_type").astype("object") if is_taxi else lacking,
            "fare": column("fare_amount", "base_passenger_fare").astype("Float64"),
            "tip": column("tip_amount", "tips").astype("Float64"),
            "total": total.astype("Float64"),
            "dispatching_base_num": column("dispatching_base_num"),
            "high_volume_service": column("hvfhs_license_num").astype("object"),
        }
    )
    texts = frame.columns.difference(frame.select_dtypes(["number", "datetime"]).columns)
    return frame.astype(dict.fromkeys(texts, "string"))


@each_sink
def test_the_view_and_its_columns_are_described(loaded: Platform, sink: str) -> None:
    table = TRIPS.table
    if sink == BigQuery.name:
        warehouse = loaded.resources.bigquery
        with GoogleBigQuery(project=warehouse.project).get_client() as client:
            view = client.get_table(warehouse.uri(table).removeprefix("bigquery://"))
        assert view.table_type == "VIEW"
        said = (view.description, {field.name: field.description for field in view.schema})
    else:
        rows = loaded.postgres(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
            "WHERE attrelid = 'tlc.trips'::regclass AND attnum > 0"
        )
        ((description,),) = loaded.postgres("SELECT obj_description('tlc.trips'::regclass)")
        said = (description, dict(rows))
    assert said == (
        table.description,
        {column.name: column.description for column in table.columns},
    )


def test_a_materialization_of_the_view_says_where_its_columns_come_from(loaded: Platform) -> None:
    for event in loaded.run(VIEW).get_asset_materialization_events():
        metadata, layer = event.materialization.metadata, _layer(event)
        lineage = metadata["dagster/column_lineage"]
        assert isinstance(lineage, dg.TableColumnLineageMetadataValue)
        (zone,) = lineage.column_lineage.deps_by_column["pickup_zone"]
        assert zone == dg.TableColumnDep(asset_key("taxi_zones", layer), "zone")
        sink = loaded.resources.sinks[layer]
        assert metadata["dagster/table_name"].value == sink.sql_name(TRIPS.table).strip("`")
        assert metadata["dagster/storage_kind"].value == layer


def _layer(event: dg.DagsterEvent) -> str:
    key = event.asset_key
    assert key
    return key.path[-1].removeprefix("trips_")


@each_sink
def test_a_code_that_is_not_declared_stays_itself_in_the_view(loaded: Platform, sink: str) -> None:
    changed = {BigQuery.name: "green_trips", Postgres.name: "tlc.green_trips"}[sink]
    where = f"UPDATE {changed} SET payment_type = {{}} WHERE payment_type = {{}}"
    store = loaded.resources.sinks[sink]
    ask = query(loaded, sink)
    count = "SELECT COUNT(*) FROM trips WHERE service = 'green' AND payment = '{}'"
    ((in_cash,),) = ask(count.format("cash"))
    assert in_cash
    loaded.execute(store, where.format(77, 2))
    try:
        assert ask(count.format("77")) == [(in_cash,)]
        assert ask(count.format("cash")) == [(0,)]
    finally:
        loaded.execute(store, where.format(2, 77))


@each_sink
def test_tables_that_are_not_there_yet_are_made_for_the_view(
    platform: Platform, sink: str, elsewhere: dict[str, Sink]
) -> None:
    store = elsewhere[sink]
    store.replace_view(TRIPS)
    store.replace_view(TRIPS)  # the same again
    empty = with_resources(platform, **{sink: store})
    assert query(empty, sink)("SELECT * FROM trips") == []
    assert store.tally(TRIPS.sources[-1]).rows == 0


@each_sink
def test_runs_that_make_the_view_at_once_all_succeed(elsewhere: dict[str, Sink], sink: str) -> None:
    store = elsewhere[sink]
    with ThreadPoolExecutor(6) as pool:
        made = [pool.submit(store.replace_view, TRIPS) for _ in range(6)]
    assert [each.result() for each in made] == [None] * 6


@pytest.fixture
def elsewhere(platform: Platform) -> Iterator[dict[str, Sink]]:
    """Return sinks that have no table yet."""
    warehouse, database = platform.resources.bigquery, platform.resources.sinks[Postgres.name]
    assert isinstance(database, Postgres)
    dataset = f"{warehouse.dataset}_without_trips"
    with GoogleBigQuery(project=warehouse.project).get_client() as client:
        client.create_dataset(dataset, exists_ok=True)
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE without_trips")
            url = database.url.rpartition("/")[0] + "/without_trips"
            yield {
                BigQuery.name: BigQuery(project=warehouse.project, dataset=dataset),
                Postgres.name: Postgres(url=url),
            }
            connection.execute("DROP DATABASE without_trips")
        client.delete_dataset(dataset, delete_contents=True)


@each_sink
def test_a_table_in_the_views_place_is_left_alone_and_named(
    platform: Platform, sink: str, elsewhere: dict[str, Sink]
) -> None:
    store = elsewhere[sink]
    if sink == Postgres.name:
        store.replace_view(TRIPS)  # which makes the schema
    there = with_resources(platform, **{sink: store})
    schema = "tlc." if sink == Postgres.name else ""
    if sink == Postgres.name:
        there.execute(store, "DROP VIEW tlc.trips")
    integer = store.types[GREEN.trips["vendor_id"].type]
    there.execute(store, f"CREATE TABLE {schema}trips (mine {integer})")
    there.execute(store, f"INSERT INTO {schema}trips (mine) VALUES (7)")
    with pytest.raises(PermanentError, match=r"trips`? is there, but is not a view\..*rename"):
        store.replace_view(TRIPS)
    assert query(there, sink)("SELECT mine FROM trips") == [(7,)]


def _doubled() -> View:
    """Return the view, but with twice the fares."""
    return replace(TRIPS, query=TRIPS.query.replace("trips.fare,", "2 * trips.fare AS fare,"))


def _with_a_column_more() -> View:
    query = TRIPS.query.replace("AS minutes,", "AS minutes,\n  1 AS one,", 1)
    assert query != TRIPS.query
    return replace(TRIPS, query=query)


@each_sink
def test_a_view_that_is_declared_otherwise_is_replaced_or_says_what_to_do(
    platform: Platform, sink: str, elsewhere: dict[str, Sink]
) -> None:
    store = elsewhere[sink]
    store.replace_view(TRIPS)
    there = with_resources(platform, **{sink: store})
    store.replace_view(_doubled())
    definition = {
        BigQuery.name: "SELECT view_definition FROM INFORMATION_SCHEMA.VIEWS",
        Postgres.name: "SELECT pg_get_viewdef('tlc.trips'::regclass)",
    }[sink]
    ((text,),) = query(there, sink)(definition)
    assert "* trips.fare" in text
    if sink == Postgres.name:  # whose views may only get new columns at their end
        with pytest.raises(PermanentError, match=r"other columns .*run DROP VIEW tlc\.trips, "):
            store.replace_view(_with_a_column_more())
        assert query(there, sink)(definition) == [(text,)]


def test_who_may_read_the_view_may_do_so_after_it_was_made_again(
    loaded: Platform,
) -> None:
    database = loaded.resources.sinks[Postgres.name]
    loaded.execute(
        database,
        "CREATE ROLE trips_reader; GRANT USAGE ON SCHEMA tlc TO trips_reader; "
        "GRANT SELECT ON tlc.trips TO trips_reader",
    )
    try:
        assert loaded.run(VIEW).success
        may_read = "SELECT has_table_privilege('trips_reader', 'tlc.trips', 'SELECT')"
        assert loaded.postgres(may_read) == [(True,)]
    finally:
        loaded.execute(database, "DROP OWNED BY trips_reader; DROP ROLE trips_reader")


def test_a_reader_is_waited_for_only_where_the_view_is_declared_otherwise(
    loaded: Platform,
) -> None:
    database = loaded.resources.sinks[Postgres.name]
    assert isinstance(database, Postgres)
    impatient = Postgres(url=database.url, lock_timeout=1)
    with psycopg.connect(database.url, application_name="a dashboard") as reader:
        reader.execute("SELECT FROM tlc.trips LIMIT 1")
        impatient.replace_view(TRIPS)
        with pytest.raises(TransientError, match=r"tlc\.trips was in use for 1 s .*a dashboard"):
            impatient.replace_view(_doubled())


def test_what_somebody_has_set_on_the_view_stays_when_its_definition_changes(
    elsewhere: dict[str, Sink], platform: Platform
) -> None:
    store = elsewhere[Postgres.name]
    store.replace_view(TRIPS)
    there = with_resources(platform, postgres=store)
    there.execute(store, "ALTER VIEW tlc.trips SET (security_invoker = true)")
    store.replace_view(_doubled())
    assert there.postgres("SELECT reloptions FROM pg_class WHERE oid = 'tlc.trips'::regclass") == [
        (["security_invoker=true"],)
    ]
    ((definition,),) = there.postgres("SELECT pg_get_viewdef('tlc.trips'::regclass)")
    assert "* trips.fare" in definition


@each_sink
def test_a_zone_that_is_there_twice_doubles_no_trip(loaded: Platform, sink: str) -> None:
    store = loaded.resources.sinks[sink]
    zones = {BigQuery.name: "taxi_zones", Postgres.name: "tlc.taxi_zones"}[sink]
    ask = query(loaded, sink)
    before = ask("SELECT COUNT(*), COUNT(pickup_zone), SUM(minutes) FROM trips")
    loaded.execute(store, f"INSERT INTO {zones} SELECT * FROM {zones} WHERE location_id < 200")
    try:
        after = ask("SELECT COUNT(*), COUNT(pickup_zone), SUM(minutes) FROM trips")
        assert after == [pytest.approx(row, rel=1e-9) for row in before]
        result = loaded.run(MART, MONTH)
        assert evaluations(result)["bigquery", "matches_trips"].passed
    finally:
        loaded.execute(store, f"DELETE FROM {zones} WHERE TRUE")
        assert loaded.run("taxi_zones").success


def test_a_store_that_keeps_no_views_has_no_asset_of_one(tmp_path: Path) -> None:
    from taxi_pipeline.assets.views import view_assets
    from taxi_pipeline_tests.support.parquet_folder import ParquetFolder

    assert view_assets(TRIPS, [ParquetFolder]) == []
    with pytest.raises(NotImplementedError, match="Parquet folder keeps no views"):
        ParquetFolder(folder=str(tmp_path)).replace_view(TRIPS)


def test_a_view_in_a_dataset_that_is_not_there_fails_with_a_sentence(platform: Platform) -> None:
    nowhere = BigQuery(project=platform.resources.bigquery.project, dataset="nowhere")
    result = with_resources(platform, bigquery=nowhere).run(
        VIEW, assets=[asset_key(VIEW, BigQuery.name)]
    )
    assert "Check TAXI_GCP_PROJECT and TAXI_DATASET" in failure_of(result)
