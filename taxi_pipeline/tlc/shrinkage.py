"""Whether a month has as many trips as can be expected: by what it replaces and its neighbours.

A publisher that serves half a file, or a header alone, breaks no rule of a single row. Where the
other figures come from is for who asks; what becomes of the month, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taxi_pipeline.tlc.month import Month

# Next to nothing is less than one row in so many. Of yellow 2020-03 the month after it had one in
# twelve.
_OF_REPLACED = 10
_OF_NEIGHBOUR = 100

_USUAL_DAY = 10  # trips, on average: of fewer a day may have none by chance


@dataclass(frozen=True)
class Comparison:
    """The trips of a month, and the figures that they are held against.

    Attributes:
        month: The month.
        trips: How many trips it has.
        replaced: How many rows the tables have of the month; None where they have nothing of it.
        neighbours: How many trips there are of the months beside it.
        empty_days: The days of the month, from 1, without trips.
    """

    month: Month
    trips: int
    replaced: int | None
    neighbours: Mapping[Month, int]
    empty_days: Sequence[int] = ()

    @property
    def next_to_nothing(self) -> bool:
        """Whether so little is left that no person would take it for the month.

        That is no trip at all, fewer than one in 10 of the rows replaced, or fewer than one in 100
        of the smaller neighbour's. Neighbours have no say where the tables have no more of the
        month: nothing is lost then.
        """
        if not self.trips:
            return True
        if self.replaced is not None and self.trips >= self.replaced:
            return False
        of_replaced = self.trips * _OF_REPLACED < (self.replaced or 0)
        _, neighbour = self._smaller_neighbour
        return of_replaced or self.trips * _OF_NEIGHBOUR < neighbour

    def shortfalls(self, share: float) -> list[str]:
        """Say what is fewer than can be expected, and which days have no trips.

        Args:
            share: By which share, 0 to 1, the trips may be fewer than the rows replaced, and than
                the smaller neighbour's.

        Returns:
            Sentences; none where nothing is short. Empty days count in a month of 10 trips a day
            and more.
        """
        compared = {"the tables": self.replaced or 0}
        name, neighbour = self._smaller_neighbour
        compared[name] = neighbour
        sentences = [
            f"The month has {self.trips:,} trips, {other} {trips:,}: "
            f"{1 - self.trips / trips:.1%} fewer."
            for other, trips in compared.items()
            if trips and (trips - self.trips) / trips > share
        ]
        if self.empty_days and self.trips >= _USUAL_DAY * (self.month.end - self.month.start).days:
            days = ", ".join(map(str, self.empty_days))
            number = f"{len(self.empty_days)} day{'s' if len(self.empty_days) > 1 else ''}"
            sentences.append(f"No trips on {number} of the month: {days}.")
        if not sentences and not self.trips:
            sentences.append("The month has no trips.")
        return sentences

    @property
    def _smaller_neighbour(self) -> tuple[str, int]:
        """The neighbour with the fewest trips, of those that have any."""
        trips = {month.key: trips for month, trips in self.neighbours.items() if trips}
        return min(trips.items(), key=lambda item: item[1], default=("", 0))
