"""Which published rows are trips: a row is kept or rejected with its reason, never lost.

Each rule is a named predicate over a batch of canonical rows; the first that holds names the
rejection. What is odd but possible is kept, and counted in `NOTES`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import Batch, PublishedFile
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import DATETIME, Table

UNPARSABLE = "unparsable"
REJECTED_BECAUSE = "rejected_because"

# BigQuery loads row groups of 16 MiB and more best; a trip takes some 100 bytes in memory.
ROW_GROUP_ROWS = 300_000


@dataclass(frozen=True)
class Rule:
    """A named predicate over the columns it `reads`; it applies to tables that have them all.

    `holds` maps a batch and the month to booleans; null counts as false.
    """

    name: str
    description: str
    reads: tuple[str, ...]
    holds: Callable[[pa.RecordBatch, Month], pa.BooleanArray]

    def applies_to(self, table: Table) -> bool:
        """Whether the table has every column that the rule reads."""
        return set(self.reads) <= {column.name for column in table.columns}


def _outside(rows: pa.RecordBatch, month: Month) -> pa.BooleanArray:
    pickup = rows["pickup_datetime"]
    return pc.or_(
        pc.less(pickup, pa.scalar(month.start, DATETIME)),
        pc.greater_equal(pickup, pa.scalar(month.end, DATETIME)),
    )


REJECTIONS = (
    Rule(
        "pickup_missing",
        "There is no pick-up time, so the row belongs to no month.",
        ("pickup_datetime",),
        lambda rows, _: pc.is_null(rows["pickup_datetime"]),
    ),
    Rule(
        "pickup_outside_month",
        "The pick-up is not in the month that the file was published for.",
        ("pickup_datetime",),
        _outside,
    ),
    Rule(
        "dropoff_before_pickup",
        "The drop-off is earlier than the pick-up.",
        ("pickup_datetime", "dropoff_datetime"),
        lambda rows, _: pc.less(rows["dropoff_datetime"], rows["pickup_datetime"]),
    ),
    Rule(
        "no_passengers",
        "The driver entered exactly 0 passengers; a null is kept.",
        ("passenger_count",),
        lambda rows, _: pc.equal(rows["passenger_count"], pa.scalar(0, pa.int32())),
    ),
)

NOTES = (
    Rule(
        "null_passengers",
        "No passenger count was entered.",
        ("passenger_count",),
        lambda rows, _: pc.is_null(rows["passenger_count"]),
    ),
    Rule(
        "negative_fares",
        "The fare is negative: nearly always the reversal of a positive twin.",
        ("fare_amount",),
        lambda rows, _: pc.less(rows["fare_amount"], pa.scalar(0.0)),
    ),
    Rule(
        "zero_distance",
        "The taximeter measured no distance.",
        ("trip_distance",),
        lambda rows, _: pc.equal(rows["trip_distance"], pa.scalar(0.0)),
    ),
    Rule(
        "unknown_zones",
        "The pick-up or the drop-off is in zone 264 or 265, which are no places.",
        ("pickup_location_id", "dropoff_location_id"),
        lambda rows, _: pc.or_(
            _no_place(rows["pickup_location_id"]), _no_place(rows["dropoff_location_id"])
        ),
    ),
)


def _no_place(location: pa.Array) -> pa.BooleanArray:
    return pc.is_in(location, pa.array([264, 265], pa.int32()))


@dataclass
class Summary:
    """The counts of one cleaned file: `published` = `kept` + the sum of `rejected`.

    `unknown_codes` counts the trips' codes that are not declared, by column and code.
    """

    published: int = 0
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    unknown_codes: Counter[tuple[str, str]] = field(default_factory=Counter)


def clean_trips(month: Month, source: PublishedFile, trips: Path, rejected: Path) -> Summary:
    """Write the trips of a published file of that month and its rejected rows, both as Parquet.

    `trips` gets the table's canonical schema; `rejected` the file's own columns, `line` (a CSV
    line that does not parse), `number` (the row's in the file), `rejected_because` (the rule's
    name) and `problem` (what did not parse). Raises `PermanentError` for a broken file; then the
    two paths hold nothing of use.
    """
    rejections = _bound(REJECTIONS, source.table, month)
    return _clean(source, rejections, _bound(NOTES, source.table, month), trips, rejected)


def clean_zones(source: PublishedFile, zones: Path, rejected: Path) -> Summary:
    """Write the taxi zones of a published file, and the lines that do not parse, as Parquet."""
    return _clean(source, {}, {}, zones, rejected)


type _Predicates = dict[str, Callable[[pa.RecordBatch], pa.BooleanArray]]


def _bound(rules: tuple[Rule, ...], table: Table, month: Month) -> _Predicates:
    applicable = [rule for rule in rules if rule.applies_to(table)]
    return {rule.name: partial(_holds, rule, month) for rule in applicable}


def _holds(rule: Rule, month: Month, rows: pa.RecordBatch) -> pa.BooleanArray:
    return rule.holds(rows, month)


def _clean(
    source: PublishedFile, rejections: _Predicates, notes: _Predicates, kept: Path, rejected: Path
) -> Summary:
    summary = Summary()
    reasons = pa.array([UNPARSABLE, *rejections], pa.string())
    rejected_schema = _rejected_schema(source.published_schema)
    with (
        _writer(kept, arrow_schema(source.table)) as keep,
        _writer(rejected, rejected_schema) as reject,
    ):
        for batch in source.batches():
            reason = _reason(batch, rejections)
            if bad := np.flatnonzero(reason >= 0).tolist():
                because = reasons.take(pa.array(reason[bad]))
                reject(_rejected(batch, pa.array(bad), because, rejected_schema))
                summary.rejected.update(because.to_pylist())
            rows = batch.rows.filter(pa.array(reason < 0)) if bad else batch.rows
            keep(rows)
            summary.published += len(batch.rows)
            summary.kept += len(rows)
            for name, holds in notes.items():
                summary.noted[name] += holds(rows).true_count
            summary.unknown_codes.update(_unknown_codes(rows, source.table))
    return summary


def _unknown_codes(rows: pa.RecordBatch, table: Table) -> Counter[tuple[str, str]]:
    """Count the codes that are not declared, by column and code."""
    return Counter(
        {
            (column.name, str(found["values"])): found["counts"]
            for column in table.columns
            if column.codes
            for found in pc.value_counts(rows[column.name]).to_pylist()
            if found["values"] is not None and found["values"] not in column.codes
        }
    )


def _reason(batch: Batch, rejections: _Predicates) -> NDArray[np.int8]:
    """Return for each row the index of its reason in (unparsable, *rejections), -1 for a trip."""
    reason = np.full(len(batch.rows), -1, np.int8)
    # back to front, so that the first rule that holds has the last word
    for index, holds in reversed(list(enumerate(rejections.values(), start=1))):
        reason[_mask(holds(batch.rows))] = index
    reason[_mask(pc.is_valid(batch.problems))] = 0
    return reason


def _mask(holds: pa.BooleanArray) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = holds.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def _rejected_schema(published: pa.Schema) -> pa.Schema:
    return (
        published.append(pa.field("number", pa.int64()))
        .append(pa.field(REJECTED_BECAUSE, pa.string()))
        .append(pa.field("problem", pa.string()))
    )


def _rejected(
    batch: Batch, indices: pa.Array, because: pa.Array, schema: pa.Schema
) -> pa.RecordBatch:
    columns = [
        *batch.as_published(indices).columns,
        batch.numbers.take(indices),
        because,
        batch.problems.take(indices),
    ]
    return pa.record_batch(columns, schema=schema)


@contextmanager
def _writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Open a Parquet file; yield a function that adds a batch, gathering them to row groups."""
    pending: list[pa.RecordBatch] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_batches(pending, schema))
            pending.clear()

        def add(rows: pa.RecordBatch) -> None:
            pending.append(rows)
            if sum(map(len, pending)) >= ROW_GROUP_ROWS:
                flush()

        yield add
        flush()
