"""What only Dagster knows of the months, as values. Who asks Dagster for them is not said here."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime

from taxi_pipeline.tlc.month import Month

# A service's name and a month of it.
type MonthKey = tuple[str, Month]


@dataclass(frozen=True)
class Facts:
    """What Dagster remembers of runs, and of what the publisher has answered to its sensor.

    Attributes:
        failed: The months whose last run failed, each with a sentence about it.
        running: The months of which a run is queued or under way, each with the time since when
            the oldest of these runs is.
        rewritten: The months of which the publisher had another file than the lake, each with the
            version of the file that the lake had then.
        unpublished: The months that were due, and that the publisher did not have when it was
            asked last, nor any later one.
        unknown: What could not be asked, in sentences.
    """

    failed: Mapping[MonthKey, str] = field(default_factory=dict)
    running: Mapping[MonthKey, datetime] = field(default_factory=dict)
    rewritten: Mapping[MonthKey, str] = field(default_factory=dict)
    unpublished: Set[MonthKey] = frozenset()
    unknown: tuple[str, ...] = ()
