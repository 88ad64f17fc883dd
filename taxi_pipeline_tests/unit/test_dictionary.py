import re
from pathlib import Path

import pytest

from docs import dictionary
from docs.dictionary import TABLES, data_dictionary
from taxi_pipeline.tlc.rules import RULES
from taxi_pipeline.tlc.services import TEXT, Column, Table

PAGE = Path(__file__).parents[2] / "docs" / "data-dictionary.md"


def test_the_committed_page_is_the_declared_one() -> None:
    assert PAGE.read_text() == data_dictionary(), f"{PAGE.name} is stale: run `make docs`"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_has_all_its_columns_and_codes(table: Table) -> None:
    section = data_dictionary().split(f"\n## {table.name}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    codes = [column.name for column in table.columns for _ in column.codes]
    assert [name for name, _ in rows] == [*(column.name for column in table.columns), *codes]
    for column in table.columns:
        told = " ".join(rest for name, rest in rows if name == column.name)
        said = (column.meaning, column.unit, *column.published_as, *column.codes.values())
        assert [text for text in (*said, *column.words) if text not in told] == []


def test_the_rules_name_the_tables_that_they_apply_to() -> None:
    page = data_dictionary()
    for rule in RULES:
        (tables,) = re.findall(rf"^\| `{rule.name}` \| .+ \| (.+) \|$", page, re.MULTILINE)
        applied = [table.name for table in TABLES if rule.applies_to(table)]
        assert set(tables.split(", ")) >= set(applied)


def test_a_bar_in_a_text_does_not_break_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    barred = Table("barred", "A table.", (Column("a", TEXT, "x|y", codes={"|": "z|"}),))
    monkeypatch.setattr(dictionary, "TABLES", (barred,))
    page = data_dictionary()
    assert r"| `a` | `string` `STRING` `text` |  | x\|y | always there |" in page
    assert r"| `a` | `\|` | z\| |  |" in page
