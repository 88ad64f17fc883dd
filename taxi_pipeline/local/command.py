"""A command run inside the stack: as if it had been started from the shell itself.

It gets a process group of its own and the terminal with it, so Ctrl-C and Ctrl-Z are its own; other
signals are passed on; and when it has ended, what is left of its group is ended too.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from dotenv import dotenv_values

from taxi_pipeline.errors import PermanentError

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GRACE_SECONDS = 10


def run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run the command with the environment added to ours; return its exit code as a shell's.

    That is 127 where the command is not found, 126 where it may not run, 128 + n where signal n
    ended it. Raises `PermanentError` where a file `.env` would take the environment's place.
    """
    if overridden := sorted(dotenv_values(".env").keys() & environment.keys()):
        raise PermanentError(
            f"{Path('.env').resolve()} sets {', '.join(overridden)}, and Dagster would take that "
            "instead of the stack's: rename the file, or run from another folder."
        )
    with _signals_caught() as pass_to:
        try:
            process = subprocess.Popen(command, env={**os.environ, **environment}, process_group=0)
        except FileNotFoundError:
            print(f"taxi local: {command[0]}: command not found", file=sys.stderr)  # noqa: T201
            return 127
        except PermissionError:
            print(f"taxi local: {command[0]}: permission denied", file=sys.stderr)  # noqa: T201
            return 126
        pass_to(process.pid)
        code = _wait(process.pid)
        process.returncode = code
        _end_group(process.pid)
    return 128 - code if code < 0 else code


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
def _signals_caught() -> Iterator[Callable[[int], None]]:
    """Catch our signals; yield a function that says to which group they go."""
    groups: list[int] = []
    early: list[signal.Signals] = []

    def caught(number: int, _: FrameType | None) -> None:
        for group in groups:
            _signal_group(group, signal.Signals(number))
        if not groups:
            early.append(signal.Signals(number))

    def pass_to(group: int) -> None:
        groups.append(group)
        for number in early:
            _signal_group(group, number)

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
        os.tcsetpgrp(terminal, os.getpgrp())
        signal.signal(signal.SIGTTOU, before)


def _end_group(group: int) -> None:
    """End what the command left running: ask, wait, then kill."""
    deadline = time.monotonic() + _GRACE_SECONDS
    alive = _signal_group(group, signal.SIGTERM)
    while alive and time.monotonic() < deadline:
        time.sleep(0.05)
        alive = _signal_group(group, None)
    if alive:
        _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, number: signal.Signals | None) -> bool:
    """Send a signal to the group, or none to ask only; return whether anyone is in it."""
    try:
        os.killpg(group, number or 0)
    except ProcessLookupError:
        return False
    return True
