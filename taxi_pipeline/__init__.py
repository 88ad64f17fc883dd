"""NYC taxi trips, month by month, in a GCS lake, BigQuery and PostgreSQL, run from Dagster.

The package's own name and nothing else: importing it costs nothing. `definitions` is the front
door for Dagster, `cli` the one for a shell; ARCHITECTURE.md shows the house.
"""
