"""A command run inside the stack: as if it had been started from the shell itself.

It gets a process group of its own and the terminal with it, so Ctrl-C and Ctrl-Z are its own. When
it has ended, what is left of its group is ended too.

A signal to us means an end: it is passed on to the group, and what has not ended after a grace
period is terminated, then killed, including what had left the group.
"""

import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil
from dotenv import dotenv_values

from taxi_pipeline.errors import PermanentError

_PASSED_ON = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
_GRACE_SECONDS = 10


def run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run the command with the environment added to ours; return its exit code as a shell's.

    It finds the commands that are installed beside us, activated or not. The exit code is 127 where
    the command is not found, 126 where it may not run, 128 + n where signal n ended it. Raises
    `PermanentError` where a file `.env` would take the environment's place.
    """
    if overridden := sorted(dotenv_values(".env").keys() & environment.keys()):
        raise PermanentError(
            f"{Path('.env').resolve()} sets {', '.join(overridden)}, and Dagster would take that "
            "instead of the stack's: rename the file, or run from another folder."
        )
    with _signals_caught() as pass_to:
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, "PATH": search_path(), **environment},
                process_group=0,
            )
        except FileNotFoundError:
            print(f"taxi local: {command[0]}: command not found", file=sys.stderr)  # noqa: T201
            return 127
        except PermissionError:
            print(f"taxi local: {command[0]}: permission denied", file=sys.stderr)  # noqa: T201
            return 126
        ending = _Ending(process.pid)
        pass_to(ending.begin)
        code = _wait(process.pid)
        process.returncode = code
        ending.complete()
    return 128 - code if code < 0 else code


def search_path() -> str:
    """Return PATH, before it the folder of this environment's commands where PATH has it not."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    ours = sysconfig.get_path("scripts")
    return os.pathsep.join(folders if ours in folders else [ours, *folders])


class _Ending:
    """The end of a process group, begun by a signal to us or by the end of the group's leader."""

    def __init__(self, group: int) -> None:
        self._group = group
        self._outside: set[psutil.Process] = set()
        self._begun = False
        self._overdue = threading.Timer(_GRACE_SECONDS, self._end)
        self._overdue.daemon = True

    def begin(self, number: signal.Signals) -> None:
        """Pass a signal on to the group; after a grace period, end what still runs."""
        # noted before, since nobody knows whose descendant an orphan is
        self._outside = self._outside | _descendants_outside(self._group)
        _signal_group(self._group, number)
        if not self._begun:
            self._begun = True
            self._overdue.start()

    def complete(self) -> None:
        """End what the leader, which has ended, left running."""
        self._overdue.cancel()
        if self._begun:
            self._overdue.join()
        self._end()

    def _end(self) -> None:
        """End the group and its descendants outside: ask, wait, then kill."""
        deadline = time.monotonic() + _GRACE_SECONDS
        outside = {
            process for child in self._outside for process in (child, *_descendants(child.pid))
        }
        alive = self._signal(outside, signal.SIGTERM)
        while alive and time.monotonic() < deadline:
            time.sleep(0.05)
            alive = self._signal(outside, None)
        if alive:
            self._signal(outside, signal.SIGKILL)

    def _signal(self, outside: Iterable[psutil.Process], number: signal.Signals | None) -> bool:
        """Send a signal, or none to ask only; return whether any process runs."""
        alive = [_signal_group(self._group, number)]
        alive += [_signal_process(process, number) for process in outside]
        return any(alive)


def _descendants(pid: int) -> set[psutil.Process]:
    try:
        return set(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return set()


def _descendants_outside(group: int) -> set[psutil.Process]:
    """Return the descendants of a group's leader that have left the group."""
    outside = set()
    for process in _descendants(group):
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) != group:
                outside.add(process)
    return outside


def _wait(group: int) -> int:
    """Wait for the group's leader to end; when it is stopped (Ctrl-Z), stop and go on with it."""
    while True:
        with _terminal_lent_to(group):
            _signal_group(group, signal.SIGCONT)
            _, status = os.waitpid(group, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        os.kill(0, signal.SIGTSTP)


@contextmanager
def _signals_caught() -> Iterator[Callable[[Callable[[signal.Signals], None]], None]]:
    """Catch our signals; yield a function that says who takes them.

    What is caught, and not ignored, has its default in the command that we start.
    """
    takers: list[Callable[[signal.Signals], None]] = []
    early: list[signal.Signals] = []

    def caught(number: int, _: FrameType | None) -> None:
        for take in takers:
            take(signal.Signals(number))
        if not takers:
            early.append(signal.Signals(number))

    def pass_to(take: Callable[[signal.Signals], None]) -> None:
        takers.append(take)
        for number in early:
            take(number)

    heeded = [number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, caught) for number in heeded}
    try:
        yield pass_to
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _terminal_lent_to(group: int) -> Iterator[None]:
    """Put the group in the terminal's foreground, as a shell does, and take the place back."""
    if not (sys.stdin and sys.stdin.isatty()) or os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
        yield
        return
    terminal = sys.stdin.fileno()
    # who is in the background and takes the terminal would be stopped by this signal
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(terminal, group)
    try:
        yield
    finally:
        with suppress(OSError):  # the terminal is gone
            os.tcsetpgrp(terminal, os.getpgrp())
        signal.signal(signal.SIGTTOU, before)


def _signal_group(group: int, number: signal.Signals | None) -> bool:
    """Send a signal to the group, or none to ask only; return whether we reach anyone in it."""
    try:
        os.killpg(group, number or 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _signal_process(process: psutil.Process, number: signal.Signals | None) -> bool:
    """Send a signal to a process, or none to ask only; return whether it runs and we reach it."""
    try:
        process.send_signal(number or 0)
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
