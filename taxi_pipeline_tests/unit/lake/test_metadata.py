"""What the lake's objects say of themselves, as texts and as types."""

import pytest

from taxi_pipeline.lake.metadata import (
    MOST_FINDINGS,
    CleanedMetadata,
    Findings,
    RawMetadata,
)

RAW = RawMetadata(
    "https://publisher/yellow.csv.gz", "2026-11-28T00:00:00+00:00", '"e"', "", "5a", 7
)
CLEANED = CleanedMetadata(
    published=10,
    kept=7,
    rejected={"unparsable": 3},
    noted={"negative_fares": 1},
    raw="gs://lake/raw/yellow",
    raw_generation=17,
    etag='"e"',
    sha256="5a",
    rejected_rows="rejected/yellow",
    unknown_columns=Findings([{"column": "tip"}], 2),
    unknown_codes=Findings([{"column": "vendor_id", "code": "77", "rows": 3}], 0),
    days_without_trips=[1, 31],
    trips_by_day=[0, 4, 3],
    cents=-1250,
)


def test_what_is_written_is_read() -> None:
    assert RawMetadata.parse(RAW.to_metadata()) == RAW
    assert CleanedMetadata.parse(CLEANED.to_metadata()) == CLEANED


def test_what_is_not_known_is_not_written() -> None:
    assert RawMetadata(rows=0).to_metadata() == {"rows": "0"}
    assert CleanedMetadata(kept=0, days_without_trips=[]).to_metadata() == {
        "kept": "0",
        "days_without_trips": "[]",
    }
    assert RawMetadata.parse({}) == RawMetadata()
    assert CleanedMetadata.parse({}) == CleanedMetadata()


@pytest.mark.parametrize(
    "text", ["", "many", "-1", "1.5", "٣", "²", "null", "[1", '"1"', "9" * 5000]
)
def test_what_others_wrote_and_does_not_parse_counts_as_not_said(text: str) -> None:
    assert RawMetadata.parse({"rows": text}) == RawMetadata()
    numbers = ("published", "kept", "raw_generation")
    collections = ("rejected", "noted", "days_without_trips", "trips_by_day")
    findings = ("unknown_columns", "unknown_codes")
    assert (
        CleanedMetadata.parse(dict.fromkeys((*numbers, *collections, *findings), text))
        == CleanedMetadata()
    )


@pytest.mark.parametrize("text", ["", "-", "--1", "1-", "1.5", "²", "9" * 5000])
def test_cents_may_be_below_zero_and_are_a_number_or_not_said(text: str) -> None:
    assert CleanedMetadata.parse({"cents": "-7"}).cents == -7
    assert CleanedMetadata.parse({"cents": text}) == CleanedMetadata()


@pytest.mark.parametrize(
    "text",
    [
        '{"listed": [1], "left_out": 0}',
        '{"listed": [{"column": []}], "left_out": 0}',
        '{"listed": {}, "left_out": 0}',
        '{"listed": [], "left_out": "1"}',
        '{"listed": []}',
        "[]",
    ],
)
def test_findings_of_another_form_count_as_not_said(text: str) -> None:
    assert CleanedMetadata.parse({"unknown_codes": text}) == CleanedMetadata()
    assert CleanedMetadata.parse({"rejected": '{"a": "1"}'}) == CleanedMetadata()
    assert CleanedMetadata.parse({"days_without_trips": '["1"]'}) == CleanedMetadata()


@pytest.mark.parametrize("count", ["-1", "1" + "0" * 19, "9" * 400, "true", "1.0"])
def test_counts_below_zero_or_beyond_all_bounds_count_as_not_said(count: str) -> None:
    assert CleanedMetadata.parse({"rejected": f'{{"a": {count}}}'}) == CleanedMetadata()
    assert CleanedMetadata.parse({"trips_by_day": f"[{count}]"}) == CleanedMetadata()


def test_the_first_are_listed_and_the_others_counted() -> None:
    found = Findings.cut([{"column": f"column {number}"} for number in range(MOST_FINDINGS + 7)])
    assert [one["column"] for one in found.listed] == [
        f"column {number}" for number in range(MOST_FINDINGS)
    ]
    assert found.left_out == 7


def test_a_long_text_is_cut() -> None:
    (one,) = Findings.cut([{"code": "a" * 1000}]).listed
    assert one["code"] == "a" * 39 + "…"


@pytest.mark.parametrize("character", ["a", "é", "\x01", "🚕"])
def test_two_findings_and_a_history_fit_an_objects_metadata(character: str) -> None:
    text = character * 1000
    found = Findings.cut([{"column": text, "code": text, "rows": 10**9}] * 1000)
    assert found.listed
    assert found.total == 1000
    history = 1_500
    texts = CleanedMetadata(unknown_columns=found, unknown_codes=found).to_metadata().values()
    assert sum(len(each.encode()) for each in texts) + history < 8_192
