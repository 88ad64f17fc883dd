"""The checks: the ledger and the data's quality as asset checks, of months, zones and marts.

Checks query the stores, like the ledger. What only cleaning can find is read from the cleaned
object's metadata. So a check can be run again at any time, without cleaning anything again. The
ledger defines what adds up; a check shows it to Dagster.
"""

from taxi_pipeline.checks.mart import mart_checks
from taxi_pipeline.checks.published import published_checks

__all__ = ["mart_checks", "published_checks"]
