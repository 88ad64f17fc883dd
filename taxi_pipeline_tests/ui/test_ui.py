"""What people do in Dagster's UI, one story each; each has months of green trips of its own."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

import dagster as dg
import pytest

pytest.importorskip("playwright.sync_api")
from playwright.sync_api import Locator, Page, expect

from taxi_pipeline.definitions import defs
from taxi_pipeline.tlc.services import GREEN
from taxi_pipeline_tests.support.dagster_dev import DagsterDev
from taxi_pipeline_tests.support.http import body
from taxi_pipeline_tests.support.processes import PATIENCE, until
from taxi_pipeline_tests.support.results import checks_of

from .conftest import ROWS, GreenPublisher

expect.set_options(timeout=PATIENCE * 1_000)
GREEN_ASSETS = "/locations/taxi_pipeline/asset-groups/green/lineage"


def launch(page: Page, months: str) -> None:
    """Materialize the green assets of some months from their group's dialog; go to what runs."""
    page.goto(GREEN_ASSETS)
    page.get_by_role("button", name="Materialize all").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill(months)
    dialog.get_by_role("textbox").press("Tab")
    dialog.get_by_role("button", name="Launch").click()
    page.get_by_role("region", name="Notifications").get_by_role("link", name="View").click()
    page.reload()  # without the notification, which stays under the mouse


def nodes(page: Page) -> Locator:
    """Return the assets of a graph, of which only those on the screen are drawn."""
    boxes = page.locator("foreignObject > div")
    return boxes.filter(has=page.get_by_role("img", name="asset", exact=True))


def assert_adds_up(dev: DagsterDev, *months: str) -> None:
    shown = dev.ledger("--json", "--service", "green", "--from", months[0], "--to", months[-1])
    entries = json.loads(shown.stdout)
    assert [entry["month"] for entry in entries] == list(months), shown.stderr
    for entry in entries:
        assert entry["adds_up"], shown.stderr
        assert entry["published"] == ROWS
        assert 0 < entry["kept"] == entry["bigquery"] == entry["postgres"] <= ROWS


def expected(specs: Sequence[dg.AssetSpec]) -> Counter[tuple[str, frozenset[str]]]:
    """Return the assets' names and kinds, as the lineage is to show them."""
    return Counter((spec.key.path[-1], frozenset(spec.kinds)) for spec in specs)


def names_and_kinds(
    page: Page, specs: Sequence[dg.AssetSpec]
) -> Counter[tuple[str, frozenset[str]]]:
    """Return the names and kinds of the assets that the page shows by now."""
    kinds = frozenset(kind for spec in specs for kind in spec.kinds)
    # all in one call, since the page draws its nodes anew as it loads
    shown = nodes(page).evaluate_all(LINES_AND_ICONS)
    return Counter((lines[0], kinds & {*lines, *icons}) for lines, icons in shown)


# The lines of text in each node and its icons' names: a kind for which Dagster has no icon is text.
LINES_AND_ICONS = """nodes => nodes.map(node => [
  node.innerText.split('\\n'),
  [...node.querySelectorAll('[role=img]')].map(icon => icon.getAttribute('aria-label')),
])"""


def test_the_lineage_shows_every_asset(page: Page, screenshots: Path) -> None:
    page.set_viewport_size({"width": 2400, "height": 7600})
    page.goto("/asset-groups")
    page.get_by_role("img", name="unfold_more").first.wait_for()
    page.keyboard.press("Alt+E")  # expand all groups
    specs = defs.resolve_all_asset_specs()
    expect(nodes(page)).to_have_count(len(specs))
    until(lambda: names_and_kinds(page, specs) == expected(specs))
    page.screenshot(path=screenshots / "lineage.png")


def test_a_month_from_the_dialog_adds_up(
    page: Page, dev: DagsterDev, publisher: GreenPublisher, screenshots: Path
) -> None:
    publisher.publish("2021-01")
    launch(page, "2021-01")
    expect(page.get_by_text("Success", exact=True)).to_be_visible()
    page.screenshot(path=screenshots / "run.png")
    assert_adds_up(dev, "2021-01")
    page.goto(GREEN_ASSETS)
    checks = sum(layer == "cleaned" for layer, _ in checks_of(GREEN))
    expect(nodes(page).get_by_text(f"{checks} / {checks} Passed")).to_be_visible()
    page.screenshot(path=screenshots / "group.png")


def test_a_backfill_from_the_dialog_adds_up(
    page: Page, dev: DagsterDev, publisher: GreenPublisher, screenshots: Path
) -> None:
    months = ("2021-02", "2021-03", "2021-04")
    for month in months:
        publisher.publish(month)
    launch(page, "[2021-02...2021-04]")
    expect(page.get_by_text("100% completed")).to_have_count(4)
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(2)  # its status, and a column
    page.screenshot(path=screenshots / "backfill.png")
    assert_adds_up(dev, *months)


def test_a_cleaned_months_page_shows_its_picture(
    page: Page, publisher: GreenPublisher, screenshots: Path
) -> None:
    publisher.publish("2021-05")
    launch(page, "2021-05")
    expect(page.get_by_text("Success", exact=True)).to_be_visible()
    page.goto("/assets/green_cleaned?view=partitions&partition=2021-05")
    markdown = page.get_by_role("row", name="picture").get_by_text("Show Markdown")
    expect(markdown).to_be_visible()
    page.screenshot(path=screenshots / "month.png")
    markdown.click()
    picture = page.get_by_role("img", name="green 2021-05")
    expect(picture).to_have_attribute("src", re.compile("data:image/png;base64,"))
    assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth }")
    page.get_by_role("dialog").screenshot(path=screenshots / "picture.png")


def test_a_run_that_waits_for_the_publisher_can_be_terminated(
    page: Page, dev: DagsterDev, publisher: GreenPublisher, screenshots: Path
) -> None:
    terminated = Event()

    def hold(_: BaseHTTPRequestHandler) -> None:
        terminated.wait()

    path = publisher.publish("2021-06", hold)
    try:
        launch(page, "2021-06")
        until(lambda: path in publisher.asked)
        page.get_by_role("button", name="Terminate").click()
        page.get_by_role("dialog").get_by_role("button", name="Terminate 1 run").click()
        expect(page.get_by_text("Canceled", exact=True)).to_be_visible()
        page.screenshot(path=screenshots / "terminated.png")
    finally:
        terminated.set()
    ledger = dev.ledger("--service", "green", "--month", "2021-06")
    assert "No store has green trips of 2021-06." in ledger.stderr


def test_a_broken_file_fails_its_run_with_a_sentence_about_it(
    page: Page, publisher: GreenPublisher, screenshots: Path
) -> None:
    publisher.publish("2021-07", body(b"PAR1 and no more"))
    launch(page, "2021-07")
    expect(page.get_by_text("Failure", exact=True)).to_be_visible()
    sentence = page.get_by_text("green_tripdata_2021-07.parquet: not a whole Parquet file")
    expect(sentence.last).to_be_visible()
    page.screenshot(path=screenshots / "failure.png")
