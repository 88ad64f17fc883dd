"""The results as files: JSON for programs, a table in Markdown and a plot for people."""

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from os import cpu_count
from pathlib import Path

_VERSIONS = (
    "dagster", "pyarrow", "pandas", "polars", "duckdb", "dlt", "adbc-driver-postgresql",
    "psycopg", "pgpq", "local-bigquery",
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds by the clock, seconds of CPU, and its peak memory in bytes."""

    seconds: float
    cpu: float
    peak: float


@dataclass(frozen=True)
class Comparison:
    """Our way of a step beside another one's, by medians."""

    step: str
    ours: str
    ours_cost: Cost
    other: str
    other_cost: Cost

    @property
    def ratio(self) -> float:
        """How many times as long as ours the other takes."""
        return self.other_cost.seconds / self.ours_cost.seconds


@dataclass(frozen=True)
class Size:
    """What the whole job took for a month of so many rows."""

    rows: int
    cost: Cost


def write(folder: Path, compared: Sequence[Comparison], sizes: Sequence[Size]) -> None:
    """Write results.json, results.md and, of several sizes, results.png."""
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
        + ".",
        "",
        "Medians of one run. The ratio is how many times as long as ours the other way takes; the",
        "peak memory is the process's own, without the servers'.",
        "",
        "| step | ours | other | ours, s | other, s | ratio "
        "| ours, CPU s | other, CPU s | ours, MB | other, MB |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|",
        *map(_row, compared),
    ]
    if sizes:
        _plot(folder / "results.png", sizes)
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
    return {
        "step": one.step,
        "ours": one.ours,
        "other": one.other,
        "ours_seconds": round(one.ours_cost.seconds, 3),
        "other_seconds": round(one.other_cost.seconds, 3),
        "ratio": round(one.ratio, 3),
        "ours_peak_mb": round(one.ours_cost.peak / 1e6),
        "other_peak_mb": round(one.other_cost.peak / 1e6),
    }


def _row(one: Comparison) -> str:
    ours, other = one.ours_cost, one.other_cost
    figures = (
        f"{ours.seconds:.2f}", f"{other.seconds:.2f}", f"**{one.ratio:.2f}**",
        _or_dash(ours.cpu, 2), _or_dash(other.cpu, 2),
        _or_dash(ours.peak / 1e6, 0), _or_dash(other.peak / 1e6, 0),
    )  # fmt: skip
    return f"| {' | '.join((one.step, one.ours, one.other, *figures))} |"


def _size(one: Size) -> str:
    cost = one.cost
    return f"| {one.rows:,} | {cost.seconds:.1f} | {cost.cpu:.1f} | {cost.peak / 1e6:,.0f} |"


def _or_dash(figure: float, digits: int) -> str:
    return f"{figure:,.{digits}f}" if figure else "-"


def _plot(path: Path, sizes: Sequence[Size]) -> None:
    from matplotlib.figure import Figure

    figure = Figure((8, 3.2), layout="constrained")
    time, memory = figure.subplots(1, 2)
    rows = [one.rows / 1e6 for one in sizes]
    time.plot(rows, [one.cost.seconds for one in sizes], marker="o", color="#3b8bd0")
    time.set(xlabel="million rows", ylabel="seconds", title="a month of fhvhv", ylim=(0, None))
    memory.plot(rows, [one.cost.peak / 1e6 for one in sizes], marker="o", color="#d9772b")
    memory.set(xlabel="million rows", ylabel="MB", title="peak memory of the run", ylim=(0, None))
    for axes in (time, memory):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
