import pytest

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.header import Header
from taxi_pipeline.tlc.services import FHV, FHVHV, SERVICES, TAXI_ZONES, YELLOW, Service
from taxi_pipeline_tests.support import headers

HEADERS = {
    "yellow 2009": headers.YELLOW_2009,
    "yellow 2014": headers.YELLOW_2014,
    "yellow 2015": headers.YELLOW_2015,
    "yellow 2026": headers.YELLOW_2026,
    "green 2013": headers.GREEN_2013,
    "green 2026": headers.GREEN_2026,
    "fhv 2015": headers.FHV_2015,
    "fhv 2017": headers.FHV_2017,
    "fhv 2018": headers.FHV_2018.replace('"', ""),
    "fhv 2026": headers.FHV_2021,
    "fhvhv 2019": headers.FHVHV_2019,
    "fhvhv 2021": headers.FHV_2021,  # the mirror's file of 2021-06
    "fhvhv 2026": headers.FHVHV_2026,
}


def match(era: str, service: Service | None = None) -> Header:
    of = service or SERVICES[era.partition(" ")[0]]
    return Header.match(HEADERS[era].split(","), of.trips, "file.csv")


@pytest.mark.parametrize("era", HEADERS)
def test_every_era_is_known_to_its_service(era: str) -> None:
    header = match(era)
    assert header.unknown == ()
    assert None not in header.columns


@pytest.mark.parametrize("era", HEADERS)
@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_another_services_header_is_refused(era: str, service: Service) -> None:
    # some mirrored files of fhvhv carry fhv's header
    mirrored = service == FHVHV and era in ("fhv 2017", "fhv 2018", "fhv 2026")
    both = service == FHV and era == "fhvhv 2021"
    if era.startswith(f"{service.name} ") or mirrored or both:
        match(era, service)
        return
    with pytest.raises(
        PermanentError, match=r"^file\.csv: (its columns are those of|the required)"
    ):
        match(era, service)


def test_another_services_header_is_named() -> None:
    with pytest.raises(PermanentError, match="its columns are those of green_trips, not of yellow"):
        match("green 2026", YELLOW)
    with pytest.raises(PermanentError, match="its columns are those of fhvhv_trips, not of fhv"):
        match("fhvhv 2019", FHV)


def test_two_columns_may_stand_for_one() -> None:
    header = match("fhv 2018")
    base = FHV.trips["dispatching_base_num"]
    assert header.published_for(base) == ["Dispatching_base_number", "Dispatching_base_num"]


@pytest.mark.parametrize("place", ["PULocationID", "DOLocationID"])
def test_places_are_required_by_zone_or_by_coordinates(place: str) -> None:
    names = HEADERS["yellow 2026"].split(",")
    names.remove(place)
    with pytest.raises(PermanentError, match=f"required column '{place}'"):
        Header.match(names, YELLOW.trips, "x.csv")


def test_what_is_not_declared_is_reported_but_for_pandas_index() -> None:
    names = [*HEADERS["yellow 2009"].split(","), "__index_level_0__", "Surprise"]
    assert Header.match(names, YELLOW.trips, "x.parquet").unknown == ("Surprise",)


def test_a_name_that_rejected_rows_need_is_refused() -> None:
    names = [*HEADERS["yellow 2026"].split(","), "Number"]
    with pytest.raises(PermanentError, match="the column number has the name of a column that"):
        Header.match(names, YELLOW.trips, "x.csv")


def test_a_very_long_header_is_not_shown_whole() -> None:
    with pytest.raises(PermanentError) as caught:
        Header.match(["x" * 10_000], TAXI_ZONES, "x.csv")
    assert len(str(caught.value)) < 1_500
