"""BigQuery's SQL, as far as sqlglot knows it from that of others."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp

# Names that a test has drawn; with them no two queries would be alike.
_DRAWN = re.compile("[0-9a-f]{32}")


def sql_fault(query: str) -> str | None:
    """Say why a query is not BigQuery's; None where it is."""
    fault, _ = _read(_DRAWN.sub("drawn", query))
    return fault


def statement_kind(query: str) -> str:
    """Return what a query begins with, such as SELECT or CREATE VIEW."""
    _, statement = _read(_DRAWN.sub("drawn", query))
    return statement


@lru_cache(maxsize=4096)
def _read(query: str) -> tuple[str | None, str]:
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        trees = [tree for tree in sqlglot.parse(query, read="bigquery") if tree]
        foreign = _foreign_words(query)
    except SqlglotError as error:
        return f"it does not parse: {str(error).splitlines()[0]}", "SQL"
    if not trees:
        return "there is no statement", "SQL"
    if foreign is None and any(_is_distinct_on(tree) for tree in trees):
        foreign = "DISTINCT ON"
    return foreign and f"BigQuery has no {foreign}", _kind(trees[-1])


def _foreign_words(query: str) -> str | None:
    """Return what sqlglot reads of other dialects where it is to read BigQuery's."""
    from sqlglot.dialects.bigquery import BigQuery
    from sqlglot.tokenizer_core import TokenType

    foreign = {TokenType.DCOLON, TokenType.ILIKE}
    for token in BigQuery().tokenize(query):
        if token.token_type in foreign:
            return token.text.upper()
    return None


def _is_distinct_on(tree: "exp.Expr") -> bool:
    from sqlglot import exp

    return any(distinct.args.get("on") for distinct in tree.find_all(exp.Distinct))


def _kind(tree: "exp.Expr") -> str:
    from sqlglot import exp

    if isinstance(tree, exp.Query):
        return "SELECT"
    kind = tree.args.get("kind")
    return f"{tree.key.upper()} {kind}" if isinstance(kind, str) else tree.key.upper()
