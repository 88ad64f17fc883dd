"""Dagster's UI in a browser: one platform for the session, whose publisher is scripted."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from taxi_pipeline.local.generator import write_parquet
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN
from taxi_pipeline_tests.support.dagster_dev import WARM, DagsterDev, dagster_dev
from taxi_pipeline_tests.support.http import Answer, body, serving
from taxi_pipeline_tests.support.processes import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ROWS = 500
SCREEN: "ViewportSize" = {"width": 1600, "height": 900}


@dataclass(frozen=True)
class GreenPublisher:
    """A publisher of green trips that has what a test gives it, and the paths it was asked for."""

    url: str
    asked: list[str]
    _answers: dict[str, list[Answer]]

    def publish(self, month: str, answer: Answer | None = None) -> str:
        """Answer like this for a month, or with a generated file; return its path."""
        path = f"/green_tripdata_{month}.parquet"
        self._answers[path] = [answer or body(_generated(month))]
        return path


def _generated(month: str) -> bytes:
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "month.parquet"
        write_parquet(GREEN, Month.parse(month), ROWS, path)
        return path.read_bytes()


@pytest.fixture(scope="session")
def publisher() -> Iterator[GreenPublisher]:
    answers: dict[str, list[Answer]] = {}
    with serving(answers) as (base, asked):
        yield GreenPublisher(f"{base}/{{service}}_tripdata_{{month}}.parquet", asked, answers)


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Start the system's Chromium; skip where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if chromium is None:
        pytest.skip("there is no Chromium on this machine: make browser installs it")
    # root may not use Chromium's sandbox
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=args)


@pytest.fixture(scope="session")
def dev(browser: "Browser", publisher: GreenPublisher) -> Iterator[DagsterDev]:
    """Start the platform, if there is a browser to look at it."""
    warm = ["env", *(f"{name}={value}" for name, value in WARM.items())]
    # pytest's own folders are closed to other users, and root's PostgreSQL runs as another
    with (
        TemporaryDirectory(prefix="taxi-") as folder,
        dagster_dev(Path(folder), *warm, f"TAXI_PUBLISHER_URLS={publisher.url}") as running,
    ):
        _open_once(browser, running)
        yield running


def _open_once(browser: "Browser", dev: DagsterDev) -> None:
    """Let the browser load and compile the UI, and the webserver answer it, before any test."""
    with browser.new_context(base_url=dev.url) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1_000)
        page.goto("/asset-groups")
        page.get_by_role("img", name="unfold_more").first.wait_for()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Return the folder of the screenshots, which outlive the tests."""
    folder = Path(os.environ.get("TAXI_SCREENSHOTS", "build/screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def page(
    browser: "Browser", dev: DagsterDev, screenshots: Path, request: pytest.FixtureRequest
) -> "Iterator[Page]":
    """Open a page; keep how the test left it, and what its console said."""
    with browser.new_context(viewport=SCREEN, base_url=dev.url, timezone_id="UTC") as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1_000)
        said: list[str] = []
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        yield page
        left = screenshots / request.node.name
        page.screenshot(path=left.with_suffix(".png"), full_page=True)
        left.with_suffix(".log").write_text("\n".join(said))
