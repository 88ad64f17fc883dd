"""Which published rows are trips: a row is kept or rejected with its reason, never lost.

The first rule that rejects a row names the rejection. What is odd but possible is kept, and
counted. Which rules there are is `rules`'.
"""

from base64 import b64encode
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taxi_pipeline.tlc.cells import tally_column
from taxi_pipeline.tlc.column_tallies import FOOTER_KEY, ColumnTallies, Figures
from taxi_pipeline.tlc.duplicates import Duplicates, Hashes, mix_in
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import Batch, SourceFile
from taxi_pipeline.tlc.rules import Rule, rules_for
from taxi_pipeline.tlc.schema import arrow_schema, encoded_schema
from taxi_pipeline.tlc.services import (
    DATETIME,
    REJECTED_COLUMNS,
    TEXT,
    UNKNOWN_WORDS,
    Column,
    Table,
)
from taxi_pipeline.tlc.text import printable
from taxi_pipeline.tlc.values import mask
from taxi_pipeline.tlc.zones import ensure_all_shapes, ensure_all_zones

UNPARSABLE = "unparsable"
REJECTED_BECAUSE = "rejected_because"
EXACT_DUPLICATES = "exact_duplicates"

_CODES_NAMED = 1000
# where Arrow keeps a Parquet file's types: without them who rewrites it would keep its old tallies
_ARROW_SCHEMA = b"ARROW:schema"

type UnknownCodes = Counter[tuple[str, str]]

# Takes what was done since its last call, in rows and in bytes of memory.
type ProgressCallback = Callable[[int, int], None]

# BigQuery loads row groups of 16 MiB and more best; a trip takes 150 to 300 bytes in memory.
ROW_GROUP_ROWS = 300_000
ROW_GROUP_BYTES = 32 << 20  # in memory


@dataclass
class Summary:
    """The counts of one cleaned file, in rows: `published` = `kept` + the sum of `rejected`.

    Attributes:
        published: The rows of the file.
        kept: The rows that are trips, zones or shapes.
        rejected: The others, by the rule's name or `unparsable`.
        noted: Of the kept rows, those of each rule in `NOTES`, and `exact_duplicates`.
        unknown_codes: Of the kept rows, those with an undeclared code, by column and code;
            undeclared words are counted under the column `unknown_words`. Beyond 1,000 codes, any
            further one is counted as `others` of its column.
        columns: The tallies of the kept rows, which lie in the footer of their file, too.
    """

    columns: ColumnTallies
    published: int = 0
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    unknown_codes: UnknownCodes = field(default_factory=Counter)


def _ignore_progress(rows: int, size: int) -> None:
    """Report nothing."""


def clean_trips(
    month: Month,
    source: SourceFile,
    trips: Path,
    rejected: Path,
    on_progress: ProgressCallback = _ignore_progress,
) -> Summary:
    """Write the trips of a published file and its rejected rows, both as Parquet.

    Args:
        month: The month that the file was published for. Trips of another are rejected.
        source: The file.
        trips: Gets the trips, in the table's canonical schema.
        rejected: Gets the rejected rows, in the file's own columns and those of `REJECTED_COLUMNS`.
        on_progress: Is called for each batch, with its rows and its bytes in memory.

    Raises:
        PermanentError: The file is broken. Then the two paths hold nothing of use.
    """
    rules = rules_for(source.table)
    rejections = _bound((rule for rule in rules if rule.action.rejects), month)
    notes = _bound((rule for rule in rules if not rule.action.rejects), month)
    return _clean(source, rejections, notes, trips, rejected, on_progress)


def clean_zones(
    source: SourceFile,
    zones: Path,
    rejected: Path,
    on_progress: ProgressCallback = _ignore_progress,
) -> Summary:
    """Write the taxi zones of a published file, and the lines that do not parse, both as Parquet.

    Args:
        source: The file.
        zones: Gets the zones, in the table's canonical schema.
        rejected: Gets the lines that do not parse, as `clean_trips` writes them.
        on_progress: Is called for each batch, with its rows and its bytes in memory.

    Raises:
        PermanentError: The file is broken, or does not have each of TLC's zones once.
    """
    ensure_all_zones(source)
    return _clean(source, {}, {}, zones, rejected, on_progress)


def clean_zone_shapes(
    source: SourceFile,
    shapes: Path,
    rejected: Path,
    on_progress: ProgressCallback = _ignore_progress,
) -> Summary:
    """Write the zones' shapes of a published file, and those that do not parse, both as Parquet.

    Args:
        source: The file.
        shapes: Gets the shapes, in the table's canonical schema.
        rejected: Gets those that do not parse, as `clean_trips` writes them.
        on_progress: Is called for each batch, with its rows and its bytes in memory.

    Raises:
        PermanentError: The file is broken, or does not have the shapes of TLC's zones.
    """
    ensure_all_shapes(source)
    return _clean(source, {}, {}, shapes, rejected, on_progress)


type _Predicates = dict[str, Callable[[pa.RecordBatch], pa.BooleanArray]]


def _bound(rules: Iterable[Rule], month: Month) -> _Predicates:
    return {rule.name: partial(_holds, rule, month) for rule in rules}


def _holds(rule: Rule, month: Month, rows: pa.RecordBatch) -> pa.BooleanArray:
    return rule.holds(rows, month)


@dataclass(frozen=True)
class CleanedBatch:
    """A batch after the rules.

    Attributes:
        published: How many rows it had.
        kept: The kept rows, in the table's canonical schema (`encoded_schema`).
        rejected: The others, in the schema of the file of rejected rows.
        noted: As in `Summary`, without `exact_duplicates`.
        unknown_codes: As in `Summary`, without a limit.
        columns: The tallies of the kept rows.
        hashes: A hash of each kept row.
    """

    published: int
    kept: pa.RecordBatch
    rejected: pa.RecordBatch
    noted: Counter[str]
    unknown_codes: UnknownCodes
    columns: ColumnTallies
    hashes: Hashes


def _clean(
    source: SourceFile,
    rejections: _Predicates,
    notes: _Predicates,
    kept: Path,
    rejected: Path,
    on_progress: ProgressCallback,
) -> Summary:
    summary = Summary(ColumnTallies.of_no_rows(source.table))
    rejected_schema = _rejected_schema(source.published_schema)
    classify = partial(_classify_batch, source.table, rejections, notes, rejected_schema)
    with Duplicates() as duplicates, ThreadPoolExecutor(1) as pool:
        with (
            _writer(rejected, rejected_schema) as reject,
            _writer(
                kept,
                encoded_schema(source.table),
                lambda: {FOOTER_KEY: summary.columns.to_json().encode()},
                read_as=arrow_schema(source.table),
            ) as keep,
        ):
            for batch in source.each(classify):
                keep(batch.kept)
                reject(batch.rejected)
                duplicates.add(batch.hashes)
                summary.columns += batch.columns
                summary.published += batch.published
                summary.kept += len(batch.kept)
                summary.rejected.update(batch.rejected[REJECTED_BECAUSE].to_pylist())
                summary.noted.update(batch.noted)
                for (column, code), count in batch.unknown_codes.items():
                    codes = summary.unknown_codes
                    named = (column, code) in codes or len(codes) < _CODES_NAMED
                    codes[column, code if named else "others"] += count
                on_progress(batch.published, batch.kept.nbytes + batch.rejected.nbytes)
            exact_duplicates = pool.submit(duplicates.count)  # while the last rows are encoded
        summary.noted[EXACT_DUPLICATES] = exact_duplicates.result()
    return summary


def _classify_batch(
    table: Table,
    rejections: _Predicates,
    notes: _Predicates,
    rejected_schema: pa.Schema,
    batch: Batch,
) -> CleanedBatch:
    """Tell trips from rows to be rejected. Called by several threads at once."""
    reason = _reason(batch, rejections)
    bad = pa.array(np.flatnonzero(reason >= 0))
    because = pa.array([UNPARSABLE, *rejections], TEXT).take(pa.array(reason).take(bad))
    good = pa.array(reason < 0)
    unknown: UnknownCodes = Counter()
    figures: dict[str, Figures] = {}
    hashes = np.zeros(len(reason) - len(bad), np.uint64)
    columns: list[pa.Array] = []
    # all that is done to a column while the processor's cache has it
    for column in table.columns:
        values = batch.rows[column.name]
        if values.null_count == len(values):  # a column that the file does not have
            values = values[: len(hashes)]
        elif len(bad):
            values = values.filter(good)
        columns.append(values)
        figures[column.name] = tally_column(values, column)
        mix_in(hashes, values)
        for code, rows in _unknown_codes(values, column):
            unknown[column.name, code] += rows
    kept = pa.record_batch(columns, schema=batch.rows.schema)
    return CleanedBatch(
        len(batch.rows),
        kept,
        _rejected(batch, bad, because, rejected_schema),
        Counter({name: holds(kept).true_count for name, holds in notes.items()}),
        unknown,
        ColumnTallies(len(kept), figures),
        hashes,
    )


def _unknown_codes(values: pa.Array, column: Column) -> Iterator[tuple[str, int]]:
    """Yield the codes that the column does not declare, or undeclared words, each with its rows."""
    if column.name != UNKNOWN_WORDS and not column.codes:
        return
    declared = {None, *column.codes}
    if column.type == TEXT and declared.issuperset(values.dictionary.to_pylist()):
        return
    for counted in values.value_counts().to_pylist():
        if counted["values"] not in declared:
            yield printable(str(counted["values"])), counted["counts"]


def _reason(batch: Batch, rejections: _Predicates) -> NDArray[np.int8]:
    """Return for each row the index of its reason in (unparsable, *rejections), -1 for a trip."""
    reason = np.full(len(batch.rows), -1, np.int8)
    # back to front, so that the first rule that holds has the last word
    for index, holds in reversed(list(enumerate(rejections.values(), start=1))):
        rows = holds(batch.rows)
        if rows.true_count:
            reason[mask(rows)] = index
    if batch.problems.null_count < len(reason):
        reason[mask(pc.is_valid(batch.problems))] = 0
    return reason


def _rejected_schema(published: pa.Schema) -> pa.Schema:
    for column in REJECTED_COLUMNS:
        if column.name not in published.names:
            published = published.append(pa.field(column.name, column.type))
    return published


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


def _bytes_at_most(rows: pa.RecordBatch) -> int:
    """Return what the rows take in memory for who reads them, with their texts in each row."""
    size: int = rows.nbytes
    for values in rows.columns:
        if pa.types.is_dictionary(values.type):
            longest = pc.max(pc.binary_length(values.dictionary)).as_py() or 0
            size += longest * (len(values) - values.null_count)
    return size


@contextmanager
def _writer(
    path: Path,
    schema: pa.Schema,
    footer: Callable[[], Mapping[bytes, bytes]] = dict,
    read_as: pa.Schema | None = None,
) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Open a Parquet file; yield a function that adds a batch, gathering them to row groups.

    A group is written by a thread while the next one is gathered. At the end the file's footer gets
    what `footer` returns. Arrow reads the file as `read_as`, by default as the schema.
    """
    group: list[pa.RecordBatch] = []
    size = 0
    repetitive = [field.name for field in schema if field.type != DATETIME]
    with (
        pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            use_dictionary=repetitive,
            store_schema=read_as is None,
        ) as writer,
        ThreadPoolExecutor(1) as pool,
    ):
        under_way: deque[Future[None]] = deque()

        def flush() -> None:
            nonlocal group, size
            while under_way:  # two groups at the most are in memory
                under_way.popleft().result()
            table = pa.Table.from_batches(group, schema)
            # else Arrow's writer would give up the dictionary where the next batch has another one
            under_way.append(pool.submit(lambda: writer.write_table(table.unify_dictionaries())))
            group, size = [], 0

        def add(rows: pa.RecordBatch) -> None:
            nonlocal size
            group.append(rows)
            size += _bytes_at_most(rows)
            if sum(map(len, group)) >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
                flush()

        yield add
        flush()
        under_way.popleft().result()
        stored = {_ARROW_SCHEMA: b64encode(read_as.serialize())} if read_as else {}
        if written := stored | {**footer()}:
            writer.add_key_value_metadata(written)
