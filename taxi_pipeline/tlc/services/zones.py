"""The taxi zones, which the location ids of trips mean."""

from taxi_pipeline.tlc.services.model import INTEGER, TEXT, Column, Table

TAXI_ZONES = Table(
    "taxi_zones",
    "TLC's taxi zones: what the location ids of a trip mean.",
    (
        Column("location_id", INTEGER, "The zone's id; 264 and 265 are no place.", ("LocationID",)),
        Column("borough", TEXT, "The borough, EWR for Newark airport, or 'Unknown' or 'N/A'."),
        Column("zone", TEXT, "The zone's name; a few names repeat."),
        Column("service_zone", TEXT, "Boro Zone, Yellow Zone, Airports, EWR or 'N/A'."),
    ),
)
