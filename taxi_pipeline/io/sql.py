"""SQL that BigQuery and PostgreSQL both take, for figures that must be the same in both.

What only one of them takes belongs to its own module.
"""

from typing import LiteralString

from taxi_pipeline.tlc.tally import COUNTED_DOLLARS

# A column's whole cents.
CENTS: LiteralString = "CAST(FLOOR({0} * 100 + 0.5) AS BIGINT)"

# The sum of a column's cents, as `tally_parquet` counts them. BigQuery's sum of integers is one of
# 64 bits.
SUM_OF_CENTS = (
    f"CAST(COALESCE(SUM(CASE WHEN ABS({{0}}) < {COUNTED_DOLLARS} THEN {CENTS} "
    f"WHEN {{0}} IS NOT NULL THEN {COUNTED_DOLLARS * 100} END), 0) AS BIGINT)"
)
