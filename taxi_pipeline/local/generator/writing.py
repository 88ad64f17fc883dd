"""Writing a drawn month down, as CSV or as Parquet of its time."""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.local.generator import columns, for_hire, layouts, taxis
from taxi_pipeline.local.generator.columns import Columns
from taxi_pipeline.local.generator.dated import Dated, in_force
from taxi_pipeline.local.generator.drawing import Drawn, drawn_as
from taxi_pipeline.local.generator.layouts import Layout
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service

_WORDS_FOR_VENDORS = {"vendor_name", "vendor_id"}  # such files have other words too


@dataclass(frozen=True)
class _ServiceFiles:
    """What is published of a service: the CSV, to its last month, and the Parquet."""

    layouts: Dated[Layout]
    last_csv: Month
    columns: Dated[Columns]
    draw: Callable[[Month, int], Iterator[Drawn]]


_PUBLISHED = {
    "yellow": _ServiceFiles(
        layouts.YELLOW, layouts.LAST_OF_TAXIS, columns.YELLOW, partial(taxis.draw, taxis.YELLOW)
    ),
    "green": _ServiceFiles(
        layouts.GREEN, layouts.LAST_OF_TAXIS, columns.GREEN, partial(taxis.draw, taxis.GREEN)
    ),
    "fhv": _ServiceFiles(layouts.FHV, layouts.LAST_FOR_HIRE, columns.FHV, for_hire.draw_fhv),
    "fhvhv": _ServiceFiles(
        layouts.FHVHV, layouts.LAST_FOR_HIRE, columns.FHVHV, for_hire.draw_fhvhv
    ),
}


def first_parquet(service: Service) -> Month:
    """Return the first month of a service that TLC publishes as Parquet."""
    return _PUBLISHED[service.name].columns[0][0]


def write_csv_gz(service: Service, month: Month, rows: int, path: Path) -> None:
    """Write a month as the CSV of its time had it: header, lines and spelling.

    Raises `PermanentError` for a month that no CSV is known of or a negative number of rows.
    """
    published = _PUBLISHED[service.name]
    first, last = published.layouts[0][0], published.last_csv
    if not first <= month <= last:
        raise PermanentError(
            f"{service.name} {month} cannot be generated as CSV: choose {first} to {last}."
        )
    _check_rows(month, rows)
    layout = in_force(published.layouts, month)
    quote = layout.quote
    with (
        path.open("wb") as file,
        # With neither name nor time in it, the same month has the same bytes.
        gzip.GzipFile("", "wb", compresslevel=5, fileobj=file, mtime=0) as packed,
    ):
        packed.write(layout.top.encode())
        for drawn in published.draw(month, rows):
            values = _values(drawn, layout.names, drawn.empty_in_csv | {layout.unfilled})
            lines = pc.binary_join_element_wise(
                *(_cells(name, column, layout) for name, column in values.items()),
                layout.separator,
                null_handling="replace",
                null_replacement="",
            )
            text = "".join(f"{quote}{line}{quote}{layout.row_end}" for line in lines.to_pylist())
            packed.write(text.encode())


def write_parquet(service: Service, month: Month, rows: int, path: Path) -> None:
    """Write a month as TLC's Parquet has it: names, order and types are those of that month.

    Raises `PermanentError` for a month before the service's first or a negative number of rows.
    """
    published = _PUBLISHED[service.name]
    first = first_parquet(service)
    if month < first:
        raise PermanentError(
            f"{service.name} {month} cannot be generated as Parquet: choose {first} or a later "
            "month."
        )
    _check_rows(month, rows)
    types = {
        name: in_force(dated, month) for name, dated in in_force(published.columns, month).items()
    }
    schema = pa.schema([(name, of_month) for name, of_month in types.items() if of_month])
    valueless = frozenset(field.name for field in schema if pa.types.is_null(field.type))
    compression = in_force(columns.COMPRESSION, month)
    with pq.ParquetWriter(path, schema, compression=compression, compression_level=3) as writer:
        for drawn in published.draw(month, rows):
            values = _values(drawn, schema.names, drawn.empty_in_parquet | valueless)
            arrays = [values[field.name].cast(field.type) for field in schema]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _check_rows(month: Month, rows: int) -> None:
    if rows < 0:
        raise PermanentError(f"{month} cannot have {rows} rows: choose 0 or more.")


def _values(drawn: Drawn, names: list[str], empty: frozenset[str]) -> dict[str, pa.Array]:
    """Return the columns' values; null for an empty one, or one that nobody ever fills."""
    in_words = not _WORDS_FOR_VENDORS.isdisjoint(names)
    trips = drawn.trips | drawn.words if in_words else drawn.trips
    values = {}
    for name in names:
        key = drawn_as(name)
        if {name, key} & empty or key not in trips:
            values[name] = pa.nulls(drawn.rows)
        elif isinstance(column := trips[key], pa.Array):
            values[name] = column
        else:
            values[name] = pa.array(column, from_pandas=True)
    return values


def _cells(name: str, values: pa.Array, layout: Layout) -> pa.Array:
    """Spell a column as its file does.

    Numbers are as short as can be, but distances 1.50 and .50; coordinates, and every number of a
    layout that is exact, have 17 significant digits.
    """
    name = drawn_as(name)
    if pa.types.is_floating(values.type):
        if layout.exact or name.endswith("itude"):
            return pa.array(
                [None if value is None else f"{value:.17g}" for value in values.to_pylist()],
                pa.string(),
            )
        if name == "trip_distance":
            spelled = values.cast(pa.decimal128(18, 2)).cast(pa.string())
            return pc.replace_substring_regex(spelled, "^0", "")
    return values.cast(pa.string())
