"""What a backfill will take, of figures that can be reckoned by hand, and how it is said."""

from collections.abc import Sequence

import pytest

from taxi_pipeline.backfill.estimate import Estimate, estimate
from taxi_pipeline.backfill.prices import LAKE, PRICES, ROW_BYTES, dollars
from taxi_pipeline.backfill.survey import Survey
from taxi_pipeline.backfill.view import as_duration, as_object, sentences
from taxi_pipeline.resources import SINKS
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV, SERVICES, YELLOW, Service

JANUARY, FEBRUARY, MARCH = (Month(2021, number) for number in (1, 2, 3))
MILLION = 1_000_000


def survey(
    service: Service = YELLOW,
    months: Sequence[Month] = (JANUARY, FEBRUARY),
    size: int = 20 * MILLION,
) -> Survey:
    """Return a survey of months of a million rows each, as it is usually."""
    return Survey(service, dict.fromkeys(months, size), [], [], [], [], size / MILLION)


def of(*surveys: Survey, at_once: int = 2) -> Estimate:
    return estimate(surveys, [], at_once, None)


def test_each_service_and_store_has_its_sizes_and_prices() -> None:
    assert ROW_BYTES.keys() == SERVICES.keys()
    names = {sink.name for sink in SINKS}
    assert {LAKE, *names} == PRICES.keys()
    assert all(row.sinks.keys() == names for row in ROW_BYTES.values())


def test_what_lies_in_each_store_is_summed_up_over_the_services() -> None:
    found = of(survey(), survey(FHV, [MARCH], 8 * MILLION))
    assert (found.runs, found.size) == (3, 48 * MILLION)
    yellow, fhv = ROW_BYTES["yellow"], ROW_BYTES["fhv"]
    expected = {LAKE: 48 + 2 * yellow.cleaned + fhv.cleaned}
    expected |= {sink: 2 * yellow.sinks[sink] + fhv.sinks[sink] for sink in yellow.sinks}
    assert {store: held.size / MILLION for store, held in found.stores.items()} == pytest.approx(
        expected
    )
    for store, held in found.stores.items():
        assert held.dollars == pytest.approx(PRICES[store] * expected[store] / 1000)
    assert dollars("parquet_folder", 1e9) is None


def test_one_month_does_not_run_twice_as_fast_beside_itself() -> None:
    one, two = of(survey(months=[JANUARY])), of(survey())
    assert (one.at_once, two.at_once) == (1, 2)
    assert one.seconds == pytest.approx(two.seconds)


def test_people_are_told_what_would_surprise_them() -> None:
    months = (JANUARY, FEBRUARY, MARCH)
    found = Survey(
        YELLOW, dict.fromkeys(months, 5 * MILLION), [Month(2021, 9)], [MARCH], [JANUARY], [], 20
    )
    assert [*sentences(of(found))][:4] == [
        "yellow 2021-09: not published, left out.",
        "yellow 2021-01 to 2021-03: 3 months, 15.0 MB published.",
        "  1 of 3 is loaded already, and would be run again (--missing leaves them out).",
        "  The publisher has not said the size of 2021-03.",
    ]
    nothing = Survey(YELLOW, {}, [], [], [], [*months], 20)
    assert [*sentences(of(nothing))] == [
        "yellow 2021-01 to 2021-03: loaded already, left out.",
        "yellow: nothing to run.",
    ]


def test_programs_are_told_the_same() -> None:
    found = of(survey())
    told = as_object(found)
    assert told["services"][0]["months"] == ["2021-01", "2021-02"]
    assert (told["bytes"], told["runs"], told["services"][0]["rows"]) == (
        *(40 * MILLION, 2),
        2 * MILLION,
    )
    assert told["seconds"] == round(found.seconds)
    assert told["stores"][LAKE]["bytes"] == found.stores[LAKE].size


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(50, "50 seconds"), (170, "3 minutes"), (5000, "83 minutes"), (24_120, "6.7 hours")],
)
def test_how_long_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert as_duration(seconds) == said
