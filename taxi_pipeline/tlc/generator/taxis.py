"""Trips of the taxis with a meter, yellow and green.

As in the real files, the metered trips come first and after them, since 2019, the null block:
records that reached TLC by another way, with many columns null.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from taxi_pipeline.tlc.generator.dated import Dated, in_force
from taxi_pipeline.tlc.generator.drawing import Chunk, Drawn, Trips, Values, Weights, chunks
from taxi_pipeline.tlc.generator.zones import (
    BUSIEST_GREEN,
    BUSIEST_YELLOW,
    JFK,
    LAGUARDIA,
    LAST,
    weighed,
)
from taxi_pipeline.tlc.month import Month

_FIRST = Month(2009, 1)

# ---- What is charged, and how trips are spread ---------------------------------------------------


@dataclass(frozen=True)
class _Tariff:
    """What every meter charges, in US dollars."""

    base: float
    unit: float
    rush: float
    night: float
    tax: float
    improvement: float
    to_jfk: float


_TARIFF_2009 = _Tariff(base=2.5, unit=0.4, rush=1, night=0.5, tax=0, improvement=0, to_jfk=45)
_TARIFF_2012 = replace(_TARIFF_2009, unit=0.5, tax=0.5, to_jfk=52)
_TARIFF: Dated[_Tariff] = (
    (_FIRST, _TARIFF_2009),
    (Month(2009, 11), replace(_TARIFF_2009, tax=0.5)),
    (Month(2012, 9), _TARIFF_2012),
    (Month(2015, 1), replace(_TARIFF_2012, improvement=0.3)),
    (
        Month(2023, 1),
        _Tariff(base=3, unit=0.7, rush=2.5, night=1, tax=0.5, improvement=1, to_jfk=70),
    ),
)
_TOLL: Dated[float] = (
    *((_FIRST, 4.15), (Month(2010, 1), 4.57), (Month(2011, 1), 4.8), (Month(2013, 3), 5.33)),
    *((Month(2015, 3), 5.54), (Month(2017, 3), 5.76), (Month(2019, 4), 6.12)),
    *((Month(2021, 5), 6.55), (Month(2023, 8), 6.94)),
)
_AIRPORT_FEE: Dated[float] = ((_FIRST, np.nan), (Month(2021, 4), 1.25), (Month(2023, 4), 1.75))
# The congestion surcharge was first not recorded, then zero for some days, then levied.
_CONGESTION_RECORDED = np.datetime64("2019-01-21")
_CONGESTION_LEVIED = np.datetime64("2019-02-01")
_CBD_LEVIED = np.datetime64("2025-01-05")
_TIP_RATES = np.repeat((0.2, 0.25, 0.15, 0.3, 0.1, 0.0), (12, 3, 2, 1, 1, 1))

_CMT, _VTS, _DDS = 1, 2, 3
_CARD, _FLEX_FARE = 1, 0


@dataclass(frozen=True)
class _Profile:
    """What sets a service apart.

    `codes` weighs the codes of every column that is drawn on its own. `congested`, `null_block` and
    `defects` are shares of all rows; the columns that the null block leaves empty differ by format.
    `unrecorded` columns are empty in all rows.
    """

    seed: int
    codes: Mapping[str, Dated[Weights]]
    congestion: float
    congested: float
    fee_airports: tuple[int, ...]
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
    congestion=2.5,
    congested=0.93,
    fee_airports=(JFK, LAGUARDIA),
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
    congestion=2.75,
    congested=0.25,
    fee_airports=(),
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
        charges = _charge(profile, chunk, trips)
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
    to_jfk = codes["ratecodeid"] == 2
    distance = 0.01 + rng.lognormal(0.6 if chunk.ordinary else 1.6, 0.9, rows)
    distance = np.round(np.where(to_jfk, rng.normal(17.5, 1.2, rows), distance), 2)
    seconds = 400 * distance**0.7 * rng.lognormal(0.0, 0.35, rows)
    codes["dolocationid"][to_jfk] = JFK
    if not chunk.ordinary:
        codes["payment_type"][:] = _FLEX_FARE
    return codes | {
        "pickup_datetime": pickup,
        "dropoff_datetime": pickup + precision * np.ceil(seconds / precision).astype(int),
        "trip_distance": distance,
        "trip_type": np.where(codes["ratecodeid"] == 5, 2, 1),
    }


def _charge(profile: _Profile, chunk: Chunk, trips: dict[str, Values]) -> dict[str, Values]:
    """Charge the trips, in dollars: the parts and the total; NaN where nothing is recorded."""
    month, rows, rng = chunk.month, chunk.rows, chunk.rng
    tariff = in_force(_TARIFF, month)
    pickup, dropoff = trips["pickup_datetime"], trips["dropoff_datetime"]
    distance, ratecode = trips["trip_distance"], trips["ratecodeid"]
    minutes = (dropoff - pickup).astype(int) / 60
    if chunk.ordinary:
        fare = tariff.base + tariff.unit * np.rint(3.84 * distance + 0.7 * minutes)
    else:
        fare = 4 + 2.9 * distance * rng.uniform(0.8, 1.2, rows)
    hour = pickup.astype("datetime64[h]").astype(int) % 24
    workday = np.is_busday(pickup.astype("datetime64[D]"))
    rush = (ratecode == 1) & workday & (hour >= 16) & (hour < 20)
    night = (ratecode == 1) & ((hour >= 20) | (hour < 6))
    congested = chunk.happens(profile.congested)
    from_airport = np.isin(trips["pulocationid"], profile.fee_airports)
    parts = {
        "fare_amount": np.where(ratecode == 2, tariff.to_jfk, np.round(fare, 2)),
        "extra": np.select([rush, night], [tariff.rush, tariff.night], 0.0),
        "mta_tax": np.where(np.isin(ratecode, (3, 5)), 0.0, tariff.tax),
        "tolls_amount": (distance > 8) * chunk.happens(0.5) * in_force(_TOLL, month),
        "improvement_surcharge": np.full(rows, tariff.improvement, float),
        "congestion_surcharge": np.select(
            [pickup < _CONGESTION_RECORDED, pickup < _CONGESTION_LEVIED, congested],
            [np.nan, 0.0, profile.congestion],
            0.0,
        ),
        "cbd_congestion_fee": 0.75 * (congested & chunk.happens(0.75) & (pickup >= _CBD_LEVIED)),
        "airport_fee": from_airport * in_force(_AIRPORT_FEE, month),
    }
    charged = np.nansum(list(parts.values()), axis=0)
    tip = np.round(charged * rng.choice(_TIP_RATES, rows), 2)
    tip = np.where(chunk.happens(0.2), np.rint(tip), tip) * (trips["payment_type"] == _CARD)
    return parts | {"tip_amount": tip, "total_amount": np.round(charged + tip, 2)}


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
