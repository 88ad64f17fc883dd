"""The status of all of TLC's history, made up: each month with reasons, a picture and dollars."""

from collections import Counter
from datetime import UTC, datetime
from math import sin

from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.sink import Sink
from taxi_pipeline.status import Figures, MonthStatus, State, Status
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, Service

AS_OF = datetime(2026, 11, 29, 9, 10, tzinfo=UTC)
NEWEST = Month(2026, 9)
REASONS = (
    "pickup_missing",
    "pickup_outside_month",
    "dropoff_before_pickup",
    "no_passengers",
    "unparsable",
)
# Millions of trips a month, at the beginning of some years.
_VOLUMES = {
    "yellow": {2009: 14.1, 2012: 14.9, 2015: 12.7, 2018: 8.8, 2020: 6.4, 2021: 1.4, 2024: 3.0},
    "green": {2013: 0.1, 2015: 1.6, 2018: 0.8, 2020: 0.45, 2021: 0.08, 2026: 0.05},
    "fhv": {2015: 2.7, 2017: 12.0, 2018: 17.0, 2019: 23.1, 2020: 1.6, 2022: 1.1, 2026: 2.2},
    "fhvhv": {2019: 20.2, 2020: 20.6, 2021: 11.9, 2023: 18.4, 2026: 21.6},
}
# The shares of the rows that are rejected, by reason.
_SHARES = {
    "yellow": (0.0001, 0.0006, 0.0009, 0.0152, 0.0001),
    "green": (0.0002, 0.0011, 0.0004, 0.0046, 0.0002),
    "fhv": (0.0003, 0.0004, 0.0061, 0, 0.0007),
    "fhvhv": (0.0001, 0.0002, 0.0003, 0, 0.0001),
}
_OTHERS = {
    ("yellow", Month(2019, 7)): (State.REWRITTEN, "The publisher has another file now."),
    ("green", Month(2015, 3)): (State.UNEQUAL, "BigQuery has the rows of generation 17."),
    ("fhv", Month(2018, 2)): (State.FAILED, "Its last run failed in fhv_cleaned."),
    ("fhvhv", Month(2026, 8)): (State.RUNNING, "A run of it is queued or under way."),
}
_OTHER_IN_BIGQUERY = [("green", Month(2015, 3))]
_MISSING = [("fhv", Month(2017, month)) for month in (4, 5, 6)]


def full_history() -> Status:
    """Return four services' months, 604 of them due, of which some are in each state."""
    months = []
    for service in SERVICES.values():
        month = Month(service.first_month.year, 1)
        while month <= Month(AS_OF.year, 12):
            months.append(_month(service, month))
            month = month.next
    return Status(AS_OF, "gs://taxi-lake/", months)


def _month(service: Service, month: Month) -> MonthStatus:
    key = (service.name, month)
    if month < service.first_month:
        return MonthStatus(*key, State.NO_MONTH, "TLC's trips begin later.")
    if month > NEWEST:
        return MonthStatus(*key, State.UNPUBLISHED, "It is not due.")
    if key in _MISSING:
        return MonthStatus(*key, State.MISSING, "No store has it.")
    state, cause = _OTHERS.get(key, (State.LOADED, "All stores have the trips."))
    return MonthStatus(*key, state, cause, figures(service, month))


def figures(service: Service, month: Month) -> Figures:
    """Return made-up figures of a month, the same each time."""
    days = (month.end - month.start).days
    first = (month.start - Month(2009, 1).start).days
    daily = _millions(service, month) * 1e6 / days
    by_day = [
        round(daily * (1 + 0.16 * sin((first + day) * 6.283 / 7) + 0.05 * sin(day)))
        for day in range(days)
    ]
    kept = sum(by_day)
    number = month.year * 12 + month.month + 31 * len(service.name)
    shares = _SHARES[service.name]
    wave = 1 + 0.5 * sin(number / 9)
    rejected = Counter(
        {reason: round(kept * share * wave) for reason, share in zip(REASONS, shares, strict=True)}
    )
    cents = None if service.total is None else kept * (1500 + month.year - 2009)
    stores: dict[type[Sink], bool | None] = dict.fromkeys(SINKS, True)
    stores[BigQuery] = (service.name, month) not in _OTHER_IN_BIGQUERY
    return Figures(kept + rejected.total(), kept, rejected, cents, kept * 27, by_day, stores)


def _millions(service: Service, month: Month) -> float:
    """Return the trips of a month, with the spring of 2020 in it."""
    volumes = _VOLUMES[service.name]
    at = month.year + (month.month - 1) / 12
    before = max((year for year in volumes if year <= at), default=min(volumes))
    after = min((year for year in volumes if year > at), default=before)
    between = (at - before) / (after - before) if after > before else 0
    millions = volumes[before] + (volumes[after] - volumes[before]) * between
    spring = {3: 0.5, 4: 0.08, 5: 0.1, 6: 0.2}.get(month.month, 1) if month.year == 2020 else 1
    return millions * spring * (1 + 0.06 * sin(month.month * 1.1))
