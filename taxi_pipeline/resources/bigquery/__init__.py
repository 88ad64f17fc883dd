"""BigQuery: tables that load jobs fill from the lake, and that queries compute.

No row passes through here: BigQuery reads the lake's Parquet itself. A job replaces its partition
in one step, so a query sees the old month or the new one. Which tables there are, and what a query
computes, is for who asks.
"""

from taxi_pipeline.resources.bigquery.sink import BigQuery

__all__ = ["BigQuery"]
