"""Pictures of a mart's trips by day and by zone, as PNG inside Markdown, which Dagster's UI shows.

Only drawing belongs here: who asks for a picture has counted. The background is transparent, and
all colours read on a light page as on a dark one. That of a month is `month_picture`'s.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import date
from io import BytesIO
from typing import TYPE_CHECKING, Literal

import dagster as dg

from taxi_pipeline.tlc.shapes import ZoneShape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.path import Path

WIDTH, HEIGHT = 700, 260  # in pixels
_DPI = 100

INK = "#828b96"
TRIPS = "#3b8bd0"
_LINES = ("#d9a400", "#2f9e5b", "#3b8bd0", "#b264d6", "#d9772b")

MAP_WIDTH, MAP_HEIGHT = 640, 600  # in pixels
_MAP_COLOURS = 32  # of the PNG, which is a third of one in full colour
_DEGREE = 0.758  # of longitude at New York's latitude, in degrees of latitude
# How opaque a zone is, from the fewest trips to the most: the page shines through, light or dark.
_OPACITY = (0.12, 1.0)

_LOG_FROM = 30  # times: on a linear scale the smallest line would lie on the axis


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
        labelcolor=INK,
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
    axes.set_title(title, color=INK, fontsize=10, loc="left")
    axes.set_axis_off()
    shades = LinearSegmentedColormap.from_list(
        "trips", [to_rgba(TRIPS, alpha) for alpha in _OPACITY]
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
            edgecolors=INK,
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
    return png_as_markdown(png.getvalue(), alt)


def png_as_markdown(png: bytes, alt: str) -> dg.MarkdownMetadataValue:
    """Return a PNG within Markdown; `alt` is what it shows, in words."""
    encoded = base64.b64encode(png).decode()
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


def _style(axes: "Axes", title: str) -> None:
    axes.set_title(title, color=INK, fontsize=10, loc="left")
    axes.tick_params(colors=INK, labelsize=8)
    axes.xaxis.label.set(color=INK, fontsize=8)
    axes.yaxis.label.set(color=INK, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)


def _count_along(axis: "Axis") -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if axis.get_scale() == "linear":
        axis.set_major_locator(MaxNLocator(5, integer=True))
