"""Trips read from the lake as a DataFrame: the columns asked for, their types and meanings."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_pipeline import read_trips, read_zone_shapes
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import GREEN, YELLOW
from taxi_pipeline.tlc.zones import ZONE_IDS
from taxi_pipeline_tests.conftest import Platform, Publish
from taxi_pipeline_tests.support.lake import overwrite
from taxi_pipeline_tests.support.relays import Exchange, Point, http_relay, passing
from taxi_pipeline_tests.support.source_files import MIRRORED, csv_gz, in_month

MONTHS = ("2021-01", "2021-02", "2021-03")


@pytest.fixture(scope="module")
def loaded(platform: Platform) -> Platform:
    """Return a platform whose lake has three months of green trips, and the zones."""
    for month in MONTHS:
        platform.load("green", month)
    assert platform.run("taxi_zones").success
    return platform


def stored(platform: Platform, month: str, folder: Path) -> pa.Table:
    """Return what the lake has of green trips, by other code."""
    lake = platform.resources.lake
    (found,) = lake.find(object_paths(GREEN, Month.parse(month)).cleaned)
    return pq.read_table(lake.download(found, folder))


def test_a_month_has_all_its_rows_and_the_declared_types(loaded: Platform, tmp_path: Path) -> None:
    expected = stored(loaded, "2021-01", tmp_path)
    table = read_trips("green", "2021-01", library="pyarrow")
    assert table.schema.equals(arrow_schema(GREEN.trips))
    assert table.equals(expected.replace_schema_metadata(None).select(table.column_names))
    frame = read_trips("green", "2021-01")
    assert [*frame.columns] == [column.name for column in GREEN.trips.columns]
    assert len(frame) == len(expected)
    assert frame["pickup_location_id"].dtype == pd.Int32Dtype()
    assert frame["pickup_datetime"].dtype.kind == "M"
    assert frame["total_amount"].sum() == pytest.approx(sum(expected["total_amount"].to_pylist()))


def test_months_follow_one_another_as_a_list_or_a_range(loaded: Platform) -> None:
    def months(frame: pd.DataFrame) -> list[str]:
        return [*frame["pickup_datetime"].dt.strftime("%Y-%m").drop_duplicates()]

    columns = ["pickup_datetime"]
    assert months(read_trips("green", MONTHS[0], MONTHS[2], columns=columns)) == [*MONTHS]
    assert months(read_trips("green", MONTHS[0], MONTHS[0], columns=columns)) == [MONTHS[0]]
    two = [MONTHS[2], MONTHS[0]]
    frame = read_trips("green", (month for month in [*two, MONTHS[2]]), columns=iter(columns))
    assert months(frame) == two
    assert len(frame) == sum(len(read_trips("green", month, columns=columns)) for month in two)


def test_only_the_columns_that_are_asked_for_are_fetched(
    loaded: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, month, lake = 200_000, Month(2022, 7), loaded.resources.lake
    path, fetched = tmp_path / "wide.parquet", 0
    columns = [
        pa.array(range(rows), pa.int64()).cast(field.type)
        if pa.types.is_floating(field.type)
        else pa.nulls(rows, field.type)
        for field in arrow_schema(GREEN.trips)
    ]
    wide = pa.table(columns, schema=arrow_schema(GREEN.trips))
    pq.write_table(wide, path, compression="none", use_dictionary=False)
    overwrite(lake, path, object_paths(GREEN, month).cleaned, {})

    def count(exchange: Exchange) -> None:
        nonlocal fetched
        reply = exchange.asked()
        fetched += len(reply.body)
        exchange.answer(reply)

    points = [Point(passing("GET", "alt=media"), count, times=None)]
    with http_relay(os.environ["STORAGE_EMULATOR_HOST"], points) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        frame = read_trips("green", month.key, columns=["fare_amount"])
    assert frame["fare_amount"].tolist() == [*range(rows)]
    assert rows * 8 <= fetched < path.stat().st_size / 5


def test_zones_come_beside_their_ids(loaded: Platform) -> None:
    columns = ["pickup_location_id", "total_amount", "dropoff_location_id"]
    frame = read_trips("green", "2021-01", columns=columns, zones=True)
    assert [*frame.columns] == [
        "pickup_location_id", "pickup_zone", "pickup_borough", "total_amount",
        "dropoff_location_id", "dropoff_zone", "dropoff_borough",
    ]  # fmt: skip
    names = dict(zip(frame["pickup_location_id"], frame["pickup_zone"], strict=True))
    boroughs = dict(zip(frame["pickup_location_id"], frame["pickup_borough"], strict=True))
    expected = loaded.bigquery("SELECT location_id, zone, borough FROM taxi_zones")
    zones = {location: (zone, borough) for location, zone, borough in expected}
    assert len(names) > 10
    for location, zone in names.items():
        assert (zone, boroughs[location]) == zones[location]
    assert read_trips("green", "2021-01", columns=["total_amount"], zones=True).shape[1] == 1


def test_codes_become_words_and_an_undeclared_one_is_its_own(publish: Publish) -> None:
    month = "2016-03"
    rows = [in_month(month, payment_type=code) for code in ("1", "2", "77", "1", "")]
    platform, _ = publish({MIRRORED.format(month): csv_gz(*rows)})
    platform.load("yellow", month)
    columns = ["payment_type", "store_and_fwd_flag", "pickup_datetime"]
    frame = read_trips("yellow", month, columns=columns, meanings=True)
    payment = frame["payment_type"]
    assert payment.dtype == "category"
    assert [*payment.iloc[:4]] == ["credit card", "cash", "77", "credit card"]
    assert pd.isna(payment.iloc[4])
    assert {*frame["store_and_fwd_flag"].dropna()} <= {
        *YELLOW.trips["store_and_fwd_flag"].codes.values()
    }
    assert frame["pickup_datetime"].dtype.kind == "M"
    codes = read_trips("yellow", month, columns=columns)
    assert [*codes["payment_type"].iloc[:4]] == [1, 2, 77, 1]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("blue", "2021-01"), {}, "'blue' is none of TLC's services: yellow, green, fhv, fhvhv"),
        (("green", "January"), {}, "'January' is not a month"),
        (("green", "2020-01"), {},
         "green_tripdata_2020-01.parquet is not in the lake: run the job that loads green 2020-01"),
        (("green", "2021-01", "2021-04"), {}, "green_tripdata_2021-04.parquet is not in the lake"),
        (("green", "2021-02", "2021-01"), {}, "No month was asked for"),
        (("green", []), {}, "No month was asked for"),
        (("green", ["2021-01"], "2021-02"), {}, "A range has one first month"),
        (("green", "2021-01"), {"columns": ["fare", "zone"]},
         "green_trips has no column fare, zone. It has vendor_id, "),
        (("green", "2021-01"), {"columns": "fare_amount"}, "is no list of columns"),
        (("green", "2021-01"), {"columns": []}, "is no list of columns"),
        (("green", "2021-01"), {"library": "spark"}, "none of pandas, pyarrow and polars"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(
    loaded: Platform, arguments: tuple[str, str], options: dict[str, object], message: str
) -> None:
    with pytest.raises(PermanentError, match=message):
        read_trips(*arguments, **options)  # type: ignore[call-overload]


def test_a_month_in_polars_is_what_it_is_in_arrow(loaded: Platform) -> None:
    columns = ["pickup_datetime", "pickup_location_id", "payment_type", "total_amount"]
    table = read_trips("green", "2021-01", columns=columns, zones=True, meanings=True,
                       library="pyarrow")  # fmt: skip
    frame = read_trips("green", "2021-01", columns=columns, zones=True, meanings=True,
                       library="polars")  # fmt: skip
    assert frame.columns == table.column_names
    assert frame.rows() == [tuple(row.values()) for row in table.to_pylist()]
    assert frame["pickup_zone"].dtype == pl.Categorical
    assert frame["pickup_location_id"].dtype == pl.Int32


def test_the_shapes_of_the_zones_are_read_or_said_to_be_missing(loaded: Platform) -> None:
    with pytest.raises(PermanentError, match="is not in the lake: run the job taxi_zone_shapes"):
        read_zone_shapes()
    assert loaded.run("taxi_zone_shapes").success
    zones = read_zone_shapes()
    assert {zone.location_id for zone in zones} <= {*ZONE_IDS}
    assert all(len(ring) > 3 for zone in zones for ring in zone.rings)
    assert len(zones) > 200


def test_polars_that_is_not_installed_is_named(
    loaded: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(PermanentError, match="pip install polars"):
        read_trips("green", "2021-01", columns=["fare_amount"], library="polars")


def test_the_lakes_settings_are_enough_and_a_missing_one_is_named(
    loaded: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TAXI_POSTGRES_URL", "TAXI_PUBLISHER_URLS", "TAXI_ZONES_URL"):
        monkeypatch.delenv(name)
    assert len(read_trips("green", "2021-01", columns=["fare_amount"]))
    monkeypatch.delenv("TAXI_BUCKET")
    with pytest.raises(PermanentError, match=r"^TAXI_BUCKET: not set"):
        read_trips("green", "2021-01")


def test_the_readmes_example_runs_as_it_stands(loaded: Platform) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    examples = re.findall(r"^```python\n(.+?)^```", readme, re.MULTILINE | re.DOTALL)
    (example,) = (text for text in examples if "read_trips" in text)
    *lines, last = example.strip().splitlines()
    names: dict[str, object] = {}
    exec("\n".join(lines), names)
    tips = eval(last, names)
    assert {"Manhattan", "Queens", "Brooklyn"} <= {*tips.index}
    assert (tips.dropna() >= 0).all()


def test_to_import_the_package_costs_nothing() -> None:
    code = "import sys, taxi_pipeline; print({'pyarrow', 'pandas', 'dagster'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
