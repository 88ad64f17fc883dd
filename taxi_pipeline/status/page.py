"""The status as a web page: one file without scripts, which asks nothing of any other place.

What the page says is put together here; its form is that of `page.html.jinja` and `page.css`. The
same status makes the same page, byte for byte.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from taxi_pipeline.status.charts import (
    CHART_HEIGHT,
    CHART_WIDTH,
    HEIGHT,
    Comparison,
    RejectedChart,
    area,
    compare_newest,
    reasons_of,
    rejected_chart,
    relative_height,
    trips_by_day,
)
from taxi_pipeline.status.months import Figures, MonthStatus, State
from taxi_pipeline.status.reading import Status
from taxi_pipeline.status.steps import next_steps
from taxi_pipeline.status.texts import amount, change, dollars, points, share, short, size
from taxi_pipeline.status.totals import Totals
from taxi_pipeline.tlc.text import printable

_MOST_LISTED = 100  # of the months that are not well, and of what to do
_MOST_REASONS = 4  # of a month
_CHARACTERS = 300  # of why a month is in its state, in the matrix

# What a state is called in the page's classes: short, since each month has one.
_CLASSES = {
    State.LOADED: "l",
    State.REWRITTEN: "w",
    State.UNEQUAL: "u",
    State.FAILED: "f",
    State.RUNNING: "r",
    State.MISSING: "m",
    State.UNPUBLISHED: "n",
    State.NO_MONTH: "x",
}


@dataclass(frozen=True)
class _Cell:
    """A month in the matrix.

    Attributes:
        status: The month.
        picture: Its trips by day, as a path; empty where the lake has none.
        width: How wide the picture is: a unit from a day to the next.
        height: How high the picture is beside the highest of its service.
        rows: Its figures: a name and a text each.
    """

    status: MonthStatus
    picture: str
    width: int
    height: float
    rows: Sequence[tuple[str, str]]

    @property
    def offset(self) -> float:
        """By how much the picture is moved down, to stand on the cell's ground."""
        return round(HEIGHT * (1 - self.height), 1)


@dataclass(frozen=True)
class _Service:
    """What the page shows of a service."""

    name: str
    totals: Totals
    years: Sequence[tuple[int, Sequence[_Cell | None]]]
    chart: RejectedChart | None
    comparison: Comparison | None
    changes: Sequence[tuple[str, str, str, str]]


def to_html(status: Status) -> str:
    """Return the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("taxi_pipeline.status", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "amount": amount,
        "cut": lambda cause: printable(cause, _CHARACTERS),
        "dollars": dollars,
        "share": share,
        "short": short,
        "size": size,
        "state": _CLASSES.__getitem__,
    }
    return environment.get_template("page.html.jinja").render(_content(status))


def _content(status: Status) -> dict[str, Any]:
    """Return what the template shows, by name."""
    reasons = reasons_of(status.months)
    steps = next_steps(status)
    bad = [month for state in State if state.is_bad for month in status.of_state(state)]
    listed = [*bad, *status.of_state(State.REWRITTEN), *status.of_state(State.RUNNING)]
    return {
        "as_of": status.as_of,
        "lake": status.lake,
        "totals": Totals.of(status.months),
        "states": State,
        "services": [_service(name, of, reasons, status) for name, of in status.services.items()],
        "reasons": reasons,
        "steps": steps[:_MOST_LISTED],
        "more_steps": max(len(steps) - _MOST_LISTED, 0),
        "listed": listed[:_MOST_LISTED],
        "more_listed": max(len(listed) - _MOST_LISTED, 0),
        "unknown": status.unknown,
        "chart": {"width": CHART_WIDTH, "height": CHART_HEIGHT},
        "letters": "JFMAMJJASOND",
    }


def _service(
    name: str, months: Sequence[MonthStatus], reasons: Sequence[str], status: Status
) -> _Service:
    every_year = sorted({month.month.year for month in status.months})
    days = [trips_by_day(month.month, month.figures) for month in months if month.figures]
    most = max((count for of_month in days for count in of_month), default=0)
    years: dict[int, list[_Cell | None]] = {}
    for month in months:
        cells = years.setdefault(month.month.year, [None] * 12)
        cells[month.month.month - 1] = _cell(month, most)
    comparison = compare_newest(months)
    return _Service(
        name,
        Totals.of(months),
        list(years.items()),
        rejected_chart(months, reasons, every_year),
        comparison,
        [*_changes(comparison)] if comparison else [],
    )


def _cell(month: MonthStatus, most: float) -> _Cell:
    if month.figures is None:
        return _Cell(month, "", 0, 1, ())
    days = trips_by_day(month.month, month.figures)
    picture = area(days) if month.figures.kept else ""
    height = relative_height(days, most)
    return _Cell(month, picture, len(days) - 1, height, [*_rows(month.figures)])


def _rows(figures: Figures) -> Iterator[tuple[str, str]]:
    """Yield a month's figures as texts."""
    yield "published", amount(figures.published)
    yield "kept", amount(figures.kept)
    yield "rejected", f"{amount(figures.rejected_rows)} ({share(figures.rejected_share)})"
    by_rows = sorted((figures.rejected or {}).items(), key=lambda item: (-item[1], item[0]))
    for reason, rows in by_rows[:_MOST_REASONS]:
        yield f"· {reason}", amount(rows)
    if rest := by_rows[_MOST_REASONS:]:
        yield "· others", amount(sum(rows for _, rows in rest))
    if figures.cents is not None:
        yield "dollars", dollars(figures.dollars)
    yield "in the lake", size(figures.size)
    for sink, has in figures.stores.items():
        yield (
            sink.title,
            "not known" if has is None else "the same trips" if has else "others, or none",
        )


def _changes(comparison: Comparison) -> Iterator[tuple[str, str, str, str]]:
    """Yield the figures of both months, and by how much each has changed."""
    now = comparison.newest.figures or Figures()
    before = (comparison.before and comparison.before.figures) or Figures()
    yield "trips", short(now.kept), short(before.kept), change(now.kept, before.kept)
    yield (
        "rejected",
        share(now.rejected_share),
        share(before.rejected_share),
        points(now.rejected_share, before.rejected_share),
    )
    if now.cents is not None:
        yield (
            "dollars",
            f"${short(now.dollars)}",
            f"${short(before.dollars)}" if before.cents is not None else "-",
            change(now.dollars, before.dollars),
        )
    sizes = (size(now.size), size(before.size) if comparison.before else "-")
    yield "in the lake", *sizes, change(now.size, before.size)
