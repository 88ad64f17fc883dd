"""A month of a service: its state, why it is in it, and its figures.

The states are decided here, given what the stores hold; how the stores are asked is `reading`'s.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum

from taxi_pipeline.lake.objects import FileObjects
from taxi_pipeline.lake.raw import is_fetched, not_published
from taxi_pipeline.ledger import LakeEntry, noted_entry
from taxi_pipeline.sink import Sink, Stamp
from taxi_pipeline.status.facts import Facts
from taxi_pipeline.status.texts import moment
from taxi_pipeline.tlc.month import PUBLICATION_LAG_MONTHS, Month
from taxi_pipeline.tlc.services import Service


class State(StrEnum):
    """The state of a month, in the words that people and programs get."""

    LOADED = "as loaded"
    REWRITTEN = "rewritten since"
    UNEQUAL = "does not add up"
    FAILED = "failed"
    RUNNING = "running"
    MISSING = "missing"
    UNPUBLISHED = "not published yet"
    NO_MONTH = "not a month of the service"

    @property
    def mark(self) -> str:
        """One character, so that no state is told by its colour alone."""
        return _MARKS[self]

    @property
    def is_bad(self) -> bool:
        """Whether somebody must look at the month."""
        return self in (State.FAILED, State.UNEQUAL)


_MARKS = {
    State.LOADED: "✓",
    State.REWRITTEN: "↻",
    State.UNEQUAL: "≠",
    State.FAILED: "✕",
    State.RUNNING: "▸",
    State.MISSING: "○",
    State.UNPUBLISHED: "·",
    State.NO_MONTH: " ",
}


@dataclass(frozen=True)
class Figures:
    """What the lake says that it has of a month; None for what it does not say.

    Attributes:
        published: The rows of the published file.
        kept: The rows that were kept.
        rejected: The rejected rows, by reason.
        cents: What all kept trips cost, in whole cents.
        size: The bytes of the lake's objects.
        trips_by_day: The kept rows of each day, from the first on; empty where it is not said.
        stores: Whether each sink has the rows that the lake has; None where it could not be asked,
            and where an earlier release has loaded it, which kept no stamp.
    """

    published: int | None = None
    kept: int | None = None
    rejected: Counter[str] | None = None
    cents: int | None = None
    size: int = 0
    trips_by_day: Sequence[int] = ()
    stores: Mapping[type[Sink], bool | None] = field(default_factory=dict)

    @property
    def rejected_rows(self) -> int | None:
        """How many rows were rejected."""
        return None if self.rejected is None else self.rejected.total()

    @property
    def rejected_share(self) -> float | None:
        """The share of the published rows that were rejected."""
        if self.rejected_rows is None or not self.published:
            return None
        return self.rejected_rows / self.published

    @property
    def dollars(self) -> float | None:
        """What all kept trips cost."""
        return None if self.cents is None else self.cents / 100


@dataclass(frozen=True)
class MonthStatus:
    """A month of a service.

    Attributes:
        service: The service's name.
        month: The month.
        state: Its state.
        cause: Why it is in that state, in sentences.
        figures: Its figures; None where the lake has nothing of it.
        is_due: Whether TLC should have published it by now.
        is_foreign: Whether somebody else than a run has put its raw file into the lake.
        running_since: Since when a run of it is queued or under way.
        is_begun: Whether it does not add up for the sole reason that it is not loaded everywhere.
    """

    service: str
    month: Month
    state: State
    cause: str
    figures: Figures | None = None
    is_due: bool = True
    is_foreign: bool = False
    is_begun: bool = False
    running_since: datetime | None = None

    @property
    def name(self) -> str:
        """The month as people say it: "yellow 2021-01"."""
        return f"{self.service} {self.month}"


@dataclass(frozen=True)
class StoredMonth:
    """What the stores hold of a month.

    Attributes:
        objects: The lake's objects.
        stamps: What each sink has loaded the month from; None where it does not say. A sink that
            could not be asked is not in it.
        sinks: All sinks.
    """

    objects: FileObjects
    stamps: Mapping[type[Sink], Stamp | None]
    sinks: Sequence[type[Sink]]

    @property
    def is_nothing(self) -> bool:
        """Whether no store has anything of the month."""
        lake = (self.objects.raw, self.objects.cleaned, self.objects.rejected)
        return not any(lake) and not any(self.stamps.values())

    @property
    def unasked(self) -> list[type[Sink]]:
        """The sinks that could not be asked."""
        return [sink for sink in self.sinks if sink not in self.stamps]


def status_of(
    service: Service, month: Month, stored: StoredMonth, facts: Facts, today: date
) -> MonthStatus:
    """Return the status of a month.

    Args:
        service: The service.
        month: The month.
        stored: What the stores hold of it.
        facts: What Dagster knows.
        today: The day in New York.
    """
    key = (service.name, month)
    state, cause = _state(service, month, stored, facts, today)
    has_figures = not stored.is_nothing and state is not State.NO_MONTH
    figures = _figures(stored, month) if has_figures else None
    raw = stored.objects.raw
    foreign = raw if raw and has_figures and not is_fetched(raw) else None
    if foreign:
        cause = f"{cause} {not_published(foreign)}"
    is_due = service.first_month <= month <= Month.newest_published(today)
    is_begun = state is State.UNEQUAL and _is_begun(stored)
    return MonthStatus(
        *key,
        state,
        cause,
        figures,
        is_due=is_due,
        is_foreign=foreign is not None,
        is_begun=is_begun,
        running_since=facts.running.get(key),
    )


def _state(
    service: Service, month: Month, stored: StoredMonth, facts: Facts, today: date
) -> tuple[State, str]:
    """Return the first state that holds, and why it does."""
    key = (service.name, month)
    problems = _problems(service, stored)
    if month < service.first_month:
        first = f"TLC's {service.name} trips begin with {service.first_month}."
        return State.NO_MONTH, first
    if key in facts.running:
        since = facts.running[key]
        return State.RUNNING, f"A run of it has been queued or under way since {moment(since)}."
    if stored.is_nothing and key in facts.unpublished:
        return _absent(key, stored, facts, today)
    if key in facts.failed:
        return State.FAILED, facts.failed[key]
    if stored.is_nothing:
        return _absent(key, stored, facts, today)
    if problems:
        return State.UNEQUAL, " ".join(problems)
    raw = stored.objects.raw
    # no run would fetch the publisher's file in place of one that somebody has put there
    is_fetched_file = raw is not None and is_fetched(raw)
    if is_fetched_file and facts.rewritten.get(key) == stored.objects.origin.version:
        return State.REWRITTEN, "The publisher has another file now than the one it was made of."
    return State.LOADED, _as_loaded(stored)


def _as_loaded(stored: StoredMonth) -> str:
    """Say which stores have the trips that were cleaned last."""
    if stored.unasked:
        return (
            "The lake accounts for every published row; whether "
            f"{_listed(stored.unasked)} the trips is not known."
        )
    lake = _in_lake(stored)
    unstamped = [sink for sink, stamp in stored.stamps.items() if not stamp]
    if unstamped and not lake.is_tallied:
        return (
            f"An earlier release has cleaned it: what {_listed(unstamped)} was not noted. "
            "taxi ledger counts it."
        )
    return "All stores have the trips that were cleaned last."


def _listed(sinks: Sequence[type[Sink]]) -> str:
    """Write sinks as the beginning of what they have: "BigQuery and Postgres have"."""
    verb = "has" if len(sinks) == 1 else "have"
    return f"{' and '.join(sink.title for sink in sinks)} {verb}"


def _absent(
    key: tuple[str, Month], stored: StoredMonth, facts: Facts, today: date
) -> tuple[State, str]:
    """Return the state of a month of which no store that was asked has anything."""
    _, month = key
    if month > Month.newest_published(today):
        due = month
        for _ in range(PUBLICATION_LAG_MONTHS):
            due = due.next
        return State.UNPUBLISHED, f"TLC publishes a month some 50 days after its end: due in {due}."
    if key in facts.unpublished:
        return State.UNPUBLISHED, "It is due; TLC did not have it yet when it was asked last."
    cause = "No store has it."
    if stored.unasked:
        which = _listed(stored.unasked)
        cause = f"The lake does not have it; whether {which} it is not known."
    if facts.unknown and month == Month.newest_published(today):
        cause += " It is due by the calendar; whether TLC has published it yet is not known."
    return State.MISSING, cause


def _is_begun(stored: StoredMonth) -> bool:
    """Whether a run of the month would end what was begun, and nothing else is amiss."""
    if stored.objects.cleaned is None:
        return stored.objects.raw is not None
    lake = _in_lake(stored)
    others = (stamp for stamp in stored.stamps.values() if stamp and stamp != lake.stamp)
    return not lake.problems and not any(others)


def _problems(service: Service, stored: StoredMonth) -> list[str]:
    """Return what does not add up, in the ledger's sentences."""
    if stored.objects.raw and not stored.objects.cleaned and not any(stored.stamps.values()):
        return ["It is not loaded yet: the lake has its raw file, and no cleaned trips."]
    lake = _in_lake(stored)
    problems = list(lake.problems)
    if lake.kept is None:
        return problems
    for sink, stamp in stored.stamps.items():
        if stamp:
            problems += lake.stamp_problems(sink, stamp)
        elif lake.kept.rows and lake.is_tallied:  # a month without trips need not have been loaded
            problems.append(
                f"{sink.title} does not say that it has loaded the month: materialize "
                f"{service.name}_{sink.name}."
            )
    return problems


def _figures(stored: StoredMonth, month: Month) -> Figures:
    origin, history = stored.objects.origin, stored.objects.history
    lake = _in_lake(stored)
    by_day = history.trips_by_day or ()
    is_of_month = len(by_day) == (month.end - month.start).days  # others may write what they like
    return Figures(
        origin.rows,
        history.kept,
        lake.rejected,
        history.cents,
        stored.objects.size,
        by_day if is_of_month else (),
        {
            sink: _has(lake, stored.stamps[sink]) if sink in stored.stamps else None
            for sink in stored.sinks
        },
    )


def _in_lake(stored: StoredMonth) -> LakeEntry:
    """Return what the lake says that it has.

    A release that stamps what it loads notes the trips by day, too: so a month without them may be
    in a sink without a stamp, as in the ledger.
    """
    is_tallied = stored.objects.history.trips_by_day is not None
    return replace(noted_entry(stored.objects), is_tallied=is_tallied)


def _has(lake: LakeEntry, stamp: Stamp | None) -> bool | None:
    if stamp is None and lake.stamp and not lake.is_tallied:
        return None
    return stamp is not None and stamp == lake.stamp
