"""Every fault of the table, by the real job: the stores hold what is declared, the next run all."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.tlc.month import Month
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.faults.conftest import FAULT
from taxi_pipeline_tests.faults.faults import FAULTS, Fault
from taxi_pipeline_tests.faults.scene import STORES, scene
from taxi_pipeline_tests.support.lake import overwrite

pytestmark = pytest.mark.timeout(300)  # four runs, one of which may wait for its timeouts


def _month(index: int) -> Month:
    """Return a month of its own for each fault, and for its neighbour the next."""
    return Month(2009 + index // 6, index % 6 * 2 + 1)


@pytest.mark.parametrize(
    ("index", "fault"),
    [
        pytest.param(index, fault, id=fault.name, marks=() if fault.quick else (pytest.mark.long,))
        for index, fault in enumerate(FAULTS)
    ],
)
def test_a_store_holds_the_old_month_or_the_new_and_the_next_run_loads_it(
    platform: Platform,
    stack: Path,
    index: int,
    fault: Fault,
    record_property: Callable[[str, object], None],
) -> None:
    record_property(FAULT, fault.name)
    with scene(platform, stack, _month(index), fault.rows) as placed:
        fault.place(placed)
        code, said = placed.break_run()
        assert placed.held() == fault.held
        assert placed.left() == fault.leaves
        assert (code == 0) == fault.ends_well
        assert placed.neighbour_is_untouched()
        assert placed.password not in said
        for check in placed.checks:
            check()
        placed.undo.close()

        assert placed.run_again().success
        assert placed.held() == dict.fromkeys(STORES, "new")
        assert placed.left() == frozenset()
        assert placed.neighbour_is_untouched()
        assert platform.entry("yellow", placed.month.key).adds_up


def test_one_cell_of_another_version_is_seen_in_every_store(
    platform: Platform, stack: Path, tmp_path: Path
) -> None:
    month = Month(2018, 1)
    with scene(platform, stack, month, rows=50) as placed:
        assert placed.held() == dict.fromkeys(STORES, "old")
        cell = f"SET tip_amount = 2.03 WHERE pickup_datetime = '{month}-15 00:00:03'"
        platform.bigquery(f"UPDATE yellow_trips {cell}")
        with psycopg.connect(platform.resources.database.url) as connection:
            connection.execute(f"UPDATE tlc.yellow_trips {cell}".encode())
        lake = platform.resources.lake
        (trips,) = lake.find(placed.place.cleaned)
        path = lake.download(trips, tmp_path)
        rows = pq.read_table(path).to_pylist()
        rows[3]["tip_amount"] = 2.03
        pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
        overwrite(lake, path, trips.name, trips.metadata)
        assert platform.entry("yellow", month.key).adds_up  # rows and total tell nothing of it
        held = placed.held()
        assert held.pop("raw") == "old"
        assert held["cleaned"].startswith("50 rows: 49 of old, 0 of new, 0 of other; 7 rows")
        assert held["bigquery"] == held["postgres"] == "50 rows: 49 of old, 0 of new, 0 of other"
