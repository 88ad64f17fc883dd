"""What a published file is to those who read it, whatever its format.

How the rows of a format are had belongs to `csv` and `parquet`.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from taxi_pipeline.tlc.header import Header
from taxi_pipeline.tlc.schema import ENCODED_TEXT, encoded_schema, encoded_type
from taxi_pipeline.tlc.services import NUMBER, UNKNOWN_WORDS, Table
from taxi_pipeline.tlc.values import cast_column, shown

# What the package's own module asks for, where Arrow was loaded before us, as in a notebook.
_POOL = os.environ.get("ARROW_DEFAULT_MEMORY_POOL")
if _POOL == "jemalloc" and _POOL in pa.supported_memory_backends():
    pa.set_memory_pool(pa.jemalloc_memory_pool())

type Problems = dict[int, str]


@dataclass(frozen=True)
class Batch:
    """A run of published rows.

    Attributes:
        rows: The rows in the table's canonical schema (`encoded_schema`), with nulls where one does
            not parse.
        problems: What did not parse in each row; null for a row that does.
        numbers: The rows' numbers in the file, from 1; in a CSV the lines', of which the header is
            1.
        as_published: Returns the rows at some indices with the file's own columns and, in `line`, a
            CSV line that does not parse.
    """

    rows: pa.RecordBatch
    problems: pa.StringArray
    numbers: pa.Int64Array
    as_published: Callable[[pa.Array], pa.RecordBatch]

    @classmethod
    def with_problems(
        cls,
        rows: pa.RecordBatch,
        problems: Problems,
        numbers: pa.Int64Array,
        as_published: Callable[[pa.Array], pa.RecordBatch],
    ) -> "Batch":
        """Make a batch of rows and their problems by index."""
        texts = pa.nulls(len(rows), pa.string())
        if problems:
            texts = pa.array([problems.get(index) for index in range(len(rows))], pa.string())
        return cls(rows, texts, numbers, as_published)


class SourceFile(ABC):
    """A published file that can be streamed. Made by `open_published`.

    Attributes:
        path: The file.
        table: The table that it is of.
        header: Its columns, matched with the table's.
    """

    def __init__(self, path: Path, table: Table, header: Header) -> None:
        self.path = path
        self.table = table
        self.header = header

    @property
    @abstractmethod
    def published_schema(self) -> pa.Schema:
        """The schema of `Batch.as_published`: the file's own columns, and `line`."""

    @abstractmethod
    def each[T](self, work: Callable[[Batch], T]) -> Iterator[T]:
        """Stream the file's rows in order.

        Args:
            work: Is called for each batch, in threads that parse the next batches, and work on
                them, before they are asked for. The file is read in the caller's thread.

        Yields:
            What `work` makes of each batch.

        Raises:
            PermanentError: The file is broken.
        """

    def _canonical(
        self, published: Mapping[str, pa.Array], length: int
    ) -> tuple[pa.RecordBatch, Problems]:
        """Fit the published columns to the declared ones; what does not fit becomes a problem."""
        problems: Problems = {}
        words: dict[int, list[str]] = {}
        arrays: dict[str, pa.Array] = {}
        for column in self.table.columns:
            values = None
            for name in self.header.published_for(column):
                fitted = cast_column(published[name], column)
                for index in fitted.invalid_rows:
                    problem = f"{column.name}: {shown(published[name], index)} does not fit "
                    below = f" below {column.limit:,.0f}" if column.type == NUMBER else ""
                    problems.setdefault(index, f"{problem}{column.type}{below}")
                for index, word in fitted.words.items():
                    words.setdefault(index, []).append(f"{column.name}={word}")
                if values is None:
                    values = fitted.values
                else:
                    values, differing_rows = _merged(values, fitted.values)
                    for index in differing_rows:
                        problems.setdefault(index, f"{column.name}: two columns differ")
            kind = encoded_type(column.type)
            arrays[column.name] = pa.nulls(length, kind) if values is None else values
        if words:
            noted = arrays[UNKNOWN_WORDS].to_pylist()
            for index, row_words in words.items():
                noted[index] = "; ".join(filter(None, (noted[index], *row_words)))
            arrays[UNKNOWN_WORDS] = pa.array(noted, ENCODED_TEXT)
        return pa.record_batch([*arrays.values()], schema=encoded_schema(self.table)), problems


@dataclass(frozen=True)
class Examination:
    """What a published file holds at first sight.

    Attributes:
        rows: How many rows it has.
        schema: Its own columns, of a CSV all text.
        first_rows: The first rows as texts, by column; None for a null.
    """

    rows: int
    schema: pa.Schema
    first_rows: list[dict[str, str | None]]


def by_name(columns: pa.RecordBatch) -> dict[str, pa.Array]:
    """Return a batch's columns by their names."""
    return dict(zip(columns.schema.names, columns.columns, strict=True))


def _merged(first: pa.Array, second: pa.Array) -> tuple[pa.Array, list[int]]:
    """Fill a column's nulls from another; return also the indices at which two values differ."""
    is_text = first.type == ENCODED_TEXT
    if is_text:
        first, second = first.dictionary_decode(), second.dictionary_decode()
    differ: pa.BooleanArray = pc.not_equal(first, second).fill_null(False)
    merged = pc.coalesce(first, second)
    rows = pc.indices_nonzero(differ).to_pylist()
    return merged.dictionary_encode() if is_text else merged, rows
