"""The totals of some months: rows, bytes, dollars, and how many months are in which state."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from taxi_pipeline.status.months import Figures, MonthStatus, State
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES


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
        rejected_share: The share of the published rows that were rejected, of those months that
            say both; None where none does.
        cents: What the kept trips cost, in whole cents; None where no month says it.
        with_cents: How many months say what their trips cost.
        without_cents: How many months have trips with amounts and do not say what they cost.
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
    rejected_share: float | None
    cents: int | None
    with_cents: int
    without_cents: int
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
        silent = [
            month
            for month in months
            if month.figures
            and month.figures.kept
            and month.figures.cents is None
            and SERVICES[month.service].total
        ]
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
            _rejected_share(figures),
            sum(cents) if cents else None,
            len(cents),
            len(silent),
            sum(each.size for each in figures),
            min(there, default=None),
            max(there, default=None),
        )

    @property
    def dollars(self) -> float | None:
        """What the kept trips cost, of the months that say it."""
        return None if self.cents is None else self.cents / 100

    @property
    def of_months(self) -> str:
        """Of how many months the dollars are, where some do not say theirs: " of 3 months"."""
        if self.cents is None or not self.without_cents:
            return ""
        return f" of {self.with_cents:,} month{'' if self.with_cents == 1 else 's'}"


def _rejected_share(figures: Iterable[Figures]) -> float | None:
    both = [each for each in figures if each.published and each.rejected_rows is not None]
    published = sum(each.published or 0 for each in both)
    return sum(each.rejected_rows or 0 for each in both) / published if published else None
