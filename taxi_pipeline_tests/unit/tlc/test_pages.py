import io
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.tlc.reading.guard import pages
from taxi_pipeline.tlc.reading.guard.pages import ColumnMetaData, PageHeader

# a page header's fields 2 and 3, the sizes 20 and 10, by Thrift's compact protocol
SIZES = b"\x25\x28\x15\x14"
OF_TEN = SIZES + b"\x2c\x15\x14\x00\x00"  # and of ten values
MANY = b"\xff\xff\xff\xff\x07"  # 2^31 - 1


def headers(content: bytes, values: int = 1) -> list[PageHeader]:
    chunk = ColumnMetaData(num_values=values, total_compressed_size=len(content))
    return [header for header, _ in pages.page_headers(io.BytesIO(content), chunk)]


def footer(content: bytes) -> pages.FileMetaData:
    return pages.footer(io.BytesIO(content + len(content).to_bytes(4, "little") + b"PAR1"))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_what_a_file_says_is_what_arrow_says(tmp_path: Path, version: str) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table({"a": ["x", "y", None] * 1000, "b": [*range(3000)]})
    pq.write_table(
        table,
        path,
        row_group_size=2000,
        data_page_size=500,
        write_batch_size=50,
        use_dictionary=["a"],
        data_page_version=version,
    )
    said = pq.read_metadata(path)
    with path.open("rb") as content:
        read = pages.footer(content)
        assert [group.num_rows for group in read.row_groups] == [2000, 1000]
        for at, group in enumerate(read.row_groups):
            for place, column in enumerate(group.columns):
                of, chunk = said.row_group(at).column(place), column.meta_data
                assert chunk
                assert chunk.path_in_schema == (of.path_in_schema.encode(),)
                assert chunk.total_compressed_size == of.total_compressed_size
                found, packed = zip(*pages.page_headers(content, chunk), strict=True)
                assert sum(packed) == of.total_compressed_size
                assert bool(found[0].dictionary_page_header) == (of.path_in_schema == "a")
                assert len(found) > (1 if of.path_in_schema == "a" else 9)
                assert sum(header.data.num_values for header in found) == of.num_values


def test_the_next_header_is_behind_the_page() -> None:
    one = OF_TEN + b"x" * 10
    assert len(headers(one * 3, values=30)) == 3


def test_a_header_may_be_longer_than_what_is_read_at_first() -> None:
    statistics = b"\x1c\x18\xa0\x8d\x06" + b"x" * 100_000 + b"\x00"  # field 6 has a text
    content = SIZES + b"\x2c\x15\x14\x00" + statistics + b"\x00"
    assert headers(content) == headers(OF_TEN)
    with pytest.raises(pa.ArrowInvalid, match="cut short"):
        headers(content[:-1])


def test_a_header_has_at_most_a_mebibyte() -> None:
    more = b"\x05\x28\x04"  # field 2 again, which lasts
    times = ((1 << 20) - len(OF_TEN)) // len(more)
    assert headers(OF_TEN[:-1] + more * times + b"\x00") == headers(OF_TEN)
    with pytest.raises(pa.ArrowInvalid, match="header has more than 1,048,576 bytes"):
        headers(OF_TEN[:-1] + more * (times + 1) + b"\x00")


def test_the_last_of_several_fields_counts_and_one_of_another_type_is_none() -> None:
    assert headers(b"\x25\x02" + OF_TEN.replace(b"\x25", b"\x05\x04", 1)) == headers(OF_TEN)
    assert headers(OF_TEN[:-1] + b"\x06\x04\x02\x00") == headers(OF_TEN)  # an i64 of number 2


@pytest.mark.parametrize(
    "field",
    [
        b"\x99\xfc" + MANY,  # a list of structs
        b"\x99\xf1" + MANY,  # of truths
        b"\x99\xf0" + MANY,  # of nothing
        b"\x9b" + MANY + b"\x55",  # a map
        b"\x98" + MANY,  # a text
        b"\x98" + b"\xff" * 9 + b"\x01",  # of less than nothing
        b"\x99\x1f",  # a list of no type
        b"\x9f",
        b"\x9c" + b"\x1c" * 1_000_000,
        b"\x99" + b"\x19" * 1_000_000,
        b"\x95" + b"\x80" * 20,
    ],
    ids=lambda field: field[:8].hex(),
)
def test_a_field_that_is_none_is_an_error_and_takes_no_memory(field: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(pa.ArrowInvalid):
            headers(SIZES + field)
        with pytest.raises(pa.ArrowInvalid):
            footer(field)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_struct_without_end_is_an_error() -> None:
    with pytest.raises(pa.ArrowInvalid, match="header is cut short"):
        headers(SIZES)
    with pytest.raises(pa.ArrowInvalid, match="footer is cut short"):
        footer(b"")


@pytest.mark.parametrize("number", [2, 4, 5, 7])
def test_a_list_of_other_than_its_elements_is_an_error(number: int) -> None:
    # Arrow would read a struct where this says that there is a text
    with pytest.raises(pa.ArrowInvalid, match="wrong ttype"):
        footer(bytes([number << 4 | 9, 0x18, 0, 0]))


def test_a_list_claims_no_more_elements_than_bytes() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(pa.ArrowInvalid):
            footer(b"\x29\xfc\xff\xff\xff\x07")  # 16,777,215 structs
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [b"\x25\x01", b"\x25\x28\x15\x13"])
def test_a_page_of_less_than_no_bytes_is_an_error(size: bytes) -> None:
    with pytest.raises(pa.ArrowInvalid, match="less than no bytes"):
        headers(size + b"\x00")


def test_a_page_of_less_than_no_values_is_an_error() -> None:
    with pytest.raises(pa.ArrowInvalid, match="less than no values"):
        headers(SIZES + b"\x2c\x15\x13\x00\x00")
