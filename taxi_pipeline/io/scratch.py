"""Our own disk: a folder for a step's files, deleted with its step, or by the next step.

The folders lie in one folder for each user, which is closed to others. A killed process leaves its
folder behind; the lock on the folder's marker, which ends with the process, tells that nobody uses
it. Nothing else under TMPDIR is ever deleted. What is written into a folder is the caller's.
"""

import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.classification import TRANSIENT_ERRNOS

MARKER = ".taxi_pipeline_scratch"

_PREFIX = "step-"
_NAME = re.compile(rf"{_PREFIX}[a-z0-9_]{{8}}", re.ASCII)  # as mkdtemp names it


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder of the step's own under TMPDIR; delete those that killed processes have left.

    Yields:
        The folder, which is deleted at the end.

    Raises:
        TransientError: The disk is full, the quota is used up or a file is too large, in the
            context, too.
        PermanentError: The folder that holds the user's scratch folders belongs to others, or is
            open to them.
    """
    try:
        home = _home()
        for left in home.iterdir():
            _delete_unless_in_use(left)
        with _locked_folder(home) as folder:
            yield folder
    except OSError as error:
        if error.errno not in TRANSIENT_ERRNOS:
            raise
        raise TransientError(
            f"{gettempdir()}: {TRANSIENT_ERRNOS[error.errno]}. Make room there, or set TMPDIR to a "
            "folder on a larger disk."
        ) from error


def _home() -> Path:
    """Return this user's folder of scratch folders, made on first use."""
    home = Path(gettempdir(), f"taxi_pipeline.scratch.{os.geteuid()}")
    with suppress(FileExistsError):
        home.mkdir(mode=0o700)
    status = home.lstat()
    # only these bits: the folder may inherit others, such as setgid from a volume of Kubernetes
    permissions = status.st_mode & (stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
    if not _is_own_folder(status) or permissions != stat.S_IRWXU:
        raise PermanentError(
            f"{home} must be a folder that belongs to the user {os.geteuid()} and that nobody else "
            "can enter (mode 700), since files on their way lie there: remove what is there, or "
            "set TMPDIR to another folder."
        )
    return home


@contextmanager
def _locked_folder(home: Path) -> Iterator[Path]:
    """Yield a new folder whose marker is locked; delete it at the end."""
    folder, lock = _lock_new_folder(home)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what failed in it is the better error
        os.close(lock)


def _lock_new_folder(home: Path) -> tuple[Path, int]:
    """Make a folder; return it and the descriptor that holds the lock of its marker."""
    while True:
        folder = Path(mkdtemp(prefix=_PREFIX, dir=home))
        # until the marker is locked, another process may take the folder for one that was left
        with suppress(FileNotFoundError):
            lock = os.open(folder / MARKER, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_SH)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _delete_unless_in_use(folder: Path) -> None:
    """Delete a folder that `_locked_folder` has made and whose process has ended."""
    with suppress(OSError):  # it is in use, or gone
        if not (_NAME.fullmatch(folder.name) and _is_own_folder(folder.lstat())):
            return
        lock = os.open(folder / MARKER, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(lock)


def _is_own_folder(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
