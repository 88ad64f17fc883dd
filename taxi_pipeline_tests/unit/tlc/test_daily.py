from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.tlc.daily import trips_by_day
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import DATETIME


def parquet(path: Path, pickups: list[datetime], group: int = 100) -> Path:
    table = pa.table({"pickup_datetime": pa.array(pickups, DATETIME), "other": [1] * len(pickups)})
    pq.write_table(table, path, row_group_size=group)
    return path


def test_trips_are_counted_on_the_day_of_their_pick_up(tmp_path: Path) -> None:
    month, instant = Month(2021, 1), timedelta(microseconds=1)
    second = month.start + timedelta(days=1)
    pickups = [month.start, second - instant, second, month.end - instant]
    counts = trips_by_day(parquet(tmp_path / "trips.parquet", pickups), month)
    assert counts == [2, 1, *[0] * 28, 1]


@pytest.mark.parametrize(
    ("month", "days"), [("2021-02", 28), ("2024-02", 29), ("2021-04", 30), ("2021-12", 31)]
)
def test_every_day_of_the_month_has_a_count(tmp_path: Path, month: str, days: int) -> None:
    assert trips_by_day(parquet(tmp_path / "no.parquet", []), Month.parse(month)) == [0] * days


@pytest.mark.parametrize("group", [1, 7, 1000])
def test_any_row_groups_give_the_same_counts(tmp_path: Path, group: int) -> None:
    month = Month(2021, 2)
    pickups = [month.start + timedelta(days=number % 27) for number in range(270)]
    counts = trips_by_day(parquet(tmp_path / "trips.parquet", pickups, group), month)
    assert counts == [10] * 27 + [0]
