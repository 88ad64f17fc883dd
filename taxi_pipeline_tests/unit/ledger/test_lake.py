"""The lake's Parquet files are counted in bounded memory."""

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from taxi_pipeline.ledger.lake import _reasons
from taxi_pipeline.tlc.cleaning import REJECTED_BECAUSE  # imported before memory is measured


def test_counting_the_rejected_rows_takes_no_memory_for_each(tmp_path: Path) -> None:
    schema = pa.schema([(REJECTED_BECAUSE, pa.string())])
    groups = [["pickup_outside_month"] * 100_000, ["unparsable", "pickup_outside_month"]] * 4
    with pq.ParquetWriter(tmp_path / "rejected.parquet", schema) as writer:
        for group in groups:
            writer.write_table(pa.table([pa.array(group)], schema))
    tracemalloc.start()
    try:
        with (tmp_path / "rejected.parquet").open("rb") as file:
            assert _reasons(file) == {"pickup_outside_month": 400_004, "unparsable": 4}
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
