"""The ledger read from all stores, a service or a table without months at a time.

What each store has is counted in `lake` and by the sinks; this module brings the figures of a month
together, and asks again where the month was replaced meanwhile.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from taxi_pipeline.lake.paths import UNPARTITIONED_PATHS, object_paths
from taxi_pipeline.ledger.entry import Cells, Entry
from taxi_pipeline.ledger.lake import Depth, find_objects, generations, objects_by_month, read_lake
from taxi_pipeline.marts import MARTS
from taxi_pipeline.resources.gcs import LakeObject
from taxi_pipeline.settings import Resources
from taxi_pipeline.sink import Sink, Stamp
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service, Table
from taxi_pipeline.tlc.tally import Tally

MONTHS_AT_ONCE = 8  # fewer than the connections that Google's client keeps
LOOKS = 3  # at a month that is replaced while it is read


def read_ledger(
    service: Service,
    stores: Resources,
    first: Month | None = None,
    last: Month | None = None,
    depth: Depth = Depth.ROWS,
) -> list[Entry]:
    """Return the entries of a service's months that any store has, oldest first.

    A month that does not add up, and is replaced while it is read, is read anew, `LOOKS` times in
    all.

    Args:
        service: The service.
        stores: All stores.
        first: The first month to read; None for the stores' own first.
        last: The last month to read; None for the stores' own last.
        depth: How closely to look.

    Raises:
        PermanentError: A store cannot be asked, and asking again cannot change that.
        TransientError: A store is away.
    """
    in_lake = objects_by_month(stores.lake, service)
    tables = _tally_tables(service, stores, first, last)
    in_marts = {
        month
        for tallies in tables.by_mart.values()
        for month, tally in tallies.items()
        if tally.rows
    }
    in_tables = {month for tallies in tables.by_sink.values() for month in tallies}
    months = [
        month
        for month in sorted({*in_lake, *in_tables, *in_marts})
        if (first or month) <= month <= (last or month)
    ]

    def entry(month: Month) -> Entry:
        return _entry(service, month, stores, in_lake.get(month, []), tables, depth)

    with ThreadPoolExecutor(MONTHS_AT_ONCE) as pool:
        return list(pool.map(entry, months))


class _Tables(NamedTuple):
    """What each sink's table and each mart have of a service, by month."""

    by_sink: Mapping[type[Sink], Mapping[Month, Tally]]
    by_mart: Mapping[str, Mapping[Month, Tally]]
    stamps: Mapping[type[Sink], Mapping[Month | None, Stamp]]


def _tally_tables(
    service: Service, stores: Resources, first: Month | None, last: Month | None
) -> _Tables:
    return _Tables(
        {
            type(sink): sink.tallies(service.trips, service.total, first, last)
            for sink in stores.sinks.values()
        },
        {mart.name: stores.bigquery.mart_tallies(mart, service, first, last) for mart in MARTS},
        {type(sink): sink.stamps(service.trips) for sink in stores.sinks.values()},
    )


def _cells(
    stores: Resources,
    tables: Mapping[type[Sink], Tally | None],
    table: Table,
    month: Month | None,
    depth: Depth,
) -> dict[type[Sink], Cells]:
    """Return what each sink that has the month holds, cell by cell."""
    if depth == Depth.ROWS:
        return {}
    return {
        type(sink): store_cells(sink, table, month, depth)
        for sink in stores.sinks.values()
        if tables[type(sink)]
    }


def store_cells(sink: Sink, table: Table, month: Month | None, depth: Depth) -> Cells:
    """Return what a sink has of a month, or of a table without months, cell by cell.

    Args:
        sink: The sink.
        table: The declared table.
        month: The month; None for a table without months.
        depth: Whether to ask for the fingerprint, too.

    Raises:
        PermanentError: The sink cannot be asked, and asking again cannot change that.
        TransientError: The sink is away.
    """
    fingerprint = sink.fingerprint(table, month) if depth >= Depth.CELLS else None
    return Cells(sink.column_tallies(table, month), fingerprint)


def _entry(
    service: Service,
    month: Month,
    stores: Resources,
    objects: Sequence[LakeObject],
    tables: _Tables,
    depth: Depth,
) -> Entry:
    """Return a month's entry, given its objects in the lake and what the tables have.

    Where the month does not add up, and its objects are other ones by then, all stores are asked
    again, up to `LOOKS` times in all.
    """
    paths = object_paths(service, month)
    for _ in range(LOOKS):
        in_lake = read_lake(stores.lake, paths, objects, service.trips, service.total, depth)
        held = {sink: in_lake.in_table(tallies, month) for sink, tallies in tables.by_sink.items()}
        entry = Entry(
            service.name,
            month,
            in_lake,
            held,
            {name: tallies[month] for name, tallies in tables.by_mart.items() if month in tallies},
            {sink: stamps.get(month) for sink, stamps in tables.stamps.items()},
            _cells(stores, held, service.trips, month, depth),
        )
        if entry.adds_up:
            break
        newest = find_objects(stores.lake, paths)
        if generations(newest) == generations(objects):
            break
        objects, tables = newest, _tally_tables(service, stores, month, month)
    return entry


def read_unpartitioned(table: Table, stores: Resources, depth: Depth = Depth.ROWS) -> list[Entry]:
    """Return the entry of a table without months; none where no store has a row of it.

    Args:
        table: The table.
        stores: All stores.
        depth: How closely to look.

    Raises:
        PermanentError: A store cannot be asked, and asking again cannot change that.
        TransientError: A store is away.
    """
    paths = UNPARTITIONED_PATHS[table.name]
    objects = find_objects(stores.lake, paths)
    for _ in range(LOOKS):
        tallies = {type(sink): sink.tally(table) for sink in stores.sinks.values()}
        if not objects and not any(tally.rows for tally in tallies.values()):
            return []
        in_lake = read_lake(stores.lake, paths, objects, table, None, depth)
        tables = {
            sink: tally if tally.rows or in_lake.kept else None for sink, tally in tallies.items()
        }
        stamps = {type(sink): sink.stamps(table).get(None) for sink in stores.sinks.values()}
        cells = _cells(stores, tables, table, None, depth)
        entry = Entry(table.name, None, in_lake, tables, {}, stamps, cells)
        newest = find_objects(stores.lake, paths)
        if entry.adds_up or generations(newest) == generations(objects):
            break
        objects = newest
    return [entry]
