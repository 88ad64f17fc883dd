"""Green taxis: the boro cabs, from August 2013 on."""

from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services.metered import METERED_CLUSTERING, metered_columns
from taxi_pipeline.tlc.services.model import INTEGER, Column, Service
from taxi_pipeline.tlc.services.shared import dollars, trips_table

GREEN = Service(
    "green",
    trips_table(
        "green",
        "green (boro) taxis",
        (
            *metered_columns("lpep"),
            dollars("ehail_fee", "Fee for a trip hailed by application; null in nearly all."),
            Column(
                "trip_type",
                INTEGER,
                "How the trip began.",
                codes={1: "street-hail", 2: "dispatch"},
            ),
        ),
        clustered_by=METERED_CLUSTERING,
    ),
    first_month=Month(2013, 8),
    total="total_amount",
    distance="trip_distance",
)
