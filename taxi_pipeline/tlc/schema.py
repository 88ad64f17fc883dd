"""A declared table in Arrow's types, which are its Parquet files' too.

How a store spells the types is its own module's.
"""

import pyarrow as pa

from taxi_pipeline.tlc.services import Table


def arrow_schema(table: Table) -> pa.Schema:
    """Return the Arrow schema of the table, which is its Parquet files' too."""
    return pa.schema([pa.field(column.name, column.type) for column in table.columns])
