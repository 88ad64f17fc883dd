import pytest

from taxi_pipeline.lake.paths import ZONE_SHAPES_PATHS, ZONES_PATHS, month_of_object, object_paths
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, YELLOW, Service

JANUARY = Month(2021, 1)


@pytest.mark.parametrize("service", SERVICES.values(), ids=lambda service: service.name)
def test_the_name_of_an_object_says_whose_it_is_and_of_which_month(service: Service) -> None:
    place = object_paths(service, JANUARY)
    rejected = f"{place.rejected}0123456789abcdef.parquet"
    for name in (*place.raw_names, place.cleaned, rejected):
        assert month_of_object(name) == (service, JANUARY)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ZONES_PATHS.cleaned,
        ZONE_SHAPES_PATHS.cleaned,
        *ZONE_SHAPES_PATHS.raw_names,
        object_paths(YELLOW, JANUARY).raw,
        "raw/yellow/yellow_tripdata_2021-01",
        "raw/yellow/yellow_tripdata_2021-13.parquet",
        "raw/yellow/yellow_tripdata_2021-01-15.parquet",
        "raw/yellow/yellow_tripdata_2021-01.parquet/part-0",
        "raw/yellow/yellow_tripdata_2021-01.parquet\n",
        "raw/yellow/green_tripdata_2021-01.parquet",
        "raw/blue/blue_tripdata_2021-01.parquet",
        "raw/yellow/old/yellow_tripdata_2021-01.parquet",
        "archive/yellow/yellow_tripdata_2021-01.parquet",
        "old/raw/yellow/yellow_tripdata_2021-01.parquet",
        "yellow_tripdata_2021-01.parquet",
        "raw/yellow/../yellow/yellow_tripdata_2021-01.parquet",
        "raw/%2e%2e/%2e%2e_tripdata_2021-01.parquet",
        "raw/yellow/yellow_tripdata_2021-01'; DROP TABLE t; --.parquet",
        "raw/yellow/yellow_tripdata_\uff12\uff10\uff12\uff11-01.parquet",
        "raw/yellow/yellow_tripdata_" + "2021-01" * 20_000 + ".parquet",
        "raw/yellow/yellow_tripdata_2021-01.notes.txt",
        "raw/yellow/yellow_tripdata_2021-01.csv.gz.bak",
        "raw/yellow/yellow_tripdata_2021-01.2021-01.csv.gz",
        "raw/yellow/yellow_tripdata_2021-01.CSV",
        "raw/yellow/yellow_tripdata_2021-01.0123456789abcdef.parquet",
        "cleaned/yellow/yellow_tripdata_2021-01.csv.gz",
        "rejected/yellow/yellow_tripdata_2021-01.parquet",
        "rejected/yellow/yellow_tripdata_2021-01.0123456789ABCDEF.parquet",
    ],
    ids=range(29),
)
def test_another_name_is_of_no_month(name: str) -> None:
    assert month_of_object(name) is None
