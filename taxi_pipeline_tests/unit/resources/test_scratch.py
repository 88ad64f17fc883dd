"""A step's folder on our own disk, and what becomes of one whose process was killed."""

import errno
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from taxi_pipeline.errors import TransientError
from taxi_pipeline.resources.scratch import scratch

HOLDING = """
import sys
from taxi_pipeline.resources.scratch import scratch
with scratch() as folder:
    (folder / "half").write_text("half")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _tmpdir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_it_goes_with_the_step(tmp_path: Path) -> None:
    def fails() -> None:
        with scratch() as folder:
            assert folder.parent == tmp_path
            (folder / "file").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert list(tmp_path.iterdir()) == []


def test_one_in_use_stays_and_one_that_was_left_is_deleted(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        held = Path(other.stdout.readline().strip())
        with scratch() as ours:
            assert set(tmp_path.iterdir()) == {held, ours}
        other.kill()
    assert (held / "half").exists()
    with scratch() as ours:
        assert list(tmp_path.iterdir()) == [ours]


def test_a_full_disk_is_transient_and_says_what_to_do() -> None:
    with pytest.raises(TransientError, match=r"the disk is full\. Make room"), scratch():
        raise OSError(errno.ENOSPC, "No space left on device")


def test_any_other_error_of_the_system_passes() -> None:
    with pytest.raises(PermissionError), scratch():
        raise PermissionError
