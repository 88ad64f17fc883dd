"""Rows that were cleaned when their table was declared otherwise, made to fit the declaration.

A table's columns change over the years, and what was cleaned before stays in the lake as it is. No
value is guessed: one fits its column without loss, or its month must be cleaned again.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import Table

_AGAIN = "Nothing was changed: materialize `cleaned` again."


def conformed(
    batches: Iterable[pa.RecordBatch], table: Table, where: str
) -> Iterator[pa.RecordBatch]:
    """Make batches fit a table's declaration.

    Args:
        batches: Rows that were cleaned, maybe when the table was declared otherwise.
        table: The declared table.
        where: The file's address, for the message.

    Yields:
        Each batch with the declared columns, in the declared order and types. A declared column
        that it lacks is null, one that is not declared is left out.

    Raises:
        PermanentError: A column does not fit without loss.
    """
    declared = arrow_schema(table)
    for batch in batches:
        if batch.schema.equals(declared):
            yield batch
        else:
            columns = [_column(batch, field, where) for field in declared]
            yield pa.record_batch(columns, schema=declared)


def check_types(schema: pa.Schema, table: Table, where: str) -> None:
    """Raise `PermanentError` if a column of a file is of another type than is declared.

    Integers of any width are alike, and a declared column may be missing: what loads the file
    itself, without `conformed`, does that much.

    Args:
        schema: The file's Arrow schema.
        table: The table that is to have its rows.
        where: The file's address, for the message.
    """
    for declared in arrow_schema(table):
        if declared.name in schema.names:
            has = schema.field(declared.name).type
            are_integers = pa.types.is_integer(has) and pa.types.is_integer(declared.type)
            if has != declared.type and not are_integers:
                raise PermanentError(f"{_mismatch(where, declared, has)}. {_AGAIN}")


def differences(schema: pa.Schema, table: Table) -> str:
    """Say which columns a schema lacks and which are not declared, whatever their types.

    Returns:
        What follows the file's name in a sentence: "lacks the columns …"; empty for no difference.
    """
    declared = arrow_schema(table).names
    lacking = [name for name in declared if name not in schema.names]
    undeclared = [name for name in schema.names if name not in declared]
    differing = {"lacks the columns": lacking, "has columns that are not declared": undeclared}
    return " and ".join(
        f"{words} {', '.join(names)}" for words, names in differing.items() if names
    )


def _column(batch: pa.RecordBatch, declared: pa.Field, where: str) -> pa.Array:
    if declared.name not in batch.schema.names:
        return pa.nulls(batch.num_rows, declared.type)
    values = batch[declared.name]
    if not _are_compatible(values.type, declared.type):
        raise PermanentError(f"{_mismatch(where, declared, values.type)}. {_AGAIN}")
    try:
        return values.cast(declared.type)
    except pa.ArrowInvalid as error:
        mismatch = f"{_mismatch(where, declared, values.type)}, which it does not fit"
        raise PermanentError(f"{mismatch}: {error}. {_AGAIN}") from None


def _mismatch(where: str, declared: pa.Field, has: pa.DataType) -> str:
    return f"{where}: the column {declared.name} is {has}, and is declared as {declared.type}"


def _are_compatible(first: pa.DataType, second: pa.DataType) -> bool:
    """Whether a value of one type may mean the same as one of the other: numbers, or equal types.

    A text may hold a number, but 007 is not 7.
    """
    types = (first, second)
    return first == second or all(
        pa.types.is_integer(type_) or pa.types.is_floating(type_) for type_ in types
    )
