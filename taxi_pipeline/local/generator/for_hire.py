"""Trips of the for-hire vehicles: fhv, without amounts, and fhvhv, the high-volume services."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from taxi_pipeline.local.generator.dated import Dated, in_force
from taxi_pipeline.local.generator.drawing import Chunk, Drawn, Trips, Values, Weights, chunks
from taxi_pipeline.local.generator.zones import (
    BUSIEST_GREEN,
    BUSIEST_YELLOW,
    UNKNOWN,
    weighed,
)
from taxi_pipeline.tlc.month import Month

_ZONES = weighed((*BUSIEST_GREEN, *BUSIEST_YELLOW), 90)
_NEVER = np.datetime64("NaT", "s")
_DEFECTS = {"near the month": 0.0002, "takes a day": 0.001, "backwards": 0.0003, "twice": 0.0005}


def _named(names: Sequence[str | None], index: Values) -> pa.Array:
    """Return the names at these indices, as text."""
    return pa.array(names, pa.string()).take(pa.array(index.astype(int)))


def _repeat(places: Values, trips: dict[str, Values]) -> None:
    """Make exact duplicates: each of these rows becomes the one that follows."""
    for values in trips.values():
        values[places] = values[places + 1]


# ---- fhv -----------------------------------------------------------------------------------------

_FHV_FIRST = Month(2015, 1)
_BASES = (
    *("B02817", "B01145", "B03016", "B02550", "B01239", "B01312", "B00856", "B00310", "B01051"),
    *(f"B{11 * rank + 1:05}" for rank in range(290)),
    "b00056",  # some write their number with a small letter
)
_BASE_WEIGHTS = {base: float(np.exp(-base / 60)) for base in range(len(_BASES))}
_OTHER_AFFILIATION, _NO_AFFILIATION = 0.32, 0.006
_WHOLE_MINUTES = 0.4


def _places(nowhere: float, unknown: float) -> Weights:
    """Weigh all zones, with a share of trips without any and a share in the unknown zone."""
    named = (1 - nowhere - unknown) / sum(_ZONES.values())
    zones = {float(zone): named * weight for zone, weight in _ZONES.items()}
    return zones | {np.nan: nowhere, float(UNKNOWN): unknown}


# Where the Parquet of the time has whole numbers, no place is null: the unknown zone stands for it.
_PICKUPS: Dated[Weights] = (
    *((_FHV_FIRST, _places(0.6, 0.0)), (Month(2017, 7), _places(0.15, 0.02))),
    *((Month(2019, 5), _places(0.0, 0.7)), (Month(2019, 7), _places(0.32, 0.52))),
)
_DROPOFFS: Dated[Weights] = (
    *((_FHV_FIRST, _places(0.6, 0.0)), (Month(2017, 7), _places(0.1, 0.02))),
    *((Month(2019, 5), _places(0.0, 0.12)), (Month(2019, 7), _places(0.055, 0.065))),
    *((Month(2020, 7), _places(0.0, 0.12)), (Month(2020, 8), _places(0.055, 0.065))),
)
_SHARED: Dated[float] = ((_FHV_FIRST, 0.0), (Month(2017, 7), 0.12), (Month(2019, 3), 0.0))
_DROPOFF_REPORTED: Dated[float] = ((_FHV_FIRST, 0.0), (Month(2017, 1), 0.2), (Month(2017, 7), 1.0))


def draw_fhv(month: Month, rows: int) -> Iterator[Drawn]:
    """Draw a month of fhv, in the order of its file."""
    for chunk in chunks(3, month, rows):
        rng = chunk.rng
        pickup = chunk.pickups(1)
        whole = chunk.happens(_WHOLE_MINUTES)
        pickup[whole] = pickup[whole].astype("datetime64[m]")
        base = chunk.pick(_BASE_WEIGHTS)
        other = chunk.happens(_OTHER_AFFILIATION)
        affiliation = np.where(other, chunk.pick(_BASE_WEIGHTS), base)
        affiliation[chunk.happens(_NO_AFFILIATION)] = len(_BASES)
        trips: dict[str, Values] = {
            "dispatching_base_num": base,
            "affiliated_base_number": affiliation,
            "pickup_datetime": pickup,
            "dropoff_datetime": pickup + rng.lognormal(6.9, 0.7, chunk.rows).astype(int),
            "pulocationid": chunk.pick(in_force(_PICKUPS, month)),
            "dolocationid": chunk.pick(in_force(_DROPOFFS, month)),
            "sr_flag": np.where(chunk.happens(in_force(_SHARED, month)), 1.0, np.nan),
        }
        at = chunk.places(_DEFECTS)
        chunk.misdate(at, trips["pickup_datetime"], trips["dropoff_datetime"])
        reported = chunk.happens(in_force(_DROPOFF_REPORTED, month))
        trips["dropoff_datetime"][~reported] = _NEVER
        _repeat(at["twice"], trips)
        in_words: Trips = {
            "dispatching_base_num": _named(_BASES, base),
            "affiliated_base_number": _named((*_BASES, None), affiliation),
        }
        yield Drawn(chunk.rows, trips | in_words)


# ---- fhvhv ---------------------------------------------------------------------------------------

_FHVHV_FIRST = Month(2019, 2)
_JUNO, _UBER, _VIA, _LYFT = "HV0002", "HV0003", "HV0004", "HV0005"
_MANY_BASES = {
    _JUNO: ("B02914", "B02907"),
    _UBER: (
        *("B02764", "B02872", "B02875", "B02765", "B02878", "B02887", "B02869", "B02864"),
        *("B02617", "B02879", "B02871", "B02866", "B02882", "B02835", "B02682", "B02512"),
    ),
    _VIA: ("B02800", "B03136"),
    _LYFT: ("B02510", "B02844"),
}
_ONE_BASE_EACH = {_UBER: ("B03404",), _LYFT: ("B03406",)}
_LICENSES, _DISPATCHERS = zip(
    *(
        (license_number, base)
        for bases_of in (_MANY_BASES, _ONE_BASE_EACH)
        for license_number, bases in bases_of.items()
        for base in bases
    ),
    strict=True,
)


def _dispatchers(bases_of: Mapping[str, tuple[str, ...]], **shares: float) -> Weights:
    """Weigh the bases, as indices, by the shares of their services."""
    return {
        _DISPATCHERS.index(base): share / len(bases_of[license_number])
        for license_number, share in shares.items()
        for base in bases_of[license_number]
    }


_DISPATCHED: Dated[Weights] = (
    (_FHVHV_FIRST, _dispatchers(_MANY_BASES, HV0002=0.04, HV0003=0.71, HV0004=0.04, HV0005=0.21)),
    (Month(2019, 12), _dispatchers(_MANY_BASES, HV0003=0.72, HV0004=0.03, HV0005=0.25)),
    (Month(2022, 1), _dispatchers(_MANY_BASES, HV0003=0.73, HV0005=0.27)),
    (Month(2023, 1), _dispatchers(_ONE_BASE_EACH, HV0003=0.73, HV0005=0.27)),
)
_POOLED: Dated[float] = ((_FHVHV_FIRST, 0.2), (Month(2020, 4), 0.0), (Month(2022, 6), 0.02))
# Amounts are in US dollars: real sizes and decimals, but no tariff. What was not recorded yet is
# NaN.
_AIRPORT_FEE: Dated[float] = ((_FHVHV_FIRST, np.nan), (Month(2021, 4), 2.5))
_CBD: Dated[float] = ((_FHVHV_FIRST, 0.0), (Month(2025, 1), 1.5))
_FHVHV_DEFECTS = _DEFECTS | {"no distance": 0.0003, "negative": 0.0002}


def draw_fhvhv(month: Month, rows: int) -> Iterator[Drawn]:
    """Draw a month of fhvhv, in the order of its file."""
    for chunk in chunks(4, month, rows):
        rides = _ride(chunk)
        charges = _charge(chunk)
        at = chunk.places(_FHVHV_DEFECTS)
        chunk.misdate(at, rides["pickup_datetime"], rides["dropoff_datetime"])
        rides["trip_miles"][at["no distance"]] = 0.0
        charges["base_passenger_fare"][at["negative"]] *= -1
        _repeat(at["twice"], rides | charges)
        yield Drawn(chunk.rows, rides | charges | _reported(rides))


def _ride(chunk: Chunk) -> dict[str, Values]:
    """Draw who went when, from where to where, and how far."""
    rows, rng, month = chunk.rows, chunk.rng, chunk.month
    pickup = chunk.pickups(1)
    miles = np.round(0.1 + rng.lognormal(1.1, 0.85, rows), 2)
    seconds = 60 + (300 * miles**0.7 * rng.lognormal(0.0, 0.3, rows)).astype(int)
    boarding = rng.exponential(113, rows).astype(int)
    pooled = chunk.happens(in_force(_POOLED, month))
    wheelchair = chunk.happens(0.002)
    return {
        "dispatcher": chunk.pick(in_force(_DISPATCHED, month)),
        "pickup_datetime": pickup,
        "dropoff_datetime": pickup + seconds,
        "boarding": boarding,
        "waiting": boarding + rng.exponential(190, rows).astype(int),
        "pulocationid": chunk.pick(_ZONES),
        "dolocationid": chunk.pick(_ZONES),
        "trip_miles": miles,
        "trip_time": seconds,
        "pooled": pooled,
        "matched": pooled & chunk.happens(0.5),
        "wheelchair": wheelchair,
        "accessible": wheelchair | chunk.happens(0.04),
    }


def _charge(chunk: Chunk) -> dict[str, Values]:
    """Draw the amounts."""
    rows, rng, month = chunk.rows, chunk.rng, chunk.month
    fare = np.round(5 + rng.gamma(1.5, 12.0, rows), 2)
    return {
        "base_passenger_fare": fare,
        "tolls": 6.55 * chunk.happens(0.08),
        "bcf": np.round(0.03 * fare, 2),
        "sales_tax": np.round(0.08875 * fare, 2),
        "congestion_surcharge": 2.75 * chunk.happens(0.35),
        "airport_fee": in_force(_AIRPORT_FEE, month) * chunk.happens(0.1),
        "tips": np.round(rng.gamma(1.5, 3.0, rows), 2) * chunk.happens(0.18),
        "driver_pay": np.round(0.77 * fare, 2),
        "cbd_congestion_fee": in_force(_CBD, month) * chunk.happens(0.25),
    }


def _reported(rides: dict[str, Values]) -> Trips:
    """Return what the services tell of the rides: Uber more than the others."""
    dispatcher, pickup = rides["dispatcher"], rides["pickup_datetime"]
    uber = (np.array(_LICENSES) == _UBER)[dispatcher]
    originating = _named((*_DISPATCHERS, None), np.where(uber, dispatcher, len(_DISPATCHERS)))
    no_yes = ("N", "Y")
    return {
        "hvfhs_license_num": _named(_LICENSES, dispatcher),
        "dispatching_base_num": _named(_DISPATCHERS, dispatcher),
        "originating_base_num": originating,
        "affiliated_base_number": originating,
        "request_datetime": pickup - rides["waiting"],
        "on_scene_datetime": np.where(uber, pickup - rides["boarding"], _NEVER),
        "sr_flag": np.where(rides["matched"], 1.0, np.nan),
        "shared_request_flag": _named(no_yes, rides["pooled"]),
        "shared_match_flag": _named(no_yes, rides["matched"]),
        "access_a_ride_flag": _named(("N", " "), uber),
        "wav_request_flag": _named(no_yes, rides["wheelchair"]),
        "wav_match_flag": _named(no_yes, rides["accessible"]),
    }
