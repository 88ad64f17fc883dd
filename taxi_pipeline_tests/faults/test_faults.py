"""Every fault of the table, by the real job: the stores hold what is declared, the next run all."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.faults.conftest import FAULT
from taxi_pipeline_tests.faults.faults import FAULTS, Fault
from taxi_pipeline_tests.faults.scene import STORES, Months
from taxi_pipeline_tests.support.lake import overwrite


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=fault.name, marks=() if fault.quick else (pytest.mark.long,))
        for fault in FAULTS
    ],
)
def test_stores_hold_the_old_month_or_the_new_and_the_next_run_loads_it(
    months: Months, fault: Fault, record_property: Callable[[str, object], None]
) -> None:
    record_property(FAULT, fault.name)
    with months.scene(fault.rows) as placed:
        fault.place(placed)
        code, said = placed.break_run()
        look = placed.look()
        assert look.held == fault.held
        assert placed.left() == fault.leaves
        assert (code == 0) == fault.ends_well
        assert look.neighbour_is_whole
        assert placed.password not in said
        for check in placed.checks:
            check()
        placed.undo.close()

        assert placed.run_again().success
        look = placed.look()
        assert look.held == dict.fromkeys(STORES, "new")
        assert placed.left() == frozenset()
        assert look.neighbour_is_whole
        assert look.adds_up


def test_one_cell_of_another_version_is_seen_in_every_store(
    platform: Platform, months: Months, tmp_path: Path
) -> None:
    with months.scene() as placed:
        assert placed.look().held == dict.fromkeys(STORES, "old")
        tip = f"{placed.new.mark}.03"
        cell = f"SET tip_amount = {tip} WHERE pickup_datetime = '{placed.month}-15 00:00:03'"
        platform.bigquery(f"UPDATE yellow_trips {cell}")
        with psycopg.connect(platform.resources.postgres.url) as connection:
            connection.execute(f"UPDATE tlc.yellow_trips {cell}".encode())
        lake = platform.resources.lake
        (trips,) = lake.find(placed.place.cleaned)
        path = lake.download(trips, tmp_path)
        rows = pq.read_table(path).to_pylist()
        rows[3]["tip_amount"] = float(tip)
        pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
        overwrite(lake, path, trips.name, trips.metadata)
        look = placed.look()
        assert not look.adds_up  # rows and total tell nothing of it, but the stamps do
        held = dict(look.held)
        assert held.pop("raw") == "old"
        assert held["cleaned"].startswith("2000 rows: 1999 of old, 0 of new, 0 of other; 7 rows")
        assert (
            held["bigquery"] == held["postgres"] == "2000 rows: 1999 of old, 0 of new, 0 of other"
        )
