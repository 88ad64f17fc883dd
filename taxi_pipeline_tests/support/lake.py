"""The lake as a test, or a person with Google's own client, changes it; and lakes that fail."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from taxi_pipeline.io.google import CloudStorage
from taxi_pipeline.resources.gcs import Lake, LakeObject

if TYPE_CHECKING:
    from google.cloud import storage


def overwrite(lake: Lake, path: Path, name: str, metadata: dict[str, str]) -> LakeObject:
    """Put a file at `name`, in place of whatever is there."""
    return lake.upload(path, name, metadata, lake.generation_of(name))


def delete(lake: Lake, name: str) -> None:
    """Delete the object of that name, whichever is there."""
    for item in lake.find(name):
        if item.name == name:
            lake.delete(item)


def bucket_of(lake: Lake) -> "storage.Bucket":
    """Return a lake's bucket, as Google's client has it."""
    return CloudStorage(project=lake.project).get_client().bucket(lake.bucket)


def put(lake: Lake, name: str, content: bytes | Path = b"?") -> None:
    """Put an object into the lake as any tool does: without metadata."""
    blob = bucket_of(lake).blob(name)
    if isinstance(content, Path):
        blob.upload_from_filename(str(content))
    else:
        blob.upload_from_string(content)


class LosingLake(Lake):
    """A lake that loses what was rejected."""

    def upload(self, path: Path, name: str, *rest: Any) -> LakeObject:
        """Store a file, but no row of it if they are rejected ones."""
        if name.startswith("rejected/"):
            pq.write_table(pq.read_table(path)[:0], path)
        return super().upload(path, name, *rest)
