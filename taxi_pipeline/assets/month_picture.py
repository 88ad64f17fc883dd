"""The picture of a month: its trips by day, and beside them its rejected rows by reason.

The background is transparent, and all colours read on a light page as on a dark one. The other
pictures are `pictures`'.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from taxi_pipeline.assets.pictures import HEIGHT, TRIPS, WIDTH
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service

if TYPE_CHECKING:
    from taxi_pipeline.assets.drawing import Canvas

_REJECTED = "#d9772b"
_TITLE, _LABEL = 14, 11  # the letters' sizes, in pixels
# Where the two charts are, with room for millions a day and for the longest reason beside them.
_TOP, _BOTTOM = 26, 218
_DAYS_LEFT, _DAYS_RIGHT = 88, 424
_REASONS_LEFT, _REASONS_RIGHT = 588, 692

_MOST_REASONS = 6
_MOST_TICKS = 6


def month_picture(
    service: Service, month: Month, trips: Sequence[int], rejected: Mapping[str, int]
) -> dg.MarkdownMetadataValue:
    """Draw a month.

    Args:
        service: The service.
        month: The month.
        trips: One count for each day of the month, from the first on.
        rejected: The rejected rows by reason.
    """
    from taxi_pipeline.assets.drawing import Canvas

    canvas = Canvas(WIDTH, HEIGHT)
    canvas.text(_DAYS_LEFT, 16, f"{service.name} {month}: {sum(trips):,} trips", _TITLE, "ls")
    _draw_days(canvas, trips)
    rows = f"{sum(rejected.values()):,}" if rejected else "none"
    canvas.text(_REASONS_RIGHT, 16, f"{rows} rejected", _TITLE, "rs")
    _draw_reasons(canvas, _largest(rejected))
    return canvas.as_markdown(f"{service.name} {month}: trips by day, rejected rows by reason")


def _draw_days(canvas: "Canvas", trips: Sequence[int]) -> None:
    highest = max(*trips, 1) * 1.05
    each = (_DAYS_RIGHT - _DAYS_LEFT) / (len(trips) + 0.2)
    for day, count in enumerate(trips):
        if count:
            middle = _DAYS_LEFT + (day + 0.6) * each
            top = _BOTTOM - count / highest * (_BOTTOM - _TOP)
            canvas.box(middle - 0.4 * each, top, middle + 0.4 * each, _BOTTOM, TRIPS)
    canvas.box(_DAYS_LEFT, _TOP, _DAYS_LEFT + 1, _BOTTOM)
    canvas.box(_DAYS_LEFT, _BOTTOM, _DAYS_RIGHT, _BOTTOM + 1)
    for count in ticks(highest):
        y = _BOTTOM - count / highest * (_BOTTOM - _TOP)
        canvas.box(_DAYS_LEFT - 4, y, _DAYS_LEFT, y + 1)
        canvas.text(_DAYS_LEFT - 7, y, f"{count:,}", _LABEL, "rm")
    for day in range(0, len(trips), 7):
        x = _DAYS_LEFT + (day + 0.6) * each
        canvas.box(x - 0.5, _BOTTOM, x + 0.5, _BOTTOM + 5)
        canvas.text(x, _BOTTOM + 18, str(day + 1), _LABEL, "ms")
    canvas.text((_DAYS_LEFT + _DAYS_RIGHT) / 2, HEIGHT - 8, "day of the month", _LABEL, "ms")
    canvas.upright_text(14, (_TOP + _BOTTOM) / 2, "trips a day", _LABEL)


def _draw_reasons(canvas: "Canvas", reasons: Sequence[tuple[str, int]]) -> None:
    each = (_BOTTOM - _TOP) / max(len(reasons), 4)  # the largest on top, none too thick
    most = max((rows for _, rows in reasons), default=1)
    for number, (name, rows) in enumerate(reasons):
        middle = _TOP + (number + 0.5) * each
        right = _REASONS_LEFT + rows / most * (_REASONS_RIGHT - _REASONS_LEFT)
        canvas.box(_REASONS_LEFT, middle - 0.4 * each, right, middle + 0.4 * each, _REJECTED)
        canvas.text(_REASONS_LEFT - 8, middle - 2, name, _LABEL, "rs")
        canvas.text(_REASONS_LEFT - 8, middle + 11, f"{rows:,}", _LABEL, "rs")


def ticks(highest: float) -> range:
    """Return the counts at which an axis from 0 to `highest` has ticks: round ones, and few."""
    step, factors = 1, (2, 5, 10)
    while highest / step > _MOST_TICKS:
        decade = 10 ** (len(str(step)) - 1)
        step = next(decade * factor for factor in factors if decade * factor > step)
    return range(0, int(highest) + 1, step)


def _largest(rejected: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the reasons with the most rows, the largest first, and the rest as `others`."""
    ordered = sorted(rejected.items(), key=lambda item: -item[1])
    rest = ordered[_MOST_REASONS:]
    others = [("others", sum(rows for _, rows in rest))] if rest else []
    return ordered[:_MOST_REASONS] + others
