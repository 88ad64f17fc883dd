"""Made-up months that look as TLC published them, for a laptop that cannot reach TLC.

What belongs here is the publisher's side: the columns, types and cell formats of the published
files from 2019-01 on, and how trips and their defects are spread. The columns are declared a
second time on purpose, apart from those in `services`: a mistake in one is found by the other.

A month is drawn in chunks, each from its own seed, so it takes the same memory at any size and
comes out the same on every run. As in the real files, the metered trips come first, hour by hour,
and after them the null block: records that reached TLC by another way, with many columns null.
"""

import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service

CHUNK_ROWS = 100_000
EVERY_DEFECT_ROWS = 1_000  # from so many rows on a month has every defect, however rare

type Values = NDArray[Any]
type Trips = dict[str, Values]  # by published column
type Weights = Mapping[Any, float]
type Dated[T] = tuple[tuple[Month, T], ...]  # what changed: each value holds from its month on
type Types = Dated[pa.DataType | None]  # None: not published

_FIRST = Month(2019, 1)
_RETYPED = Month(2023, 2)


def _in_force[T](dated: Dated[T], month: Month) -> T:
    return [value for since, value in dated if since <= month][-1]


# ---- The columns as published --------------------------------------------------------------------

_ID: Types = ((_FIRST, pa.int64()), (_RETYPED, pa.int32()))
_CODE: Types = ((_FIRST, pa.float64()), (_RETYPED, pa.int64()))
_WHOLE: Types = ((_FIRST, pa.int64()),)
_NUMBER: Types = ((_FIRST, pa.float64()),)
_TIME: Types = ((_FIRST, pa.timestamp("us")),)
_TEXT: Types = ((_FIRST, pa.string()), (_RETYPED, pa.large_string()))
# Arrow's null type stands where TLC's writer met a column without a single value.
_EHAIL: Types = ((_FIRST, pa.float64()), (Month(2019, 9), pa.null()), (_RETYPED, pa.float64()))
_AIRPORT: Types = (
    *((_FIRST, pa.null()), (Month(2020, 8), pa.float64())),
    *((Month(2020, 10), pa.null()), (Month(2020, 11), pa.float64()), (_RETYPED, None)),
)
_METER = dict.fromkeys(("fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount"), _NUMBER)
_LATER: dict[str, Types] = {
    "cbd_congestion_fee": ((_FIRST, None), (Month(2025, 1), pa.float64())),
    # No dictionary says what it holds, so it stays empty.
    "request_source": ((_FIRST, None), (Month(2026, 6), pa.large_string())),
}
_YELLOW_COLUMNS: dict[str, Types] = {
    "VendorID": _ID,
    "tpep_pickup_datetime": _TIME,
    "tpep_dropoff_datetime": _TIME,
    "passenger_count": _CODE,
    "trip_distance": _NUMBER,
    "RatecodeID": _CODE,
    "store_and_fwd_flag": _TEXT,
    "PULocationID": _ID,
    "DOLocationID": _ID,
    "payment_type": _WHOLE,
    **_METER,
    "improvement_surcharge": _NUMBER,
    "total_amount": _NUMBER,
    "congestion_surcharge": _NUMBER,
    "airport_fee": _AIRPORT,
    "Airport_fee": ((_FIRST, None), (_RETYPED, pa.float64())),
    **_LATER,
}
_GREEN_COLUMNS: dict[str, Types] = {
    "VendorID": _ID,
    "lpep_pickup_datetime": _TIME,
    "lpep_dropoff_datetime": _TIME,
    "store_and_fwd_flag": _TEXT,
    "RatecodeID": _CODE,
    "PULocationID": _ID,
    "DOLocationID": _ID,
    "passenger_count": _CODE,
    "trip_distance": _NUMBER,
    **_METER,
    "ehail_fee": _EHAIL,
    "improvement_surcharge": _NUMBER,
    "total_amount": _NUMBER,
    "payment_type": _CODE,
    "trip_type": _CODE,
    "congestion_surcharge": _NUMBER,
    **_LATER,
}
_NOT_IN_CSV = {"airport_fee", "Airport_fee", "cbd_congestion_fee", "request_source"}
_COMPRESSION: Dated[str] = ((_FIRST, "gzip"), (_RETYPED, "zstd"))

# ---- What is charged, and how trips are spread ---------------------------------------------------


@dataclass(frozen=True)
class _Tariff:
    """What every meter charges, in US dollars."""

    base: float
    unit: float
    rush: float
    night: float
    improvement: float
    to_jfk: float


_TARIFF: Dated[_Tariff] = (
    (_FIRST, _Tariff(base=2.5, unit=0.5, rush=1.0, night=0.5, improvement=0.3, to_jfk=52.0)),
    (Month(2023, 1), _Tariff(base=3.0, unit=0.7, rush=2.5, night=1, improvement=1, to_jfk=70)),
)
_TOLL: Dated[float] = (
    *((_FIRST, 5.76), (Month(2019, 4), 6.12)),
    *((Month(2021, 5), 6.55), (Month(2023, 8), 6.94)),
)
_AIRPORT_FEE: Dated[float] = ((_FIRST, np.nan), (Month(2021, 4), 1.25), (Month(2023, 4), 1.75))
# The congestion surcharge was first not recorded, then zero for some days, then levied.
_CONGESTION_RECORDED = np.datetime64("2019-01-21")
_CONGESTION_LEVIED = np.datetime64("2019-02-01")
_CBD_LEVIED = np.datetime64("2025-01-05")
_TIP_RATES = np.repeat((0.2, 0.25, 0.15, 0.3, 0.1, 0.0), (12, 3, 2, 1, 1, 1))
_CARD, _FLEX_FARE = 1, 0

_JFK, _LAGUARDIA, _LAST_ZONE = 132, 138, 265
_BUSIEST_YELLOW = (
    *(237, 236, 161, 186, 162, 48, 142, 170, 239, 141, 234, 230, _JFK, 238, 140, 263, 163),
    *(79, 107, 68, _LAGUARDIA, 229, 164, 100, 137, 249, 90, 43, 262, 233, 113, 231, 246),
)
_BUSIEST_GREEN = (
    *(74, 75, 41, 166, 95, 82, 43, 42, 97, 244, 65, 7, 130, 129, 260, 66, 33, 116, 134),
    *(25, 92, 223, 83, 181, 152, 196, 24, 93, 193, 236),
)
_HOURLY = np.array(
    [25, 16, 12, 8, 6, 8, 20, 35, 47, 48, 48, 53, 58, 59, 64, 62, 58, 64, 67, 61, 52, 50, 45, 34]
)
_DAILY = np.array([15, 16, 15, 12, 13, 14, 15])  # from Thursday, as the days since 1970 count


def _zones(busiest: tuple[int, ...], spread: float) -> Weights:
    """Weigh all zones, the busiest first; the larger the spread, the more of them share."""
    ranked = dict.fromkeys((*busiest, *range(1, _LAST_ZONE + 1)))
    return {zone: float(np.exp(-rank / spread)) for rank, zone in enumerate(ranked)}


@dataclass(frozen=True)
class _Profile:
    """What sets a service apart.

    `times` begins the names of its time columns; `codes` weighs the codes of every column that is
    drawn on its own. `congested`, `null_block` and `defects` are shares of all rows; the columns
    that the null block leaves empty differ by format.
    """

    seed: int
    times: str
    columns: dict[str, Types]
    codes: Mapping[str, Weights]
    congestion: float
    congested: float
    fee_airports: tuple[int, ...]
    null_block: Dated[float]
    null_in_csv: frozenset[str]
    null_in_parquet: frozenset[str]
    defects: Mapping[str, float]


_RARE_DEFECTS = {
    "takes a day": 0.0025,
    "near the month": 0.00017,
    "years away": 0.00003,
    "negative alone": 0.00005,
    "twice": 0.00002,
    "unknown rate": 0.0001,
    "unknown vendor": 0.00002,
}
_NULL_BLOCK_DEFECTS = {"absurd distance": 0.0001}  # nearly all of them are there
_UNKNOWN = frozenset({"passenger_count", "RatecodeID", "store_and_fwd_flag"})
_PROFILES = {
    "yellow": _Profile(
        seed=1,
        times="tpep",
        columns=_YELLOW_COLUMNS,
        codes={
            "VendorID": {1: 0.34, 2: 0.66},
            "passenger_count": {1: 0.74, 2: 0.145, 3: 0.04, 4: 0.02, 5: 0.035, 6: 0.02},
            "RatecodeID": {1: 0.97, 2: 0.018, 3: 0.002, 4: 0.001, 5: 0.0089, 6: 0.0001},
            "store_and_fwd_flag": {"N": 0.991, "Y": 0.009},
            "PULocationID": _zones(_BUSIEST_YELLOW, 25),
            "DOLocationID": _zones(_BUSIEST_YELLOW, 30),
            "payment_type": {_CARD: 0.72, 2: 0.27, 3: 0.006, 4: 0.004},
        },
        congestion=2.5,
        congested=0.93,
        fee_airports=(_JFK, _LAGUARDIA),
        null_block=((_FIRST, 0.006), (Month(2020, 4), 0.07), (Month(2025, 1), 0.22)),
        null_in_csv=_UNKNOWN | {"VendorID", "payment_type"},
        null_in_parquet=_UNKNOWN | {"congestion_surcharge", "airport_fee", "Airport_fee"},
        defects=_RARE_DEFECTS
        | {"no passengers": 0.02, "no distance": 0.012, "backwards": 0.0004, "reversal": 0.00245},
    ),
    "green": _Profile(
        seed=2,
        times="lpep",
        columns=_GREEN_COLUMNS,
        codes={
            "VendorID": {1: 0.14, 2: 0.86},
            "passenger_count": {1: 0.85, 2: 0.085, 3: 0.013, 4: 0.005, 5: 0.028, 6: 0.019},
            "RatecodeID": {1: 0.965, 2: 0.002, 3: 0.0006, 4: 0.0008, 5: 0.0315, 6: 0.0001},
            "store_and_fwd_flag": {"N": 0.997, "Y": 0.003},
            "PULocationID": _zones(_BUSIEST_GREEN, 8),
            "DOLocationID": _zones(_BUSIEST_GREEN, 35),
            "payment_type": {_CARD: 0.53, 2: 0.46, 3: 0.008, 4: 0.002},
        },
        congestion=2.75,
        congested=0.25,
        fee_airports=(),
        null_block=(
            *((_FIRST, 0.06), (Month(2020, 3), 0.3)),
            *((Month(2022, 1), 0.1), (Month(2023, 1), 0.07)),
        ),
        null_in_csv=_UNKNOWN | {"VendorID", "payment_type", "trip_type", "congestion_surcharge"},
        null_in_parquet=_UNKNOWN | {"payment_type", "trip_type", "congestion_surcharge"},
        defects=_RARE_DEFECTS
        | {"no passengers": 0.007, "no distance": 0.047, "backwards": 4e-5, "reversal": 0.00275},
    ),
}

# ---- Drawing the trips ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chunk:
    """Rows `start` to `stop` of a month's metered trips, or of its null block, `total` in all."""

    month: Month
    metered: bool
    start: int
    stop: int
    total: int
    month_rows: int
    rng: np.random.Generator

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def happens(self, share: float) -> Values:
        """Draw for each row whether it is among that share."""
        return self.rng.random(self.rows) < share

    def pick(self, weights: Weights) -> Values:
        """Draw one of the keys for each row."""
        share = np.array(list(weights.values()))
        return self.rng.choice(list(weights), self.rows, p=share / share.sum())

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


def _chunks(profile: _Profile, month: Month, rows: int) -> Iterator[_Chunk]:
    """Cut a month into chunks, in the order of the file."""
    null_block = round(rows * _in_force(profile.null_block, month))
    for metered, total in ((True, rows - null_block), (False, null_block)):
        for start in range(0, total, CHUNK_ROWS):
            stop = min(start + CHUNK_ROWS, total)
            entropy = (profile.seed, month.year, month.month, int(metered), start)
            rng = np.random.default_rng(np.random.SeedSequence(entropy))
            yield _Chunk(month, metered, start, stop, total, rows, rng)


def _draw(profile: _Profile, chunk: _Chunk) -> Trips:
    """Draw who went when, from where to where, and how far."""
    rows, rng = chunk.rows, chunk.rng
    first_hour, end = (np.datetime64(at, "h") for at in (chunk.month.start, chunk.month.end))
    hours = np.arange(first_hour, end).astype(int)
    rhythm = np.cumsum(_HOURLY[hours % 24] * _DAILY[hours // 24 % 7])
    position = (np.arange(chunk.start, chunk.stop) + 0.5) / chunk.total
    hour = np.searchsorted(rhythm, position * rhythm[-1])
    precision = 1 if chunk.metered else 60  # the null block knows no seconds
    second = precision * rng.integers(3600 // precision, size=rows)
    pickup = (first_hour + hour).astype("datetime64[s]") + second

    codes = {name: chunk.pick(weights) for name, weights in profile.codes.items()}
    to_jfk = codes["RatecodeID"] == 2
    distance = 0.01 + rng.lognormal(0.6 if chunk.metered else 1.6, 0.9, rows)
    distance = np.round(np.where(to_jfk, rng.normal(17.5, 1.2, rows), distance), 2)
    seconds = 400 * distance**0.7 * rng.lognormal(0.0, 0.35, rows)
    codes["DOLocationID"][to_jfk] = _JFK
    if not chunk.metered:
        codes["payment_type"][:] = _FLEX_FARE
    return codes | {
        f"{profile.times}_pickup_datetime": pickup,
        f"{profile.times}_dropoff_datetime": pickup
        + precision * np.ceil(seconds / precision).astype(int),
        "trip_distance": distance,
        "trip_type": np.where(codes["RatecodeID"] == 5, 2, 1),
    }


def _charge(profile: _Profile, chunk: _Chunk, trips: Trips) -> Trips:
    """Charge the trips, in dollars: the parts and the total; NaN where nothing is recorded."""
    month, rows, rng = chunk.month, chunk.rows, chunk.rng
    tariff = _in_force(_TARIFF, month)
    pickup, dropoff = (trips[f"{profile.times}_{end}_datetime"] for end in ("pickup", "dropoff"))
    distance, ratecode = trips["trip_distance"], trips["RatecodeID"]
    minutes = (dropoff - pickup).astype(int) / 60
    if chunk.metered:
        fare = tariff.base + tariff.unit * np.rint(3.84 * distance + 0.7 * minutes)
    else:
        fare = 4 + 2.9 * distance * rng.uniform(0.8, 1.2, rows)
    hour = pickup.astype("datetime64[h]").astype(int) % 24
    workday = np.is_busday(pickup.astype("datetime64[D]"))
    rush = (ratecode == 1) & workday & (hour >= 16) & (hour < 20)
    night = (ratecode == 1) & ((hour >= 20) | (hour < 6))
    congested = chunk.happens(profile.congested)
    from_airport = np.isin(trips["PULocationID"], profile.fee_airports)
    parts = {
        "fare_amount": np.where(ratecode == 2, tariff.to_jfk, np.round(fare, 2)),
        "extra": np.select([rush, night], [tariff.rush, tariff.night], 0.0),
        "mta_tax": np.where(np.isin(ratecode, (3, 5)), 0.0, 0.5),
        "tolls_amount": (distance > 8) * chunk.happens(0.5) * _in_force(_TOLL, month),
        "improvement_surcharge": np.full(rows, tariff.improvement),
        "congestion_surcharge": np.select(
            [pickup < _CONGESTION_RECORDED, pickup < _CONGESTION_LEVIED, congested],
            [np.nan, 0.0, profile.congestion],
            0.0,
        ),
        "cbd_congestion_fee": 0.75 * (congested & chunk.happens(0.75) & (pickup >= _CBD_LEVIED)),
        "airport_fee": from_airport * _in_force(_AIRPORT_FEE, month),
    }
    charged = np.nansum(list(parts.values()), axis=0)
    tip = np.round(charged * rng.choice(_TIP_RATES, rows), 2)
    tip = np.where(chunk.happens(0.2), np.rint(tip), tip) * (trips["payment_type"] == _CARD)
    return parts | {"tip_amount": tip, "total_amount": np.round(charged + tip, 2)}


def _spoil(profile: _Profile, chunk: _Chunk, trips: Trips, charges: Trips) -> None:
    """Put the defects of the real records in."""
    rng = chunk.rng
    if not chunk.metered:
        absurd = chunk.places(_NULL_BLOCK_DEFECTS)["absurd distance"]
        trips["trip_distance"][absurd] = np.round(rng.uniform(1e3, 1.5e5, absurd.size), 2)
        return
    at = chunk.places(profile.defects)
    trips["passenger_count"][at["no passengers"]] = 0
    trips["trip_distance"][at["no distance"]] = 0.0
    trips["RatecodeID"][at["unknown rate"]] = 99
    trips["VendorID"][at["unknown vendor"]] = 5

    pickup, dropoff = (trips[f"{profile.times}_{end}_datetime"] for end in ("pickup", "dropoff"))
    took = dropoff - pickup
    near, far = at["near the month"], at["years away"]
    pickup[near] = np.datetime64(chunk.month.start, "s") - rng.integers(1, 200_000, near.size)
    pickup[far] = np.datetime64("2008-12-31T23", "s") + rng.integers(7_200, size=far.size)
    took[at["takes a day"]] = 86_400 - rng.integers(1, 3_600, at["takes a day"].size)
    took[at["backwards"]] = -rng.integers(1, 60, at["backwards"].size)
    np.add(pickup, took, out=dropoff)

    # A reversal comes right before the trip that it takes back, with payment type 3 or 4.
    reversal = at["reversal"]
    copied = np.concatenate([reversal, at["twice"]])
    for values in (*trips.values(), *charges.values()):
        values[copied] = values[copied + 1]
    trips["payment_type"][reversal] = rng.choice((3, 4), reversal.size)
    negative = np.concatenate([reversal, at["negative alone"]])
    for amount in charges.values():
        amount[negative] = 0 - amount[negative]


def _drawn(profile: _Profile, month: Month, rows: int) -> Iterator[tuple[_Chunk, Trips]]:
    for chunk in _chunks(profile, month, rows):
        trips = _draw(profile, chunk)
        charges = _charge(profile, chunk, trips)
        _spoil(profile, chunk, trips, charges)
        yield chunk, trips | charges | {"Airport_fee": charges["airport_fee"]}


# ---- Writing the files ---------------------------------------------------------------------------


def write_csv_gz(service: Service, month: Month, rows: int, path: Path) -> None:
    """Write a month as the CSV mirror has those of 2019-01 to 2021-07.

    Raises `PermanentError` for a month before 2019-01 or a negative number of rows.
    """
    profile = _profile_for(service, month, rows)
    names = [name for name in profile.columns if name not in _NOT_IN_CSV]
    with (
        path.open("wb") as file,
        # With neither name nor time in it, the same month has the same bytes.
        gzip.GzipFile("", "wb", compresslevel=5, fileobj=file, mtime=0) as packed,
    ):
        packed.write(f"{','.join(names)}\r\n".encode())
        for chunk, trips in _drawn(profile, month, rows):
            hidden = frozenset() if chunk.metered else profile.null_in_csv
            cells = [_cells(name, _values(name, chunk, trips, hidden)) for name in names]
            lines = pc.binary_join_element_wise(
                *cells, ",", null_handling="replace", null_replacement=""
            )
            packed.write("".join(f"{line}\r\n" for line in lines.to_pylist()).encode())


def write_parquet(service: Service, month: Month, rows: int, path: Path) -> None:
    """Write a month as TLC's Parquet has it: names, order and types are those of that month.

    Raises `PermanentError` for a month before 2019-01 or a negative number of rows.
    """
    profile = _profile_for(service, month, rows)
    types = {name: _in_force(dated, month) for name, dated in profile.columns.items()}
    schema = pa.schema([(name, of_month) for name, of_month in types.items() if of_month])
    valueless = frozenset(field.name for field in schema if pa.types.is_null(field.type))
    compression = _in_force(_COMPRESSION, month)
    with pq.ParquetWriter(path, schema, compression=compression, compression_level=3) as writer:
        for chunk, trips in _drawn(profile, month, rows):
            hidden = valueless if chunk.metered else valueless | profile.null_in_parquet
            arrays = [
                _values(field.name, chunk, trips, hidden).cast(field.type) for field in schema
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _profile_for(service: Service, month: Month, rows: int) -> _Profile:
    if month < _FIRST:
        raise PermanentError(f"{month} cannot be generated: choose {_FIRST} or a later month.")
    if rows < 0:
        raise PermanentError(f"{month} cannot have {rows} rows: choose 0 or more.")
    return _PROFILES[service.name]


def _values(name: str, chunk: _Chunk, trips: Trips, hidden: frozenset[str]) -> pa.Array:
    """Return a column's values; null for one hidden in this chunk, or that nobody ever fills."""
    if name in hidden or name not in trips:
        return pa.nulls(chunk.rows)
    return pa.array(trips[name], from_pandas=True)


def _cells(name: str, values: pa.Array) -> pa.Array:
    """Spell a column as the mirror does: numbers as short as can be, but distances 1.50 and .50."""
    if name != "trip_distance":
        return values.cast(pa.string())
    return pc.replace_substring_regex(values.cast(pa.decimal128(18, 2)).cast(pa.string()), "^0", "")


_NAMED_ZONES = {
    1: ("EWR", "Newark Airport", "EWR"),
    _JFK: ("Queens", "JFK Airport", "Airports"),
    _LAGUARDIA: ("Queens", "LaGuardia Airport", "Airports"),
    264: ("Unknown", "N/A", "N/A"),
    _LAST_ZONE: ("N/A", "Outside of NYC", "N/A"),
}
_SAME_NAME = {57: 56, 104: 103, 105: 103}
_BOROUGHS = ("Bronx", "Brooklyn", "Queens", "Staten Island")


def write_zones(path: Path) -> None:
    """Write a zone lookup as TLC publishes it: real boroughs, but names that are mostly made up."""
    lines = ['"LocationID","Borough","Zone","service_zone"']
    for zone in range(1, _LAST_ZONE + 1):
        named = _SAME_NAME.get(zone, zone)
        if named in _BUSIEST_YELLOW or named == 103:
            made_up = ("Manhattan", f"Zone {named}", "Yellow Zone")
        else:
            made_up = (_BOROUGHS[named % len(_BOROUGHS)], f"Zone {named}", "Boro Zone")
        cells = ",".join(f'"{cell}"' for cell in _NAMED_ZONES.get(zone, made_up))
        lines.append(f"{zone},{cells}")
    path.write_text("".join(f"{line}\r\n" for line in lines), newline="")
