"""The totals of some months: rows, bytes, dollars, and how many months are in which state."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from taxi_pipeline.status.months import MonthStatus, State
from taxi_pipeline.tlc.month import Month


@dataclass(frozen=True)
class Totals:
    """The sums of what the lake says of some months.

    Attributes:
        states: How many months are in each state that any is in.
        due: How many months there should be: all that are published by now.
        loaded: How many of those are as loaded.
        published: The rows of the published files.
        kept: The rows that were kept.
        rejected: The rejected rows, by reason.
        cents: What all kept trips cost, in whole cents; None where no month says it.
        size: The bytes of the lake's objects.
        oldest: The oldest month of which the lake has trips.
        newest: The newest of them.
    """

    states: Mapping[State, int]
    due: int
    loaded: int
    published: int
    kept: int
    rejected: Counter[str]
    cents: int | None
    size: int
    oldest: Month | None
    newest: Month | None

    @classmethod
    def of(cls, months: Iterable[MonthStatus]) -> "Totals":
        """Sum up some months."""
        months = list(months)
        figures = [month.figures for month in months if month.figures]
        there = [month.month for month in months if month.figures and month.figures.kept]
        cents = [each.cents for each in figures if each.cents is not None]
        counted = Counter(month.state for month in months)
        none = (State.UNPUBLISHED, State.NO_MONTH)
        due = [month for month in months if month.is_due and month.state not in none]
        return cls(
            {state: counted[state] for state in State if counted[state]},
            len(due),
            sum(month.state is State.LOADED for month in due),
            sum(each.published or 0 for each in figures),
            sum(each.kept or 0 for each in figures),
            sum((each.rejected or Counter() for each in figures), Counter()),
            sum(cents) if cents else None,
            sum(each.size for each in figures),
            min(there, default=None),
            max(there, default=None),
        )

    @property
    def rejected_share(self) -> float | None:
        """The share of the published rows that were rejected."""
        return self.rejected.total() / self.published if self.published else None

    @property
    def dollars(self) -> float | None:
        """What all kept trips cost."""
        return None if self.cents is None else self.cents / 100
