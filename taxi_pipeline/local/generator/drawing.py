"""How trips are drawn, whoever drives: in chunks, hour by hour, with the defects of real records.

A month is drawn in chunks, each from its own seed, so it takes the same memory at any size and
comes out the same on every run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from taxi_pipeline.tlc.month import Month

CHUNK_ROWS = 100_000
EVERY_DEFECT_ROWS = 1_000  # from so many rows on a month has every defect, however rare

type Values = NDArray[Any]
type Trips = dict[str, Values | pa.Array]  # by name, as `drawn_as` gives it
type Weights = Mapping[Any, float]

_OLD_NAMES = {
    "vendor_name": "vendorid",
    "vendor_id": "vendorid",
    "trip_pickup_datetime": "pickup_datetime",
    "trip_dropoff_datetime": "dropoff_datetime",
    "start_lon": "pickup_longitude",
    "start_lat": "pickup_latitude",
    "end_lon": "dropoff_longitude",
    "end_lat": "dropoff_latitude",
    "rate_code": "ratecodeid",
    "store_and_forward": "store_and_fwd_flag",
    "fare_amt": "fare_amount",
    "surcharge": "extra",
    "tip_amt": "tip_amount",
    "tolls_amt": "tolls_amount",
    "total_amt": "total_amount",
    "pickup_date": "pickup_datetime",
    "locationid": "pulocationid",
    "dispatching_base_number": "dispatching_base_num",
}
_HOURLY = np.array(
    [25, 16, 12, 8, 6, 8, 20, 35, 47, 48, 48, 53, 58, 59, 64, 62, 58, 64, 67, 61, 52, 50, 45, 34]
)
_DAILY = np.array([15, 16, 15, 12, 13, 14, 15])  # from Thursday, as the days since 1970 count
_NO_ROWS = np.empty(0, int)


def drawn_as(published: str) -> str:
    """Return the name that a published column is drawn under: one over the years, in lower case."""
    name = published.casefold().removeprefix("tpep_").removeprefix("lpep_")
    return _OLD_NAMES.get(name, name)


@dataclass(frozen=True)
class Drawn:
    """Some rows of a month, in the order of its file.

    `words` holds the columns that the first years wrote in words, by the same names. The columns
    that rows leave empty differ by format.
    """

    rows: int
    trips: Trips
    words: Trips = field(default_factory=dict)
    empty_in_csv: frozenset[str] = frozenset()
    empty_in_parquet: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Chunk:
    """Rows `start` to `stop` of a month's ordinary trips, or of its null block, `total` in all."""

    month: Month
    ordinary: bool
    start: int
    stop: int
    total: int
    month_rows: int
    rng: np.random.Generator

    @property
    def rows(self) -> int:
        """How many rows there are to draw."""
        return self.stop - self.start

    def happens(self, share: float) -> Values:
        """Draw for each row whether it is among that share."""
        return self.rng.random(self.rows) < share

    def pick(self, weights: Weights) -> Values:
        """Draw one of the keys for each row."""
        share = np.array(list(weights.values()))
        return self.rng.choice(list(weights), self.rows, p=share / share.sum())

    def pickups(self, precision: int) -> Values:
        """Draw when the trips begin: hour by hour, to so many seconds."""
        first_hour, end = (np.datetime64(at, "h") for at in (self.month.start, self.month.end))
        hours = np.arange(first_hour, end).astype(int)
        rhythm = np.cumsum(_HOURLY[hours % 24] * _DAILY[hours // 24 % 7])
        position = (np.arange(self.start, self.stop) + 0.5) / self.total
        hour = np.searchsorted(rhythm, position * rhythm[-1])
        second = precision * self.rng.integers(3600 // precision, size=self.rows)
        times: Values = (first_hour + hour).astype("datetime64[s]") + second
        return times

    def places(self, shares: Mapping[str, float]) -> dict[str, Values]:
        """Draw the rows of each defect: over all chunks exactly its share, no row for two.

        All are even, so that each has an ordinary trip after it, for a defect that copies one.
        """
        least = int(self.month_rows >= EVERY_DEFECT_ROWS)
        free = 2 * self.rng.permutation(self.rows // 2)
        places = {}
        for defect, share in shares.items():
            wanted = max(round(self.month_rows * share), least)
            before, after = (
                (2 * row * wanted + self.total) // (2 * self.total)
                for row in (self.start, self.stop)
            )
            places[defect], free = np.split(free, [after - before])
        return places

    def misdate(self, at: Mapping[str, Values], pickup: Values, dropoff: Values) -> None:
        """Put the defects that are in the times where they have their places."""
        rng, took = self.rng, dropoff - pickup
        near, far, long, backwards = (
            at.get(defect, _NO_ROWS)
            for defect in ("near the month", "years away", "takes a day", "backwards")
        )
        pickup[near] = np.datetime64(self.month.start, "s") - rng.integers(1, 200_000, near.size)
        pickup[far] = np.datetime64("2008-12-31T23", "s") + rng.integers(7_200, size=far.size)
        took[long] = 86_400 - rng.integers(1, 3_600, long.size)
        took[backwards] = -rng.integers(1, 60, backwards.size)
        np.add(pickup, took, out=dropoff)


def chunks(seed: int, month: Month, rows: int, null_block: float = 0.0) -> Iterator[Chunk]:
    """Cut a month into chunks, in the order of the file; the null block's share comes last."""
    in_null_block = round(rows * null_block)
    for ordinary, total in ((True, rows - in_null_block), (False, in_null_block)):
        for start in range(0, total, CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, total)
            entropy = (seed, month.year, month.month, int(ordinary), start)
            rng = np.random.default_rng(np.random.SeedSequence(entropy))
            yield Chunk(month, ordinary, start, stop, total, rows, rng)
