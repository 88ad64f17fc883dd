import pytest

from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.backfill.months import as_spans, ensure_of_service, months_between, spans
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHVHV, SERVICES, Service


def months(*keys: str) -> list[Month]:
    return [Month.parse(key) for key in keys]


def test_a_range_has_both_its_ends() -> None:
    found = months_between(Month(2020, 11), Month(2021, 2))
    assert found == months("2020-11", "2020-12", "2021-01", "2021-02")
    assert months_between(Month(2021, 1), Month(2021, 1)) == months("2021-01")


@pytest.mark.parametrize(
    ("keys", "written"),
    [
        ([], ""),
        (["2021-01"], "2021-01"),
        (["2020-12", "2021-01"], "2020-12 to 2021-01"),
        (["2021-01", "2021-02", "2021-04", "2022-04"], "2021-01 to 2021-02, 2021-04, 2022-04"),
    ],
)
def test_months_without_a_gap_are_written_as_one(keys: list[str], written: str) -> None:
    assert as_spans(months(*keys)) == written
    assert [one for pair in spans(months(*keys)) for one in months_between(*pair)] == months(*keys)


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_a_service_has_its_first_month_to_the_newest_that_is_due(service: Service) -> None:
    newest = Month.parse(months_of(service).get_last_partition_key() or "")
    ensure_of_service(service, [service.first_month, newest])
    for wrong in (service.first_month.previous, newest.next):
        with pytest.raises(PermanentError, match=f"{service.name} has no {wrong}: its months are"):
            ensure_of_service(service, sorted([service.first_month, wrong]))


def test_all_that_is_wrong_is_named() -> None:
    wrong = months("2018-11", "2018-12", "2019-01", "2019-02", "2999-01")
    with pytest.raises(
        PermanentError, match="fhvhv has no 2018-11 to 2019-01, 2999-01: its months"
    ):
        ensure_of_service(FHVHV, wrong)
