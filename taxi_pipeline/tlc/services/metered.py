"""The columns that all taxis with a meter have, yellow and green ones."""

from dataclasses import replace

from taxi_pipeline.tlc.services.model import DATETIME, INTEGER, NUMBER, TEXT, UNKNOWN_WORDS, Column
from taxi_pipeline.tlc.services.shared import DROPOFF_LOCATION, PICKUP_LOCATION, STORED, dollars

METERED_CLUSTERING = ("pickup_location_id", "dropoff_location_id", "payment_type")

_DEGREES = "degrees (WGS 84)"
_VENDORS: dict[int | str, str] = {
    1: "Creative Mobile Technologies",
    2: "Curb, formerly VeriFone",
    3: "Digital Dispatch Systems, which files name to 2010 (TLC gave no number, this is ours)",
    6: "Myle",
    7: "Helix",
}
_VENDOR_WORDS = {"CMT": 1, "VTS": 2, "DDS": 3}
_RATES: dict[int | str, str] = {
    1: "standard",
    2: "JFK",
    3: "Newark",
    4: "Nassau or Westchester",
    5: "negotiated",
    6: "group ride",
    99: "unknown",
}
_PAYMENTS: dict[int | str, str] = {
    0: "Flex Fare",
    1: "credit card",
    2: "cash",
    3: "no charge",
    4: "dispute",
    5: "unknown",
    6: "voided",
}
_PAYMENT_WORDS = {
    **dict.fromkeys(("Credit", "CRE", "CRD"), 1),
    **dict.fromkeys(("Cash", "CAS", "CSH"), 2),
    **dict.fromkeys(("No Charge", "No", "NOC"), 3),
    **dict.fromkeys(("Dispute", "DIS"), 4),
    "UNK": 5,
}


def _degrees(name: str, meaning: str, *published_as: str) -> Column:
    return Column(
        name, NUMBER, meaning, published_as, unit=_DEGREES, required=False, parts=1_000_000
    )


_VENDOR_ID = Column(
    "vendor_id",
    INTEGER,
    "The technology provider that sent the record. Null in records that reached TLC by "
    "another way.",
    ("VendorID", "vendor_name"),
    codes=_VENDORS,
    words=_VENDOR_WORDS,
)
_REST = (
    Column("passenger_count", INTEGER, "Passengers in the vehicle, as the driver entered them."),
    Column("trip_distance", NUMBER, "Distance by the taximeter.", unit="miles"),
    Column(
        "ratecode_id",
        INTEGER,
        "The rate in use at the end of the trip.",
        ("RatecodeID", "Rate_Code"),
        codes=_RATES,
    ),
    Column(
        "store_and_fwd_flag",
        TEXT,
        "Whether the record waited in the vehicle's memory for a connection.",
        ("store_and_forward",),
        codes=STORED,
        words={"0": "N", "1": "Y"},
    ),
    replace(PICKUP_LOCATION, required_unless="pickup_longitude"),
    replace(DROPOFF_LOCATION, required_unless="dropoff_longitude"),
    Column(
        "payment_type",
        INTEGER,
        "How the passenger paid.",
        codes=_PAYMENTS,
        words=_PAYMENT_WORDS,
    ),
    dollars(
        "fare_amount",
        "Time-and-distance fare by the meter; negative: reversed.",
        "Fare_Amt",
        required=True,
    ),
    dollars(
        "extra",
        "Miscellaneous extras and surcharges; to 2014 the surcharge for rush hour and night.",
        "surcharge",
        required=True,
    ),
    dollars("mta_tax", "Tax triggered by the metered rate in use.", required=True),
    dollars(
        "tip_amount",
        "Tip by credit card; cash tips are not recorded.",
        "Tip_Amt",
        required=True,
    ),
    dollars("tolls_amount", "All tolls paid in the trip.", "Tolls_Amt", required=True),
    dollars("improvement_surcharge", "Surcharge at the flag drop, levied since 2015."),
    dollars(
        "total_amount",
        "Everything charged to the passenger but cash tips.",
        "Total_Amt",
        required=True,
    ),
    dollars("congestion_surcharge", "New York State's congestion surcharge, levied since 2019."),
    dollars("airport_fee", "Fee for pick-ups at LaGuardia and John F. Kennedy airports."),
    dollars("cbd_congestion_fee", "MTA's Congestion Relief Zone charge, levied since 2025-01-05."),
    Column(
        "request_source",
        TEXT,
        "How the trip was requested; published since 2026-06, no dictionary explains it yet.",
        required=False,
    ),
    _degrees("pickup_longitude", "Where the meter was engaged; to 2016-06.", "Start_Lon"),
    _degrees("pickup_latitude", "Where the meter was engaged; to 2016-06.", "Start_Lat"),
    _degrees("dropoff_longitude", "Where the meter was disengaged; to 2016-06.", "End_Lon"),
    _degrees("dropoff_latitude", "Where the meter was disengaged; to 2016-06.", "End_Lat"),
    Column(
        UNKNOWN_WORDS,
        TEXT,
        "Words that stood for a code but are not declared, as 'payment_type=word; …': the code "
        "is null there. Null in nearly all records.",
        required=False,
    ),
)


def metered_columns(prefix: str) -> tuple[Column, ...]:
    """Return the columns that all taxis with a meter have.

    Args:
        prefix: What the published names of pick-up and drop-off time begin with: `tpep` for yellow
            taxis, `lpep` for green ones.
    """
    return (
        _VENDOR_ID,
        Column(
            "pickup_datetime",
            DATETIME,
            "When the meter was engaged, in New York's wall-clock time.",
            (f"{prefix}_pickup_datetime", "Trip_Pickup_DateTime"),
        ),
        Column(
            "dropoff_datetime",
            DATETIME,
            "When the meter was disengaged, in New York's wall-clock time.",
            (f"{prefix}_dropoff_datetime", "Trip_Dropoff_DateTime"),
        ),
        *_REST,
    )
