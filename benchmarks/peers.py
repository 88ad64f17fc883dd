"""The same step by other libraries: one published file to one Parquet file of its trips.

Started by the Python of `.venv-peers`, where they have their newest versions, and so it imports
nothing of the project's: `python -m benchmarks.peers NAME JSON`. The JSON says what to read and to
write, and the columns and times of the filter. What is rejected goes nowhere. Printed is what a way
of `ways` prints, too.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from benchmarks.measuring import Took, measured

type Step = Callable[[], int]

_ZSTD_LEVEL = 1  # Arrow's own, which ours is written with; both would take 3 otherwise


@dataclass(frozen=True)
class Task:
    """What is to be done.

    Attributes:
        source: The published file, .csv.gz or .parquet.
        target: The Parquet file to write.
        pickup: The column of the pick-up, which must lie from `start` to before `end`.
        dropoff: The column of the drop-off, which must not be before the pick-up.
        passengers: The column that must not be 0; null for a service without one.
        start: When the month begins, in ISO 8601.
        end: When it ends.
    """

    source: str
    target: str
    pickup: str
    dropoff: str
    passengers: str | None
    start: str
    end: str

    @property
    def is_csv(self) -> bool:
        """Whether the published file is CSV."""
        return self.source.endswith(".csv.gz")


def clean_duckdb(task: Task) -> Step:
    """One COPY."""
    import duckdb

    connection = duckdb.connect()
    read = "read_csv" if task.is_csv else "read_parquet"
    carries = f"AND {task.passengers} IS DISTINCT FROM 0" if task.passengers else ""
    copy = f"""
        COPY (
            SELECT * FROM {read}('{task.source}')
            WHERE {task.pickup} >= TIMESTAMP '{task.start}'
            AND {task.pickup} < TIMESTAMP '{task.end}'
            AND {task.dropoff} >= {task.pickup} {carries}
        ) TO '{task.target}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {_ZSTD_LEVEL})
    """

    def step() -> int:
        ((rows,),) = connection.execute(copy).fetchall()
        return int(rows)

    return step


def clean_polars(task: Task) -> Step:
    """The streaming engine's sink."""
    import polars as pl

    pickup, dropoff = pl.col(task.pickup), pl.col(task.dropoff)
    start, end = datetime.fromisoformat(task.start), datetime.fromisoformat(task.end)
    conditions = [pickup >= start, pickup < end, dropoff >= pickup]
    if task.passengers:
        conditions.append(pl.col(task.passengers).ne_missing(0))

    def step() -> int:
        if task.is_csv:
            published = pl.scan_csv(task.source, try_parse_dates=True)
        else:
            published = pl.scan_parquet(task.source)
        published.filter(*conditions).sink_parquet(
            task.target, compression="zstd", compression_level=_ZSTD_LEVEL, engine="streaming"
        )
        return int(pl.scan_parquet(task.target).select(pl.len()).collect().item())

    return step


PEERS: dict[str, Callable[[Task], Step]] = {
    "clean_duckdb": clean_duckdb,
    "clean_polars": clean_polars,
}


def main() -> None:
    """Do the step in one way; print the trips, and seconds, CPU's too, and peak bytes."""
    name, task = sys.argv[1], Task(**json.loads(sys.argv[2]))
    step = PEERS[name](task)
    took: Took = defaultdict(list)
    with measured(name, took):
        rows = step()
    sys.stdout.write(json.dumps({"rows": rows, "took": took}) + "\n")


if __name__ == "__main__":
    main()
