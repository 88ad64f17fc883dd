"""The declared columns: what a trip of each service is, in one table that all else derives from.

To follow a new column of TLC, add one line here: reader, Arrow and Parquet schema, BigQuery
schema, PostgreSQL table, Dagster's column metadata and the descriptions people read all come from
it. How a type is spelled in each system is `schema`'s; how rows are judged is `cleaning`'s.

Sources: TLC's data dictionaries of 2025 (meanings and codes) and the headers of the published
files (names over the years).
"""

from dataclasses import dataclass

import pyarrow as pa

from taxi_pipeline.tlc.month import Month

INTEGER = pa.int32()
NUMBER = pa.float64()
TEXT = pa.string()
DATETIME = pa.timestamp("us")  # no zone: TLC publishes New York's wall-clock time


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `published_as` lists the names that files gave it, compared without case and outer spaces; the
    canonical name always counts. A `required` column must be in every published file.
    """

    name: str
    type: pa.DataType
    description: str
    published_as: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True)
class Table:
    """A named list of columns, in the order in which every store keeps them."""

    name: str
    description: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Service:
    """One of TLC's services: its name in file names, its trips, its first published month."""

    name: str
    trips: Table
    first_month: Month


def _metered(prefix: str) -> tuple[Column, ...]:
    """Return the columns that all taxis with a meter have; `prefix` begins their times' names."""
    return (
        Column(
            "vendor_id",
            INTEGER,
            "The technology provider that sent the record: 1 Creative Mobile Technologies, 2 Curb, "
            "6 Myle, 7 Helix. Null in records that reached TLC by another way.",
            ("VendorID",),
        ),
        Column(
            "pickup_datetime",
            DATETIME,
            "When the meter was engaged, in New York's wall-clock time.",
            (f"{prefix}_pickup_datetime",),
        ),
        Column(
            "dropoff_datetime",
            DATETIME,
            "When the meter was disengaged, in New York's wall-clock time.",
            (f"{prefix}_dropoff_datetime",),
        ),
        Column(
            "passenger_count", INTEGER, "Passengers in the vehicle, as the driver entered them."
        ),
        Column("trip_distance", NUMBER, "Distance by the taximeter, in miles."),
        Column(
            "ratecode_id",
            INTEGER,
            "The final rate: 1 standard, 2 JFK, 3 Newark, 4 Nassau or Westchester, 5 negotiated, "
            "6 group ride, 99 unknown.",
            ("RatecodeID",),
        ),
        Column(
            "store_and_fwd_flag",
            TEXT,
            "Y where the record waited in the vehicle's memory for a connection, else N.",
        ),
        Column(
            "pickup_location_id",
            INTEGER,
            "Taxi zone of the pick-up (see taxi_zones).",
            ("PULocationID",),
        ),
        Column(
            "dropoff_location_id",
            INTEGER,
            "Taxi zone of the drop-off (see taxi_zones).",
            ("DOLocationID",),
        ),
        Column(
            "payment_type",
            INTEGER,
            "How the passenger paid: 0 Flex Fare, 1 credit card, 2 cash, 3 no charge, 4 dispute, "
            "5 unknown, 6 voided.",
        ),
        Column(
            "fare_amount",
            NUMBER,
            "Time-and-distance fare by the meter, in US dollars; negative: reversed.",
        ),
        Column("extra", NUMBER, "Miscellaneous extras and surcharges, in US dollars."),
        Column("mta_tax", NUMBER, "Tax triggered by the metered rate in use, in US dollars."),
        Column(
            "tip_amount", NUMBER, "Tip by credit card, in US dollars; cash tips are not recorded."
        ),
        Column("tolls_amount", NUMBER, "All tolls paid in the trip, in US dollars."),
        Column(
            "improvement_surcharge",
            NUMBER,
            "Surcharge at the flag drop, levied since 2015, in US dollars.",
            required=False,
        ),
        Column(
            "total_amount",
            NUMBER,
            "Everything charged to the passenger but cash tips, in US dollars.",
        ),
        Column(
            "congestion_surcharge",
            NUMBER,
            "New York State's congestion surcharge, levied since 2019, in US dollars.",
            required=False,
        ),
        Column(
            "airport_fee",
            NUMBER,
            "Fee for pick-ups at LaGuardia and John F. Kennedy airports, in US dollars.",
            required=False,
        ),
        Column(
            "cbd_congestion_fee",
            NUMBER,
            "MTA's Congestion Relief Zone charge, levied since 2025-01-05, in US dollars.",
            required=False,
        ),
    )


YELLOW = Service(
    "yellow",
    Table(
        "yellow_trips",
        "Trips of New York's yellow taxis, one row each, as TLC published and this project "
        "cleaned them.",
        _metered("tpep"),
    ),
    first_month=Month(2009, 1),
)

GREEN = Service(
    "green",
    Table(
        "green_trips",
        "Trips of New York's green (boro) taxis, one row each, as TLC published and this project "
        "cleaned them.",
        (
            *_metered("lpep"),
            Column(
                "ehail_fee",
                NUMBER,
                "Fee for a trip hailed by application, in US dollars; null in nearly all records.",
                required=False,
            ),
            Column("trip_type", INTEGER, "How the trip began: 1 street-hail, 2 dispatch."),
        ),
    ),
    first_month=Month(2013, 8),
)

SERVICES = {service.name: service for service in (YELLOW, GREEN)}

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
