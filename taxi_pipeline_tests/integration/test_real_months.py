"""Real records through the real jobs, against an independent count by pandas."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from .conftest import REAL_FILES, Platform

GREEN_CSV = "releases/green/green_tripdata_{}.csv.gz"
GREEN_PARQUET = "trip-data/green_tripdata_{}.parquet"
YELLOW_CSV = "releases/yellow/yellow_tripdata_{}.csv.gz"


def counted_by_pandas(path: Path, month: str) -> tuple[int, int, Counter[str]]:
    """Return published and kept rows, and the rejected by reason, without our code."""
    frame = (
        pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, low_memory=False)
    )
    frame = frame.rename(columns=lambda name: name.strip().lower())
    pickup, dropoff = (
        pd.to_datetime(frame[next(c for c in frame.columns if c.endswith(f"{which}_datetime"))])
        for which in ("pickup", "dropoff")
    )
    reason = pd.Series("", index=frame.index)
    reason[frame["passenger_count"] == 0] = "no_passengers"
    reason[dropoff < pickup] = "dropoff_before_pickup"
    reason[pickup.dt.strftime("%Y-%m") != month] = "pickup_outside_month"
    reason[pickup.isna()] = "pickup_missing"
    rejected = Counter(reason[reason != ""])
    return len(frame), int((reason == "").sum()), rejected


@pytest.mark.parametrize(
    ("service", "month", "template", "rows"),
    [
        ("green", "2020-04", GREEN_CSV, 35_612),
        ("green", "2023-01", GREEN_PARQUET, 68_211),
        ("green", "2024-10", GREEN_PARQUET, 56_147),
        ("green", "2025-10", GREEN_PARQUET, 49_416),
        ("yellow", "2019-01", YELLOW_CSV, 10_000),
        ("yellow", "2020-05", YELLOW_CSV, 10_000),
    ],
)
def test_a_real_month_reconciles_in_all_three_stores(
    real_platform: Platform, service: str, month: str, template: str, rows: int
) -> None:
    published, kept, rejected = counted_by_pandas(REAL_FILES / template.format(month), month)
    assert published == rows
    assert real_platform.run(f"{service}_trips", month).success
    entry = real_platform.entry(service, month)
    lake = entry.lake
    assert lake.kept is not None
    assert (lake.published, lake.kept.rows, lake.rejected) == (published, kept, rejected)
    assert entry.bigquery == entry.postgres == lake.kept
    assert entry.adds_up


def test_the_real_zones_land(real_platform: Platform) -> None:
    assert real_platform.run("taxi_zones").success
    expected = pd.read_csv(REAL_FILES / "misc/taxi_zone_lookup.csv", keep_default_na=False)
    rows = real_platform.postgres("SELECT * FROM tlc.taxi_zones ORDER BY location_id")
    assert rows == list(expected.itertuples(index=False, name=None))
    assert real_platform.bigquery("SELECT * FROM taxi_zones ORDER BY location_id") == rows
