"""Every month of TLC's, with the rows that it has.

`published_rows.csv` has them in thousands, to 2024-05, of TLC's Parquet. Each month after that is
taken to have those of the same month a year before.
"""

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from benchmarks.inputs import Published
from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.local.generator import first_parquet
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES

_ROWS = Path(__file__).with_name("published_rows.csv")


def all_months() -> dict[str, list[Month]]:
    """Return the months of each service that TLC publishes as Parquet, by the service's name."""
    return {
        of.name: [
            month
            for key in months_of(of).get_partition_keys()
            if (month := Month.parse(key)) >= first_parquet(of)
        ]
        for of in SERVICES.values()
    }


def true_rows(service: str, month: Month) -> int:
    """Return how many rows a month has."""
    known = _known_rows()
    while (service, month) not in known:
        month = Month(month.year - 1, month.month)
    return known[service, month]


def published_files(every: int, share: float, newest: float) -> list[Published]:
    """Return every so-manieth month of each service, to its newest, as files to generate.

    Args:
        every: 1 for all months, 2 for every second one.
        share: The rows of a month, as a share of those that it has.
        newest: The same for the newest of each service.
    """
    return [
        Published(SERVICES[name], month, round(true_rows(name, month) * part))
        for name, months in all_months().items()
        for month, part in _with_shares(months[::-every][::-1], share, newest)
    ]


def _with_shares(months: Sequence[Month], share: float, newest: float) -> list[tuple[Month, float]]:
    return [*((month, share) for month in months[:-1]), (months[-1], newest)]


@cache
def _known_rows() -> dict[tuple[str, Month], int]:
    with _ROWS.open() as file:
        return {
            (line["service"], Month(int(line["year"]), number)): 1000 * int(thousands)
            for line in csv.DictReader(file)
            for number in range(1, 13)
            if (thousands := line[f"{number:02}"])
        }
