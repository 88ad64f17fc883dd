"""The made-up trips of fhv and fhvhv are plausible, and spoilt as the real ones are."""

from pathlib import Path

import pandas as pd
import pytest

from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV, FHVHV, Service
from taxi_pipeline_tests.support.generated import DEFECTS_OF, frame

UBER = "HV0003"


@pytest.mark.parametrize("month", [Month(2019, 2), Month(2021, 6), Month(2025, 1)], ids=str)
@pytest.mark.parametrize("service", [FHV, FHVHV], ids=lambda service: service.name)
def test_a_thousand_trips_show_every_defect(service: Service, month: Month, tmp_path: Path) -> None:
    trips = frame(service, month, 1_000, tmp_path)
    defects = DEFECTS_OF[service.name]
    assert [name for name, has in defects.items() if not has(trips).any()] == []
    assert all(has(trips).mean() < 0.02 for has in defects.values())


@pytest.mark.parametrize("service", [FHV, FHVHV], ids=lambda service: service.name)
def test_defects_have_their_shares(service: Service, tmp_path: Path) -> None:
    trips = frame(service, Month(2021, 1), 100_000, tmp_path)
    counted = {name: int(has(trips).sum()) for name, has in DEFECTS_OF[service.name].items()}
    expected = {"outside the month": 20, "backwards": 30, "takes a day": 100, "twice": 50}
    if service is FHVHV:
        expected |= {"no distance": 30, "negative": 20}
    assert counted == expected


@pytest.mark.parametrize("service", [FHV, FHVHV], ids=lambda service: service.name)
def test_trips_come_hour_by_hour(service: Service, tmp_path: Path) -> None:
    trips = frame(service, Month(2021, 1), 20_000, tmp_path)
    hours = trips.pickup_datetime[~DEFECTS_OF["fhv"]["outside the month"](trips)].dt.floor("h")
    assert hours.is_monotonic_increasing
    assert hours.dt.day.nunique() == 31
    by_hour = hours.dt.hour.value_counts()
    assert by_hour[4] < by_hour[18] / 5


# ---- fhv -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("month", "pickup", "dropoff"),
    [
        ("2015-01", 0.6, 0.6),
        ("2019-05", 0.0, 0.0),
        ("2020-04", 0.32, 0.055),
        ("2020-07", 0.32, 0.0),
        ("2024-01", 0.32, 0.055),
    ],
)
def test_fhv_knows_few_places(month: str, pickup: float, dropoff: float, tmp_path: Path) -> None:
    trips = frame(FHV, Month.parse(month), 10_000, tmp_path)
    assert trips.PUlocationID.isna().mean() == pytest.approx(pickup, abs=0.02)
    assert trips.DOlocationID.isna().mean() == pytest.approx(dropoff, abs=0.02)
    places = pd.concat([trips.PUlocationID, trips.DOlocationID]).dropna()
    assert places.between(1, 265).all()
    if month >= "2019-05":
        assert (trips.PUlocationID == 264).mean() > 0.4


def test_fhv_names_bases(tmp_path: Path) -> None:
    trips = frame(FHV, Month(2020, 4), 10_000, tmp_path)
    assert trips.dispatching_base_num.str.fullmatch(r"[Bb]\d{5}").all()
    assert trips.dispatching_base_num.nunique() > 150
    affiliated = trips.Affiliated_base_number
    assert 0 < affiliated.isna().mean() < 0.02
    assert 0.6 < (affiliated == trips.dispatching_base_num).mean() < 0.75


def test_fhv_tells_no_dropoff_before_2017_and_all_from_july_on(tmp_path: Path) -> None:
    told = {
        month: frame(FHV, Month.parse(month), 2_000, tmp_path).dropoff_datetime.notna().mean()
        for month in ("2016-12", "2017-01", "2017-07")
    }
    assert told["2016-12"] == 0
    assert 0.1 < told["2017-01"] < 0.3
    assert told["2017-07"] == 1


def test_shared_rides_are_flagged_while_fhv_had_them(tmp_path: Path) -> None:
    for month, flags in (("2017-06", set()), ("2018-06", {1}), ("2019-03", set())):
        assert {*frame(FHV, Month.parse(month), 1_000, tmp_path).SR_Flag.dropna()} == flags


# ---- fhvhv ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("month", "licenses"),
    [
        ("2019-02", {"HV0002", "HV0003", "HV0004", "HV0005"}),
        ("2019-12", {"HV0003", "HV0004", "HV0005"}),
        ("2022-01", {"HV0003", "HV0005"}),
        ("2024-01", {"HV0003", "HV0005"}),
    ],
)
def test_services_come_and_go(month: str, licenses: set[str], tmp_path: Path) -> None:
    trips = frame(FHVHV, Month.parse(month), 3_000, tmp_path)
    assert {*trips.hvfhs_license_num} == licenses
    assert 0.65 < (trips.hvfhs_license_num == UBER).mean() < 0.8
    assert (trips.groupby("dispatching_base_num").hvfhs_license_num.nunique() == 1).all()


def test_only_uber_tells_where_a_request_came_in_and_when_the_driver_did(tmp_path: Path) -> None:
    trips = frame(FHVHV, Month(2021, 6), 5_000, tmp_path)
    uber = trips.hvfhs_license_num == UBER
    assert (trips.on_scene_datetime.notna() == uber).all()
    assert (trips.originating_base_num.notna() == uber).all()
    assert (trips.access_a_ride_flag == uber.map({True: " ", False: "N"})).all()


def test_a_car_comes_between_request_and_pickup(tmp_path: Path) -> None:
    trips = frame(FHVHV, Month(2024, 1), 5_000, tmp_path)
    assert (trips.request_datetime <= trips.pickup_datetime).all()
    told = trips.on_scene_datetime.notna()
    assert (trips.request_datetime <= trips.on_scene_datetime)[told].all()
    assert (trips.on_scene_datetime <= trips.pickup_datetime)[told].all()


def test_the_time_is_that_of_the_trip(tmp_path: Path) -> None:
    trips = frame(FHVHV, Month(2024, 1), 5_000, tmp_path)
    took = (trips.dropoff_datetime - trips.pickup_datetime).dt.total_seconds()
    assert (took == trips.trip_time).mean() > 0.99
    assert (trips.trip_time > 0).all()


def test_flags_are_yes_or_no_and_nobody_pools_in_the_pandemic(tmp_path: Path) -> None:
    flags = ["shared_request_flag", "shared_match_flag", "wav_request_flag", "wav_match_flag"]
    for month, pooled in (("2019-06", True), ("2020-04", False), ("2024-01", True)):
        trips = frame(FHVHV, Month.parse(month), 5_000, tmp_path)
        assert trips[flags].isin(["N", "Y"]).all(axis=None)
        asked, matched = trips.shared_request_flag == "Y", trips.shared_match_flag == "Y"
        assert asked.any() == pooled
        assert not (matched & ~asked).any()
