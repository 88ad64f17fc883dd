"""What a Parquet file says of itself: its footer, and the headers of its pages.

No page's content is read here, and nothing is judged: that is for `limits`. Arrow tells nothing of
the headers, and what it tells of a wrong footer ends the process.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
from thrift.protocol.TBase import TFrozenBase
from thrift.protocol.TCompactProtocol import TCompactProtocolAccelerated
from thrift.Thrift import TException, TType
from thrift.transport.TTransport import TMemoryBuffer

# types, a repetition and an encoding
BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY = 6, 7
REPEATED = 2
DELTA_BYTE_ARRAY = 7

_HEADER_BYTES = 1 << 13
# Arrow takes 16 MiB, which may take 3 s to decode; true ones have some KB, of statistics
_HEADER_LIMIT_BYTES = 1 << 20


def _spec(**fields: tuple[Any, ...]) -> tuple[tuple[Any, ...] | None, ...]:
    """Declare a struct's fields: by name its number, its type and, if it has parts, theirs."""
    by_number: dict[int, tuple[Any, ...]] = {
        number: (number, kind, name, parts[0] if parts else None, None)
        for name, (number, kind, *parts) in fields.items()
    }
    return tuple(map(by_number.get, range(max(by_number, default=0) + 1)))


def _struct(number: int, type_: type) -> tuple[Any, ...]:
    return number, TType.STRUCT, [type_, type_.thrift_spec]  # type: ignore[attr-defined]


def _structs(number: int, type_: type) -> tuple[Any, ...]:
    return number, TType.LIST, (TType.STRUCT, [type_, type_.thrift_spec], True)  # type: ignore[attr-defined]


def _list(number: int, kind: int) -> tuple[Any, ...]:
    return number, TType.LIST, (kind, "BINARY" if kind == TType.STRING else None, True)


# Parquet's structs, in its own words. A field that is not needed is not declared, but for lists:
# Arrow reads a list's elements as they are declared, whatever the list says of their type, and so
# may find other fields behind it; where it is declared here, such a list is an error.


@dataclass(frozen=True)
class _Unread(TFrozenBase):  # type: ignore[misc]
    thrift_spec = _spec()


@dataclass(frozen=True)
class _SizeStatistics(TFrozenBase):  # type: ignore[misc]
    repetition_levels: tuple[int, ...] = ()
    definition_levels: tuple[int, ...] = ()
    thrift_spec = _spec(
        repetition_levels=_list(2, TType.I64), definition_levels=_list(3, TType.I64)
    )


@dataclass(frozen=True)
class _GeospatialStatistics(TFrozenBase):  # type: ignore[misc]
    types: tuple[int, ...] = ()
    thrift_spec = _spec(types=_list(2, TType.I32))


@dataclass(frozen=True)
class _ColumnKey(TFrozenBase):  # type: ignore[misc]
    path_in_schema: tuple[bytes, ...] = ()
    thrift_spec = _spec(path_in_schema=_list(1, TType.STRING))


@dataclass(frozen=True)
class _Encryption(TFrozenBase):  # type: ignore[misc]
    column_key: _ColumnKey | None = None
    thrift_spec = _spec(column_key=_struct(2, _ColumnKey))


@dataclass(frozen=True)
class SchemaElement(TFrozenBase):  # type: ignore[misc]
    """A column, or a group of them.

    Attributes:
        type_length: The bytes of a value of a type of fixed length.
        repetition_type: `REPEATED` for a list.
        num_children: How many elements a group has; 0 for a column.
    """

    type_length: int = 0
    repetition_type: int | None = None
    num_children: int = 0
    thrift_spec = _spec(
        type_length=(2, TType.I32), repetition_type=(3, TType.I32), num_children=(5, TType.I32)
    )


@dataclass(frozen=True)
class ColumnMetaData(TFrozenBase):  # type: ignore[misc]
    """A column in a row group. Fields not named here are declared only to have lists checked.

    Attributes:
        type: Parquet's number of the physical type.
        path_in_schema: The names from the root to the column.
        num_values: How many values it has, nulls included.
        total_compressed_size: The bytes of its pages with their headers, as they are in the file.
        data_page_offset: Where in the file its first page of values begins, in bytes.
        dictionary_page_offset: Where its page of a dictionary begins; 0 for none.
    """

    type: int | None = None
    encodings: tuple[int, ...] = ()
    path_in_schema: tuple[bytes, ...] = ()
    num_values: int = 0
    total_compressed_size: int = 0
    key_value_metadata: tuple[_Unread, ...] = ()
    data_page_offset: int = 0
    dictionary_page_offset: int = 0
    encoding_stats: tuple[_Unread, ...] = ()
    size_statistics: _SizeStatistics | None = None
    geospatial_statistics: _GeospatialStatistics | None = None
    thrift_spec = _spec(
        type=(1, TType.I32),
        encodings=_list(2, TType.I32),
        path_in_schema=_list(3, TType.STRING),
        num_values=(5, TType.I64),
        total_compressed_size=(7, TType.I64),
        key_value_metadata=_structs(8, _Unread),
        data_page_offset=(9, TType.I64),
        dictionary_page_offset=(11, TType.I64),
        encoding_stats=_structs(13, _Unread),
        size_statistics=_struct(16, _SizeStatistics),
        geospatial_statistics=_struct(17, _GeospatialStatistics),
    )


@dataclass(frozen=True)
class ColumnChunk(TFrozenBase):  # type: ignore[misc]
    """A column in a row group.

    Attributes:
        meta_data: What the footer says of it; None where it says nothing.
        crypto_metadata: How it is encrypted, which is declared only to be checked.
    """

    meta_data: ColumnMetaData | None = None
    crypto_metadata: _Encryption | None = None
    thrift_spec = _spec(
        meta_data=_struct(3, ColumnMetaData), crypto_metadata=_struct(8, _Encryption)
    )


@dataclass(frozen=True)
class RowGroup(TFrozenBase):  # type: ignore[misc]
    """Some of the rows.

    Attributes:
        columns: The columns, in the order of the schema's.
        num_rows: How many rows it has.
        sorting_columns: The rows' order, which is declared only to be checked.
    """

    columns: tuple[ColumnChunk, ...] = ()
    num_rows: int = 0
    sorting_columns: tuple[_Unread, ...] = ()
    thrift_spec = _spec(
        columns=_structs(1, ColumnChunk),
        num_rows=(3, TType.I64),
        sorting_columns=_structs(4, _Unread),
    )


@dataclass(frozen=True)
class FileMetaData(TFrozenBase):  # type: ignore[misc]
    """The footer. Fields not named here are declared only to have lists checked.

    Attributes:
        schema: The root, and all columns and groups below it, each group before its parts.
        row_groups: The row groups.
    """

    schema: tuple[SchemaElement, ...] = ()
    row_groups: tuple[RowGroup, ...] = ()
    key_value_metadata: tuple[_Unread, ...] = ()
    column_orders: tuple[_Unread, ...] = ()
    thrift_spec = _spec(
        schema=_structs(2, SchemaElement),
        row_groups=_structs(4, RowGroup),
        key_value_metadata=_structs(5, _Unread),
        column_orders=_structs(7, _Unread),
    )


@dataclass(frozen=True)
class DictionaryPageHeader(TFrozenBase):  # type: ignore[misc]
    """What a page of a dictionary says.

    Attributes:
        num_values: How many values the dictionary has.
    """

    num_values: int = 0
    thrift_spec = _spec(num_values=(1, TType.I32))


@dataclass(frozen=True)
class DataPageHeader(TFrozenBase):  # type: ignore[misc]
    """What a page of values says.

    Attributes:
        num_values: How many values the page has, nulls included.
        encoding: Parquet's number of their encoding.
    """

    num_values: int = 0
    encoding: int | None = None
    thrift_spec = _spec(num_values=(1, TType.I32), encoding=(2, TType.I32))


@dataclass(frozen=True)
class DataPageHeaderV2(TFrozenBase):  # type: ignore[misc]
    """What a page of values says, in the second version.

    Attributes:
        num_values: How many values the page has, nulls included.
        encoding: Parquet's number of their encoding.
    """

    num_values: int = 0
    encoding: int | None = None
    thrift_spec = _spec(num_values=(1, TType.I32), encoding=(4, TType.I32))


@dataclass(frozen=True)
class PageHeader(TFrozenBase):  # type: ignore[misc]
    """What stands before a page. Of the three kinds of headers it has the page's own.

    Attributes:
        uncompressed_page_size: The page's bytes without this header, unpacked; -1 where it does not
            say.
        compressed_page_size: The same as they are in the file.
        data_page_header: That of a page of values.
        dictionary_page_header: That of a dictionary.
        data_page_header_v2: That of a page of values, in the second version.
    """

    uncompressed_page_size: int = -1
    compressed_page_size: int = -1
    data_page_header: DataPageHeader | None = None
    dictionary_page_header: DictionaryPageHeader | None = None
    data_page_header_v2: DataPageHeaderV2 | None = None
    thrift_spec = _spec(
        uncompressed_page_size=(2, TType.I32),
        compressed_page_size=(3, TType.I32),
        data_page_header=_struct(5, DataPageHeader),
        dictionary_page_header=_struct(7, DictionaryPageHeader),
        data_page_header_v2=_struct(8, DataPageHeaderV2),
    )

    @property
    def data(self) -> DataPageHeader | DataPageHeaderV2:
        """What a page of values says; of no values where it is another page."""
        if self.dictionary_page_header:
            return DataPageHeader()
        return self.data_page_header or self.data_page_header_v2 or DataPageHeader()


def footer_bytes(content: BinaryIO) -> int:
    """Return the footer's bytes, as the file says, and leave `content` before its last four.

    Args:
        content: A Parquet file, which ends in the footer, four bytes of its length, and `PAR1`.
    """
    end = content.seek(0, io.SEEK_END)
    content.seek(max(end - 8, 0))
    return int.from_bytes(content.read(4), "little")


def footer(content: BinaryIO) -> FileMetaData:
    """Read the footer, which is taken into memory whole.

    Raises:
        pyarrow.ArrowInvalid: It is none, or is cut short.
        OSError: It is longer than the file.
    """
    length = footer_bytes(content)
    content.seek(-8 - length, io.SEEK_END)
    try:
        return _decoded(FileMetaData, content.read(length))[0]
    except EOFError:
        raise pa.ArrowInvalid("the footer is cut short") from None


def page_headers(content: BinaryIO, chunk: ColumnMetaData) -> Iterator[tuple[PageHeader, int]]:
    """Read the headers of the pages that Arrow would read.

    Args:
        content: A Parquet file.
        chunk: What the footer says of one column in a row group.

    Yields:
        Each header, whose sizes and numbers are not negative, and how many bytes it and its page
        take in the file.

    Raises:
        pyarrow.ArrowInvalid: The chunk begins before the file, or a header is none, is cut short or
            too long, or has a negative size or number of values.
    """
    at = chunk.data_page_offset
    if 0 < chunk.dictionary_page_offset < at:
        at = chunk.dictionary_page_offset
    if at < 0:
        raise pa.ArrowInvalid("a column chunk before the file")
    end = min(at + chunk.total_compressed_size, content.seek(0, io.SEEK_END))
    values = 0
    while at < end and values < chunk.num_values:
        header, length = _header(content, at)
        if header.uncompressed_page_size < 0 or header.compressed_page_size < 0:
            raise pa.ArrowInvalid("a page of less than no bytes")
        if header.data.num_values < 0:
            raise pa.ArrowInvalid("a page of less than no values")
        packed = length + header.compressed_page_size
        yield header, packed
        values += header.data.num_values
        at += packed


def _header(content: BinaryIO, at: int) -> tuple[PageHeader, int]:
    """Read the page header at a place of the file; return it and its length."""
    for length in (_HEADER_BYTES, _HEADER_LIMIT_BYTES):
        content.seek(at)
        some = content.read(length)
        try:
            return _decoded(PageHeader, some)
        except EOFError:
            if len(some) < length:
                raise pa.ArrowInvalid("a page's header is cut short") from None
    raise pa.ArrowInvalid(f"a page's header has more than {_HEADER_LIMIT_BYTES:,} bytes")


def _decoded[T: TFrozenBase](type_: type[T], content: bytes) -> tuple[T, int]:
    """Read a struct; return it and its length. Raises `EOFError` where the bytes are too few.

    As in Arrow, the last of several fields of one number counts, and one of another type than
    declared is none.
    """
    buffer = TMemoryBuffer(content)
    protocol = TCompactProtocolAccelerated(
        buffer,
        # or a few bytes that claim a long list would get the memory for it
        container_length_limit=len(content),
        fallback=False,  # which would not look at the types of lists' elements
    )
    try:
        return type_.read(protocol), buffer.cstringio_buf.tell()
    except (TException, TypeError, OverflowError) as error:
        raise pa.ArrowInvalid(f"a struct is none: {error}") from error
