"""The stamps in PostgreSQL: a comment on the table of a month's rows, which goes with them.

Rows that wait to be swapped in have one that says so, by which the next try knows them.
"""

import re
from contextlib import suppress
from typing import TYPE_CHECKING, LiteralString

from taxi_pipeline.resources.postgres.statements import (
    SCHEMA,
    execute,
    identifier,
    incoming_name,
    partition_name,
    rows_name,
)
from taxi_pipeline.sink import Stamp
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Table

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

_STAMP = re.compile(r"Loaded from generation ([0-9]{1,19}) \(CRC32C ([A-Za-z0-9+/=]+)\)\.$")

_WAITING = "New rows of a month, which wait to be swapped in."

# The comments of a table, of its partitions and of theirs, by the name of each and of what it is a
# partition of.
_COMMENTS: LiteralString = """
SELECT relation.relname, parent.relname, obj_description(relation.oid, 'pg_class')
FROM pg_class AS relation
JOIN pg_namespace ON pg_namespace.oid = relation.relnamespace
LEFT JOIN pg_inherits ON inhrelid = relation.oid
LEFT JOIN pg_class AS parent ON parent.oid = inhparent
WHERE nspname = {schema} AND (
  to_regclass({table}) IN (relation.oid, inhparent)
  OR inhparent IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = to_regclass({table})))"""

# The comment of a table that is no partition.
_COMMENT_OF_TABLE: LiteralString = """
SELECT obj_description(oid, 'pg_class')
FROM pg_class WHERE oid = to_regclass({table}) AND relkind = 'r' AND NOT relispartition"""


def write_stamp(
    connection: "psycopg.Connection", into: "sql.Identifier", stamp: Stamp, comment: str = ""
) -> None:
    """Write a stamp into the comment of a table or of a partition, in place of the one there.

    Args:
        connection: A connection in a transaction.
        into: The table.
        stamp: The stamp.
        comment: The comment that it has.
    """
    text = f"Loaded from generation {stamp.generation} (CRC32C {stamp.crc32c})."
    stamped = {"comment": f"{_STAMP.sub('', comment).rstrip()} {text}".lstrip()}
    execute(connection, "COMMENT ON TABLE {into} IS {comment}", {"into": into}, stamped)


def write_stamp_if_owner(connection: "psycopg.Connection", table: Table, stamp: Stamp) -> None:
    """Write the stamp of a table without months; leave it out where the table is another role's."""
    from psycopg import errors

    name = f"{SCHEMA}.{table.name}"
    described: LiteralString = "SELECT obj_description(to_regclass({name}), 'pg_class')"
    ((comment,),) = execute(connection, described, {}, {"name": name}).fetchall()
    with suppress(errors.InsufficientPrivilege), connection.transaction():
        write_stamp(connection, identifier(table.name), stamp, comment or table.description)


def write_waiting_stamp(
    connection: "psycopg.Connection", into: "sql.Identifier", stamp: Stamp
) -> None:
    """Write the stamp of rows that wait to be swapped in into the comment of their table."""
    write_stamp(connection, into, stamp, _WAITING)


def read_waiting_stamp(
    connection: "psycopg.Connection", table: Table, month: Month
) -> Stamp | None:
    """Return the stamp of a month's rows that wait to be swapped in; None where none of ours do."""
    values = {"table": f"{SCHEMA}.{incoming_name(table, month)}"}
    comment = execute(connection, _COMMENT_OF_TABLE, {}, values).fetchone()
    text = (comment and comment[0]) or ""
    match = _STAMP.fullmatch(text.removeprefix(_WAITING).lstrip())
    return Stamp(int(match[1]), match[2]) if match and text.startswith(_WAITING) else None


def read_stamps(connection: "psycopg.Connection", table: Table) -> dict[Month | None, Stamp]:
    """Return the stamps of a table's months; under None the stamp of a table without months."""
    values = {"schema": SCHEMA, "table": f"{SCHEMA}.{table.name}"}
    stamps: dict[Month | None, Stamp] = {}
    for name, parent, comment in execute(connection, _COMMENTS, {}, values).fetchall():
        if match := _STAMP.search(comment or ""):
            year, _, rest = name.removeprefix(f"{table.name}_").partition("_")
            key = f"{year}-{rest.removesuffix('_rows')}"
            of = Month.parse(key) if Month.is_key(key) else None
            if (name, parent) in _named(table, of):
                stamps[of] = Stamp(int(match[1]), match[2])
    return stamps


def _named(table: Table, month: Month | None) -> set[tuple[str, str | None]]:
    """Return the names that the table of a stamp has, each with that of what it is a partition of.

    A month's is the one of its rows; in an earlier release the partition had them itself.
    """
    if not month:
        return {(table.name, None)}
    name = partition_name(table, month)
    return {(rows_name(table, month), name), (name, table.name)}
