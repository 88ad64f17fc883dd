"""Every fault of the table, by the real job: the stores hold what is declared, the next run all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from taxi_pipeline.tlc.month import Month
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.faults.conftest import FAULT
from taxi_pipeline_tests.faults.faults import FAULTS, Fault
from taxi_pipeline_tests.faults.scene import STORES, scene

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
