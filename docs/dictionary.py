"""The data dictionary: every declared table and rule as one page of Markdown, for people.

Only the page's form belongs here; what it says is declared in `tlc.services`, `tlc.cleaning` and
`marts`, and how a store spells the types in its package. Run as a module, it prints the page.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence

from taxi_pipeline.marts import MARTS
from taxi_pipeline.resources import SINKS
from taxi_pipeline.tlc.cleaning import EXACT_DUPLICATES, UNPARSABLE
from taxi_pipeline.tlc.rules import RULES, Rule
from taxi_pipeline.tlc.services import (
    NUMBER_LIMIT,
    REJECTED_COLUMNS,
    SERVICES,
    UNPARTITIONED,
    Column,
    Table,
)

TRIPS = tuple(service.trips for service in SERVICES.values())
PUBLISHED = (*TRIPS, *UNPARTITIONED)
TABLES = (*PUBLISHED, *(mart.table for mart in MARTS))

_INTRODUCTION = """\
# Data dictionary

Every table, column, code and rule as the code declares them. This page is generated: change
`taxi_pipeline/tlc/services/` or `cleaning.py`, and run `make docs`.

A column's types are Arrow's and Parquet's, then those of each sink: {sinks}.
*Published as* lists the names that published files give it beside its own, compared without case;
one that is *always there* is in every published file. A number that is not below its limit,
whatever its sign, makes its row unparsable; the limit stands beside the unit, or else is
10<sup>15</sup>."""

_REJECTIONS = """\
## Rejected rows

A row that cannot be a trip lies beside the trips, under `rejected/`, as it was published and with
the first of these reasons that holds."""

_REJECTED_COLUMNS = "These columns come after those that were published:"

_NOTES = """\
## Kept but odd

What is odd but possible is kept, and counted in the metadata of the cleaned asset. A check warns
where more of the kept rows are such than the share that stands here."""


def data_dictionary() -> str:
    """Return the page."""
    unparsable = {UNPARSABLE: ("A line or a value does not parse.", PUBLISHED)}
    duplicates = {
        EXACT_DUPLICATES: ("An earlier row of the month has the same in every column.", TRIPS)
    }
    sections = [
        _INTRODUCTION.format(sinks=", ".join(sink.title for sink in SINKS)),
        _list(f"[{table.name}](#{table.name}): {table.description}" for table in TABLES),
        *(section for table in TABLES for section in _table_sections(table)),
        _REJECTIONS,
        _rules("reason", unparsable | _applying(rule for rule in RULES if rule.action.rejects)),
        _REJECTED_COLUMNS,
        _table(
            ("column", "type", "meaning"),
            [(_code(c.name), _code(str(c.type)), c.meaning) for c in REJECTED_COLUMNS],
        ),
        _NOTES,
        _rules("oddity", _applying(rule for rule in RULES if not rule.action.rejects) | duplicates),
    ]
    return "\n\n".join(sections) + "\n"


def _table_sections(table: Table) -> Iterator[str]:
    yield f"## {table.name}\n\n{table.description}"
    columns = [
        (_code(column.name), _types(column), _unit(column), column.meaning, _published_as(column))
        for column in table.columns
    ]
    yield _table(("column", "types", "unit", "meaning", "published as"), columns)
    codes = [
        (_code(column.name), _shown(code), meaning, _words(column, code))
        for column in table.columns
        for code, meaning in column.codes.items()
    ]
    if codes:
        yield f"### Codes of {table.name}"
        yield _table(("column", "code", "meaning", "words that stood for it"), codes)


def _types(column: Column) -> str:
    names = (column.type, *(sink.types[column.type] for sink in SINKS))
    return " ".join(_code(str(name)) for name in names)


def _unit(column: Column) -> str:
    below = f", below {column.limit:,.0f}" if column.limit < NUMBER_LIMIT else ""
    return f"{column.unit}{below}"


def _published_as(column: Column) -> str:
    names = ", ".join(_code(name) for name in column.published_as)
    if column.required_unless:
        return f"{names}; always there, unless {_code(column.required_unless)} is"
    return "; ".join([*filter(None, [names]), *(["always there"] if column.required else [])])


def _words(column: Column, code: int | str) -> str:
    return ", ".join(_code(word) for word, coded in column.words.items() if coded == code)


def _shown(code: int | str) -> str:
    return _code(str(code)) if str(code).strip() else "blank"


def _applying(rules: Iterable[Rule]) -> dict[str, tuple[str, Sequence[Table]]]:
    """Return each rule's description, and the tables that it applies to, by its name.

    Rules of one name say the same of tables whose columns have different names.
    """
    rules = tuple(rules)
    return {
        name: (_described(rule), [table for table in TABLES if _applies(name, rules, table)])
        for name, rule in {rule.name: rule for rule in rules}.items()
    }


def _described(rule: Rule) -> str:
    share = rule.action.warns_above
    return rule.description if share is None else f"{rule.description} Up to {share:.0%} is usual."


def _applies(name: str, rules: Iterable[Rule], table: Table) -> bool:
    return any(rule.name == name and rule.applies_to(table) for rule in rules)


def _rules(kind: str, rules: dict[str, tuple[str, Sequence[Table]]]) -> str:
    rows = [
        (_code(name), meaning, ", ".join(table.name for table in tables))
        for name, (meaning, tables) in rules.items()
    ]
    return _table((kind, "meaning", "tables"), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', r'\|') for cell in cells)} |" for cells in lines
    )


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _code(text: str) -> str:
    return f"`{text}`"


if __name__ == "__main__":
    sys.stdout.write(data_dictionary())
