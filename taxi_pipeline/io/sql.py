"""SQL that BigQuery and PostgreSQL both take, for figures that must be the same in both.

What only one of them takes belongs to its own module, and is handed in as a `Dialect`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from taxi_pipeline.tlc.column_tallies import (
    FIRST,
    HASHES,
    LAST,
    LENGTH,
    MOST_PARTS,
    NULLS,
    SUM,
    ColumnTallies,
    figures_of,
)
from taxi_pipeline.tlc.fingerprint import EXACT_PARTS, MODULUS, OF_NULL, OF_TOO_LARGE, factor
from taxi_pipeline.tlc.services import DATETIME, NUMBER, TEXT, Column, Table
from taxi_pipeline.tlc.tally import COUNTED_DOLLARS

# A column's whole cents.
CENTS: LiteralString = "CAST(FLOOR({0} * 100 + 0.5) AS BIGINT)"

# The sum of a column's cents, as `tally_parquet` counts them. BigQuery's sum of integers is one of
# 64 bits.
SUM_OF_CENTS = (
    f"CAST(COALESCE(SUM(CASE WHEN ABS({{0}}) < {COUNTED_DOLLARS} THEN {CENTS} "
    f"WHEN {{0}} IS NOT NULL THEN {COUNTED_DOLLARS * 100} END), 0) AS BIGINT)"
)


# What counts for a value that no file can bring, put into a table by hand: tables differ by it.
NO_INTEGER = 2**31
NO_MOMENT = 253_402_300_800_000_000  # the year 10000


@dataclass(frozen=True)
class Dialect:
    """What each store writes in its own way, with {0} for a column.

    Attributes:
        integer: An INTEGER; `NO_INTEGER` for a number that has not 32 bits, where the store's type
            can hold one.
        microseconds: A DATETIME's microseconds since 1970; `NO_MOMENT` for infinity.
        sum_of_microseconds: The sum of `microseconds`, in more than 64 bits.
        text_hash: `tlc.column_tallies.text_hash` of a TEXT.
        minutes: The minutes from the DATETIME {0} to the DATETIME {1}.
    """

    integer: LiteralString
    microseconds: LiteralString
    sum_of_microseconds: LiteralString
    text_hash: LiteralString
    minutes: LiteralString


@dataclass(frozen=True)
class Expression:
    """An expression of one column.

    Attributes:
        sql: The SQL: {0} stands for the column, {1}, {2} … for the values.
        values: The values.
    """

    sql: LiteralString
    values: tuple[int | float | str, ...] = ()


def tally_aggregates(table: Table, dialect: Dialect) -> Iterator[tuple[Column, Expression]]:
    """Yield each column's aggregates, of which `tallies_of_row` makes the column tallies."""
    for column in table.columns:
        for aggregate in _aggregates(column, dialect):
            yield column, aggregate


def tallies_of_row(table: Table, row: Sequence[Any] | None) -> ColumnTallies:
    """Return the column tallies, given the number of rows and what `tally_aggregates` yields.

    Args:
        table: The declared table.
        row: COUNT(*), and the value of each aggregate; None where there is no table.
    """
    if row is None or not row[0]:
        return ColumnTallies.of_no_rows(table)
    rows, values = int(row[0]), iter(row[1:])
    columns = {
        column.name: {
            name: None if (value := next(values)) is None else int(value)
            for name in figures_of(column)
        }
        for column in table.columns
    }
    for figures in columns.values():
        figures[NULLS] = rows - (figures[NULLS] or 0)
    return ColumnTallies(rows, columns)


def words_of_codes(column: Column, text_type: LiteralString) -> Expression:
    """Return the expression of a column's codes in words: one that is not declared stays itself.

    Args:
        column: The column, which has codes.
        text_type: How the store spells TEXT.
    """
    cases = "".join(
        f" WHEN {{{number}}} THEN {{{number + 1}}}" for number in range(1, 2 * len(column.codes), 2)
    )
    values = [value for code in column.codes.items() for value in code]
    return Expression(f"CASE {{0}}{cases} ELSE CAST({{0}} AS {text_type}) END", tuple(values))


def _aggregates(column: Column, dialect: Dialect) -> Iterator[Expression]:
    """Yield an aggregate for each figure of a column (`tlc.column_tallies`).

    For the number of nulls it is that of values, which is shorter.
    """
    aggregates = {
        NULLS: Expression("COUNT({0})"),
        SUM: Expression(f"CAST(COALESCE(SUM({dialect.integer}), 0) AS BIGINT)"),
        LENGTH: Expression("CAST(COALESCE(SUM(LENGTH({0})), 0) AS BIGINT)"),
        HASHES: Expression(f"CAST(COALESCE(SUM({dialect.text_hash}), 0) AS BIGINT)"),
    }
    if column.type == NUMBER:
        aggregates[SUM] = Expression(
            "CAST(COALESCE(SUM(CASE WHEN ABS({0}) < {1} THEN CAST(FLOOR({0} * {2} + 0.5) AS BIGINT)"
            " WHEN {0} IS NOT NULL THEN {3} END), 0) AS BIGINT)",
            (MOST_PARTS / column.parts, column.parts, MOST_PARTS),
        )
    if column.type == DATETIME:
        aggregates[SUM] = Expression(f"COALESCE({dialect.sum_of_microseconds}, 0)")
        aggregates[FIRST] = Expression(dialect.microseconds.replace("{0}", "MIN({0})"))
        aggregates[LAST] = Expression(dialect.microseconds.replace("{0}", "MAX({0})"))
    for figure in figures_of(column):
        of_code = Expression("COUNT(CASE WHEN {0} = {1} THEN 1 END)", (figure,))
        yield aggregates.get(figure, of_code)


def fingerprint_terms(table: Table, dialect: Dialect) -> Iterator[tuple[Column, Expression]]:
    """Yield each column and its term in a row's sum (`tlc.fingerprint`)."""
    for column in table.columns:
        number = dialect.integer
        values: tuple[int | float, ...] = ()
        if column.type == NUMBER:
            number = (
                "CASE WHEN ABS({0}) < {3} THEN MOD(CAST(FLOOR({0} * {4} + 0.5) AS BIGINT), {5}) "
                "WHEN ABS({0}) < {6} THEN MOD(CAST(FLOOR({0}) AS BIGINT), {5}) "
                "WHEN {0} IS NOT NULL THEN {7} END"
            )
            exact = EXACT_PARTS / column.parts
            values = (exact, column.parts, MODULUS, float(EXACT_PARTS), OF_TOO_LARGE)
        elif column.type == DATETIME:
            number, values = f"MOD({dialect.microseconds}, {{3}})", (MODULUS,)
        elif column.type == TEXT:
            number = dialect.text_hash
        term: LiteralString = f"COALESCE(CAST({number} AS BIGINT), {{1}}) * {{2}}"
        yield column, Expression(term, (OF_NULL, factor(column), *values))
