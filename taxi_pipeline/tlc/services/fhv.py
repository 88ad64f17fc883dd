"""For-hire vehicles: trips that a base dispatched, from January 2015 on."""

from dataclasses import replace

from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services.model import DATETIME, Column, Service
from taxi_pipeline.tlc.services.shared import (
    AFFILIATED_BASE,
    DISPATCHING_BASE,
    DROPOFF_LOCATION,
    PICKUP_LOCATION,
    SR_FLAG,
    trips_table,
)

FHV = Service(
    "fhv",
    trips_table(
        "fhv",
        "for-hire vehicles",
        (
            DISPATCHING_BASE,
            Column(
                "pickup_datetime",
                DATETIME,
                "When the trip began, in New York's wall-clock time.",
                ("Pickup_date",),
            ),
            Column(
                "dropoff_datetime",
                DATETIME,
                "When the trip ended, in New York's wall-clock time; published since 2017.",
                required=False,
            ),
            replace(PICKUP_LOCATION, published_as=("PULocationID", "locationID")),
            replace(DROPOFF_LOCATION, required=False),
            SR_FLAG,
            AFFILIATED_BASE,
        ),
        clustered_by=("pickup_location_id", "dispatching_base_num"),
    ),
    first_month=Month(2015, 1),
    total=None,
    distance=None,
)
