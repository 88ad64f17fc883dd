"""The objects of one published file, told apart: the raw one, the cleaned one, the rejected one.

Which of them count, and what they say of themselves, belongs here; nothing is read but a listing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from taxi_pipeline.lake.metadata import CleanedMetadata, RawMetadata
from taxi_pipeline.lake.paths import ObjectPaths
from taxi_pipeline.resources.gcs import LakeObject


@dataclass(frozen=True)
class FileObjects:
    """The objects of one published file; None for one that the lake does not have.

    Attributes:
        raw: The published file.
        cleaned: The cleaned rows.
        rejected: The rejected rows, of the object that the cleaned one names.
        origin: What the raw object says.
        history: What the cleaned object says.
    """

    raw: LakeObject | None
    cleaned: LakeObject | None
    rejected: LakeObject | None
    origin: RawMetadata
    history: CleanedMetadata

    @classmethod
    def among(cls, objects: Iterable[LakeObject], paths: ObjectPaths) -> Self:
        """Return the objects that count.

        Args:
            objects: All objects of the file, the newest of each folder first.
            paths: Where the file lies in the lake.
        """
        by_name = {item.name: item for item in objects}
        raw = next((item for name, item in by_name.items() if name.startswith(paths.raw)), None)
        cleaned = by_name.get(paths.cleaned)
        history = CleanedMetadata.parse(cleaned.metadata if cleaned else {})
        return cls(
            raw,
            cleaned,
            by_name.get(history.rejected_rows or ""),
            RawMetadata.parse(raw.metadata if raw else {}),
            history,
        )

    @property
    def of_this_raw(self) -> bool:
        """Whether the cleaned and the rejected rows are of the raw object that is there."""
        rejected = CleanedMetadata.parse(self.rejected.metadata if self.rejected else {})
        return self.origin.sha256 is not None and all(
            source.sha256 == self.origin.sha256 for source in (self.history, rejected)
        )

    @property
    def size(self) -> int:
        """How many bytes the objects have."""
        return sum(item.size for item in (self.raw, self.cleaned, self.rejected) if item)
