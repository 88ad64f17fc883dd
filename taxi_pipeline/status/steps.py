"""What to do next: a step for each thing that is not well, with the command that does it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from taxi_pipeline.status.months import MonthStatus, State
from taxi_pipeline.status.reading import Status
from taxi_pipeline.status.texts import moment
from taxi_pipeline.status.totals import Totals
from taxi_pipeline.tlc.month import Month


@dataclass(frozen=True)
class Step:
    """Something to do.

    Attributes:
        sentence: What for.
        command: The command that does it; empty where there is nothing to type.
    """

    sentence: str
    command: str = ""


@dataclass(frozen=True)
class Range:
    """Months in a row of one or more services."""

    services: tuple[str, ...]
    first: Month
    last: Month

    @property
    def count(self) -> int:
        """How many months it has, of all its services."""
        months = (self.last.year - self.first.year) * 12 + self.last.month - self.first.month + 1
        return months * len(self.services)

    @property
    def options(self) -> str:
        """The options by which a verb chooses its months."""
        if self.first == self.last:
            return f"--month {self.first}"
        return f"--from {self.first} --to {self.last}"

    def __str__(self) -> str:
        to = f" to {self.last}" if self.last != self.first else ""
        return f"{', '.join(self.services)} {self.first}{to}"


def ranges(months: Iterable[MonthStatus]) -> list[Range]:
    """Return the months as ranges, those first that are of the same months of several services."""
    of_one: list[tuple[str, Month, Month]] = []
    for each in months:
        if of_one:
            service, first, last = of_one[-1]
            if service == each.service and last.next == each.month:
                of_one[-1] = (service, first, each.month)
                continue
        of_one.append((each.service, each.month, each.month))
    services: dict[tuple[Month, Month], list[str]] = {}
    for service, first, last in of_one:
        services.setdefault((first, last), []).append(service)
    return [Range(tuple(names), first, last) for (first, last), names in services.items()]


def next_steps(status: Status) -> list[Step]:
    """Return what to do, the most urgent first; a single step without a command where all is well.

    Months that TLC has not published yet are nothing to do.
    """
    unequal = status.of_state(State.UNEQUAL)
    steps = [
        *_failed(status.of_state(State.FAILED)),
        *_unequal([month for month in unequal if not month.is_begun]),
        *_to_run([month for month in unequal if month.is_begun], "is not loaded", "are not loaded"),
        *_to_run(status.of_state(State.REWRITTEN), "was rewritten since", "were rewritten since"),
        *_to_run(status.of_state(State.MISSING), "is missing", "are missing"),
    ]
    if running := status.of_state(State.RUNNING):
        steps.append(_running(running))
    return steps or [_nothing(status)]


def _nothing(status: Status) -> Step:
    chosen = " chosen" if status.is_chosen else ""
    if not Totals.of(status.months).due:
        return Step(f"Nothing: none of the months{chosen} is due.")
    every = f"every month{chosen} that is due is as loaded"
    if status.unknown:
        return Step(f"As far as is known, {every}: see what is not.")
    return Step(f"Nothing: {every}.")


def _running(months: Sequence[MonthStatus]) -> Step:
    count = len(months)
    begun = [month.running_since for month in months if month.running_since]
    since = f", {_verb(count, '', 'the first ')}since {moment(min(begun))}" if begun else ""
    sentence = f"{_months(count)} {_verb(count, 'is', 'are')} being run{since}: look again."
    return Step(sentence)


def _failed(months: Sequence[MonthStatus]) -> Iterator[Step]:
    if months:
        services = list(dict.fromkeys(month.service for month in months))
        options = "".join(f" --service {service}" for service in services)
        yield Step(f"{_months(len(months))} failed.", f"taxi retry-failed{options}")


def _unequal(months: Sequence[MonthStatus]) -> Iterator[Step]:
    for each in ranges(months):
        options = "".join(f" --service {service}" for service in each.services)
        verb = _verb(each.count, "does", "do")
        yield Step(f"{each} {verb} not add up.", f"taxi ledger{options} {each.options} --columns")


def _to_run(months: Sequence[MonthStatus], one: str, many: str) -> Iterator[Step]:
    for each in ranges(months):
        sentence = f"{each} {_verb(each.count, one, many)}."
        services = " ".join(each.services)
        yield Step(sentence, f"taxi backfill {services} {each.options}")


def _months(count: int) -> str:
    return f"{count} month{'' if count == 1 else 's'}"


def _verb(count: int, one: str, many: str) -> str:
    return one if count == 1 else many
