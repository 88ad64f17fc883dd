"""Trips for a notebook: cleaned months of the lake as a DataFrame, or as Arrow's or Polars' table.

The zones' shapes are there to draw them on. Only reading for people belongs here: where a month
lies, and what its columns are, others say.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, overload

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.lake.paths import ZONES_PATHS, ObjectPaths, object_paths
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.settings import load_resource
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, TAXI_ZONES, Column, Table

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from taxi_pipeline.tlc.shapes import ZoneShape

_LOCATION = "_location_id"
_ZONE_COLUMNS = ("zone", "borough")  # which come beside a location's id


@overload
def read_trips(
    service: str,
    month: str | Iterable[str],
    through: str | None = None,
    *,
    columns: Iterable[str] | None = None,
    meanings: bool = False,
    zones: bool = False,
    library: Literal["pandas"] = "pandas",
) -> "pd.DataFrame": ...


@overload
def read_trips(
    service: str,
    month: str | Iterable[str],
    through: str | None = None,
    *,
    columns: Iterable[str] | None = None,
    meanings: bool = False,
    zones: bool = False,
    library: Literal["pyarrow"],
) -> "pa.Table": ...


@overload
def read_trips(
    service: str,
    month: str | Iterable[str],
    through: str | None = None,
    *,
    columns: Iterable[str] | None = None,
    meanings: bool = False,
    zones: bool = False,
    library: Literal["polars"],
) -> "pl.DataFrame": ...


def read_trips(
    service: str,
    month: str | Iterable[str],
    through: str | None = None,
    *,
    columns: Iterable[str] | None = None,
    meanings: bool = False,
    zones: bool = False,
    library: Literal["pandas", "pyarrow", "polars"] = "pandas",
) -> "pd.DataFrame | pa.Table | pl.DataFrame":
    """Read months of a service's trips from the lake.

    The lake is that of TAXI_BUCKET and TAXI_GCP_PROJECT. All rows are held in memory: a month of
    yellow trips has some 3 million, of fhvhv some 20 million.

    Args:
        service: yellow, green, fhv or fhvhv.
        month: A month, such as 2021-01, or several, each of which is read once.
        through: The last month of a range that begins with `month`.
        columns: The columns to read, in the order wanted; None for all. No others are fetched.
        meanings: Whether codes become the words of the data dictionary, as a categorical column.
            A code that is not declared is its own word.
        zones: Whether the names of the zones and boroughs come beside their ids.
        library: What the table is of: pandas, pyarrow or polars (which must be installed).

    Returns:
        The trips of all the months, month by month. Their types are the declared ones: integers
        that may be missing are pandas' Int32.

    Raises:
        PermanentError: There is no such service, month or column, or the lake does not have the
            month. The message says what to do.
        TransientError: The lake is away, or a month is replaced at this moment.
    """
    import pyarrow as pa

    if library not in ("pandas", "pyarrow", "polars"):
        raise PermanentError(f"library='{library}' is none of pandas, pyarrow and polars.")
    if service not in SERVICES:
        raise PermanentError(f"'{service}' is none of TLC's services: {', '.join(SERVICES)}.")
    of, lake = SERVICES[service], load_resource(Lake)
    table = _selected(of.trips, columns)
    trips = pa.concat_tables(
        _read(lake, object_paths(of, each), table, f"{service} {each}")
        for each in _months(month, through)
    )
    if zones:
        trips = _with_zones(trips, _read(lake, ZONES_PATHS, TAXI_ZONES, "taxi_zones"))
    if meanings:
        trips = _with_meanings(trips, table.columns)
    if library == "pyarrow":
        return trips
    if library == "polars":
        return _to_polars(trips)
    return _to_pandas(trips)


def read_zone_shapes() -> "list[ZoneShape]":
    """Read the shapes of the taxi zones from the lake, to draw a map of them.

    Returns:
        The zones, each with its id and its rings of longitudes and latitudes.

    Raises:
        PermanentError: The lake has no shapes. The message says what to do.
        TransientError: The lake is away, or the shapes are replaced at this moment.
    """
    from taxi_pipeline.lake.shapes import find_zone_shapes

    return find_zone_shapes(load_resource(Lake))


def _selected(table: Table, names: Iterable[str] | None) -> Table:
    """Return a declared table with the named columns alone."""
    if names is None:
        return table
    known = {column.name: column for column in table.columns}
    names = names if isinstance(names, str) else list(names)
    if isinstance(names, str) or not names:
        raise PermanentError(f"columns={names!r} is no list of columns.")
    if unknown := [str(name) for name in names if name not in known]:
        raise PermanentError(
            f"{table.name} has no column {', '.join(unknown)}. It has {', '.join(known)}."
        )
    return replace(table, columns=tuple(known[name] for name in dict.fromkeys(names)))


def _months(month: str | Iterable[str], through: str | None) -> list[Month]:
    if through is None:
        keys = [month] if isinstance(month, str) else month
        months = [*dict.fromkeys(map(Month.parse, keys))]
    else:
        if not isinstance(month, str):
            raise PermanentError(
                "A range has one first month: give `through`, or a list of months."
            )
        months = [*_range(Month.parse(month), Month.parse(through))]
    if not months:
        raise PermanentError(f"No month was asked for: {month} to {through}.")
    return months


def _range(first: Month, last: Month) -> Iterator[Month]:
    while first <= last:
        yield first
        first = first.next


def _read(lake: Lake, paths: ObjectPaths, table: Table, what: str) -> "pa.Table":
    """Return the rows of a cleaned object, of the table's columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from taxi_pipeline.tlc.conforming import conformed
    from taxi_pipeline.tlc.schema import arrow_schema

    stored = lake.get(paths.cleaned)
    if stored is None:
        raise PermanentError(
            f"{lake.uri(paths.cleaned)} is not in the lake: run the job that loads {what} first."
        )
    with lake.opened(stored) as file, pq.ParquetFile(file) as parquet:
        present = [
            column.name for column in table.columns if column.name in parquet.schema_arrow.names
        ]
        batches = conformed(parquet.iter_batches(columns=present), table, stored.uri)
        return pa.Table.from_batches(batches, arrow_schema(table))


def _with_zones(trips: "pa.Table", zones: "pa.Table") -> "pa.Table":
    """Return the trips with a zone and a borough after each location's id."""
    import pyarrow.compute as pc

    for name in [name for name in trips.column_names if name.endswith(_LOCATION)]:
        rows = pc.index_in(trips[name], zones["location_id"].combine_chunks())
        place = trips.column_names.index(name)
        for position, column in enumerate(_ZONE_COLUMNS, start=1):
            values = zones[column].combine_chunks().dictionary_encode().take(rows)
            new = f"{name.removesuffix(_LOCATION)}_{column}"
            trips = trips.add_column(place + position, new, values)
    return trips


def _with_meanings(trips: "pa.Table", columns: Iterable[Column]) -> "pa.Table":
    """Return the trips with words for codes, as dictionary-encoded columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for column in columns:
        if not column.codes:
            continue
        values = trips[column.name].combine_chunks()
        codes = values.unique().drop_null()
        words = [column.codes.get(code, str(code)) for code in codes.to_pylist()]
        distinct = [*dict.fromkeys(words)]
        numbers = pa.array([distinct.index(word) for word in words], pa.int32())
        indices = numbers.take(pc.index_in(values, codes))
        encoded = pa.DictionaryArray.from_arrays(indices, pa.array(distinct, pa.string()))
        place = trips.column_names.index(column.name)
        trips = trips.set_column(place, column.name, encoded)
    return trips


def _to_pandas(trips: "pa.Table") -> "pd.DataFrame":
    import pandas as pd
    import pyarrow as pa

    integers = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}
    frame: pd.DataFrame = trips.to_pandas(types_mapper=integers.get)
    return frame


def _to_polars(trips: "pa.Table") -> "pl.DataFrame":
    try:
        import polars as pl
    except ModuleNotFoundError:
        raise PermanentError("Polars is not installed here: pip install polars.") from None
    return pl.DataFrame(trips)
