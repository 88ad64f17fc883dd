"""High-volume for-hire services, such as Uber and Lyft, from February 2019 on."""

from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services.model import DATETIME, INTEGER, NUMBER, TEXT, Column, Service
from taxi_pipeline.tlc.services.shared import (
    AFFILIATED_BASE,
    DISPATCHING_BASE,
    DROPOFF_LOCATION,
    PICKUP_LOCATION,
    SR_FLAG,
    dollars,
    trips_table,
)

_LICENSES: dict[int | str, str] = {
    "HV0002": "Juno",
    "HV0003": "Uber",
    "HV0004": "Via",
    "HV0005": "Lyft",
}
_YES_NO: dict[int | str, str] = {"Y": "yes", "N": "no", " ": "not said"}


def _flag(name: str, meaning: str) -> Column:
    return Column(name, TEXT, meaning, codes=_YES_NO, required=False)


FHVHV = Service(
    "fhvhv",
    trips_table(
        "fhvhv",
        "high-volume for-hire services",
        (
            Column(
                "hvfhs_license_num",
                TEXT,
                "TLC's licence number of the high-volume service.",
                codes=_LICENSES,
                required=False,
            ),
            DISPATCHING_BASE,
            Column(
                "originating_base_num",
                TEXT,
                "TLC's licence number of the base that received the request.",
                required=False,
            ),
            Column(
                "request_datetime",
                DATETIME,
                "When the passenger requested the trip, in New York's wall-clock time.",
                required=False,
            ),
            Column(
                "on_scene_datetime",
                DATETIME,
                "When the driver reached the pick-up, in New York's wall-clock time; recorded for "
                "accessible vehicles only by some services.",
                required=False,
            ),
            Column(
                "pickup_datetime", DATETIME, "When the trip began, in New York's wall-clock time."
            ),
            Column(
                "dropoff_datetime", DATETIME, "When the trip ended, in New York's wall-clock time."
            ),
            PICKUP_LOCATION,
            DROPOFF_LOCATION,
            Column(
                "trip_miles",
                NUMBER,
                "Distance of the passenger's trip.",
                unit="miles",
                required=False,
            ),
            Column(
                "trip_time",
                INTEGER,
                "Time of the passenger's trip.",
                unit="seconds",
                required=False,
            ),
            dollars("base_passenger_fare", "Fare before tolls, tips, taxes and fees."),
            dollars("tolls", "All tolls paid in the trip."),
            dollars("bcf", "Collected for the Black Car Fund."),
            dollars("sales_tax", "Collected for New York State's sales tax."),
            dollars("congestion_surcharge", "Collected for New York State's congestion surcharge."),
            dollars(
                "airport_fee",
                "Fee for pick-ups and drop-offs at LaGuardia, Newark and John F. Kennedy airports.",
            ),
            dollars("tips", "Tips by the passenger."),
            dollars("driver_pay", "What the driver gets, without tolls and tips, net of fees."),
            _flag("shared_request_flag", "Whether the passenger agreed to share the ride."),
            _flag("shared_match_flag", "Whether the passenger shared the vehicle."),
            _flag("access_a_ride_flag", "Whether the trip was for MTA's Access-A-Ride."),
            _flag("wav_request_flag", "Whether a wheelchair-accessible vehicle was requested."),
            _flag("wav_match_flag", "Whether the vehicle was wheelchair-accessible."),
            dollars(
                "cbd_congestion_fee",
                "MTA's Congestion Relief Zone charge, levied since 2025-01-05.",
            ),
            # in the files of the CSV era, some of which have fhv's header
            SR_FLAG,
            AFFILIATED_BASE,
        ),
        clustered_by=("pickup_location_id", "dropoff_location_id", "hvfhs_license_num"),
    ),
    first_month=Month(2019, 2),
    total="base_passenger_fare",
    distance="trip_miles",
)
