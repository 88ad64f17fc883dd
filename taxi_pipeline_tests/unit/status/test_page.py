"""The web page of the status: its size, what it says, and that it asks nobody for anything."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from taxi_pipeline.status import Figures, MonthStatus, State, Status
from taxi_pipeline.status.page import to_html
from taxi_pipeline.tlc.month import Month
from taxi_pipeline_tests.support.status import AS_OF, REASONS, full_history

HISTORY = full_history()
MEGABYTE = 1_000_000
VOID = {"meta", "link"}
UNCLOSED = {"td", "th", "tr", "dt", "dd"}  # as HTML allows it


class Page(HTMLParser):
    """The tags, their attributes, and the texts of a page; every tag must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID | UNCLOSED:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    def labelled(self, name: str) -> list[str]:
        return [
            value or "" for _, attributes in self.tags for value in [attributes.get(name)] if value
        ]


@pytest.fixture(scope="module")
def text() -> str:
    return to_html(HISTORY)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def of(*months: MonthStatus) -> Status:
    return Status(AS_OF, "gs://lake/", months)


def test_all_of_history_with_reasons_and_pictures_is_below_a_megabyte(text: str) -> None:
    with_figures = [month for month in HISTORY.months if month.figures]
    assert len(with_figures) == 601
    assert all(month.figures and len(month.figures.trips_by_day) >= 28 for month in with_figures)
    assert text.count('<path id="') == 601
    assert len(text.encode()) < MEGABYTE


def test_it_is_below_a_megabyte_too_where_no_month_adds_up() -> None:
    broken = [replace(m, state=State.UNEQUAL, cause="It is broken. " * 99) for m in HISTORY.months]
    assert len(to_html(replace(HISTORY, months=broken)).encode()) < MEGABYTE


def test_it_asks_nobody_for_anything_and_runs_nothing(text: str, page: Page) -> None:
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "iframe", "img", "object", "embed", "form", "base", "video"}
    links = page.labelled("href")
    assert all(link.startswith(("#", "data:image/svg+xml,")) for link in links)
    assert not page.labelled("src")
    assert not re.findall(r"url\(|@import|javascript:|\son[a-z]+=", text)
    # the name of SVG, within the icon
    assert re.findall(r"https?://[^'\"\s<]+", text) == ["http://www.w3.org/2000/svg"]
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert policy in page.labelled("content")


def test_it_is_for_light_and_dark_and_for_phones(text: str, page: Page) -> None:
    assert "@media (prefers-color-scheme: dark)" in text
    assert "light dark" in page.labelled("content")
    assert "width=device-width, initial-scale=1" in page.labelled("content")
    assert "@media (max-width: 760px)" in text


def test_each_month_has_a_mark_a_label_and_its_figures(text: str, page: Page) -> None:
    labels = page.labelled("aria-label")
    assert "2017-04: missing" in labels
    assert "2026-10: not published yet" in labels
    january = next(month for month in HISTORY.months if month.name == "yellow 2009-01")
    assert january.figures
    assert f"2009-01: as loaded, {january.figures.kept:,} trips" in labels
    cell = text[text.index("<h4>yellow 2009-01</h4>") :].partition("</div>")[0]
    for said in (
        "✓</b> as loaded",
        '<use href="#yellow-2009-01"/>',
        f"<dt>published<dd>{january.figures.published:,}",
        f"<dd>{january.figures.rejected_rows:,} (",
        "<dt>· no_passengers<dd>",
        "<dt>BigQuery<dd>the same trips",
    ):
        assert said in cell
    for state in State:
        if state is not State.NO_MONTH:
            assert state.mark in text
    assert text.count('<td class="x">') == 8


def test_it_says_what_to_do_and_which_months_to_look_at(page: Page) -> None:
    for said in (
        "taxi retry-failed --service fhv",
        "fhv 2017-04 to 2017-06 are missing.",
        "Its last run failed in fhv_cleaned.",
        "BigQuery has the rows of generation 17.",
    ):
        assert said in page.texts


def test_the_rejected_share_has_a_bar_and_a_figure_a_year_and_reason(page: Page) -> None:
    bars = [attributes for tag, attributes in page.tags if tag == "rect"]
    years = {"yellow": 18, "green": 14, "fhv": 12, "fhvhv": 8}
    assert len(bars) == years["yellow"] * 5 + years["green"] * 5 + (12 + 8) * 4
    assert all(float(bar["height"] or 0) >= 0 for bar in bars)
    assert {*REASONS} < {*page.texts}


def test_the_newest_month_stands_beside_that_of_a_year_before(page: Page) -> None:
    for said in ("beside 2025-09", "change"):
        assert page.texts.count(said) == 4
    lonely = replace(HISTORY, months=[m for m in HISTORY.months if m.month.year == 2026])
    assert Page(to_html(lonely)).texts.count("the lake does not have the month a year before") == 4


def test_what_others_wrote_is_escaped() -> None:
    evil = "<script>alert('x')</script>\"&"
    figures = Figures(2, 1, Counter({evil: 1}), None, 9, [1], {})
    shown = to_html(
        replace(
            of(MonthStatus("yellow", Month(2021, 1), State.FAILED, evil, figures)), unknown=(evil,)
        )
    )
    assert evil not in shown
    assert "<script" not in shown
    assert {tag for tag, _ in Page(shown).tags}.isdisjoint({"script"})
    assert shown.count("&lt;script&gt;") >= 5


def test_a_month_whose_days_are_not_said_is_drawn_flat_and_one_without_trips_not() -> None:
    flat = Figures(32, 31, Counter(), None, 9, (), {})
    shown = to_html(of(MonthStatus("yellow", Month(2021, 1), State.LOADED, "", flat)))
    assert 'd="M0 20V0 L1 0 2 0' in shown
    none = Figures(1, 0, Counter(unparsable=1), None, 9, (), {})
    shown = to_html(of(MonthStatus("yellow", Month(2021, 1), State.LOADED, "", none)))
    assert 'id="yellow-2021-01"' not in shown


def test_an_empty_lake_has_a_page(page: Page) -> None:
    shown = to_html(of(MonthStatus("yellow", Month(2021, 1), State.MISSING, "No store has it.")))
    texts = Page(shown).texts
    assert "yellow 2021-01 is missing." in texts
    assert "Rejected rows" not in texts
    assert Page(to_html(of()))


def test_a_file_that_somebody_put_there_says_so_where_one_points() -> None:
    put = MonthStatus("yellow", Month(2021, 1), State.LOADED, "Mine.", is_foreign=True)
    shown = to_html(of(put))
    assert "<p><b>✓</b> as loaded, not TLC's file</p>" in shown
    assert "Mine." in Page(shown).texts
    assert "Mine." not in to_html(of(replace(put, is_foreign=False)))


def test_dollars_of_some_months_say_of_how_many() -> None:
    says = Figures(100, 90, Counter(unparsable=10), 9000, 1)
    some = [
        MonthStatus("yellow", Month(2021, number), State.LOADED, "", each)
        for number, each in enumerate((says, replace(says, cents=None)), 1)
    ]
    assert "dollars of 1 month" in Page(to_html(of(*some))).texts


def test_many_lines_are_cut() -> None:
    failed = [
        MonthStatus("yellow", Month(year, 1), State.UNEQUAL, "Broken.")
        for year in range(1900, 2027)
    ]
    texts = Page(to_html(of(*failed))).texts
    assert texts.count("Broken.") >= 100
    assert texts.count("… and 27 more:") == 2


def test_the_same_status_makes_the_same_page(text: str) -> None:
    assert to_html(full_history()) == text
