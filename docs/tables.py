"""The tables of docs/reliability.md, written anew from where each is declared: `make docs`.

What the tables say belongs to the code that they are made of; the text around them is written by
hand.
"""

import errno
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from taxi_pipeline.io import classification
from taxi_pipeline.resources.bigquery import errors as bigquery
from taxi_pipeline.resources.postgres import errors as postgres
from taxi_pipeline.settings import variables
from taxi_pipeline_tests.faults.table import table as faults_table
from taxi_pipeline_tests.support import tampering

PAGE = Path(__file__).with_name("reliability.md")


def with_tables(text: str) -> str:
    """Return the page with each table, between its two markers, as it is declared now."""
    tables = {
        "transient": _transient(),
        "timeouts": _timeouts(),
        "faults": faults_table(),
        "levels": tampering.levels(),
        "tampering": tampering.table(),
    }
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        between = re.compile(f"(?<={begin}\n).*(?={end})", re.DOTALL)
        # a function: a text would be read for groups
        text, count = between.subn(partial(_between_markers, table), text)
        if count != 1:
            raise ValueError(f"{PAGE.name} has not one place for {name}")
    return text


def _between_markers(table: str, _: re.Match[str]) -> str:
    return f"\n{table}\n\n"


def _transient() -> str:
    declared: dict[str, Mapping[Any, str]] = {
        "HTTP": {**classification.TRANSIENT_STATUSES, **classification.TRANSIENT_CLASSES},
        "Google": classification.TRANSIENT_REASONS,
        "BigQuery": bigquery.TRANSIENT_REASONS,
        "PostgreSQL": postgres.TRANSIENT_SQLSTATES,
        "PostgreSQL, refusing": postgres.TRANSIENT_REFUSALS,
        "our disk": {errno.errorcode[n]: m for n, m in classification.TRANSIENT_ERRNOS.items()},
        "any": classification.TRANSIENT_OTHERS,
    }
    return _table(
        ("from", "sign", "meaning"),
        (
            (system, f"`{sign}`", said)
            for system, signs in declared.items()
            for sign, said in signs.items()
        ),
    )


def _timeouts() -> str:
    return _table(
        ("setting", "default", "what it bounds"),
        (
            (f"`{name}`", f"{field.default} s", str(field.description).rpartition(" (")[0])
            for name, field in variables().items()
            if name.endswith("_TIMEOUT")
        ),
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ["---"] * len(list(head)), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
