"""What a backfill will take: bytes, runs, minutes, and what lies in each store afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass

from taxi_pipeline.backfill.pace import PastRun, pace
from taxi_pipeline.backfill.prices import LAKE, ROW_BYTES, dollars
from taxi_pipeline.backfill.survey import Survey


@dataclass(frozen=True)
class Stored:
    """What a store has of the months afterwards: its bytes, and its dollars a month."""

    size: float
    dollars: float | None


@dataclass(frozen=True)
class Estimate:
    """What a backfill will take.

    Attributes:
        surveys: What there is, a service each.
        at_once: How many runs go on at once.
        seconds: How long all of it takes, from the launch on.
        source: What the seconds are known by.
    """

    surveys: Sequence[Survey]
    at_once: int
    seconds: float
    source: str

    @property
    def runs(self) -> int:
        """How many runs there are: one a month."""
        return sum(len(survey.sizes) for survey in self.surveys)

    @property
    def size(self) -> int:
        """The bytes of the published files."""
        return sum(sum(survey.sizes.values()) for survey in self.surveys)

    @property
    def stores(self) -> dict[str, Stored]:
        """What each store has of the months afterwards, by its name."""
        sizes: dict[str, float] = {LAKE: self.size}
        for survey in self.surveys:
            of_row = ROW_BYTES[survey.service.name]
            rows = sum(survey.rows(month) for month in survey.months)
            sizes[LAKE] += rows * of_row.cleaned
            for sink, size in of_row.sinks.items():
                sizes[sink] = sizes.get(sink, 0) + rows * size
        return {store: Stored(size, dollars(store, size)) for store, size in sizes.items()}


def estimate(
    surveys: Sequence[Survey], past: Sequence[PastRun], at_once: int, cores: int | None
) -> Estimate:
    """Return what the months of the surveys will take.

    Args:
        surveys: What there is, a service each.
        past: Past months of the services.
        at_once: How many runs the queue lets go on at once.
        cores: The cores that they share; None where each has its own.
    """
    months = [
        (survey.service.name, survey.rows(month)) for survey in surveys for month in survey.months
    ]
    at_once = max(1, min(at_once, len(months)))
    known = pace(past, at_once, cores)
    return Estimate(surveys, at_once, known.seconds(months), known.source)
