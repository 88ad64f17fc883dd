import json

import pytest

from taxi_pipeline.assets.findings import CHARACTERS, MOST, Findings


def test_what_is_written_is_read() -> None:
    found = Findings.cut([{"column": "vendor_id", "code": "77", "rows": 3}])
    assert found.left_out == 0
    assert Findings.parse(str(found)) == found


def test_the_first_are_listed_and_the_others_counted() -> None:
    found = Findings.cut([{"column": f"column {number}"} for number in range(MOST + 7)])
    assert [one["column"] for one in found.listed] == [f"column {number}" for number in range(MOST)]
    assert found.left_out == 7


def test_a_long_text_is_cut() -> None:
    (one,) = Findings.cut([{"code": "a" * 1000}]).listed
    assert one["code"] == "a" * (CHARACTERS - 1) + "…"


@pytest.mark.parametrize("character", ["a", "é", "\x01", "🚕"])
def test_two_findings_and_a_history_fit_an_objects_metadata(character: str) -> None:
    text = character * 1000
    found = Findings.cut([{"column": text, "code": text, "rows": 10**9}] * 1000)
    assert found.listed
    assert len(found.listed) + found.left_out == 1000
    history = 1_500
    assert 2 * len(str(found).encode()) + history < 8_192
    assert json.loads(str(found))
