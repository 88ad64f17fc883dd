"""How a month's trips spread over its days. Only counting: what is shown of it is for others."""

from pathlib import Path

from taxi_pipeline.tlc.month import Month


def trips_by_day(trips: Path, month: Month) -> list[int]:
    """Count a month's trips by the day of pick-up. Memory stays flat.

    Args:
        trips: A Parquet file of cleaned trips: every pick-up is taken to lie in the month.
        month: The month.

    Returns:
        The number of trips on each day of the month, from the first on.
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
