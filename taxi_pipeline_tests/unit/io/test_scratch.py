"""A step's folder on our own disk, what becomes of a killed process's, and whatever lies beside."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.io.scratch import MARKER, scratch

HOLDING = """
import sys
from taxi_pipeline.io.scratch import scratch
with scratch() as folder:
    (folder / "half").write_text("half")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _tmpdir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the folder of this user's scratch folders, made."""
    with scratch() as folder:
        assert folder.parent.parent == tmp_path
        return folder.parent


def killed_in(home: Path, process: str = HOLDING) -> Path:
    """Return the folder of a process that was killed while it used it."""
    with subprocess.Popen(
        [sys.executable, "-c", process], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        assert folder.parent == home
        other.kill()
    return folder


def test_it_goes_with_the_step(home: Path) -> None:
    def fails() -> None:
        with scratch() as folder:
            assert folder.parent == home
            (folder / "file").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert list(home.iterdir()) == []


def test_one_in_use_stays_and_one_that_was_left_is_deleted(home: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        held = Path(other.stdout.readline().strip())
        with scratch() as ours:
            assert set(home.iterdir()) == {held, ours}
        other.kill()
    assert (held / "half").exists()
    with scratch() as ours:
        assert list(home.iterdir()) == [ours]


def in_tmpdir(name: str) -> Callable[[Path], Path]:
    return lambda home: home.parent / name


def in_home(name: str) -> Callable[[Path], Path]:
    return lambda home: home / name


@pytest.mark.parametrize(
    "place",
    [
        in_tmpdir("taxi_pipeline-main"),  # as GitHub's archive unpacks
        in_tmpdir("taxi_pipeline-0.1.0"),  # as an sdist unpacks
        in_tmpdir("taxi_pipeline-abcd1234"),
        in_tmpdir("taxi_pipeline.scratch"),
        in_tmpdir("step-abcd1234"),
        in_home("checkout"),
        in_home("step-main"),
        in_home("step-abcd12345"),
    ],
)
@pytest.mark.parametrize("marked", [True, False])
def test_a_checkout_of_any_such_name_survives_every_step(
    home: Path, place: Callable[[Path], Path], marked: bool
) -> None:
    checkout = place(home)
    (checkout / ".git").mkdir(parents=True)
    (checkout / "uncommitted.py").write_text("work")
    if marked:  # somebody has copied a scratch folder, to look at what is in it
        (checkout / MARKER).touch()
    with scratch():
        pass
    assert (checkout / "uncommitted.py").read_text() == "work"
    assert (checkout / ".git").is_dir()


def test_a_folder_without_our_marker_survives(home: Path) -> None:
    other = home / "step-abcd1234"
    other.mkdir()
    (other / "thesis.txt").touch()
    with scratch():
        pass
    assert (other / "thesis.txt").exists()


def test_a_link_to_a_folder_survives_and_so_does_what_it_leads_to(home: Path) -> None:
    elsewhere = home.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / MARKER).touch()
    link = home / "step-abcd1234"
    link.symlink_to(elsewhere)
    with scratch():
        pass
    assert link.is_symlink()
    assert (elsewhere / MARKER).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_another_users_folder_survives(home: Path) -> None:
    theirs = killed_in(home)
    os.chown(theirs, 12345, 12345)
    with scratch():
        pass
    assert (theirs / "half").exists()


def link_elsewhere(home: Path) -> None:
    (home.parent / "elsewhere").mkdir(mode=0o700)
    home.symlink_to(home.parent / "elsewhere")


def open_to_others(home: Path) -> None:
    home.mkdir()
    home.chmod(0o777)


@pytest.mark.parametrize("squat", [link_elsewhere, open_to_others, Path.touch])
def test_a_folder_that_is_not_the_users_alone_is_refused(
    home: Path, squat: Callable[[Path], None]
) -> None:
    home.rmdir()
    squat(home)
    with pytest.raises(PermanentError, match=r"mode 700.*set TMPDIR"), scratch():
        pass


def test_a_volume_that_passes_its_group_on_is_accepted(tmp_path: Path) -> None:
    tmp_path.chmod(0o2777)  # as Kubernetes makes a pod's volumes, by its fsGroup
    for _ in range(2):
        with scratch() as folder:
            assert folder.parent.stat().st_mode & 0o7777 == 0o2700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_that_another_user_made_first_is_refused(home: Path) -> None:
    os.chown(home, 12345, 12345)
    with pytest.raises(PermanentError, match="set TMPDIR"), scratch():
        pass


def test_a_full_disk_is_transient_and_says_what_to_do() -> None:
    with pytest.raises(TransientError, match=r"the disk is full\. Make room"), scratch():
        raise OSError(errno.ENOSPC, "No space left on device")


def test_any_other_error_of_the_system_passes() -> None:
    with pytest.raises(PermissionError), scratch():
        raise PermissionError
