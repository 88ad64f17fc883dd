"""Trips of the taxis with a meter, yellow and green.

As in the real files, the metered trips come first and after them, since 2019, the null block:
records that reached TLC by another way, with many columns null.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from taxi_pipeline.local.generator.dated import Dated, in_force
from taxi_pipeline.local.generator.drawing import Chunk, Drawn, Trips, Values, Weights, chunks
from taxi_pipeline.local.generator.zones import (
    BUSIEST_GREEN,
    BUSIEST_YELLOW,
    LAST,
    weighed,
)
from taxi_pipeline.tlc.month import Month

_FIRST = Month(2009, 1)

# ---- How trips and amounts are spread -----------------------------------------------------------

# Each amount by itself, in US dollars: real sizes and decimals, but no tariff. What was not levied
# yet is 0, what was not recorded yet is NaN.
_EXTRAS = (0.0, 0.5, 1.0, 2.5)
_TAX: Dated[float] = ((_FIRST, 0.0), (Month(2009, 11), 0.5))
_TOLL = 6.55
_IMPROVEMENT: Dated[float] = ((_FIRST, 0.0), (Month(2015, 1), 0.3), (Month(2023, 1), 1.0))
_CONGESTION: Dated[float] = ((_FIRST, np.nan), (Month(2019, 2), 2.5))
_CBD: Dated[float] = ((_FIRST, 0.0), (Month(2025, 1), 0.75))
_AIRPORT_FEE: Dated[float] = ((_FIRST, np.nan), (Month(2021, 4), 1.25), (Month(2023, 4), 1.75))

_CMT, _VTS, _DDS = 1, 2, 3
_CARD, _FLEX_FARE = 1, 0


@dataclass(frozen=True)
class _Profile:
    """What sets a service apart.

    `codes` weighs the codes of every column that is drawn on its own. `from_airports`, `null_block`
    and `defects` are shares of all rows. The columns that the null block leaves empty differ by
    format. `unrecorded` columns are empty in all rows.
    """

    seed: int
    codes: Mapping[str, Dated[Weights]]
    from_airports: float
    null_block: Dated[float]
    null_in_csv: frozenset[str]
    null_in_parquet: frozenset[str]
    unrecorded: Dated[frozenset[str]]
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
_UNKNOWN = frozenset({"passenger_count", "ratecodeid", "store_and_fwd_flag"})
_NO_RATE = frozenset({"ratecodeid", "store_and_fwd_flag"})
YELLOW = _Profile(
    seed=1,
    codes={
        "vendorid": (
            (_FIRST, {_CMT: 0.46, _VTS: 0.47, _DDS: 0.07}),
            (Month(2010, 8), {_CMT: 0.48, _VTS: 0.52}),
            (Month(2019, 1), {_CMT: 0.34, _VTS: 0.66}),
        ),
        "passenger_count": ((_FIRST, {1: 0.74, 2: 0.145, 3: 0.04, 4: 0.02, 5: 0.035, 6: 0.02}),),
        "ratecodeid": ((_FIRST, {1: 0.97, 2: 0.018, 3: 0.002, 4: 0.001, 5: 0.0089, 6: 0.0001}),),
        "store_and_fwd_flag": ((_FIRST, {"N": 0.991, "Y": 0.009}),),
        "pulocationid": ((_FIRST, weighed(BUSIEST_YELLOW, 25)),),
        "dolocationid": ((_FIRST, weighed(BUSIEST_YELLOW, 30)),),
        "payment_type": (
            (_FIRST, {_CARD: 0.3, 2: 0.69, 3: 0.006, 4: 0.004}),
            (Month(2010, 8), {_CARD: 0.5, 2: 0.48, 3: 0.006, 4: 0.004, 5: 0.01}),
            (Month(2015, 1), {_CARD: 0.72, 2: 0.27, 3: 0.006, 4: 0.004}),
        ),
    },
    from_airports=0.1,
    null_block=(
        *((_FIRST, 0.0), (Month(2019, 1), 0.006)),
        *((Month(2020, 4), 0.07), (Month(2025, 1), 0.22)),
    ),
    null_in_csv=_UNKNOWN | {"vendorid", "payment_type"},
    null_in_parquet=_UNKNOWN | {"congestion_surcharge", "airport_fee"},
    unrecorded=(
        (_FIRST, _NO_RATE | {"mta_tax"}),
        (Month(2009, 11), _NO_RATE),
        (Month(2010, 1), frozenset()),
    ),
    defects=_RARE_DEFECTS
    | {"no passengers": 0.02, "no distance": 0.012, "backwards": 0.0004, "reversal": 0.00245},
)
GREEN = _Profile(
    seed=2,
    codes={
        "vendorid": ((_FIRST, {_CMT: 0.14, _VTS: 0.86}),),
        "passenger_count": ((_FIRST, {1: 0.85, 2: 0.085, 3: 0.013, 4: 0.005, 5: 0.028, 6: 0.019}),),
        "ratecodeid": ((_FIRST, {1: 0.965, 2: 0.002, 3: 0.0006, 4: 0.0008, 5: 0.0315, 6: 0.0001}),),
        "store_and_fwd_flag": ((_FIRST, {"N": 0.997, "Y": 0.003}),),
        "pulocationid": ((_FIRST, weighed(BUSIEST_GREEN, 8)),),
        "dolocationid": ((_FIRST, weighed(BUSIEST_GREEN, 35)),),
        "payment_type": ((_FIRST, {_CARD: 0.53, 2: 0.46, 3: 0.008, 4: 0.002}),),
    },
    from_airports=0,  # they may not pick up passengers there, and their files have no such fee
    null_block=(
        *((_FIRST, 0.0), (Month(2019, 1), 0.06), (Month(2020, 3), 0.3)),
        *((Month(2022, 1), 0.1), (Month(2023, 1), 0.07)),
    ),
    null_in_csv=_UNKNOWN | {"vendorid", "payment_type", "trip_type", "congestion_surcharge"},
    null_in_parquet=_UNKNOWN | {"payment_type", "trip_type", "congestion_surcharge"},
    unrecorded=((_FIRST, frozenset({"trip_type"})), (Month(2014, 3), frozenset())),
    defects=_RARE_DEFECTS
    | {"no passengers": 0.007, "no distance": 0.047, "backwards": 4e-5, "reversal": 0.00275},
)

# ---- Where the early years differ ----------------------------------------------------------------

_ZONES_BEGIN = Month(2016, 7)  # before, the CSV has coordinates
_CODES_BEGIN = Month(2015, 1)  # before, yellow's CSV has words
_NO_POSITION = 0.015
_ALONG = 0.618034 * np.arange(LAST + 1) % 1  # a zone's made-up place, between south and north
_ACROSS = 0.754878 * np.arange(LAST + 1) % 1  # and between west and east

# by payment type, and then by vendor: CMT, VTS, DDS
_PAYMENT_WORDS: Dated[Mapping[int, tuple[str, ...]]] = (
    (
        _FIRST,
        {
            1: ("Credit", "Credit", "CREDIT"),
            2: ("Cash", "CASH", "CASH"),
            3: ("No Charge",) * 3,
            4: ("Dispute",) * 3,
        },
    ),
    (
        Month(2010, 1),
        {
            1: ("Cre", "Cre", "CRE"),
            2: ("Cas", "CAS", "CAS"),
            3: ("No ",) * 3,
            4: ("Dis",) * 3,
        },
    ),
    (
        Month(2010, 8),
        {1: ("CRD",) * 3, 2: ("CSH",) * 3, 3: ("NOC",) * 3, 4: ("DIS",) * 3, 5: ("UNK",) * 3},
    ),
)
_FLAG_WORDS: Dated[Mapping[str, str]] = (
    (_FIRST, {"N": "0", "Y": "1"}),
    (Month(2010, 8), {"N": "N", "Y": "Y"}),
)


def _has_words(profile: _Profile, month: Month) -> bool:
    return profile is YELLOW and month < _CODES_BEGIN


def _forget_seconds(trips: dict[str, Values]) -> None:
    """Cut the times of VTS's meters, which knew no seconds then."""
    of_vts = trips["vendorid"] == _VTS
    for name in ("pickup_datetime", "dropoff_datetime"):
        trips[name][of_vts] = trips[name][of_vts].astype("datetime64[m]")


def _positions(chunk: Chunk, trips: dict[str, Values], single: bool) -> dict[str, Values]:
    """Draw coordinates in the zones, of single precision or with six decimals.

    Some meters knew none and wrote zeros.
    """
    known = ~chunk.happens(_NO_POSITION)
    positions: dict[str, Values] = {}
    for end, zone in (("pickup", "pulocationid"), ("dropoff", "dolocationid")):
        for name, south_west, extent, part in (
            (f"{end}_longitude", -74.01, 0.16, _ACROSS),
            (f"{end}_latitude", 40.64, 0.18, _ALONG),
        ):
            jitter = chunk.rng.normal(0, 0.004, chunk.rows)
            place = np.where(known, south_west + extent * part[trips[zone]] + jitter, 0.0)
            positions[name] = place.astype(np.float32) if single else np.round(place, 6)
    return positions


def _in_words(month: Month, trips: dict[str, Values]) -> Trips:
    """Return the columns that the first years wrote in words instead of codes."""
    vendor, payment, flag = (
        trips[name] for name in ("vendorid", "payment_type", "store_and_fwd_flag")
    )
    payments = in_force(_PAYMENT_WORDS, month)
    flags = in_force(_FLAG_WORDS, month)
    words = np.full((max(payments) + 1, _DDS + 1), "", dtype="U9")
    for code, by_vendor in payments.items():
        words[code, _CMT:] = by_vendor
    kept = np.where(flag == "Y", flags["Y"], flags["N"])
    return {
        "vendorid": np.array(["", "CMT", "VTS", "DDS"])[vendor],
        "payment_type": words[payment, vendor],
        "store_and_fwd_flag": pa.array(kept, mask=vendor != _CMT),  # only CMT's meters told
    }


# ---- Drawing the trips ---------------------------------------------------------------------------


def draw(profile: _Profile, month: Month, rows: int) -> Iterator[Drawn]:
    """Draw a month, in the order of its file."""
    unrecorded = in_force(profile.unrecorded, month)
    early = _has_words(profile, month)
    for chunk in chunks(profile.seed, month, rows, in_force(profile.null_block, month)):
        trips = _draw(profile, chunk)
        if early:
            _forget_seconds(trips)
        charges = _charge(profile, chunk)
        if month < _ZONES_BEGIN:
            trips |= _positions(chunk, trips, single=not early)
        _spoil(profile, chunk, trips, charges)
        yield Drawn(
            chunk.rows,
            trips | charges | {"__index_level_0__": np.arange(chunk.start, chunk.stop)},
            _in_words(month, trips) if early else {},
            unrecorded | (frozenset() if chunk.ordinary else profile.null_in_csv),
            unrecorded | (frozenset() if chunk.ordinary else profile.null_in_parquet),
        )


def _draw(profile: _Profile, chunk: Chunk) -> dict[str, Values]:
    """Draw who went when, from where to where, and how far."""
    rows, rng = chunk.rows, chunk.rng
    precision = 1 if chunk.ordinary else 60  # the null block knows no seconds
    pickup = chunk.pickups(precision)
    codes = {
        name: chunk.pick(in_force(weights, chunk.month)) for name, weights in profile.codes.items()
    }
    distance = np.round(0.01 + rng.lognormal(0.6 if chunk.ordinary else 1.6, 0.9, rows), 2)
    seconds = 400 * distance**0.7 * rng.lognormal(0.0, 0.35, rows)
    if not chunk.ordinary:
        codes["payment_type"][:] = _FLEX_FARE
    return codes | {
        "pickup_datetime": pickup,
        "dropoff_datetime": pickup + precision * np.ceil(seconds / precision).astype(int),
        "trip_distance": distance,
        "trip_type": np.where(codes["ratecodeid"] == 5, 2, 1),
    }


def _charge(profile: _Profile, chunk: Chunk) -> dict[str, Values]:
    """Draw the amounts: the parts and, as their sum, the total."""
    month, rows, rng = chunk.month, chunk.rows, chunk.rng
    parts = {
        "fare_amount": np.round(2.5 + rng.gamma(1.5, 8.0, rows), 2),
        "extra": rng.choice(_EXTRAS, rows),
        "mta_tax": np.full(rows, in_force(_TAX, month)),
        "tolls_amount": _TOLL * chunk.happens(0.05),
        "improvement_surcharge": np.full(rows, in_force(_IMPROVEMENT, month)),
        "congestion_surcharge": in_force(_CONGESTION, month) * chunk.happens(0.7),
        "cbd_congestion_fee": in_force(_CBD, month) * chunk.happens(0.5),
        "airport_fee": in_force(_AIRPORT_FEE, month) * chunk.happens(profile.from_airports),
        "tip_amount": np.round(rng.gamma(1.5, 2.0, rows), 2) * chunk.happens(0.6),
    }
    return parts | {"total_amount": np.round(np.nansum(list(parts.values()), axis=0), 2)}


def _spoil(
    profile: _Profile, chunk: Chunk, trips: dict[str, Values], charges: dict[str, Values]
) -> None:
    """Put the defects of the real records in."""
    rng = chunk.rng
    if not chunk.ordinary:
        absurd = chunk.places(_NULL_BLOCK_DEFECTS)["absurd distance"]
        trips["trip_distance"][absurd] = np.round(rng.uniform(1e3, 1.5e5, absurd.size), 2)
        return
    at = chunk.places(profile.defects)
    trips["passenger_count"][at["no passengers"]] = 0
    trips["trip_distance"][at["no distance"]] = 0.0
    trips["ratecodeid"][at["unknown rate"]] = 99
    if not _has_words(profile, chunk.month):
        trips["vendorid"][at["unknown vendor"]] = 5
    chunk.misdate(at, trips["pickup_datetime"], trips["dropoff_datetime"])

    # A reversal comes right before the trip that it takes back, with payment type 3 or 4.
    reversal = at["reversal"]
    copied = np.concatenate([reversal, at["twice"]])
    for values in (*trips.values(), *charges.values()):
        values[copied] = values[copied + 1]
    trips["payment_type"][reversal] = rng.choice((3, 4), reversal.size)
    negative = np.concatenate([reversal, at["negative alone"]])
    for amount in charges.values():
        amount[negative] = 0 - amount[negative]
