"""A Parquet file taken apart to what can be changed: its footer, and its pages."""

from dataclasses import dataclass

from taxi_pipeline_tests.fuzz.thrift import Struct, decode, encode

MAGIC = b"PAR1"

# Parquet's field ids
ROW_GROUPS, COLUMNS, CHUNK = 4, 1, 3
FILE_OFFSET = 2
CODEC, VALUES, UNCOMPRESSED, COMPRESSED, DATA_PAGE, DICTIONARY_PAGE = 4, 5, 6, 7, 9, 11
PAGE_UNCOMPRESSED, PAGE_COMPRESSED = 2, 3


@dataclass
class Page:
    """A page: its header and what follows it, as it is in the file."""

    header: Struct
    body: bytes


@dataclass
class Parquet:
    """A Parquet file: the pages of each column chunk, in the footer's order, and the footer."""

    chunks: list[list[Page]]
    footer: Struct

    @property
    def metadata(self) -> list[Struct]:
        """The chunks' metadata, in the footer's order."""
        return [
            column.value[CHUNK]
            for group in self.footer[ROW_GROUPS][1]
            for column in group.value[COLUMNS][1]
        ]

    @classmethod
    def parse(cls, content: bytes) -> "Parquet":
        """Take a file apart; raises `ValueError`, `IndexError` or `StopIteration` for a bad one."""
        length = int.from_bytes(content[-8:-4], "little")
        footer, _ = decode(content, len(content) - 8 - length)
        parquet = cls([], footer)
        for chunk in parquet.metadata:
            at = min(filter(None, (chunk.get(DICTIONARY_PAGE), chunk[DATA_PAGE])))
            end = at + chunk[COMPRESSED]
            pages = []
            while at < end:
                header, start = decode(content, at)
                at = start + max(0, header[PAGE_COMPRESSED])  # or the pages would never end
                pages.append(Page(header, content[start:at]))
            parquet.chunks.append(pages)
        return parquet

    def __bytes__(self) -> bytes:
        """Put the file together, with the places of its pages in the footer."""
        content = bytearray(MAGIC)
        for pages, chunk in zip(self.chunks, self.metadata, strict=True):
            start = len(content)
            starts = []
            for page in pages:
                starts.append(len(content))
                content += encode(page.header) + page.body
            if starts and chunk.get(DICTIONARY_PAGE) is not None:
                chunk.put(DICTIONARY_PAGE, starts[0])
                chunk.put(DATA_PAGE, starts[min(1, len(starts) - 1)])
            else:
                chunk.put(DATA_PAGE, start)
            chunk.put(COMPRESSED, len(content) - start)
        return bytes(content) + with_footer(self.footer)


def with_footer(footer: Struct) -> bytes:
    """Return a file's end."""
    encoded = encode(footer)
    return encoded + len(encoded).to_bytes(4, "little") + MAGIC
