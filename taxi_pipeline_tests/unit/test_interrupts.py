"""Ctrl-C, held or lost for a moment, in this process."""

import os
import signal

import pytest

from taxi_pipeline.cli.interrupts import interrupts_held, interrupts_noted


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Connection:
    """Is finalized as Ctrl-C is pressed: Python says so, and goes on."""

    def __del__(self) -> None:
        press_ctrl_c()


def test_what_is_held_is_raised_at_the_end() -> None:
    reached = []

    def hold() -> None:
        with interrupts_held():
            press_ctrl_c()
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        hold()
    assert reached == ["the end"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_python_has_lost_is_raised_once_more() -> None:
    with interrupts_noted() as raise_lost:
        raise_lost()
        Connection()
        with pytest.raises(KeyboardInterrupt):
            raise_lost()


def test_what_is_not_lost_is_raised_at_once_and_python_has_its_handler_again() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts_noted():
        press_ctrl_c()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_background_job_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_held():
            press_ctrl_c()
        with interrupts_noted() as raise_lost:
            press_ctrl_c()
            raise_lost()
    finally:
        signal.signal(signal.SIGINT, before)
