"""What a run has seen of the stores, so that its steps do not ask them twice for the same.

A store is asked again where it can have changed: a table once it was written to, the lake where
another cleaned object is there. Only a run's own memory belongs here; it ends with the process. How
a store is asked is the ledger's and the sinks'.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from taxi_pipeline.lake.objects import FileObjects
from taxi_pipeline.lake.paths import ObjectPaths
from taxi_pipeline.ledger import Depth, LakeEntry, entry_of, find_objects
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Table
from taxi_pipeline.tlc.tally import Tally

_RUNS = 8  # more than go on in a process at once


@dataclass(frozen=True)
class LakeLook:
    """What the lake has of a published file.

    Attributes:
        depth: How closely was looked.
        objects: The file's objects, the newest of each folder first.
        stored: Those of them that count.
        entry: What is in them.
    """

    depth: Depth
    objects: Sequence[LakeObject]
    stored: FileObjects
    entry: LakeEntry

    def shows(self, depth: Depth) -> bool:
        """Whether it is as close as another look would be, which then reads nothing more."""
        return depth <= self.depth or (depth == Depth.COLUMNS and self.entry.cells is not None)


@dataclass
class Looks:
    """What one run has seen of its month, or of its table without months."""

    _lake: LakeLook | None = None
    _rows: dict[str, int | None] = field(default_factory=dict)

    def lake(
        self, lake: Lake, paths: ObjectPaths, table: Table, total: str | None, depth: Depth
    ) -> LakeLook:
        """Look at what the lake has of a published file; arguments and errors as `lake_entry`'s."""
        objects = find_objects(lake, paths)
        seen = self._lake
        if not (seen and seen.objects == objects and seen.shows(depth)):
            entry = entry_of(lake, paths, objects, table, total, depth)
            self._lake = seen = LakeLook(depth, objects, FileObjects.among(objects, paths), entry)
        return seen

    def cleaned(
        self, lake: Lake, paths: ObjectPaths, table: Table, total: str | None, depth: Depth
    ) -> LakeEntry:
        """Look at the cleaned rows, of which the lake is asked whether they are those seen before.

        The published file and the rejected rows are as they were when the run looked at them first.
        Arguments and errors are `lake_entry`'s.
        """
        seen = self._lake
        if seen and seen.shows(depth) and seen.stored.cleaned == lake.get(paths.cleaned):
            return seen.entry
        return self.lake(lake, paths, table, total, depth).entry

    def rows(self, sink: Sink, table: Table, month: Month) -> int | None:
        """Return how many rows with a pick-up time a sink has of the month; None where it has none.

        Raises:
            PermanentError: The sink cannot be asked, and asking again cannot change that.
            TransientError: The sink is away.
        """
        if sink.name not in self._rows:
            # without a total: of BigQuery's columns the pick-up time alone is read
            self.note(sink, sink.tallies(table, None, month, month).get(month))
        return self._rows[sink.name]

    def note(self, sink: Sink, tally: Tally | None) -> None:
        """Note what a sink has said that it has of the month; None where it does not have it."""
        rows = tally.rows - tally.rows_without_pickup if tally else 0
        self._rows[sink.name] = rows or None

    def forget(self, sink: Sink) -> None:
        """Forget what a sink had, which is about to change."""
        self._rows.pop(sink.name, None)


@lru_cache(_RUNS)
def looks_of(run_id: str) -> Looks:
    """Return what a run has seen in this process."""
    return Looks()
