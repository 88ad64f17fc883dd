"""The ledger as people read it, a table with sentences below, and as programs do, JSON.

Only showing belongs here; what adds up is `entry`'s to say.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from taxi_pipeline.ledger.entry import Entry
from taxi_pipeline.marts import MARTS
from taxi_pipeline.sink import Sink, Stamp
from taxi_pipeline.tlc.column_tallies import as_text, figures_of
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Column, Service
from taxi_pipeline.tlc.tally import Tally

_WIDTH = 200  # columns: no figure is ever cut short, however narrow the terminal


def show(entries: Sequence[Entry]) -> None:
    """Print the entries as a table and, below it, what does not add up in which month."""
    table = Table("service", "month", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    sinks = next((entry.tables for entry in entries), {})
    for name in ("published", "kept", "rejected", *(sink.title for sink in sinks), "total (lake)"):
        table.add_column(name, justify="right")
    table.add_column("adds up")
    for entry in entries:
        lake = entry.lake
        rejected = None if lake.rejected is None else lake.rejected.total()
        tables = (_rows(tally) for tally in entry.tables.values())
        counts = lake.published, _rows(lake.kept), rejected, *tables
        total = _total(lake.kept)
        table.add_row(
            entry.service,
            entry.month.key if entry.month else "-",
            *("-" if count is None else f"{count:,}" for count in counts),
            "-" if total is None else f"{total:,.2f}",
            "yes" if entry.adds_up else "[bold red]NO[/]",
        )
    console = Console(width=_WIDTH)
    console.print(table)
    for sentence in problems(entries):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def show_columns(entries: Iterable[Entry]) -> None:
    """Print the figures of each month's columns side by side, the differing ones first."""
    console = Console(width=_WIDTH)
    for entry in entries:
        if not entry.lake.cells:
            continue
        title = f"{entry.name}: columns"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        for name in ("column", "figure"):
            table.add_column(name)
        for name in ("lake", *(sink.title for sink in entry.cells)):
            table.add_column(name, justify="right")
        table.add_column("equal")
        for column, figure, of_lake, of_sinks in _figures(entry):
            differ = any(value != of_lake for value in of_sinks.values())
            texts = (as_text(column, figure, value) for value in (of_lake, *of_sinks.values()))
            table.add_row(column.name, figure, *texts, "[bold red]NO[/]" if differ else "yes")
        console.print(table)


type _Row = tuple[Column, str, int | None, dict[type[Sink], int | None]]


def _figures(entry: Entry) -> list[_Row]:
    """Return each figure of each column, the lake's and each sink's, the differing ones first."""
    if not entry.lake.cells:
        return []
    lake = entry.lake.cells.columns.columns
    rows = [
        (
            column,
            figure,
            lake[column.name][figure],
            {
                sink: cells.columns.columns[column.name][figure]
                for sink, cells in entry.cells.items()
            },
        )
        for column in entry.table.columns
        for figure in figures_of(column)
    ]
    return sorted(rows, key=lambda row: {*row[3].values()} <= {row[2]})


def problems(entries: Iterable[Entry]) -> Iterator[str]:
    """Say what does not add up, and in which month, in sentences."""
    for entry in entries:
        for problem in entry.problems:
            yield f"{entry.name}: {problem}"


def to_json(entries: Iterable[Entry]) -> str:
    """Return the entries as a JSON list, with null for what a store does not have."""
    return json.dumps([_as_object(entry) for entry in entries], indent=2)


def missing(
    entries: Iterable[Entry], chosen: Sequence[Service], first: Month | None, last: Month | None
) -> list[str]:
    """Say what was asked for, services or months, and is in no store, in sentences."""
    match first, last:
        case None, None:
            when = ""
        case _, None:
            when = f" of {first} or later"
        case None, _:
            when = f" of {last} or earlier"
        case _:
            when = f" of {first}" if first == last else f" of {first} to {last}"
    present = {entry.service for entry in entries}
    if chosen:
        names = [service.name for service in chosen if service.name not in present]
        return [f"No store has {name} trips{when}." for name in names]
    return [f"No store has trips{when}."] if when and not present else []


def _as_object(entry: Entry) -> dict[str, Any]:
    lake = entry.lake
    return {
        "service": entry.service,
        "month": entry.month.key if entry.month else None,
        "published": lake.published,
        "kept": _rows(lake.kept),
        "rejected": None if lake.rejected is None else dict(sorted(lake.rejected.items())),
        **{sink.name: _rows(tally) for sink, tally in entry.tables.items()},
        **{mart.name: _rows(entry.marts.get(mart.name)) for mart in MARTS},
        "total_lake": _total(lake.kept),
        **{f"total_{sink.name}": _total(tally) for sink, tally in entry.tables.items()},
        **{f"total_{mart.name}": _total(entry.marts.get(mart.name)) for mart in MARTS},
        "etag": lake.etag,
        "sha256": lake.sha256,
        "stamps": {
            "lake": _stamp(lake.stamp),
            **{sink.name: _stamp(stamp) for sink, stamp in entry.stamps.items()},
        },
        "adds_up": entry.adds_up,
        "problems": entry.problems,
        **(_cells_as_object(entry) if entry.cells else {}),
    }


def _cells_as_object(entry: Entry) -> dict[str, Any]:
    """Return the figures of the columns, and the fingerprints where they were asked for."""
    columns: dict[str, dict[str, dict[str, int | None]]] = {}
    for column, figure, of_lake, of_sinks in _figures(entry):
        by_store = {"lake": of_lake, **{sink.name: value for sink, value in of_sinks.items()}}
        columns.setdefault(column.name, {})[figure] = by_store
    fingerprints = {
        "lake": entry.lake.cells and entry.lake.cells.fingerprint,
        **{sink.name: cells.fingerprint for sink, cells in entry.cells.items()},
    }
    return {"columns": columns, "fingerprint": fingerprints}


def _stamp(stamp: Stamp | None) -> dict[str, Any] | None:
    return asdict(stamp) if stamp else None


def _rows(tally: Tally | None) -> int | None:
    return None if tally is None else tally.rows


def _total(tally: Tally | None) -> float | None:
    return None if tally is None else tally.total
