"""A declared table as each system spells it: Arrow and Parquet, BigQuery, PostgreSQL.

Only translation belongs here; the columns themselves are declared in `services`. Nothing here
talks to a system: the results are plain values for those who do.
"""

from dataclasses import dataclass
from typing import LiteralString

import pyarrow as pa

from taxi_pipeline.tlc.services import DATE, DATETIME, INTEGER, NUMBER, TEXT, Table


@dataclass(frozen=True)
class TypeNames:
    """How one declared type is called in the other systems, as their catalogs spell it."""

    bigquery: LiteralString
    postgres: LiteralString


# BigQuery's DATETIME and PostgreSQL's timestamp both carry no zone, as TLC's times do not.
TYPE_NAMES: dict[pa.DataType, TypeNames] = {
    INTEGER: TypeNames("INT64", "integer"),
    NUMBER: TypeNames("FLOAT64", "double precision"),
    TEXT: TypeNames("STRING", "text"),
    DATETIME: TypeNames("DATETIME", "timestamp without time zone"),
    DATE: TypeNames("DATE", "date"),
}


def arrow_schema(table: Table) -> pa.Schema:
    """Return the Arrow schema of the table, which is its Parquet files' too."""
    return pa.schema([pa.field(column.name, column.type) for column in table.columns])


def bigquery_fields(table: Table) -> list[dict[str, str]]:
    """Return the table's columns in the form of BigQuery's REST API (`TableFieldSchema`)."""
    return [
        {
            "name": column.name,
            "type": TYPE_NAMES[column.type].bigquery,
            "mode": "NULLABLE",
            "description": column.description,
        }
        for column in table.columns
    ]
