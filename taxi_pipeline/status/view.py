"""The status as people read it in a terminal, and as programs do, JSON.

Only showing belongs here; `page` shows the same as a web page.
"""

import json
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from taxi_pipeline.status.months import MonthStatus, State
from taxi_pipeline.status.reading import Status
from taxi_pipeline.status.steps import next_steps, ranges
from taxi_pipeline.status.texts import amount, dollars, share, size
from taxi_pipeline.status.totals import Totals

_WIDTH = 200  # columns: no figure is ever cut short, however narrow the terminal
_MOST_LINES = 20  # of what is not well, and of what to do
_STYLES = {
    State.LOADED: "green",
    State.REWRITTEN: "magenta",
    State.UNEQUAL: "bold yellow",
    State.FAILED: "bold red",
    State.RUNNING: "bold blue",
    State.MISSING: "dim",
    State.UNPUBLISHED: "dim",
    State.NO_MONTH: "dim",
}


def show(status: Status) -> None:
    """Print the months as a matrix, the totals, what is not well, and what to do next."""
    console = Console(width=_WIDTH)
    totals = Totals.of(status.months)
    console.print(_matrix(status))
    console.print(_legend(totals))
    console.print(_totals(status, totals))
    lines = [
        *(_lines(status.of_state(state)) for state in State if state.is_bad),
        _foreign(status.months),
        *([f"Not known: {sentence}"] for sentence in status.unknown),
    ]
    for line in (line for group in lines for line in group):
        _say(console, line)
    console.print("\nWhat to do next", style="bold")
    for line in _steps(status):
        _say(console, line)


def to_json(status: Status) -> str:
    """Return the status as a JSON object, with null for what is not known."""
    totals = Totals.of(status.months)
    services = {name: _as_object(Totals.of(months)) for name, months in status.services.items()}
    return json.dumps(
        {
            "as_of": status.as_of.isoformat(),
            "lake": status.lake,
            "months": [_month(month) for month in status.months],
            "totals": {**_as_object(totals), "services": services},
            "next": [
                {"sentence": step.sentence, "command": step.command or None}
                for step in next_steps(status)
            ],
            "unknown": [*status.unknown],
        },
        indent=2,
    )


def _matrix(status: Status) -> Table:
    """Return a row for each service and year, with a mark for each month."""
    table = Table("service", "year", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for letter in "JFMAMJJASOND":
        table.add_column(letter, justify="center")
    for service, months in status.services.items():
        by_year: dict[int, dict[int, State]] = {}
        for month in months:
            by_year.setdefault(month.month.year, {})[month.month.month] = month.state
        for number, (year, states) in enumerate(by_year.items()):
            marks = (_mark(states[month]) if month in states else "" for month in range(1, 13))
            is_last = number == len(by_year) - 1
            table.add_row(service if not number else "", str(year), *marks, end_section=is_last)
    return table


def _mark(state: State) -> Text:
    return Text(state.mark, _STYLES[state])


def _legend(totals: Totals) -> Text:
    """Return the marks with their meanings, of the states that there are."""
    entries = [
        Text.assemble(_mark(state), f" {state}: {count:,}")
        for state, count in totals.states.items()
        if state is not State.NO_MONTH
    ]
    return Text("   ").join(entries)


def _totals(status: Status, totals: Totals) -> Table:
    table = Table("totals", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    names = ("loaded", "due", "published", "kept", "rejected", "share", "bytes", "dollars")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("oldest")
    table.add_column("newest")
    rows = {name: Totals.of(months) for name, months in status.services.items()}
    for name, each in {**rows, **({"all": totals} if len(rows) > 1 else {})}.items():
        table.add_row(
            name,
            f"{each.loaded:,}",
            f"{each.due:,}",
            amount(each.published),
            amount(each.kept),
            amount(each.rejected.total()),
            share(each.rejected_share),
            size(each.size),
            f"{dollars(each.dollars)}{each.of_months}",
            str(each.oldest or "-"),
            str(each.newest or "-"),
        )
    return table


def _lines(months: Sequence[MonthStatus]) -> list[str]:
    """Return what is not well: months in a row of the same cause as one line."""
    by_cause: dict[str, list[MonthStatus]] = {}
    for month in months:
        by_cause.setdefault(month.cause, []).append(month)
    lines = [f"{each}: {cause}" for cause, alike in by_cause.items() for each in ranges(alike)]
    return _cut(lines)


def _foreign(months: Sequence[MonthStatus]) -> list[str]:
    """Return which months come from a file that somebody else has put into the lake."""
    foreign = ranges(month for month in months if month.is_foreign)
    return _cut(
        [
            f"{each}: from a file that somebody else put into the lake, not TLC's."
            for each in foreign
        ]
    )


def _steps(status: Status) -> list[str]:
    lines = [
        f"{step.sentence}{f'  {step.command}' if step.command else ''}"
        for step in next_steps(status)
    ]
    return _cut(lines)


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_LINES
    rest = [f"… and {more:,} more, which taxi status --json has."] if more > 0 else []
    return lines[:_MOST_LINES] + rest


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _month(month: MonthStatus) -> dict[str, Any]:
    figures = month.figures
    return {
        "service": month.service,
        "month": month.month.key,
        "state": str(month.state),
        "cause": month.cause,
        "foreign": month.is_foreign,
        "published": figures and figures.published,
        "kept": figures and figures.kept,
        "rejected": dict(sorted(figures.rejected.items()))
        if figures and figures.rejected is not None
        else None,
        "dollars": figures and figures.dollars,
        "bytes": figures and figures.size,
        "trips_by_day": [*figures.trips_by_day] if figures and figures.trips_by_day else None,
        "stores": {sink.name: has for sink, has in figures.stores.items()} if figures else None,
    }


def _as_object(totals: Totals) -> dict[str, Any]:
    return {
        "states": {str(state): count for state, count in totals.states.items()},
        "due": totals.due,
        "published": totals.published,
        "kept": totals.kept,
        "rejected": dict(sorted(totals.rejected.items())),
        "rejected_share": totals.rejected_share,
        "dollars": totals.dollars,
        "months_with_dollars": totals.with_cents,
        "bytes": totals.size,
        "oldest": totals.oldest.key if totals.oldest else None,
        "newest": totals.newest.key if totals.newest else None,
    }
