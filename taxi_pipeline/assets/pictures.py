"""Pictures of trips by day and by zone, as PNG inside Markdown, which Dagster's UI shows.

Only drawing belongs here: who asks for a picture has counted. The background is transparent, and
all colours read on a light page as on a dark one.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import date
from io import BytesIO
from typing import TYPE_CHECKING, Literal

import dagster as dg

from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service
from taxi_pipeline.tlc.shapes import ZoneShape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.path import Path

WIDTH, HEIGHT = 700, 260  # in pixels
_DPI = 100
# Where a month's trips by day and its rejected rows are, as shares of the picture (left, bottom,
# width, height): room for millions a day and for the longest reason. A layout that measures its
# texts takes a third of a picture's time.
_PLACES = ((0.125, 0.165, 0.48, 0.74), (0.84, 0.165, 0.15, 0.74))

_INK = "#828b96"
_TRIPS, _REJECTED = "#3b8bd0", "#d9772b"
_LINES = ("#d9a400", "#2f9e5b", "#3b8bd0", "#b264d6", "#d9772b")

MAP_WIDTH, MAP_HEIGHT = 640, 600  # in pixels
_MAP_COLOURS = 32  # of the PNG, which is a third of one in full colour
_DEGREE = 0.758  # of longitude at New York's latitude, in degrees of latitude
# How opaque a zone is, from the fewest trips to the most: the page shines through, light or dark.
_OPACITY = (0.12, 1.0)

_MOST_REASONS = 6
_LOG_FROM = 30  # times: on a linear scale the smallest line would lie on the axis


def month_picture(
    service: Service, month: Month, trips: Sequence[int], rejected: Mapping[str, int]
) -> dg.MarkdownMetadataValue:
    """Draw a month: its trips by day, and beside them its rejected rows by reason.

    `trips` has one count for each day of the month, from the first on.
    """
    import numpy as np

    figure = _figure()
    by_day, by_reason = (figure.add_axes(place) for place in _PLACES)
    _style(by_day, f"{service.name} {month}: {sum(trips):,} trips")
    # one shape instead of a bar a day, which takes twice as long
    edges = np.arange(1, len(trips) + 1).repeat(2) + np.tile((-0.4, 0.4), len(trips))
    heights = np.ravel([[count, 0] for count in trips])[:-1]
    by_day.stairs(heights, edges, fill=True, color=_TRIPS)
    by_day.set(xlabel="day of the month", ylabel="trips a day")
    by_day.set(xlim=(0.4, len(trips) + 0.6), xticks=range(1, len(trips) + 1, 7))
    by_day.set_ylim(0, max(*trips, 1) * 1.05)
    _count_along(by_day.yaxis)

    rows = f"{sum(rejected.values()):,}" if rejected else "none"
    _style(by_reason, f"{rows} rejected", "right")
    reasons = _largest(rejected)
    by_reason.barh(range(len(reasons)), [rows for _, rows in reasons], color=_REJECTED)
    by_reason.set_yticks(range(len(reasons)), [f"{name}\n{rows:,}" for name, rows in reasons])
    by_reason.set_ylim(max(len(reasons), 4) - 0.5, -0.5)  # the largest on top, none too thick
    by_reason.tick_params(left=False, bottom=False, labelbottom=False)
    by_reason.spines[["left", "bottom"]].set_visible(False)
    return as_markdown(figure, f"{service.name} {month}: trips by day, rejected rows by reason")


def daily_picture(
    days: Sequence[date], trips: Mapping[str, Sequence[int]]
) -> dg.MarkdownMetadataValue:
    """Draw the trips by day of several services, a line for each.

    `days` ascend; where some are left out, the lines have a gap. `trips` has a service's counts by
    its name, one for each of `days`.
    """
    import numpy as np
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    figure = _figure(layout="constrained")
    axes = figure.subplots()
    if not days:
        _style(axes, "no trips")
        return as_markdown(figure, "no trips")
    _style(axes, f"trips a day, {days[0]} to {days[-1]}")
    axes.set_prop_cycle(color=_LINES)
    at = date2num(days)  # type: ignore[no-untyped-call]
    every = np.arange(at[0], at[-1] + 1)
    for name, counts in trips.items():
        line = np.full(len(every), np.nan)
        line[(at - at[0]).astype(int)] = counts
        # the dots show a day that stands alone
        axes.plot(every, line, label=name, linewidth=1.2, marker=".", markersize=3)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=len(trips),
        frameon=False,
        labelcolor=_INK,
        fontsize=8,
    )
    largest = [max(counts) for counts in trips.values() if any(counts)]
    if largest and max(largest) > _LOG_FROM * min(largest):
        axes.set_yscale("log", nonpositive="mask")
    else:
        axes.set_ylim(0)
    _count_along(axes.yaxis)
    axes.set_xlim(at[0] - 0.5, at[-1] + 0.5)
    dates = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(dates)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(dates))  # type: ignore[no-untyped-call]
    axes.xaxis.get_offset_text().set_fontsize(8)
    return as_markdown(figure, "trips a day by service")


def zones_picture(
    title: str, zones: Sequence[ZoneShape], trips: Mapping[int, int]
) -> dg.MarkdownMetadataValue:
    """Draw a map of the zones, each the more opaque the more trips it has, on a logarithmic scale.

    Args:
        title: What the map shows.
        zones: The zones' shapes.
        trips: The trips of each zone that has any, by its id.
    """
    from matplotlib.collections import PathCollection
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgba
    from matplotlib.ticker import EngFormatter

    figure = _figure(MAP_WIDTH, MAP_HEIGHT)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.93))
    axes.set_title(title, color=_INK, fontsize=10, loc="left")
    axes.set_axis_off()
    shades = LinearSegmentedColormap.from_list(
        "trips", [to_rgba(_TRIPS, alpha) for alpha in _OPACITY]
    )
    most = max([10, *trips.values()])
    scale = LogNorm(1, most)
    axes.add_collection(
        PathCollection(
            [_outline(zone) for zone in zones],
            facecolors=[
                shades(scale(trips[zone.location_id])) if trips.get(zone.location_id) else "none"
                for zone in zones
            ],
            edgecolors=_INK,
            linewidths=0.4,
        )
    )
    axes.set_aspect(1 / _DEGREE)
    axes.autoscale_view()
    bar = figure.add_axes((0.06, 0.86, 0.36, 0.02))
    bar.imshow([[*range(256)]], aspect="auto", cmap=shades, extent=(0, 1, 0, 1))
    decades = [10**exponent for exponent in range(len(str(most)))]
    bar.set_xticks([float(scale(decade)) for decade in decades], map(EngFormatter(sep=""), decades))
    _style(bar, "")
    bar.set_yticks([])
    return as_markdown(figure, title, colours=_MAP_COLOURS)


def _outline(zone: ZoneShape) -> "Path":
    """Return a zone's rings as one path, whose winding leaves the holes out."""
    from matplotlib.path import Path

    return Path.make_compound_path(*(Path(ring, closed=True) for ring in zone.rings))


def as_markdown(figure: "Figure", alt: str, colours: int | None = None) -> dg.MarkdownMetadataValue:
    """Return a figure as Markdown that carries its PNG within.

    Args:
        figure: The figure.
        alt: What it is, in words.
        colours: How many colours the PNG has at most; None for any number.
    """
    png = BytesIO()
    figure.savefig(png, format="png", dpi=_DPI, transparent=True)
    if colours:
        png = _with_colours(png, colours)
    encoded = base64.b64encode(png.getvalue()).decode()
    return dg.MetadataValue.md(f"![{alt}](data:image/png;base64,{encoded})")


def _with_colours(png: BytesIO, colours: int) -> BytesIO:
    """Return a PNG with the colours, transparent ones among them, that come nearest to its own."""
    from PIL import Image

    reduced = BytesIO()
    method = Image.Quantize.FASTOCTREE  # the only one that knows transparency
    Image.open(png).convert("RGBA").quantize(colours, method).save(reduced, "PNG", optimize=True)
    return reduced


def _figure(
    width: int = WIDTH, height: int = HEIGHT, layout: Literal["constrained"] | None = None
) -> "Figure":
    from matplotlib.figure import Figure  # not pyplot, which keeps all figures in one global list

    return Figure((width / _DPI, height / _DPI), layout=layout)


def _style(axes: "Axes", title: str, loc: Literal["left", "right"] = "left") -> None:
    axes.set_title(title, color=_INK, fontsize=10, loc=loc)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.xaxis.label.set(color=_INK, fontsize=8)
    axes.yaxis.label.set(color=_INK, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)


def _count_along(axis: "Axis") -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if axis.get_scale() == "linear":
        axis.set_major_locator(MaxNLocator(5, integer=True))


def _largest(rejected: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the reasons with the most rows, the largest first, and the rest as `others`."""
    ordered = sorted(rejected.items(), key=lambda item: -item[1])
    rest = ordered[_MOST_REASONS:]
    others = [("others", sum(rows for _, rows in rest))] if rest else []
    return ordered[:_MOST_REASONS] + others
