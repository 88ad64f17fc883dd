"""PostgreSQL: tables in the schema `tlc`, the trips' partitioned by month.

A month is replaced in one transaction: its rows stream into a table of their own, which at the end
takes the old partition's place. A reader sees the old month or the new one, and a crash at any
point leaves the old one.
"""

from taxi_pipeline.resources.postgres.sink import Postgres

__all__ = ["Postgres"]
