"""The columns of TLC's Parquet, as published: names, order and types of every month.

They are declared a second time on purpose, apart from those in `services`: a mistake in one is
found by the other. Arrow's null type stands where TLC's writer met a column without a single value.
"""

import pyarrow as pa

from taxi_pipeline.local.generator.dated import Dated
from taxi_pipeline.tlc.month import Month

type Types = Dated[pa.DataType | None]  # None: not published
type Columns = dict[str, Types]

_FIRST = Month(2009, 1)
_RETYPED = Month(2023, 2)

_ID: Types = ((_FIRST, pa.int64()), (_RETYPED, pa.int32()))
_CODE: Types = ((_FIRST, pa.float64()), (_RETYPED, pa.int64()))
_WHOLE: Types = ((_FIRST, pa.int64()),)
_NUMBER: Types = ((_FIRST, pa.float64()),)
_TIME: Types = ((_FIRST, pa.timestamp("us")),)
_TEXT: Types = ((_FIRST, pa.string()), (_RETYPED, pa.large_string()))
_CBD: Types = ((_FIRST, None), (Month(2025, 1), pa.float64()))
_LATER: Columns = {
    "cbd_congestion_fee": _CBD,
    # No dictionary says what it holds, so it stays empty.
    "request_source": ((_FIRST, None), (Month(2026, 6), pa.large_string())),
}
_METER = dict.fromkeys(("fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount"), _NUMBER)

# In 2009 and 2010 times, vendors and payments are texts, as in the CSV of these years.
_YELLOW_2009: Columns = {
    "vendor_name": _TEXT,
    "Trip_Pickup_DateTime": _TEXT,
    "Trip_Dropoff_DateTime": _TEXT,
    "Passenger_Count": _WHOLE,
    "Trip_Distance": _NUMBER,
    "Start_Lon": _NUMBER,
    "Start_Lat": _NUMBER,
    "Rate_Code": _NUMBER,
    "store_and_forward": _NUMBER,
    "End_Lon": _NUMBER,
    "End_Lat": _NUMBER,
    "Payment_Type": _TEXT,
    "Fare_Amt": _NUMBER,
    "surcharge": _NUMBER,
    "mta_tax": _NUMBER,
    "Tip_Amt": _NUMBER,
    "Tolls_Amt": _NUMBER,
    "Total_Amt": _NUMBER,
}
_YELLOW_2010: Columns = {
    "vendor_id": _TEXT,
    "pickup_datetime": _TEXT,
    "dropoff_datetime": _TEXT,
    "passenger_count": _WHOLE,
    "trip_distance": _NUMBER,
    "pickup_longitude": _NUMBER,
    "pickup_latitude": _NUMBER,
    "rate_code": _WHOLE,
    "store_and_fwd_flag": _TEXT,
    "dropoff_longitude": _NUMBER,
    "dropoff_latitude": _NUMBER,
    "payment_type": _TEXT,
    "fare_amount": _NUMBER,
    "surcharge": _NUMBER,
    "mta_tax": _NUMBER,
    "tip_amount": _NUMBER,
    "tolls_amount": _NUMBER,
    "total_amount": _NUMBER,
    # the writer's row numbers, left in two months
    "__index_level_0__": ((_FIRST, None), (Month(2010, 2), pa.int64()), (Month(2010, 4), None)),
}
_YELLOW_2011: Columns = {
    "VendorID": _ID,
    "tpep_pickup_datetime": _TIME,
    "tpep_dropoff_datetime": _TIME,
    "passenger_count": _CODE,
    "trip_distance": _NUMBER,
    "RatecodeID": _CODE,
    "store_and_fwd_flag": _TEXT,
    "PULocationID": _ID,
    "DOLocationID": _ID,
    "payment_type": _WHOLE,
    **_METER,
    "improvement_surcharge": _NUMBER,
    "total_amount": _NUMBER,
    "congestion_surcharge": _NUMBER,
    "airport_fee": (
        *((_FIRST, pa.null()), (Month(2020, 8), pa.float64())),
        *((Month(2020, 10), pa.null()), (Month(2020, 11), pa.float64()), (_RETYPED, None)),
    ),
    "Airport_fee": ((_FIRST, None), (_RETYPED, pa.float64())),
    **_LATER,
}
YELLOW: Dated[Columns] = (
    (Month(2009, 1), _YELLOW_2009),
    (Month(2010, 1), _YELLOW_2010),
    (Month(2011, 1), _YELLOW_2011),
)

_GREEN: Columns = {
    "VendorID": _ID,
    "lpep_pickup_datetime": _TIME,
    "lpep_dropoff_datetime": _TIME,
    "store_and_fwd_flag": _TEXT,
    "RatecodeID": _CODE,
    "PULocationID": _ID,
    "DOLocationID": _ID,
    "passenger_count": _CODE,
    "trip_distance": _NUMBER,
    **_METER,
    "ehail_fee": ((_FIRST, pa.float64()), (Month(2019, 9), pa.null()), (_RETYPED, pa.float64())),
    "improvement_surcharge": _NUMBER,
    "total_amount": _NUMBER,
    "payment_type": _CODE,
    "trip_type": _CODE,
    "congestion_surcharge": _NUMBER,
    **_LATER,
}
GREEN: Dated[Columns] = ((Month(2014, 1), _GREEN),)

_FHV_PLACE: Types = (
    *((_FIRST, pa.float64()), (Month(2019, 5), pa.int64()), (Month(2019, 7), pa.float64())),
    (_RETYPED, pa.int64()),
)
_FHV: Columns = {
    "dispatching_base_num": _TEXT,
    "pickup_datetime": _TIME,
    "dropOff_datetime": _TIME,
    "PUlocationID": _FHV_PLACE,
    "DOlocationID": (
        *_FHV_PLACE[:-1],
        *((Month(2020, 7), pa.int64()), (Month(2020, 8), pa.float64()), (_RETYPED, pa.int64())),
    ),
    "SR_Flag": ((_FIRST, pa.float64()), (Month(2019, 3), pa.null()), (_RETYPED, pa.int64())),
    "Affiliated_base_number": _TEXT,
}
FHV: Dated[Columns] = ((Month(2015, 1), _FHV),)

_FHVHV: Columns = {
    "hvfhs_license_num": _TEXT,
    "dispatching_base_num": _TEXT,
    "originating_base_num": _TEXT,
    "request_datetime": _TIME,
    "on_scene_datetime": _TIME,
    "pickup_datetime": _TIME,
    "dropoff_datetime": _TIME,
    "PULocationID": _ID,
    "DOLocationID": _ID,
    "trip_miles": _NUMBER,
    "trip_time": _WHOLE,
    "base_passenger_fare": _NUMBER,
    "tolls": _NUMBER,
    "bcf": _NUMBER,
    "sales_tax": _NUMBER,
    "congestion_surcharge": _NUMBER,
    "airport_fee": (
        *((_FIRST, pa.null()), (Month(2019, 7), pa.float64())),
        *((Month(2020, 4), pa.null()), (Month(2020, 5), pa.float64())),
        *((Month(2020, 10), pa.null()), (Month(2020, 11), pa.float64())),
    ),
    "tips": _NUMBER,
    "driver_pay": _NUMBER,
    "shared_request_flag": _TEXT,
    "shared_match_flag": _TEXT,
    "access_a_ride_flag": _TEXT,
    "wav_request_flag": _TEXT,
    "wav_match_flag": ((_FIRST, pa.null()), (Month(2019, 4), pa.string()), _TEXT[-1]),
    "cbd_congestion_fee": _CBD,
}
FHVHV: Dated[Columns] = ((Month(2019, 2), _FHVHV),)

COMPRESSION: Dated[str] = ((_FIRST, "gzip"), (_RETYPED, "zstd"))
