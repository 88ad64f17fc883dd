"""A declared table in Arrow's types, which are its Parquet files' too.

Rows that are being cleaned have their texts as dictionaries: a text is then looked at once, not in
each row. How a store spells the types is its own module's.
"""

import pyarrow as pa

from taxi_pipeline.tlc.services import TEXT, Table

ENCODED_TEXT = pa.dictionary(pa.int32(), TEXT)


def arrow_schema(table: Table) -> pa.Schema:
    """Return the Arrow schema of the table, which is its Parquet files' too."""
    return pa.schema([pa.field(column.name, column.type) for column in table.columns])


def encoded_schema(table: Table) -> pa.Schema:
    """Return the same with each text as `ENCODED_TEXT`, as rows have it that are being cleaned."""
    return pa.schema([(column.name, encoded_type(column.type)) for column in table.columns])


def encoded_type(declared: pa.DataType) -> pa.DataType:
    """Return the type that a column's values have while they are being cleaned."""
    return ENCODED_TEXT if declared == TEXT else declared
