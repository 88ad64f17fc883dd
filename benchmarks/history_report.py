"""What the history took, as a page and as JSON, and what more workers would make of it."""

import json
import platform
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path
from typing import Any

from benchmarks.footprint import Footprint
from benchmarks.history_months import all_months, true_rows
from benchmarks.simulation import Phase, Run, simulate
from taxi_pipeline.backfill.pace import LAUNCH_SECONDS, seconds_alone
from taxi_pipeline.tlc.services import GREEN, YELLOW

# the pools of a month's steps, by their assets' layers
POOLS = {"raw": "publisher", "bigquery": "bigquery", "postgres": "postgres"}
_UNPOOLED = ""
# Green has yellow's columns, and too few rows for a line of its own.
_ROWS_LIKE = {GREEN.name: YELLOW.name}
_WORKERS = (1, 2, 4, 8, 16)
# production's pools as they are by default, and as deploy/dagster.yaml says that they may be
_PLACES: Mapping[str, Mapping[str, int]] = {
    "two places a pool": {"publisher": 2, "bigquery": 2, "postgres": 2},
    "bigquery 8, postgres 4": {"publisher": 2, "bigquery": 8, "postgres": 4},
    "no limits": {},
}


@dataclass(frozen=True)
class MonthRun:
    """A run of a month: when it was launched and when it ended, and the seconds in each pool."""

    service: str
    month: str
    rows: int
    began: float
    ended: float
    pools: Mapping[str, float]

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began

    def phases(self, gap: float) -> Run:
        """Return it as the simulation has it, with the seconds before it that nothing ran."""
        pooled = sum(self.pools.values())
        return _phases({_UNPOOLED: gap + self.seconds - pooled, **self.pools})


@dataclass(frozen=True)
class History:
    """What the history took.

    Attributes:
        launched: When it was launched.
        runs: The runs, one after another.
        footprint: What the processes used meanwhile.
        stored: The bytes of each store afterwards, and the events that Dagster keeps.
        ledger: The lines of the ledger, which add up.
        failed: How many runs failed, and were tried again.
    """

    launched: float
    runs: Sequence[MonthRun]
    footprint: Footprint
    stored: Mapping[str, int]
    ledger: Sequence[Mapping[str, Any]]
    failed: int

    @property
    def seconds(self) -> float:
        """How long all of it took, from the launch on."""
        return self.runs[-1].ended - self.launched

    @property
    def gap(self) -> float:
        """The seconds a run for which nothing ran."""
        return (self.seconds - sum(run.seconds for run in self.runs)) / len(self.runs)


def stored_bytes(data: Path, published: Path) -> dict[str, int]:
    """Return the bytes of each store of a stack, and the events that Dagster keeps.

    Args:
        data: The stack's data folder.
        published: The publisher's folder.
    """
    folders = {
        "published files, bytes": published,
        "lake, bytes": data / "gcs",
        "PostgreSQL, bytes": data / "postgres/base",
        "BigQuery's emulator, bytes": data / "bigquery",
        "Dagster's storage, bytes": data / "dagster",
    }
    sizes = {name: _size(folder) for name, folder in folders.items()}
    runs = (data / "dagster/history/runs").glob("[!i]*.db")
    return {**sizes, "events": sum(map(_events, runs))}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _events(database: Path) -> int:
    connection = sqlite3.connect(database)
    try:
        ((count,),) = connection.execute("SELECT count(*) FROM event_logs").fetchall()
    finally:
        connection.close()
    return int(count)


# --- seconds of months in their true sizes -------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """Seconds of a month in each pool and in none: some for itself, and some a row of its service.

    Attributes:
        month: Those for itself, by pool.
        row: Those a row, by pool and service.
    """

    month: Mapping[str, float]
    row: Mapping[str, Mapping[str, float]]

    def phases(self, service: str, rows: int, gap: float) -> Run:
        """Return a month as the simulation has it."""
        alike = _ROWS_LIKE.get(service, service)
        seconds = {
            pool: of_month + self.row[pool][alike] * rows for pool, of_month in self.month.items()
        }
        seconds[_UNPOOLED] += gap
        return _phases(seconds)


def fitted_line(runs: Sequence[MonthRun]) -> Line:
    """Return the line that runs lie on: least squares, one month's own seconds for all services."""
    import numpy as np

    alike = [_ROWS_LIKE.get(run.service, run.service) for run in runs]
    services = sorted({*alike})
    of_rows = [
        [run.rows * (service == of) for of in services]
        for run, service in zip(runs, alike, strict=True)
    ]
    columns = np.column_stack([np.ones(len(runs)), np.array(of_rows, float)])
    month, row = {}, {}
    for pool in (_UNPOOLED, *POOLS.values()):
        seconds = [
            run.pools[pool] if pool else run.seconds - sum(run.pools.values()) for run in runs
        ]
        found, *_ = np.linalg.lstsq(columns, np.array(seconds), rcond=None)
        month[pool] = float(found[0])
        row[pool] = {
            service: max(0.0, float(of)) for service, of in zip(services, found[1:], strict=True)
        }
    return Line(month, row)


def _phases(seconds: Mapping[str, float]) -> Run:
    """Return a month's phases: the download, what has no pool, and then each sink."""
    pools = ("publisher", _UNPOOLED, "bigquery", "postgres")
    return [Phase(seconds[pool], pool) for pool in pools]


# --- the page ------------------------------------------------------------------------------------


def write(folder: Path, history: History, every: int, share: float, newest: float) -> None:
    """Write `history.md` and `history.json`.

    Args:
        folder: Where to.
        history: What it took.
        every: Every so-manieth month was run.
        share: The rows of a month, as a share of the true ones.
        newest: The same of the newest month of each service.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "every": every,
        "share": share,
        "newest": newest,
        "seconds": round(history.seconds, 1),
        "cpu_seconds": {part: round(cpu, 1) for part, cpu in history.footprint.cpu.items()},
        "peak_bytes": {**history.footprint.peaks, "largest run": history.footprint.largest_run},
        "stored": history.stored,
        "runs": [asdict(run) for run in history.runs],
    }
    (folder / "history.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "history.md").write_text("\n".join(_page(history, every, share, newest)) + "\n")


def _page(history: History, every: int, share: float, newest: float) -> Iterator[str]:
    runs = history.runs
    months = sum(map(len, all_months().values()))
    which = "every month" if every == 1 else f"each {every}th month, {len(runs)} of {months}"
    yield "# All of the history"
    yield ""
    yield (
        f"{datetime.now(UTC):%Y-%m-%d}, {cpu_count()} cores, {platform.system()} on "
        f"{platform.machine()}, Python {platform.python_version()}; of all services {which}, with "
        f"{share:g} of its rows, the newest of each service with {newest:g}, generated as TLC's "
        "Parquet; `dagster dev` on the embedded stack, one run at a time."
    )
    yield ""
    yield from _table(("", ""), _figures(history))
    yield ""
    yield from _workers(history, share)


def _figures(history: History) -> Iterator[tuple[str, str]]:
    runs, footprint = history.runs, history.footprint
    alone = LAUNCH_SECONDS + sum(seconds_alone(run.service, run.rows) for run in runs)
    yield "months, each of which was loaded", f"{len(runs)}"
    yield "runs that failed and were tried again", f"{history.failed}"
    yield "lines of the ledger, all of which add up", f"{len(history.ledger)}"
    for figure in ("published", "kept", "postgres", "bigquery"):
        yield f"their rows, {figure}", f"{sum(line[figure] for line in history.ledger):,}"
    yield "minutes, from the launch to the last run's end", f"{history.seconds / 60:.1f}"
    yield "the same by the line of `taxi backfill`", f"{alone / 60:.1f}"
    yield "seconds between two runs", f"{history.gap:.1f}"
    for part, cpu in sorted(footprint.cpu.items(), key=lambda of: -of[1]):
        yield f"CPU of {part}, minutes", f"{cpu / 60:.1f}"
    for part, size in footprint.peaks.items():
        yield f"peak memory of {part}, MB", f"{size / 1e6:,.0f}"
    yield "peak memory of one run, MB", f"{footprint.largest_run / 1e6:,.0f}"
    for name, size in history.stored.items():
        yield name, f"{size:,}"


def _workers(history: History, share: float) -> Iterator[str]:
    line, gap = fitted_line(history.runs), history.gap
    yield "A month by least squares of these runs, in seconds:"
    yield ""
    services = sorted(line.row[_UNPOOLED])
    yield from _table(
        ("", "a month", *(f"a million rows of {service}" for service in services)),
        [
            (
                pool or "in no pool",
                f"{of_month:.2f}",
                *(f"{1e6 * line.row[pool][service]:.2f}" for service in services),
            )
            for pool, of_month in line.month.items()
        ],
    )
    yield ""
    yield (
        "Hours by a simulation of the queue and its pools, each worker with cores of its own. By "
        f"the line of `taxi backfill` one worker takes {_hours_by_backfill():.1f} for all months "
        "in their true sizes:"
    )
    yield ""
    as_run = [run.phases(gap) for run in history.runs]
    all_runs = {
        f"the months that were run, measured {history.seconds / 3600:.2f}": as_run,
        f"all months, {share:g} of the rows": _of_all(line, gap, share),
        "all months, true rows": _of_all(line, gap, 1),
    }
    yield from _table(
        ("", "pools", *(f"{workers} workers" if workers > 1 else "1" for workers in _WORKERS)),
        [
            (
                name,
                pools,
                *(f"{simulate(of, workers, places) / 3600:.2f}" for workers in _WORKERS),
            )
            for name, of in all_runs.items()
            for pools, places in _PLACES.items()
        ],
    )


def _hours_by_backfill() -> float:
    """Return the hours of all months in their true sizes, one after another, by `taxi backfill`."""
    months = [(service, month) for service, of in all_months().items() for month in of]
    return (
        sum(seconds_alone(service, true_rows(service, month)) for service, month in months) / 3600
    )


def _of_all(line: Line, gap: float, share: float) -> list[Run]:
    return [
        line.phases(service, round(true_rows(service, month) * share), gap)
        for service, months in all_months().items()
        for month in months
    ]


def _table(
    head: Sequence[str], rows: "Iterator[Sequence[str]] | Sequence[Sequence[str]]"
) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(['---', *('--:' for _ in head[1:])])}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
