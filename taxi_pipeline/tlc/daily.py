"""How a month's trips spread over its days. Only counting: what is shown of it is for others."""

from pathlib import Path

from taxi_pipeline.tlc.month import Month


def trips_by_day(trips: Path, month: Month) -> list[int]:
    """Count a month's trips in their Parquet file by the day of pick-up, from the first on.

    Every pick-up is taken to lie in the month, as cleaning leaves them. Memory stays flat.
    """
    import numpy as np
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    days = (month.end - month.start).days
    counts = np.zeros(days + 1, np.int64)  # the day 0 stays empty
    with pq.ParquetFile(trips, pre_buffer=False) as file:
        for rows in file.iter_batches(columns=["pickup_datetime"]):
            counts += np.bincount(pc.day(rows["pickup_datetime"]), minlength=days + 1)
    by_day: list[int] = counts[1:].tolist()
    return by_day
