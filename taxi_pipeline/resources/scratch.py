"""Our own disk: a folder for files on their way, which goes with its step, or with the next one.

A lock on the folder, which goes with its process, tells a folder in use from one that a killed
process has left. What lies in it is for who asks.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from taxi_pipeline.errors import TransientError
from taxi_pipeline.resources.classification import TRANSIENT_ERRNOS

_PREFIX = "taxi_pipeline-"


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield an empty folder under TMPDIR, deleted at the end; delete those of killed processes.

    Raises `TransientError` where what is written there finds the disk full.
    """
    for left in Path(gettempdir()).glob(f"{_PREFIX}*"):
        _delete_unless_in_use(left)
    folder, lock = _locked_folder()
    try:
        yield folder
    except OSError as error:
        if error.errno not in TRANSIENT_ERRNOS:
            raise
        raise TransientError(
            f"{folder}: {TRANSIENT_ERRNOS[error.errno]}. Make room there, or set TMPDIR to a "
            "folder on a larger disk."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what failed in it is the better error
        os.close(lock)


def _locked_folder() -> tuple[Path, int]:
    """Make a folder; return it and the descriptor that holds its lock."""
    while True:
        folder = Path(mkdtemp(prefix=_PREFIX))
        # until it is locked, another process may take it for one that was left
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_SH)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _delete_unless_in_use(folder: Path) -> None:
    with suppress(OSError):  # it is in use, another's, or gone
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(lock)
