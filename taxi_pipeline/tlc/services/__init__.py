"""The declared columns: what a trip of each service is, in one table that all else derives from.

To follow a new column of TLC, add one line to its service's module: reader, Arrow and Parquet
schema, each sink's table, Dagster's column metadata, the data dictionary and the descriptions
people read all come from it. How a store spells a type is its package's; which rows are rejected is
`cleaning`'s; what is computed from the trips is `marts`'.

Sources: TLC's data dictionaries of 2025 (meanings and codes) and the headers of the files published
from 2009 on (names over the years, and the words that stood for codes), all of them linked at
https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page.
"""

from taxi_pipeline.tlc.services.fhv import FHV
from taxi_pipeline.tlc.services.fhvhv import FHVHV
from taxi_pipeline.tlc.services.green import GREEN
from taxi_pipeline.tlc.services.model import (
    DATE,
    DATETIME,
    INTEGER,
    LONG,
    NUMBER,
    NUMBER_LIMIT,
    TEXT,
    UNKNOWN_WORDS,
    Column,
    Service,
    Table,
)
from taxi_pipeline.tlc.services.rejected import REJECTED_COLUMNS
from taxi_pipeline.tlc.services.yellow import YELLOW
from taxi_pipeline.tlc.services.zones import TAXI_ZONE_SHAPES, TAXI_ZONES

SERVICES = {service.name: service for service in (YELLOW, GREEN, FHV, FHVHV)}

# The tables that TLC publishes in one file each, without months.
UNPARTITIONED = (TAXI_ZONES, TAXI_ZONE_SHAPES)

# All tables that TLC publishes, each of which every store gets.
PUBLISHED_TABLES = (*(service.trips for service in SERVICES.values()), *UNPARTITIONED)

__all__ = [
    "DATE",
    "DATETIME",
    "FHV",
    "FHVHV",
    "GREEN",
    "INTEGER",
    "LONG",
    "NUMBER",
    "NUMBER_LIMIT",
    "PUBLISHED_TABLES",
    "REJECTED_COLUMNS",
    "SERVICES",
    "TAXI_ZONES",
    "TAXI_ZONE_SHAPES",
    "TEXT",
    "UNKNOWN_WORDS",
    "UNPARTITIONED",
    "YELLOW",
    "Column",
    "Service",
    "Table",
]
