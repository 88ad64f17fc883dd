"""The lake as a test changes it: whatever generation is there."""

from pathlib import Path

from taxi_pipeline.resources.lake import Lake, LakeObject


def overwrite(lake: Lake, path: Path, name: str, metadata: dict[str, str]) -> LakeObject:
    """Put a file at `name`, in place of whatever is there."""
    return lake.upload(path, name, metadata, lake.generation_of(name))


def delete(lake: Lake, name: str) -> None:
    """Delete the object of that name, whichever is there."""
    for item in lake.find(name):
        if item.name == name:
            lake.delete(item)
