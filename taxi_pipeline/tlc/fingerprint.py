"""A fingerprint of rows: one integer, whatever their order, that another cell makes another one.

It is made of what Arrow and the SQL of every store compute alike, on integers of 64 bits:

    w    a value's number: an INTEGER itself; a DATETIME's microseconds since 1970 modulo P; a
         NUMBER's parts modulo P, and of one from 9e15 parts on its whole units; 28 bits of a
         TEXT's MD5. A null, and a number of 9e15 units and more, have constants.
    r    the sum over a row's columns of w times the column's factor, modulo P
    F    the sum over the rows of r * r modulo P

Rows that differ in one cell have another r but for one case in a thousand million. The square
makes two columns' values that changed places between two rows show.

The constants belong here. Arrow computes the fingerprint in `cells`, a store's SQL by `io.sql`.
"""

import hashlib

from taxi_pipeline.tlc.services import Column

MODULUS = 2_147_483_647  # the prime 2**31 - 1
OF_NULL = 1_234_567_891
OF_TOO_LARGE = 987_654_321
EXACT_PARTS = 9_000_000_000_000_000  # below 2**53, so a double's whole numbers are exact


def factor(column: Column) -> int:
    """Return the column's factor, of 24 bits: of its name alone, wherever it is declared."""
    digest = hashlib.md5(column.name.encode(), usedforsecurity=False).hexdigest()
    return int(digest[:6], 16) | 1
