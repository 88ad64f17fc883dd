import pytest

from taxi_pipeline.tlc.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zürich ½", "Zürich ½"),
        ("a\n2021 ERROR", r"a\n2021 ERROR"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("x" * 11, "x" * 9 + "…"),
    ],
)
def test_a_text_is_shown_on_one_line_harmless_and_cut(text: str, shown: str) -> None:
    assert printable(text, 10 if len(text) == 11 else 40) == shown
