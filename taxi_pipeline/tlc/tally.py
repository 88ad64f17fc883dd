"""A tally: what one store holds of a month, in two figures that must be the same in every store.

Dollars are doubles, and a sum of doubles depends on the order of the rows, which each store has its
own of. So a total is the sum of whole cents, which doubles below 2**53 hold exactly: whatever the
order, every store gets the same. How to ask a store for it is the store's business.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# What PostgreSQL and BigQuery both take for a column's whole cents, and for their sum.
CENTS = "FLOOR({} * 100 + 0.5)"
SUM_OF_CENTS = f"COALESCE(SUM({CENTS}), 0)"


@dataclass(frozen=True)
class Tally:
    """The rows of a month, and the sum of its total in dollars: None where there are no amounts.

    `strays` is how many of the rows have no pick-up time and so belong to no month at all.
    """

    rows: int
    total: float | None
    strays: int = 0

    @classmethod
    def of_cents(cls, rows: int, cents: float | None, strays: int = 0) -> "Tally":
        """Return the tally of rows whose amounts sum up to so many cents."""
        return cls(rows, None if cents is None else cents / 100, strays)

    def agrees_with(self, other: "Tally") -> bool:
        """Whether the rows are the same, and the totals to the cent."""
        if (self.rows, self.strays) != (other.rows, other.strays):
            return False
        if self.total is None or other.total is None:
            return self.total is other.total
        exact = max(abs(self.total), abs(other.total)) * 100 < 2**53
        # relative, so that absurd amounts, whose cents are not exact, cause no false alarm
        return math.isclose(self.total, other.total, rel_tol=0 if exact else 1e-12, abs_tol=0.005)


def tally_parquet(file: Path | BinaryIO, total: str | None) -> Tally:
    """Tally a Parquet file by its footer and, if there is one, the column `total`."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    # with pre_buffer Arrow's threads would read, and may still hold a Python file when the process
    # ends, and abort it
    with pq.ParquetFile(file, pre_buffer=False) as parquet:
        rows = parquet.metadata.num_rows
        if total is None:
            return Tally(rows, None)
        cents = 0.0
        for group in range(parquet.num_row_groups):
            dollars = parquet.read_row_group(group, [total], use_threads=False)[total]
            in_cents = pc.floor(pc.add(pc.multiply(dollars, 100.0), 0.5))
            cents += pc.sum(in_cents, min_count=0).as_py()
    return Tally.of_cents(rows, cents)
