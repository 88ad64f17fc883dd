"""The engine, its images and the deployment, once for all tests; the table of what befell."""

import time
from collections.abc import Iterator

import pytest

from taxi_pipeline_tests.containers.deployment import Deployment, clear, set_up, start
from taxi_pipeline_tests.containers.engine import Engine, NoEngineError, docker_engine
from taxi_pipeline_tests.containers.images import FOLDER, make_images

BEFELL = "befell"

_LINES: list[str] = []

_HEAD = [
    "what befell",
    "months under way",
    "the next run began after, s",
    "runs lost",
    "those that went on done after, s",
]


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Return an engine that has the images; skip where there can be none."""
    try:
        with docker_engine(FOLDER) as docker:
            clear(docker)
            make_images(docker, _LINES.append)
            yield docker
    except NoEngineError as error:
        pytest.skip(f"{error} So the image is not built, nor deploy/compose started.")


@pytest.fixture(scope="session")
def deployment(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Return a deployment that was started as the README of deploy/compose says."""
    with set_up(engine, tmp_path_factory.mktemp("deployment")) as there:
        began = time.monotonic()
        start(there)
        _LINES.append(
            f'{time.monotonic() - began:6.1f} s  deploy/compose, by its README\'s "Start"'
        )
        yield there


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how long what took, how large images are, and the table of what befell."""
    for line in _LINES:
        terminalreporter.write_line(line)
    rows = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, value in getattr(report, "user_properties", ())
        if name == BEFELL
    ]
    if rows:
        terminalreporter.section("what befell")
        for row in (_HEAD, ["---", *("--:" for _ in _HEAD[1:])], *rows):
            terminalreporter.write_line(f"| {' | '.join(row)} |")
