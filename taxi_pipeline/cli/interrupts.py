"""Ctrl-C where a command must not take it yet, or where Python would lose it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C until the end, so that nothing is launched of which nobody knows the id."""
    held = False

    def hold(*_: object) -> None:
        nonlocal held
        held = True

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # and not ignored, as in a shell's background job
        signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        raise KeyboardInterrupt


@contextmanager
def interrupts_noted() -> Iterator[Callable[[], None]]:
    """Yield a function that raises `KeyboardInterrupt` once more where Ctrl-C was pressed.

    Python loses the first one where it comes while an object is finalized, such as a connection.
    """
    noted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal noted
        noted = True
        signal.default_int_handler(number, frame)

    def raise_lost() -> None:
        if noted:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, note)
    try:
        yield raise_lost
    finally:
        signal.signal(signal.SIGINT, before)
