"""How figures are written."""

import pytest

from taxi_pipeline.status import texts


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0, "0"),
        (999, "999"),
        (1_369_765, "1.37 M"),
        (99_900, "100 k"),
        (999_600, "1.00 M"),
        (4_372_161_692, "4.37 bn"),
        (-1_500, "-1.50 k"),
    ],
)
def test_a_short_number_has_three_digits(number: float | None, text: str) -> None:
    assert texts.short(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (999_600, "1.0 MB"), (1e17, "100.0 PB")],
)
def test_bytes_have_a_unit(number: int, text: str) -> None:
    assert texts.size(number) == text


def test_shares_dollars_and_changes() -> None:
    assert texts.share(0.0206) == "2.06 %"
    assert texts.share(None) == texts.dollars(None) == texts.amount(None) == "-"
    assert (texts.dollars(1234.5), texts.dollars(-0.5)) == ("$1,234.50", "-$0.50")
    assert (texts.change(103, 100), texts.change(1, 0), texts.change(None, 1)) == (
        "+3.0 %",
        "-",
        "-",
    )
    assert (texts.points(0.02, 0.0169), texts.points(0.02, None)) == ("+0.31 points", "-")
