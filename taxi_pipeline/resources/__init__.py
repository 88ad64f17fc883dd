"""Dagster's resources for the systems outside: one module, or one package, for each system.

A resource speaks its system's language and says its errors plainly. It knows the domain's tables
and months, and no asset. `variables` of each says which environment variable sets which field;
`settings` reads them. What the resources share is `io`'s.

`SINKS` is the one list of the stores that keep tables: assets, checks, the ledger, its view and the
data dictionary follow it.
"""

from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.sink import Sink

SINKS: tuple[type[Sink], ...] = (BigQuery, Postgres)
