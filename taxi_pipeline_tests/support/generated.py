"""Generated months as pandas has them, and the defects that are to be in them."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from taxi_pipeline.local.generator import write_parquet
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service


def spelled(schema: pa.Schema) -> str:
    """Return a schema's fields with their types, in one line."""
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def frame(service: Service, month: Month, rows: int, folder: Path) -> pd.DataFrame:
    """Return a month's Parquet as pandas has it, its two time columns named alike everywhere."""
    write_parquet(service, month, rows, folder / "month.parquet")
    trips: pd.DataFrame = pd.read_parquet(folder / "month.parquet")
    return trips.rename(
        columns=lambda name: re.sub("^[tl]pep_", "", name).replace("dropOff", "dropoff")
    )


def is_outside(trips: pd.DataFrame) -> "pd.Series[bool]":
    """Return which trips do not begin in the month of most."""
    month = str(trips.pickup_datetime.median())[:7]
    start, end = Month.parse(month).start, Month.parse(month).end
    return ~trips.pickup_datetime.between(start, end, inclusive="left")


def is_reversal(trips: pd.DataFrame) -> "pd.Series[bool]":
    """Return of which trips the next row is the same trip with the amounts turned round."""
    following = trips.shift(-1)
    key = ["VendorID", "pickup_datetime", "dropoff_datetime", "PULocationID", "DOLocationID"]
    amounts = ["fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount", "total_amount"]
    return (
        (trips.fare_amount < 0)
        & (trips[key] == following[key]).all(axis=1)
        & (trips[amounts] == -following[amounts]).all(axis=1)
    )


DEFECTS: dict[str, Callable[[pd.DataFrame], "pd.Series[bool]"]] = {
    "outside the month": is_outside,
    "years away": lambda trips: trips.pickup_datetime.dt.year.isin([2008, 2009]),
    "backwards": lambda trips: trips.dropoff_datetime < trips.pickup_datetime,
    "takes a day": lambda trips: (
        (trips.dropoff_datetime - trips.pickup_datetime).dt.total_seconds() > 22 * 3_600
    ),
    "negative": lambda trips: trips.fare_amount < 0,
    "reversal": is_reversal,
    "no distance": lambda trips: trips.trip_distance == 0,
    "absurd distance": lambda trips: trips.trip_distance > 900,
    "null block": lambda trips: trips.passenger_count.isna(),
    "no passengers": lambda trips: trips.passenger_count == 0,
    "twice": lambda trips: trips.duplicated(),
    "unknown vendor": lambda trips: trips.VendorID == 5,
    "unknown rate": lambda trips: trips.RatecodeID == 99,
}
FOR_HIRE_DEFECTS = {
    name: DEFECTS[name] for name in ("outside the month", "backwards", "takes a day", "twice")
}
DEFECTS_OF = {
    "yellow": DEFECTS,
    "green": DEFECTS,
    "fhv": FOR_HIRE_DEFECTS,
    "fhvhv": {
        **FOR_HIRE_DEFECTS,
        "no distance": lambda trips: trips.trip_miles == 0,
        "negative": lambda trips: trips.base_passenger_fare < 0,
    },
}
