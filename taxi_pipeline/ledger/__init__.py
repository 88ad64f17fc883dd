"""The ledger: the figures that must add up, month by month, asked of the stores themselves.

published = trips + rejected, and trips = what each sink has, in rows and in dollars to the cent;
so is the sum of each mart's rows, where it has the month.
The trips and the rejected rows are counted in their Parquet files and in the tables; `published` is
what was counted in the published file, line by line, before it went into the lake, and with
`recount` is counted again. Dagster's memory is not asked. `view` shows a ledger.
"""

from taxi_pipeline.ledger.entry import Cells, Entry, LakeEntry, mart_problems
from taxi_pipeline.ledger.lake import (
    Depth,
    entry_of,
    find_objects,
    lake_entry,
    noted_entry,
    objects_by_month,
)
from taxi_pipeline.ledger.stores import read_ledger, read_unpartitioned, store_cells

__all__ = [
    "Cells",
    "Depth",
    "Entry",
    "LakeEntry",
    "entry_of",
    "find_objects",
    "lake_entry",
    "mart_problems",
    "noted_entry",
    "objects_by_month",
    "read_ledger",
    "read_unpartitioned",
    "store_cells",
]
