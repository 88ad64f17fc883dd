"""The taxi zones, which the location ids of trips mean, and their shapes on the map."""

from taxi_pipeline.tlc.services.model import INTEGER, NUMBER, TEXT, Column, Table

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

# The limits are those of a sum in `column_tallies`: TLC writes eleven decimals, and more digits.
TAXI_ZONE_SHAPES = Table(
    "taxi_zone_shapes",
    "The shapes of TLC's taxi zones, a row for each that TLC has drawn.",
    (
        Column("object_id", INTEGER, "The shape's number, from 1.", ("OBJECTID",)),
        Column(
            "location_id",
            INTEGER,
            "The zone's id. TLC has drawn 56 twice and 103 thrice; 57, 104 and 105, which are of "
            "the same names, and 264 and 265 have no shape.",
            ("LocationID",),
        ),
        Column("borough", TEXT, "The borough, or EWR for Newark airport."),
        Column("zone", TEXT, "The zone's name."),
        Column(
            "shape_length",
            NUMBER,
            "The zone's boundary by TLC, with that on the water, which the shape leaves out.",
            ("Shape_Leng",),
            unit="degrees",
            required=False,
            limit=10,
            parts=10_000_000_000,
        ),
        Column(
            "shape_area",
            NUMBER,
            "The zone's area by TLC, with its water, which the shape leaves out.",
            unit="square degrees",
            required=False,
            limit=1,
            parts=100_000_000_000,
        ),
        Column(
            "wkt",
            TEXT,
            "The shape as WKT, a POLYGON or MULTIPOLYGON in degrees of WGS 84, the longitude "
            "first. BigQuery's view taxi_zone_shapes_geography has it as a GEOGRAPHY.",
            ("geometry",),
            is_geometry=True,
        ),
    ),
)
