"""What rows weigh in each store, and what a store asks for them a month.

Figures alone belong here, each with where it comes from.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.tlc.services import FHV, FHVHV, GREEN, YELLOW

LAKE = "lake"

# In dollars, a GB and month: standard storage of one region, active logical storage, and the SSD of
# Cloud SQL without its instance, as docs/operations.md reckons with.
PRICES: Mapping[str, float] = {LAKE: 0.023, BigQuery.name: 0.02, Postgres.name: 0.17}
PRICED = "Prices are Google's list prices in the US, as of 2026-11, from memory: check them."


@dataclass(frozen=True)
class RowBytes:
    """The bytes of a row.

    Attributes:
        published: In the published file.
        cleaned: In the lake's cleaned file.
        sinks: In each sink's table, by the sink's name.
    """

    published: float
    cleaned: float
    sinks: Mapping[str, float]


# `published` of all of TLC's Parquet files from 2009 to 2024-05, by its list of them (rows and
# bytes); its CSVs, gzipped, have 1.1 times as many. The others of generated months, 200,000 rows
# each: BigQuery's by its rules (8 a number or time, 2 and its length a text), PostgreSQL's by
# pg_total_relation_size.
ROW_BYTES: Mapping[str, RowBytes] = {
    YELLOW.name: RowBytes(17.5, 19, {BigQuery.name: 144, Postgres.name: 176}),
    GREEN.name: RowBytes(15.7, 19, {BigQuery.name: 144, Postgres.name: 164}),
    FHV.name: RowBytes(7.4, 13, {BigQuery.name: 45, Postgres.name: 76}),
    FHVHV.name: RowBytes(25.5, 32, {BigQuery.name: 163, Postgres.name: 207}),
}


def dollars(store: str, size: float) -> float | None:
    """Return what a store asks a month for so many bytes; None for one without a price."""
    return PRICES[store] * size / 1e9 if store in PRICES else None
