"""Thrift's compact protocol, as trees that can be changed and written again.

Parquet's footer and page headers are such structs. Only the form is known here, not the meaning.
"""

from dataclasses import dataclass, field
from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
INTEGERS = (I16, I32, I64)


@dataclass
class Node:
    """A value and its type; a struct's is a list of pairs of field id and node.

    A list's is a pair of the elements' type and the elements.
    """

    kind: int
    value: Any = None


@dataclass
class Struct:
    """A struct's fields by id, in their order."""

    fields: list[tuple[int, "Node"]] = field(default_factory=list)

    def __getitem__(self, number: int) -> Any:
        return next(node.value for of, node in self.fields if of == number)

    def get(self, number: int) -> Any:
        """Return a field's value, or None."""
        return next((node.value for of, node in self.fields if of == number), None)

    def put(self, number: int, value: Any) -> None:
        """Set a field that is there."""
        next(node for of, node in self.fields if of == number).value = value


def decode(content: bytes, at: int = 0) -> tuple[Struct, int]:
    """Read a struct at a place; return it and the place after it."""
    fields: list[tuple[int, Node]] = []
    number = 0
    while head := content[at]:
        at += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(content, at)
        value, at = _value(kind, content, at)
        fields.append((number, Node(kind, value)))
    return Struct(fields), at + 1


def _value(kind: int, content: bytes, at: int, in_list: bool = False) -> tuple[Any, int]:
    if kind in (TRUE, FALSE):
        return (content[at], at + 1) if in_list else (None, at)
    if kind == BYTE:
        return content[at], at + 1
    if kind in INTEGERS:
        return _zigzag(content, at)
    if kind in (DOUBLE, BINARY):
        length, at = (8, at) if kind == DOUBLE else _varint(content, at)
        if at + length > len(content):
            raise IndexError(at)
        return content[at : at + length], at + length
    if kind in (LIST, SET):
        head, at = content[at], at + 1
        count = head >> 4
        if count == 15:
            count, at = _varint(content, at)
        values = []
        for _ in range(count):
            value, at = _value(head & 15, content, at, in_list=True)
            values.append(Node(head & 15, value))
        return (head & 15, values), at
    if kind == STRUCT:
        return decode(content, at)
    raise ValueError(kind)


def encode(of: Struct) -> bytes:
    """Write a struct."""
    out = bytearray()
    last = 0
    for number, node in of.fields:
        if 0 < number - last < 16:
            out.append((number - last) << 4 | node.kind)
        else:
            out.append(node.kind)
            out += _unsigned(number << 1 ^ number >> 63)
        last = number
        out += _encoded(node)
    return bytes(out + b"\0")


def _encoded(node: Node, in_list: bool = False) -> bytes:
    if node.kind in (TRUE, FALSE):
        return bytes([node.value]) if in_list else b""
    if node.kind == BYTE:
        return bytes([node.value & 255])
    if node.kind in INTEGERS:
        return _unsigned((node.value << 1 ^ node.value >> 63) & (2**64 - 1))
    if node.kind == DOUBLE:
        return bytes(node.value)
    if node.kind == BINARY:
        return _unsigned(len(node.value)) + bytes(node.value)
    if node.kind in (LIST, SET):
        kind, values = node.value
        many = len(values) >= 15
        head = bytes([(15 if many else len(values)) << 4 | kind])
        count = _unsigned(len(values)) if many else b""
        return head + count + b"".join(_encoded(value, in_list=True) for value in values)
    return encode(node.value)


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, at
        if shift > 70:
            raise ValueError(shift)


def _zigzag(content: bytes, at: int) -> tuple[int, int]:
    number, at = _varint(content, at)
    return number >> 1 ^ -(number & 1), at


def _unsigned(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def nodes(of: Struct) -> "list[tuple[Struct, int, Node]]":
    """Return every field at any depth: the struct that has it, its place there, and its node."""
    found = []
    for place, (_, node) in enumerate(of.fields):
        found.append((of, place, node))
        inner = node.value[1] if node.kind in (LIST, SET) else [node]
        for one in inner:
            if one.kind == STRUCT:
                found += nodes(one.value)
    return found
