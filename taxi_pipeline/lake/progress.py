"""How far long work has come: in the run's log at a steady pace, and as a bar in a terminal.

Only saying it belongs here; what has been done is counted where it is done.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from taxi_pipeline.tlc.cleaning import ProgressCallback

EVERY_SECONDS = 10


@contextmanager
def progress(
    doing: str, log: logging.Logger, rows: int | None = None
) -> "Iterator[ProgressCallback]":
    """Yield a function that takes what was done since its last call, in rows and in bytes.

    `rows` is how many there will be, if that is known. Work that ends before `EVERY_SECONDS` have
    passed leaves the log as it was.
    """
    began = logged = monotonic()
    done = size = 0
    with _bar(doing, rows) as show:

        def on_progress(more_rows: int, more_bytes: int) -> None:
            nonlocal logged, done, size
            done, size = done + more_rows, size + more_bytes
            show(done, size)
            if monotonic() - logged >= EVERY_SECONDS:
                logged = monotonic()
                log.info(f"{doing}: {_so_far(done, size, rows)} in {logged - began:.0f} s")

        yield on_progress


def report_progress(
    batches: "Iterable[pa.RecordBatch]", on_progress: "ProgressCallback"
) -> "Iterator[pa.RecordBatch]":
    """Yield the batches, and report each once its consumer asks for the next."""
    for batch in batches:
        yield batch
        on_progress(len(batch), batch.nbytes)


def _so_far(done: int, size: int, rows: int | None) -> str:
    megabytes = f"{size / 1e6:,.0f} MB"
    if not done:
        return megabytes
    return f"{done:,}{f' of {rows:,}' if rows else ''} rows, {megabytes}"


@contextmanager
def _bar(doing: str, rows: int | None) -> Iterator[Callable[[int, int], None]]:
    """Show a bar where a person watches, which goes when the work ends."""
    if not sys.stderr.isatty():
        yield lambda done, size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[so_far]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=rows, so_far="")
        yield lambda done, size: bar.update(task, completed=done, so_far=_so_far(done, size, rows))
