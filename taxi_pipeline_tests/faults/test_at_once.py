"""Two runs side by side, each a process of its own, that meet at the place where it matters."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from taxi_pipeline_tests.faults.faults import loads, uploads
from taxi_pipeline_tests.faults.scene import Months, Run, Scene
from taxi_pipeline_tests.support.processes import PATIENCE
from taxi_pipeline_tests.support.relays import Exchange, Message, Point

pytestmark = pytest.mark.long

# What a run may end with that another run of its month has overtaken for good.
_OVERTAKEN = "was replaced while it was read: run the month again."


def _meet(scene: Scene, store: str, matches: Callable[[Exchange], bool]) -> None:
    """Let neither of two runs pass there before the other has come."""
    both = threading.Barrier(2, timeout=PATIENCE)

    def pass_together(exchange: Exchange) -> None:
        both.wait()
        exchange.answer(exchange.asked())

    getattr(scene, store).append(Point(matches, pass_together, times=2))


def _at_upload_of_raw(scene: Scene) -> None:
    _meet(scene, "lake", uploads("raw"))


def _at_upload_of_rejected(scene: Scene) -> None:
    _meet(scene, "lake", uploads("rejected"))


def _at_upload_of_trips(scene: Scene) -> None:
    _meet(scene, "lake", uploads("cleaned"))


def _at_load_job(scene: Scene) -> None:
    _meet(scene, "warehouse", loads)


def _at_lock(scene: Scene) -> None:
    both = threading.Barrier(2, timeout=PATIENCE)

    def asks_for_lock(message: Message) -> bool:
        return message.says("SELECT pg_advisory_xact_lock")

    def wait(_: Message) -> None:
        both.wait()

    scene.database.append(Point(asks_for_lock, wait, times=2))


_PLACES = (
    _at_upload_of_raw,
    _at_upload_of_rejected,
    _at_upload_of_trips,
    _at_load_job,
    _at_lock,
)


@pytest.mark.parametrize("place", _PLACES)
def test_two_runs_of_one_month_leave_one_version_of_it_everywhere(
    months: Months, place: Callable[[Scene], None]
) -> None:
    with months.scene() as placed:
        # the publisher has another file for whoever comes second
        placed.publisher.append(Point(lambda _: True, placed.other.answer))
        placed.settings["TAXI_RETRIES"] = "4"
        place(placed)
        runs = (placed.run, Run(placed.month))
        ended = placed.at_once(*runs)
        assert any(code == 0 for code, _ in ended)
        assert all(code == 0 or _OVERTAKEN in said for code, said in ended)
        look = placed.look()
        assert set(look.held.values()) == {"new"}  # what was published last
        assert placed.left() == frozenset()
        assert look.adds_up
        assert look.neighbour_is_whole


def test_two_months_of_one_service_land_side_by_side(months: Months) -> None:
    with months.scene() as placed:
        placed.neighbour = replace(placed.neighbour, mark=9 - placed.neighbour.mark)
        placed.publish(placed.neighbour)
        _at_load_job(placed)
        _at_lock(placed)
        ended = placed.at_once(placed.run, Run(placed.month.next))
        assert [code for code, _ in ended] == [0, 0]
        look = placed.look()
        assert set(look.held.values()) == {"new"}
        assert look.adds_up
        assert look.neighbour_is_whole
        assert placed.left() == frozenset()
