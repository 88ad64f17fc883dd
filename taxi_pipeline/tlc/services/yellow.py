"""Yellow taxis: the medallion cabs, from January 2009 on."""

from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services.metered import METERED_CLUSTERING, metered_columns
from taxi_pipeline.tlc.services.model import Service
from taxi_pipeline.tlc.services.shared import trips_table

YELLOW = Service(
    "yellow",
    trips_table("yellow", "yellow taxis", metered_columns("tpep"), clustered_by=METERED_CLUSTERING),
    first_month=Month(2009, 1),
    total="total_amount",
    distance="trip_distance",
)
