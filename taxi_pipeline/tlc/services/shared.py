"""Columns that services have in common, and how columns and tables of a kind are declared."""

from taxi_pipeline.tlc.services.model import INTEGER, NUMBER, TEXT, Column, Table

DOLLARS = "US dollars"
DOLLARS_LIMIT = 1e7  # nobody has paid as much, and the sums of cents fit into 64 bits

STORED: dict[int | str, str] = {"Y": "yes", "N": "no"}
# SR_Flag and the codes of its shape: 1 or nothing
_SHARED: dict[int | str, str] = {1: "part of a chain of shared rides"}

PICKUP_LOCATION = Column(
    "pickup_location_id",
    INTEGER,
    "Taxi zone of the pick-up (see taxi_zones).",
    ("PULocationID",),
)
DROPOFF_LOCATION = Column(
    "dropoff_location_id",
    INTEGER,
    "Taxi zone of the drop-off (see taxi_zones).",
    ("DOLocationID",),
)


DISPATCHING_BASE = Column(
    "dispatching_base_num",
    TEXT,
    "TLC's licence number of the base that dispatched the trip.",
    ("Dispatching_base_number",),
)
SR_FLAG = Column(
    "sr_flag",
    INTEGER,
    "Set for a shared ride; Lyft (B02510, B02844) also sets it where no second passenger was "
    "found. Null otherwise.",
    codes=_SHARED,
    required=False,
)
AFFILIATED_BASE = Column(
    "affiliated_base_num",
    TEXT,
    "TLC's licence number of the base that the vehicle is affiliated with.",
    ("Affiliated_base_number",),
    required=False,
)


def trips_table(
    service: str, vehicles: str, columns: tuple[Column, ...], clustered_by: tuple[str, ...]
) -> Table:
    """Return the table of a service's trips, which the stores partition by the pick-up's month.

    Args:
        service: The service's name, which the table's begins with.
        vehicles: The vehicles in words, for the table's description.
        columns: The columns; `pickup_datetime` is one of them.
        clustered_by: The columns that people ask for most.
    """
    return Table(
        f"{service}_trips",
        f"Trips of New York's {vehicles}, one row each, as TLC published and this project cleaned "
        "them.",
        columns,
        partitioned_by="pickup_datetime",
        clustered_by=clustered_by,
    )


def dollars(name: str, meaning: str, *published_as: str, required: bool = False) -> Column:
    """Return a column of amounts in US dollars, each below `DOLLARS_LIMIT`.

    Args:
        name: The canonical name.
        meaning: What an amount is for, in a sentence.
        published_as: Other names that files gave the column.
        required: Whether every published file must have it.
    """
    return Column(
        name,
        NUMBER,
        meaning,
        published_as,
        unit=DOLLARS,
        required=required,
        limit=DOLLARS_LIMIT,
    )
