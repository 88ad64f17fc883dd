"""Made-up months that look as TLC published them, for a laptop that cannot reach TLC.

What belongs here is the publisher's side, every service and every era of it: the columns of the
Parquet (`columns`), the headers and lines of the CSV (`layouts`), how trips and their defects are
spread (`drawing`, `taxis`, `for_hire`, `zones`, `shapes`) and how they are written down
(`writing`).
"""

from taxi_pipeline.local.generator.shapes import write_zone_shapes
from taxi_pipeline.local.generator.writing import first_parquet, write_csv_gz, write_parquet
from taxi_pipeline.local.generator.zones import write_zones

__all__ = ["first_parquet", "write_csv_gz", "write_parquet", "write_zone_shapes", "write_zones"]
