"""The status page of all of TLC's history in a browser: light and dark, wide and on a phone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

pytest.importorskip("playwright.sync_api")
from playwright.sync_api import Browser, Page, ViewportSize, expect

from taxi_pipeline.status.page import to_html
from taxi_pipeline_tests.support.status import full_history

WIDE: ViewportSize = {"width": 1180, "height": 900}
PHONE: ViewportSize = {"width": 360, "height": 780}

type Scheme = Literal["light", "dark"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("status") / "index.html"
    path.write_text(to_html(full_history()), "utf-8")
    return path


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> Scheme:
    chosen: Scheme = request.param
    return chosen


@pytest.fixture(params=[WIDE, PHONE], ids=["wide", "phone"])
def viewport(request: pytest.FixtureRequest) -> ViewportSize:
    chosen: ViewportSize = request.param
    return chosen


@pytest.fixture
def page(browser: Browser, file: Path, scheme: Scheme, viewport: ViewportSize) -> Iterator[Page]:
    """Open the page; nothing but itself may be asked for, and its console must stay silent."""
    context = browser.new_context(
        viewport=viewport, color_scheme=scheme, has_touch=viewport == PHONE, device_scale_factor=2
    )
    with context:
        page = context.new_page()
        asked: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(file.as_uri())
        yield page
        assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
        assert said == []


def background(page: Page) -> str:
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


def test_it_fits_and_a_month_shows_its_figures(
    page: Page, scheme: Scheme, viewport: ViewportSize, screenshots: Path
) -> None:
    name = f"status-{scheme}-{'phone' if viewport == PHONE else 'wide'}"
    page.screenshot(path=screenshots / f"{name}.png")
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    for matrix in page.locator(".matrix").all():
        box, card = matrix.bounding_box(), matrix.locator("..").bounding_box()
        assert box
        assert card
        assert card["x"] <= box["x"]
        assert box["x"] + box["width"] <= card["x"] + card["width"] <= viewport["width"]
    expect(page.locator(".matrix td[tabindex]")).to_have_count(604 + 12)
    month = page.get_by_label("2015-03: does not add up")
    figures = month.locator("div")
    expect(figures).to_be_hidden()
    if viewport == PHONE:
        page.locator("#months-green").evaluate("heading => heading.scrollIntoView()")
        month.tap()
    else:
        page.set_viewport_size({"width": viewport["width"], "height": 1260})
        page.locator("#months").evaluate("heading => heading.scrollIntoView()")
        month.hover()
    expect(figures).to_be_visible()
    expect(figures).to_contain_text("green 2015-03")
    expect(figures).to_contain_text("BigQuery has the rows of generation 17.")
    expect(figures.locator("svg")).to_be_visible()
    shown = figures.bounding_box()
    assert shown
    assert 0 <= shown["x"] <= shown["x"] + shown["width"] <= viewport["width"]
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    page.screenshot(path=screenshots / f"{name}-month.png")
    page.mouse.move(0, 0)
    page.screenshot(path=screenshots / f"{name}-whole.png", full_page=True)


@pytest.mark.parametrize("viewport", [WIDE], indirect=True, ids=["wide"])
def test_the_last_months_figures_stay_on_the_page_and_keys_reach_them(
    page: Page, viewport: ViewportSize
) -> None:
    month = page.get_by_label("2026-12: not published yet").last
    month.focus()
    figures = month.locator("div")
    expect(figures).to_contain_text("not published yet")
    expect(figures).to_be_visible()
    shown = figures.bounding_box()
    assert shown
    assert shown["x"] + shown["width"] <= viewport["width"]
    page.keyboard.press("Shift+Tab")
    expect(figures).to_be_hidden()
    expect(page.get_by_label("2026-11: not published yet").last.locator("div")).to_be_visible()


@pytest.mark.parametrize("viewport", [WIDE], indirect=True, ids=["wide"])
def test_its_colours_follow_the_readers_and_its_texts_can_be_read(
    page: Page, scheme: Scheme
) -> None:
    dark = background(page) == "rgb(14, 18, 23)"
    assert dark == (scheme == "dark")
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 20
    assert {kind: ratio for kind, ratio in contrasts.items() if ratio < 4.5} == {}


# The contrast of each kind of text with its ground, by WCAG's formula.
CONTRASTS = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const layers = element => {
    const found = [];
    for (let at = element; at; at = at.parentElement)
      found.unshift(getComputedStyle(at).backgroundColor);
    return found;
  };
  const painted = colours => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([...rgb]) => rgb.slice(0, 3).map(value => value / 255)
    .map(value => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [.2126, .7152, .0722][index], 0);
  const found = {};
  for (const element of document.querySelectorAll(
      'h1, h1 small, p, h2, h3, h3 small, .chips li, .chips b, .tiles span, .steps span, code, ' +
      '.list td, .legend li, .figures th, .figures td, .states dt, .states dd, .matrix th, ' +
      '.matrix td:not(.l):not(.x) > b, summary')) {
    if (!element.checkVisibility()) continue;
    const ground = layers(element);
    const [low, high] = [light(painted([...ground, getComputedStyle(element).color])),
                         light(painted(ground))].sort((a, b) => a - b);
    const kind = `${element.tagName}.${element.className} in ${element.parentElement.className}`;
    found[kind] = Math.min(found[kind] ?? 99, (high + .05) / (low + .05));
  }
  return found;
}"""
