"""Files that are wrong in ways that matter: mutations that keep enough of the form to get far."""

import gzip
import random
import zlib
from collections.abc import Callable
from copy import deepcopy

from taxi_pipeline_tests.fuzz.parquet import Parquet, with_footer
from taxi_pipeline_tests.fuzz.target import Hostile
from taxi_pipeline_tests.fuzz.thrift import (
    BINARY,
    BYTE,
    INTEGERS,
    LIST,
    Node,
    Struct,
    encode,
    nodes,
)

type Mutate = Callable[[bytes], bytes]

_EDGES = (
    *(0, 1, 2, 3, 7, 8, 15, 16, 127, 128, 255, 1 << 16, 1 << 20, (1 << 24) - 1, 1 << 28),
    *((1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 40, 1 << 60, (1 << 63) - 1),
)
_CELLS = (
    *(b"", b" ", b"-", b"NaN", b"inf", b"1e400", b"1e15", b"-0.0", b"0x1p3", b"1_0", b"2147483648"),
    *(b"9999999999999999999999", b"2021-01-01 00:00:00", b"2021-01-31T23:59:59.999999999"),
    *(b"0000-00-00 00:00:00", b"10000-01-01", b"2021-01-15 00:00:00+25:00", b'""', b'"', b'"a,b"'),
    *(
        b"\xef\xbb\xbf",
        b"\0",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\r",
        b"\x1b[31m",
        b"\xe2\x80\xae",
    ),
    *(b"x" * 70_000, b"1" * 400, b"," * 20, b'"' * 9, b"N/A", b"CASH", b"%s%n", b"{0}", b"\\N"),
)
_LINES = (b"\n", b"\r\n", b"\r", b"\n\n\n", b" \n", b"\x0b", b"\x0c", b"\xe2\x80\xa8", b"\x1a")


def mutated(hostile: Hostile, random: random.Random, of_bytes: Mutate, most: int) -> Hostile:
    """Return the file changed in one to four places; `of_bytes` changes bytes without
    form, and no more than `most` bytes come of it."""
    for _ in range(random.choice((1, 1, 2, 4))):
        changed = _call_options(hostile, random, of_bytes)
        if len(changed) > most:
            break
        hostile = hostile.replace(changed)
    return hostile


def _call_options(hostile: Hostile, random: random.Random, of_bytes: Mutate) -> bytes:
    if random.random() < 0.1:
        return of_bytes(hostile.content)
    if hostile.ending == ".parquet":
        try:
            return _parquet(Parquet.parse(hostile.content), random, of_bytes)
        except (ValueError, IndexError, StopIteration, TypeError, AttributeError, RecursionError):
            return of_bytes(hostile.content)
    if hostile.ending == ".csv.gz":
        try:
            text = zlib.decompressobj(31).decompress(hostile.content, 1 << 20)
        except zlib.error:
            return of_bytes(hostile.content)
        packed = gzip.compress(_csv(text, random, of_bytes), 1, mtime=0)
        return of_bytes(packed) if random.random() < 0.1 else packed
    return _csv(hostile.content, random, of_bytes)


def _csv(text: bytes, random: random.Random, of_bytes: Mutate) -> bytes:
    """Change a cell, a line or a line's end, or any byte."""
    lines = text.split(b"\n")
    at = random.randrange(len(lines))
    match random.randrange(6):
        case 0 | 1:
            cells = lines[at].split(b",")
            cells[random.randrange(len(cells))] = random.choice(_CELLS)
            lines[at] = b",".join(cells)
        case 2:
            lines.insert(at, lines[random.randrange(len(lines))])
        case 3:
            lines[at] += random.choice(_LINES)
        case 4:
            place = random.randrange(len(lines[at]) + 1)
            lines[at] = lines[at][:place] + random.choice(_CELLS) + lines[at][place:]
        case _:
            lines[at] = of_bytes(lines[at])
    return b"\n".join(lines)


def _parquet(parquet: Parquet, random: random.Random, of_bytes: Mutate) -> bytes:
    """Change the footer, with right places or not, a page's header or its body."""
    pages = [page for chunk in parquet.chunks for page in chunk]
    what = random.randrange(5) if pages else 0
    if what == 0:
        _struct(parquet.footer, random, of_bytes)
    elif what == 1:
        content = bytes(parquet)
        body = content[: len(content) - len(encode(parquet.footer)) - 8]
        _struct(parquet.footer, random, of_bytes)
        return body + with_footer(parquet.footer)
    elif what == 2:
        _struct(random.choice(pages).header, random, of_bytes)
    elif what == 3:
        page = random.choice(pages)
        page.body = of_bytes(page.body)
    else:
        chunk = random.choice(parquet.chunks)
        chunk.insert(random.randrange(len(chunk) + 1), deepcopy(random.choice(pages)))
    return bytes(parquet)


def _struct(of: Struct, random: random.Random, of_bytes: Mutate) -> None:
    """Change one field at any depth: its value, or take it away, or have it twice."""
    owner, place, node = random.choice(nodes(of))
    match random.randrange(10):
        case 0:
            del owner.fields[place]
        case 1:
            owner.fields.insert(place, deepcopy(owner.fields[place]))
        case 2:
            _, other, _ = random.choice(nodes(of))
            owner.fields[place] = (owner.fields[min(other, len(owner.fields) - 1)][0], node)
        case _:
            _change(node, random, of_bytes)


def _change(node: Node, random: random.Random, of_bytes: Mutate) -> None:
    if node.kind in INTEGERS:
        edge = random.choice(_EDGES) * random.choice((1, 1, 1, -1))
        node.value = random.choice((edge, node.value + 1, node.value - 1, random.randrange(12)))
    elif node.kind == BYTE:
        node.value = random.randrange(256)
    elif node.kind == BINARY:
        node.value = random.choice((of_bytes(node.value), random.choice(_CELLS)))
    elif node.kind == LIST:
        kind, values = node.value
        if values:
            at = random.randrange(len(values))
            times = random.choice((0, 2, 2, 40 if len(values) < 40 else 1))
            values[at : at + 1] = [deepcopy(values[at]) for _ in range(times)]
        node.value = (kind, values)
