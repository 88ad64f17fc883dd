"""Cleaned files as a sink is given them, without what makes them in the lake."""

from collections.abc import Iterable

import pyarrow as pa

from taxi_pipeline.resources.gcs import LakeObject
from taxi_pipeline.sink import CleanedFile
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import Table

NOT_IN_LAKE = LakeObject(
    "cleaned.parquet", "gs://a-bucket/cleaned.parquet", 1, 1, "", {}, "AAAAAA=="
)


def cleaned_file(
    table: Table,
    month: Month | None,
    batches: Iterable[pa.RecordBatch],
    rows: int,
    stored: LakeObject = NOT_IN_LAKE,
) -> CleanedFile:
    """Return a file of the declared schema that says it has so many rows.

    A sink that reads rows gets `batches`; one that reads the lake itself gets `stored`.
    """
    schema = arrow_schema(table)
    return CleanedFile(table, month, stored.uri, stored.stamp, schema, rows, lambda: iter(batches))
