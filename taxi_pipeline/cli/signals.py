"""What ends a verb by a signal, in order: what it has begun is undone as by Ctrl-C."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Never

_ENDING = (signal.SIGTERM, signal.SIGHUP)


def exit_by_signal(number: int, _: FrameType | None) -> Never:
    """End the process by an exception, with the exit code that a shell gives to the signal."""
    sys.exit(128 + number)


@contextmanager
def undone_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block by an exception; nohup's wish to ignore one is kept."""
    before = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, exit_by_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
