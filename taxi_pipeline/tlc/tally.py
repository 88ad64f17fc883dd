"""A tally: what one store holds of a month, in figures that must be the same in every store.

Dollars are doubles, and a sum of doubles depends on the order of the rows, which each store has its
own of. So each amount is rounded to whole cents, and what is summed up are integers: whatever the
order, every store gets the same. How to ask a store for it is the store's business.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import pyarrow.parquet as pq

# No declared amount is as large; of one put into a table by hand (infinity, NaN) the cents may be
# no integer. It counts as this much, by which the tables differ, and the ledger can say so.
COUNTED_DOLLARS = 1_000_000_000


@dataclass(frozen=True)
class Tally:
    """What a store holds of a month.

    Attributes:
        rows: The number of rows.
        cents: The sum of the amounts, each rounded to whole cents; None where none are summed up.
        rows_without_pickup: How many of the rows have no pick-up time and so belong to no month.
    """

    rows: int
    cents: int | None
    rows_without_pickup: int = 0

    @property
    def total(self) -> float | None:
        """The sum of the amounts in dollars."""
        return None if self.cents is None else self.cents / 100


def tally_parquet(file: Path | BinaryIO, total: str | None) -> Tally:
    """Tally a Parquet file by its footer and, if there is one, the column `total`.

    Args:
        file: The file; an open one must be seekable.
        total: The column to sum up, in dollars; None for no sum. A null adds nothing; an amount
            that is not below `COUNTED_DOLLARS`, whatever its sign, counts as that much.

    Raises:
        pyarrow.ArrowException: It is no Parquet file, or is broken.
        OSError: It cannot be read, as Arrow says of some broken files, too.
        KeyError: It has no such column.
    """
    import pyarrow.parquet as pq

    # with pre_buffer Arrow's threads would read, and may still hold a Python file when the process
    # ends, and abort it
    with pq.ParquetFile(file, pre_buffer=False) as parquet:
        return tally_row_groups(parquet, total)


def tally_row_groups(parquet: "pq.ParquetFile", total: str | None) -> Tally:
    """Tally an open Parquet file, as `tally_parquet` does."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = parquet.metadata.num_rows
    if total is None:
        return Tally(rows, None)
    cents = 0
    for group in range(parquet.num_row_groups):
        dollars = parquet.read_row_group(group, [total], use_threads=False)[total]
        counted = pc.less(pc.abs(dollars), COUNTED_DOLLARS)
        in_cents = pc.floor(pc.add(pc.multiply(dollars, 100.0), 0.5))
        whole = pc.if_else(counted, in_cents, COUNTED_DOLLARS * 100.0).cast(pa.int64())
        cents += pc.sum(whole, min_count=0).as_py()
    return Tally(rows, cents)
