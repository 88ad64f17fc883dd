"""Small disks, to be filled."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Put a disk of so many bytes in the place of an empty folder; skip where we may not."""
    its = folder.stat()
    options = f"size={size},uid={its.st_uid},gid={its.st_gid},mode=700"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("a small disk cannot be mounted here: that takes root and its capabilities")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
