"""The pictures of the page as numbers and paths, which its template draws as inline SVG.

Only geometry belongs here: colours are the style sheet's, words the page's.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from taxi_pipeline.status.months import Figures, MonthStatus
from taxi_pipeline.status.texts import amount, share
from taxi_pipeline.tlc.month import Month

HEIGHT = 20  # of a month's picture, whose width is a unit a day
_LEAST = 0.08  # of that height
_MOST_REASONS = 6  # that have a colour of their own
OTHERS = "others"

CHART_WIDTH, CHART_HEIGHT = 340, 120  # of the rejected shares by year
_LEFT, _BOTTOM, _TOP = 38, 16, 6  # of it, for the axes' texts


def trips_by_day(month: Month, figures: Figures) -> Sequence[float]:
    """Return a month's trips by day; where they are not said, spread evenly."""
    if figures.trips_by_day:
        return figures.trips_by_day
    days = (month.end - month.start).days
    return [(figures.kept or 0) / days] * days


def area(trips: Sequence[float], most: float | None = None) -> str:
    """Return the path of an area under trips by day, as high as the picture at `most` trips."""
    scale = HEIGHT / (most or max(trips, default=0) or 1)
    tops = [HEIGHT - round(count * scale) for count in trips]
    return f"M0 {HEIGHT}V{' '.join(_line(tops))}V{HEIGHT}z"


def line(trips: Sequence[float], most: float) -> str:
    """Return the path of a line along trips by day, as high as the picture at `most` trips."""
    scale = HEIGHT / (most or 1)
    return "M0 " + " ".join(_line([HEIGHT - round(count * scale) for count in trips]))


def _line(heights: Sequence[int]) -> Iterable[str]:
    for day, height in enumerate(heights):
        yield f"{'L' if day == 1 else ''}{day} {height}" if day else f"{height}"


def relative_height(trips: Sequence[float], most: float) -> float:
    """Return how high a month's picture is beside the highest of its service, by the root.

    So a month of a hundredth of the trips has a picture that can be seen.
    """
    return round(max(math.sqrt(max(trips, default=0) / (most or 1)), _LEAST), 2)


@dataclass(frozen=True)
class Bar:
    """A part of a bar: the share of one reason in one year; `kind` is the reason's number."""

    kind: int
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True)
class RejectedChart:
    """The rejected shares of a service by year and reason.

    Attributes:
        bars: The parts of the bars.
        years: The texts of the axis of years, each with its place.
        lines: The texts of the axis of shares, each with its place.
        rows: The same figures as texts: the year, and the share of each reason.
    """

    bars: Sequence[Bar]
    years: Sequence[tuple[float, str]]
    lines: Sequence[tuple[float, str]]
    rows: Sequence[tuple[str, Sequence[str]]]


def reasons_of(months: Iterable[MonthStatus]) -> list[str]:
    """Return the reasons by which rows were rejected, the most frequent first, cut to a few."""
    counted = sum((_rejected(month) for month in months), Counter[str]())
    names = [name for name, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))]
    return names if len(names) <= _MOST_REASONS else [*names[: _MOST_REASONS - 1], OTHERS]


def rejected_chart(
    months: Iterable[MonthStatus], reasons: Sequence[str], years: Sequence[int]
) -> RejectedChart | None:
    """Return the chart of a service's months; None where nothing was published.

    Args:
        months: The months.
        reasons: The reasons, in the order of their colours.
        years: The years of the axis.
    """
    published: Counter[int] = Counter()
    rejected: dict[int, Counter[str]] = {}
    for month in months:
        if month.figures and month.figures.published and month.figures.rejected is not None:
            year = month.month.year
            published[year] += month.figures.published
            rejected.setdefault(year, Counter()).update(_named(_rejected(month), reasons))
    if not published:
        return None
    shares = {
        year: {reason: rejected[year][reason] / published[year] for reason in reasons}
        for year in published
    }
    top = _round_up(max(sum(of_year.values()) for of_year in shares.values()))
    return RejectedChart(
        [*_bars(shares, reasons, years, top)],
        [(_x(year, years) + _step(years) / 2, str(year)) for year in years[:: _every(years)]],
        [(_y(value, top), share(value)) for value in (0, top / 2, top)],
        [
            (str(year), [share(of_year[reason]) for reason in reasons])
            for year, of_year in sorted(shares.items())
        ],
    )


def _rejected(month: MonthStatus) -> Counter[str]:
    return Counter((month.figures and month.figures.rejected) or {})


def _named(rejected: Mapping[str, int], reasons: Sequence[str]) -> Counter[str]:
    """Return the rows by reason, those without a colour of their own as others."""
    named: Counter[str] = Counter()
    for reason, rows in rejected.items():
        named[reason if reason in reasons else OTHERS] += rows
    return named


def _bars(
    shares: Mapping[int, Mapping[str, float]],
    reasons: Sequence[str],
    years: Sequence[int],
    top: float,
) -> Iterable[Bar]:
    width = _step(years)
    for year, of_year in sorted(shares.items()):
        below = 0.0
        for kind, reason in enumerate(reasons):
            if of_year[reason]:
                high, low = _y(below + of_year[reason], top), _y(below, top)
                title = f"{year}, {reason}: {share(of_year[reason])}"
                x = round(_x(year, years) + width * 0.14, 1)
                yield Bar(kind, x, high, round(width * 0.72, 1), round(low - high, 2), title)
                below += of_year[reason]


def _step(years: Sequence[int]) -> float:
    return (CHART_WIDTH - _LEFT) / len(years)


def _x(year: int, years: Sequence[int]) -> float:
    return round(_LEFT + (year - years[0]) * _step(years), 1)


def _y(value: float, top: float) -> float:
    return round(_TOP + (CHART_HEIGHT - _TOP - _BOTTOM) * (1 - value / top), 2)


def _every(years: Sequence[int]) -> int:
    return max(len(years) // 6, 1)


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 3 and 5 times a power of ten, at least a hundredth of a percent."""
    limit = 0.0001
    while True:
        for factor in (1, 2, 3, 5):
            if value <= limit * factor:
                return limit * factor
        limit *= 10


@dataclass(frozen=True)
class Comparison:
    """A service's newest month beside the same month a year before, if the lake has that.

    Attributes:
        newest: The newest month.
        before: The month a year before; None where the lake does not have it.
        area: The newest month's trips by day, as a path.
        line: Those of the month before, on the same scale; empty without it.
        width: How wide the picture is: a unit from a day to the next.
        most: The most trips of a day, of both, as a text.
    """

    newest: MonthStatus
    before: MonthStatus | None
    area: str
    line: str
    width: int
    most: str


def compare_newest(months: Sequence[MonthStatus]) -> Comparison | None:
    """Return the comparison of a service's months; None where the lake has trips of none."""
    there = {month.month: month for month in months if month.figures and month.figures.kept}
    if not there:
        return None
    newest = there[max(there)]
    before = there.get(Month(newest.month.year - 1, newest.month.month))
    trips = [
        trips_by_day(each.month, each.figures or Figures()) for each in (newest, before) if each
    ]
    most = max(count for days in trips for count in days)
    return Comparison(
        newest,
        before,
        area(trips[0], most),
        line(trips[1], most) if before else "",
        len(trips[0]) - 1,
        amount(round(most)),
    )
