"""The lines of a CSV file: cut out of its text a block at a time, and what one is by itself.

Bytes only, without Arrow's reading: what a line's cells mean is for `reading` to find out. A line
is a row, since no published cell holds a line break.
"""

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 4 << 20
BLOCK_LINES = 1 << 17  # of next to nothing, millions would fit into a block
LINE_LIMIT_BYTES = 1 << 20

# a quoted cell, and its closing quote if it has one; Arrow, too, takes a quote for one only where
# a cell begins. Nothing is tried twice, or a long line would take for ever.
_QUOTED = re.compile(rb'(?<![^,])"[^"]*+(?:""[^"]*+)*+("?)')

_BREAK, _RETURN, _QUOTE = b'\n\r"'
_BLANKS = np.frombuffer(b" \t\n\r\x0b\f", np.uint8)


@dataclass(frozen=True)
class Lines:
    """Lines one after another in one text.

    Attributes:
        text: The lines, each with its line break.
        ends: Where in the text the breaks are.
        numbers: The lines' numbers in the file.
    """

    text: bytes
    ends: NDArray[np.int64]
    numbers: NDArray[np.int64]

    @classmethod
    def from_lines(cls, lines: Iterable[bytes], numbers: NDArray[np.int64] | None = None) -> Self:
        """Return lines without their breaks as one text; without numbers they count from 0."""
        text = b"\n".join((*lines, b""))
        ends = _positions(_BREAK, text)
        return cls(text, ends, np.arange(len(ends)) if numbers is None else numbers)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> bytes:
        return self.text[self._starts[index] : self.ends[index]]

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(len(self)))

    @cached_property
    def longest(self) -> int:
        """How many bytes the longest line has."""
        return int((self.ends - self._starts).max(initial=0))

    @property
    def leave_no_quote_open(self) -> bool:
        """Whether each line has an even number of quotes, and the last one closes those it opens.

        Arrow ties a line with a quote left open to the next one, so that there are too few rows.
        """
        if b'"' not in self.text:
            return True
        quotes = np.frombuffer(self.text, np.uint8) == _QUOTE
        odd: NDArray[np.bool_] = np.logical_xor.reduceat(quotes, self._starts)
        return not odd.any() and not is_open(self[-1])

    @property
    def hold_no_return(self) -> bool:
        """Whether no line has a carriage return but at its end."""
        content = np.frombuffer(self.text, np.uint8)
        # of a text that begins with a break, the last byte stands in for the one before it
        at_end = np.count_nonzero(content[self.ends - 1] == _RETURN)
        return int(at_end) == np.count_nonzero(content == _RETURN)

    @property
    def may_hold_hexadecimals(self) -> bool:
        """Whether there may be a number like 0x1F, which is an integer only where Arrow infers."""
        return b"x" in self.text or b"X" in self.text

    def rows(self) -> Self:
        """Return those of the lines that are rows."""
        bytes_of_text = np.frombuffer(self.text, np.uint8)
        begin_blank = np.flatnonzero(np.isin(bytes_of_text[self._starts], _BLANKS)).tolist()
        blank = [index for index in begin_blank if not is_row(self[index])]
        if not blank:
            return self
        filled = np.delete(np.arange(len(self)), blank)
        return type(self).from_lines(
            (self[index] for index in filled.tolist()), self.numbers[filled]
        )

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.concatenate((np.zeros(min(len(self), 1), np.int64), self.ends[:-1] + 1))


def blocks(stream: io.BufferedReader, first: int) -> Iterator[Lines]:
    """Cut a stream's remaining lines into blocks of about `BLOCK_BYTES`, `BLOCK_LINES` at most.

    Args:
        stream: The file's text, unzipped.
        first: The number of the stream's next line.

    Yields:
        The lines of a block that are rows, which may be none. A line longer than `LINE_LIMIT_BYTES`
        keeps its first bytes up to that limit, and at least one more.
    """
    rest = b""
    while block := stream.read(BLOCK_BYTES):
        end = block.rfind(b"\n") + 1
        text, rest = (rest + block[:end], block[end:]) if end else (b"", rest + block)
        rest = rest[: LINE_LIMIT_BYTES + 1]  # enough to know that it is too long
        for lines in _cut(text, first):
            first += len(lines)
            yield lines.rows()
    for lines in _cut(rest + b"\n", first):
        yield lines.rows()


def _cut(text: bytes, first: int) -> Iterator[Lines]:
    begin, ends = 0, _positions(_BREAK, text)
    for at in range(0, len(ends), BLOCK_LINES):
        those = ends[at : at + BLOCK_LINES]
        numbers = np.arange(first + at, first + at + len(those))
        end = int(those[-1]) + 1
        yield Lines(text[begin:end], those - begin, numbers)
        begin = end


def _positions(byte: int, text: bytes) -> NDArray[np.int64]:
    return np.flatnonzero(np.frombuffer(text, np.uint8) == byte)


def is_row(line: bytes) -> bool:
    """Whether a line is a row: it is not blank, or so long that its rest may not be."""
    return bool(line.strip()) or len(line) > LINE_LIMIT_BYTES


def width(line: bytes) -> int:
    """Count the cells of a line."""
    if b'"' not in line:
        return line.count(b",") + 1
    return _QUOTED.sub(b"", line).count(b",") + 1


def is_open(line: bytes) -> bool:
    """Whether a quoted cell of the line does not end in it."""
    return not all(quoted[1] for quoted in _QUOTED.finditer(line))


def values(line: bytes) -> list[bytes]:
    """Split a line whose quotes are closed into its cells' values."""
    commas = _QUOTED.sub(lambda quoted: quoted[0].replace(b",", b" "), line)
    cells, at = [], 0
    for cell in commas.split(b","):
        value = line[at : at + len(cell)]
        if quoted := _QUOTED.match(value):
            value = quoted[0][1:-1].replace(b'""', b'"') + value[quoted.end() :]
        cells.append(value)
        at += len(cell) + 1
    return cells


def text_of(line: bytes) -> str:
    """Return a line as text, without its break; bytes that are no UTF-8 are escaped.

    Of a line longer than `LINE_LIMIT_BYTES` it is that much.
    """
    return line[:LINE_LIMIT_BYTES].rstrip(b"\r\n").decode(errors="backslashreplace")
