import io
import logging
import sys

import pyarrow as pa
import pytest

from taxi_pipeline.lake import progress
from taxi_pipeline.lake.progress import report_progress


class Clock:
    """Goes on by so many seconds at every look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


LOG = logging.getLogger(__name__)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_long_work_says_how_far_it_has_come_at_a_steady_pace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "monotonic", Clock(4))
    caplog.set_level(logging.INFO)
    with progress.progress("Cleaning 2021-01", LOG, rows=100_000) as seen:
        for _ in range(10):
            seen(5_000, 1_500_000)
    assert said(caplog) == [
        "Cleaning 2021-01: 15,000 of 100,000 rows, 4 MB in 16 s",
        "Cleaning 2021-01: 30,000 of 100,000 rows, 9 MB in 32 s",
        "Cleaning 2021-01: 45,000 of 100,000 rows, 14 MB in 48 s",
    ]


def test_a_download_is_counted_in_bytes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(progress, "monotonic", Clock(30))
    caplog.set_level(logging.INFO)
    with progress.progress("Downloading 2021-01", LOG) as seen:
        seen(0, 12_000_000)
    assert said(caplog) == ["Downloading 2021-01: 12 MB in 60 s"]


def test_short_work_leaves_the_log_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with progress.progress("Cleaning 2021-01", LOG) as seen:
        seen(5, 5)
    assert said(caplog) == []


def test_a_bar_is_shown_in_a_terminal_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress.progress("Copying 2021-01", LOG, rows=20) as seen:
            seen(10, 2_000_000)
        assert ("Copying 2021-01" in stream.getvalue()) == shown
        assert ("10 of 20 rows, 2 MB" in stream.getvalue()) == shown


def test_passing_batches_are_seen_once_they_were_taken() -> None:
    batch = pa.record_batch({"n": pa.array([1, 2, 3], pa.int64())})
    found: list[tuple[int, int]] = []
    batches = report_progress([batch, batch], lambda rows, size: found.append((rows, size)))
    next(batches)
    assert found == []
    next(batches)
    assert found == [(3, 24)]
    assert list(batches) == []
    assert found == [(3, 24), (3, 24)]
