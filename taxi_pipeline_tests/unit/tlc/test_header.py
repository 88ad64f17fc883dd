import pytest

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.header import Header
from taxi_pipeline.tlc.services import FHV, FHVHV, SERVICES, TAXI_ZONES, YELLOW, Service

# as published, from https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page and its mirrors
HEADERS = {
    "yellow 2009": "vendor_name,Trip_Pickup_DateTime,Trip_Dropoff_DateTime,Passenger_Count,"
    "Trip_Distance,Start_Lon,Start_Lat,Rate_Code,store_and_forward,End_Lon,End_Lat,Payment_Type,"
    "Fare_Amt,surcharge,mta_tax,Tip_Amt,Tolls_Amt,Total_Amt",
    "yellow 2014": "vendor_id, pickup_datetime, dropoff_datetime, passenger_count, trip_distance, "
    "pickup_longitude, pickup_latitude, rate_code, store_and_fwd_flag, dropoff_longitude, "
    "dropoff_latitude, payment_type, fare_amount, surcharge, mta_tax, tip_amount, tolls_amount, "
    "total_amount",
    "yellow 2015": "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,"
    "trip_distance,pickup_longitude,pickup_latitude,RateCodeID,store_and_fwd_flag,"
    "dropoff_longitude,dropoff_latitude,payment_type,fare_amount,extra,mta_tax,tip_amount,"
    "tolls_amount,improvement_surcharge,total_amount",
    "yellow 2026": "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,"
    "trip_distance,RatecodeID,store_and_fwd_flag,PULocationID,DOLocationID,payment_type,"
    "fare_amount,extra,mta_tax,tip_amount,tolls_amount,improvement_surcharge,total_amount,"
    "congestion_surcharge,Airport_fee,cbd_congestion_fee,request_source",
    "green 2013": "VendorID,lpep_pickup_datetime,Lpep_dropoff_datetime,Store_and_fwd_flag,"
    "RateCodeID,Pickup_longitude,Pickup_latitude,Dropoff_longitude,Dropoff_latitude,"
    "Passenger_count,Trip_distance,Fare_amount,Extra,MTA_tax,Tip_amount,Tolls_amount,Ehail_fee,"
    "Total_amount,Payment_type,Trip_type ",
    "green 2026": "VendorID,lpep_pickup_datetime,lpep_dropoff_datetime,store_and_fwd_flag,"
    "RatecodeID,PULocationID,DOLocationID,passenger_count,trip_distance,fare_amount,extra,mta_tax,"
    "tip_amount,tolls_amount,ehail_fee,improvement_surcharge,total_amount,payment_type,trip_type,"
    "congestion_surcharge,cbd_congestion_fee,request_source",
    "fhv 2015": "Dispatching_base_num,Pickup_date,locationID",
    "fhv 2017": "Dispatching_base_num,Pickup_DateTime,DropOff_datetime,PUlocationID,DOlocationID",
    "fhv 2018": "Pickup_DateTime,DropOff_datetime,PUlocationID,DOlocationID,SR_Flag,"
    "Dispatching_base_number,Dispatching_base_num",
    "fhv 2026": "dispatching_base_num,pickup_datetime,dropOff_datetime,PUlocationID,DOlocationID,"
    "SR_Flag,Affiliated_base_number",
    "fhvhv 2019": "hvfhs_license_num,dispatching_base_num,pickup_datetime,dropoff_datetime,"
    "PULocationID,DOLocationID,SR_Flag",
    # the mirror's file of 2021-06
    "fhvhv 2021": "dispatching_base_num,pickup_datetime,dropOff_datetime,PUlocationID,"
    "DOlocationID,SR_Flag,Affiliated_base_number",
    "fhvhv 2026": "hvfhs_license_num,dispatching_base_num,originating_base_num,request_datetime,"
    "on_scene_datetime,pickup_datetime,dropoff_datetime,PULocationID,DOLocationID,trip_miles,"
    "trip_time,base_passenger_fare,tolls,bcf,sales_tax,congestion_surcharge,airport_fee,tips,"
    "driver_pay,shared_request_flag,shared_match_flag,access_a_ride_flag,wav_request_flag,"
    "wav_match_flag,cbd_congestion_fee",
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
