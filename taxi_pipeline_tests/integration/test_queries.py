"""The queries of docs/queries.md: each runs as it stands on the page, and finds something."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import psycopg
import pytest
import sqlglot
from sqlglot import exp

from taxi_pipeline.demo import RUNS
from taxi_pipeline.resources.bigquery.jobs import Purpose
from taxi_pipeline.settings import load_resources
from taxi_pipeline.tlc.services import SERVICES
from taxi_pipeline_tests.conftest import Platform, in_memory_instance

PAGE = Path(__file__).parents[2] / "docs" / "queries.md"


def queries() -> Iterator[tuple[str, str]]:
    """Yield each query of the page, with the store in whose section it is."""
    _, *parts = re.split(r"^## (.+)\n", PAGE.read_text(), flags=re.MULTILINE)
    for store, section in zip(parts[::2], parts[1::2], strict=True):
        for query in re.findall(r"^```sql\n(.+?)^```", section, re.MULTILINE | re.DOTALL):
            yield store, query


QUERIES = [(store, query) for store, query in queries() if "INFORMATION_SCHEMA" not in query]


@pytest.fixture(scope="module")
def demo(stack: Path) -> Iterator[Platform]:
    """Return a platform with the demo's months, under the names that the page has."""
    with in_memory_instance(stack) as instance:
        platform = Platform(load_resources(), instance)
        for job, month in RUNS:
            service = job.removesuffix("_trips")
            if month and service in SERVICES:
                platform.load(service, month)
            else:
                assert platform.run(job, month).success
        yield platform


def test_the_query_of_our_jobs_cost_is_bigquerys_and_names_all_purposes() -> None:
    """The emulator's list of jobs has no labels, so the query itself cannot be run here."""
    (query,) = (query for _, query in queries() if "INFORMATION_SCHEMA" in query)
    tree = sqlglot.parse_one(query, dialect="bigquery")
    assert isinstance(tree, exp.Select)
    assert tree.named_selects == ["purpose", "jobs", "bytes_billed"]
    text_before = (
        PAGE.read_text().partition(query)[0].rpartition("What do our own queries cost?")[2]
    )
    purposes = {*get_args(Purpose.__value__)}
    assert {*re.findall(r"`(\w+)`", text_before)} == purposes - {"load"}  # which costs nothing


def test_the_page_asks_both_stores() -> None:
    assert Counter(store for store, _ in QUERIES) == {
        "Either store": 3,
        "BigQuery": 4,
        "PostgreSQL": 1,
    }


@pytest.mark.parametrize(("store", "query"), QUERIES, ids=range(len(QUERIES)))
def test_a_query_of_the_page_finds_something(demo: Platform, store: str, query: str) -> None:
    asks: Mapping[str, Callable[[str], list[Any]]] = {
        "BigQuery": demo.bigquery,
        "PostgreSQL": lambda query: _in_schema(demo, query),
    }
    answers = [ask(query) for name, ask in asks.items() if store in (name, "Either store")]
    for rows in answers:
        assert rows
        for column in zip(*rows, strict=True):
            assert any(value is not None for value in column)
    assert all(
        [*map(comparable, rows)] == [*map(comparable, answers[0])]
        for rows in answers
        if store == "Either store"
    )


def _in_schema(demo: Platform, query: str) -> list[Any]:
    """Return the rows of a query of PostgreSQL, which finds names of our schema."""
    with psycopg.connect(demo.resources.postgres.url, options="-c search_path=tlc") as connection:
        return connection.execute(query.encode()).fetchall()


def comparable(row: Sequence[Any]) -> list[Any]:
    """Return a row whose numbers are equal where they differ in type and in the last digits."""
    return [
        pytest.approx(float(value), rel=1e-9) if isinstance(value, int | float | Decimal) else value
        for value in row
    ]
