"""The stamps in PostgreSQL: a comment on each partition, written as its rows are swapped in.

A comment belongs to the partition itself: it goes with it, and nobody else's partition has it.
"""

import re
from contextlib import suppress
from typing import TYPE_CHECKING, LiteralString

from taxi_pipeline.resources.postgres.statements import SCHEMA, execute, identifier, partition_name
from taxi_pipeline.sink import Stamp
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Table

if TYPE_CHECKING:
    import psycopg
    from psycopg import sql

_STAMP = re.compile(r"Loaded from generation ([0-9]{1,19}) \(CRC32C ([A-Za-z0-9+/=]+)\)\.$")

# The comments of a table and of its partitions, by the name of each.
_COMMENTS: LiteralString = """
SELECT relname, obj_description(pg_class.oid, 'pg_class')
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
LEFT JOIN pg_inherits ON inhrelid = pg_class.oid
WHERE nspname = {schema}
  AND (inhparent = to_regclass({table}) OR pg_class.oid = to_regclass({table}))"""


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


def read_stamps(connection: "psycopg.Connection", table: Table) -> dict[Month | None, Stamp]:
    """Return the stamps of a table's months; under None the stamp of a table without months."""
    values = {"schema": SCHEMA, "table": f"{SCHEMA}.{table.name}"}
    stamps: dict[Month | None, Stamp] = {}
    for name, comment in execute(connection, _COMMENTS, {}, values).fetchall():
        if match := _STAMP.search(comment or ""):
            year, _, month = name.removeprefix(f"{table.name}_").partition("_")
            of = Month.parse(f"{year}-{month}") if Month.is_key(f"{year}-{month}") else None
            if name == (partition_name(table, of) if of else table.name):
                stamps[of] = Stamp(int(match[1]), match[2])
    return stamps
