"""The declared columns: what a trip of each service is, in one table that all else derives from.

What is computed from the trips in turn, the marts, is declared here too, at the end.

To follow a new column of TLC, add one line here: reader, Arrow and Parquet schema, BigQuery
schema, PostgreSQL table, Dagster's column metadata, the data dictionary and the descriptions people
read all come from it. How a store spells a type is its module's; which rows are rejected is
`cleaning`'s.

Sources: TLC's data dictionaries of 2025 (meanings and codes) and the headers of the files published
from 2009 on (names over the years, and the words that stood for codes), all of them linked at
https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import pyarrow as pa

from taxi_pipeline.tlc.month import Month

INTEGER = pa.int32()
NUMBER = pa.float64()
TEXT = pa.string()
DATETIME = pa.timestamp("us")  # no zone: TLC publishes New York's wall-clock time
DATE = pa.date32()

UNKNOWN_WORDS = "unknown_words"

NUMBER_LIMIT = 1e15  # whole numbers below it are exact, and nothing that a taxi can do comes near
_DOLLARS_LIMIT = 1e7  # nobody has paid as much, and the sums of cents fit into 64 bits


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `published_as` lists the names that files gave it, compared without case and outer spaces; the
    canonical name always counts. A `required` column must be in every published file, unless the
    column that it is `required_unless` is there. `codes` gives the meaning of each code, `words`
    the code of each word that a file wrote instead, compared without case and outer spaces. A
    number is smaller than `limit`, whatever its sign.
    """

    name: str
    type: pa.DataType
    meaning: str
    published_as: tuple[str, ...] = ()
    unit: str = ""
    codes: Mapping[int | str, str] = field(default_factory=dict)
    words: Mapping[str, int | str] = field(default_factory=dict)
    required: bool = True
    required_unless: str = ""
    limit: float = NUMBER_LIMIT

    @property
    def description(self) -> str:
        """The column in full sentences: its meaning, its unit and its codes."""
        unit = f" Unit: {self.unit}." if self.unit else ""
        codes = "; ".join(f"{str(code).strip() or 'blank'} {of}" for code, of in self.codes.items())
        return f"{self.meaning}{unit}" + (f" Codes: {codes}." if codes else "")


@dataclass(frozen=True)
class Table:
    """A named list of columns, in the order in which every store keeps them.

    `partitioned_by` is the column by whose months the stores partition it, if they do.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    partitioned_by: str | None = None

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True)
class Service:
    """One of TLC's services: its name in file names, its trips, its first published month.

    `total` is the column whose sum the ledger compares between the stores, `distance` the one that
    says how far a trip went, in miles; fhv has neither.
    """

    name: str
    trips: Table
    first_month: Month
    total: str | None
    distance: str | None


_DOLLARS = "US dollars"
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
_STORED: dict[int | str, str] = {"Y": "yes", "N": "no"}
# SR_Flag and the codes of its shape: 1 or nothing
_SHARED: dict[int | str, str] = {1: "part of a chain of shared rides"}
_LICENSES: dict[int | str, str] = {
    "HV0002": "Juno",
    "HV0003": "Uber",
    "HV0004": "Via",
    "HV0005": "Lyft",
}
_YES_NO: dict[int | str, str] = {"Y": "yes", "N": "no", " ": "not said"}

_PICKUP_LOCATION = Column(
    "pickup_location_id",
    INTEGER,
    "Taxi zone of the pick-up (see taxi_zones).",
    ("PULocationID",),
)
_DROPOFF_LOCATION = Column(
    "dropoff_location_id",
    INTEGER,
    "Taxi zone of the drop-off (see taxi_zones).",
    ("DOLocationID",),
)


def _dollars(name: str, meaning: str, *published_as: str, required: bool = False) -> Column:
    return Column(
        name,
        NUMBER,
        meaning,
        published_as,
        unit=_DOLLARS,
        required=required,
        limit=_DOLLARS_LIMIT,
    )


def _degrees(name: str, meaning: str, *published_as: str) -> Column:
    return Column(name, NUMBER, meaning, published_as, unit=_DEGREES, required=False)


def _metered(prefix: str) -> tuple[Column, ...]:
    """Return the columns that all taxis with a meter have; `prefix` begins their times' names."""
    return (
        Column(
            "vendor_id",
            INTEGER,
            "The technology provider that sent the record. Null in records that reached TLC by "
            "another way.",
            ("VendorID", "vendor_name"),
            codes=_VENDORS,
            words=_VENDOR_WORDS,
        ),
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
        Column(
            "passenger_count", INTEGER, "Passengers in the vehicle, as the driver entered them."
        ),
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
            codes=_STORED,
            words={"0": "N", "1": "Y"},
        ),
        replace(_PICKUP_LOCATION, required_unless="pickup_longitude"),
        replace(_DROPOFF_LOCATION, required_unless="dropoff_longitude"),
        Column(
            "payment_type",
            INTEGER,
            "How the passenger paid.",
            codes=_PAYMENTS,
            words=_PAYMENT_WORDS,
        ),
        _dollars(
            "fare_amount",
            "Time-and-distance fare by the meter; negative: reversed.",
            "Fare_Amt",
            required=True,
        ),
        _dollars(
            "extra",
            "Miscellaneous extras and surcharges; to 2014 the surcharge for rush hour and night.",
            "surcharge",
            required=True,
        ),
        _dollars("mta_tax", "Tax triggered by the metered rate in use.", required=True),
        _dollars(
            "tip_amount",
            "Tip by credit card; cash tips are not recorded.",
            "Tip_Amt",
            required=True,
        ),
        _dollars("tolls_amount", "All tolls paid in the trip.", "Tolls_Amt", required=True),
        _dollars("improvement_surcharge", "Surcharge at the flag drop, levied since 2015."),
        _dollars(
            "total_amount",
            "Everything charged to the passenger but cash tips.",
            "Total_Amt",
            required=True,
        ),
        _dollars(
            "congestion_surcharge", "New York State's congestion surcharge, levied since 2019."
        ),
        _dollars("airport_fee", "Fee for pick-ups at LaGuardia and John F. Kennedy airports."),
        _dollars(
            "cbd_congestion_fee", "MTA's Congestion Relief Zone charge, levied since 2025-01-05."
        ),
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


def _trips(service: str, vehicles: str, columns: tuple[Column, ...]) -> Table:
    return Table(
        f"{service}_trips",
        f"Trips of New York's {vehicles}, one row each, as TLC published and this project cleaned "
        "them.",
        columns,
        partitioned_by="pickup_datetime",
    )


YELLOW = Service(
    "yellow",
    _trips("yellow", "yellow taxis", _metered("tpep")),
    first_month=Month(2009, 1),
    total="total_amount",
    distance="trip_distance",
)

GREEN = Service(
    "green",
    _trips(
        "green",
        "green (boro) taxis",
        (
            *_metered("lpep"),
            _dollars("ehail_fee", "Fee for a trip hailed by application; null in nearly all."),
            Column(
                "trip_type",
                INTEGER,
                "How the trip began.",
                codes={1: "street-hail", 2: "dispatch"},
            ),
        ),
    ),
    first_month=Month(2013, 8),
    total="total_amount",
    distance="trip_distance",
)

_DISPATCHING_BASE = Column(
    "dispatching_base_num",
    TEXT,
    "TLC's licence number of the base that dispatched the trip.",
    ("Dispatching_base_number",),
)
_SR_FLAG = Column(
    "sr_flag",
    INTEGER,
    "Set for a shared ride; Lyft (B02510, B02844) also sets it where no second passenger was "
    "found. Null otherwise.",
    codes=_SHARED,
    required=False,
)
_AFFILIATED_BASE = Column(
    "affiliated_base_num",
    TEXT,
    "TLC's licence number of the base that the vehicle is affiliated with.",
    ("Affiliated_base_number",),
    required=False,
)

FHV = Service(
    "fhv",
    _trips(
        "fhv",
        "for-hire vehicles",
        (
            _DISPATCHING_BASE,
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
            replace(_PICKUP_LOCATION, published_as=("PULocationID", "locationID")),
            replace(_DROPOFF_LOCATION, required=False),
            _SR_FLAG,
            _AFFILIATED_BASE,
        ),
    ),
    first_month=Month(2015, 1),
    total=None,
    distance=None,
)


def _flag(name: str, meaning: str) -> Column:
    return Column(name, TEXT, meaning, codes=_YES_NO, required=False)


FHVHV = Service(
    "fhvhv",
    _trips(
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
            _DISPATCHING_BASE,
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
            _PICKUP_LOCATION,
            _DROPOFF_LOCATION,
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
            _dollars("base_passenger_fare", "Fare before tolls, tips, taxes and fees."),
            _dollars("tolls", "All tolls paid in the trip."),
            _dollars("bcf", "Collected for the Black Car Fund."),
            _dollars("sales_tax", "Collected for New York State's sales tax."),
            _dollars(
                "congestion_surcharge", "Collected for New York State's congestion surcharge."
            ),
            _dollars(
                "airport_fee",
                "Fee for pick-ups and drop-offs at LaGuardia, Newark and John F. Kennedy airports.",
            ),
            _dollars("tips", "Tips by the passenger."),
            _dollars("driver_pay", "What the driver gets, without tolls and tips, net of fees."),
            _flag("shared_request_flag", "Whether the passenger agreed to share the ride."),
            _flag("shared_match_flag", "Whether the passenger shared the vehicle."),
            _flag("access_a_ride_flag", "Whether the trip was for MTA's Access-A-Ride."),
            _flag("wav_request_flag", "Whether a wheelchair-accessible vehicle was requested."),
            _flag("wav_match_flag", "Whether the vehicle was wheelchair-accessible."),
            _dollars(
                "cbd_congestion_fee",
                "MTA's Congestion Relief Zone charge, levied since 2025-01-05.",
            ),
            # in the files of the CSV era, some of which have fhv's header
            _SR_FLAG,
            _AFFILIATED_BASE,
        ),
    ),
    first_month=Month(2019, 2),
    total="base_passenger_fare",
    distance="trip_miles",
)

SERVICES = {service.name: service for service in (YELLOW, GREEN, FHV, FHVHV)}

# What a rejected row has beside the columns that were published.
REJECTED_COLUMNS = (
    Column("line", TEXT, "A CSV line that does not parse: all of it, or its first MiB."),
    Column("number", pa.int64(), "The row's number in the file, from 1; in a CSV the line's."),
    Column("rejected_because", TEXT, "The name of the first rule that rejects the row."),
    Column("problem", TEXT, "What did not parse."),
)

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

_computed = partial(Column, required=False)  # so it is in no published file

DAILY_TRIPS = Table(
    "daily_trips",
    "The services' trips a day, one row for each service and day with trips. It is computed in "
    "BigQuery from the tables of trips, and is there alone.",
    (
        _computed("service", TEXT, "The service: yellow, green, fhv or fhvhv."),
        _computed("day", DATE, "The day on which the trips began, by New York's wall clock."),
        _computed("trips", INTEGER, "How many trips began on the day."),
        _computed(
            "revenue",
            NUMBER,
            "What the day's trips cost, to the cent: of yellow and green everything charged to the "
            "passengers but cash tips, of fhvhv the base fares alone. Null where no trip has an "
            "amount, as in all of fhv, which publishes none.",
            unit=_DOLLARS,
        ),
        _computed(
            "median_distance",
            NUMBER,
            "The median of the distances of the day's trips, without those that have none. Null "
            "where no trip has a distance, as in all of fhv, which publishes none.",
            unit="miles",
        ),
    ),
    partitioned_by="day",
)
