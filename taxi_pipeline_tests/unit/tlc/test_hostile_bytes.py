"""Any bytes at all under a published file's name: our own error, or rows that add up."""

import gzip
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from isal import igzip

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc import cleaning
from taxi_pipeline.tlc.reading import examine, open_published
from taxi_pipeline.tlc.reading.guard import limits
from taxi_pipeline.tlc.services import FHV, SERVICES, YELLOW, Service
from taxi_pipeline_tests.fuzz.apart import apart
from taxi_pipeline_tests.fuzz.mutation import mutated
from taxi_pipeline_tests.fuzz.parquet import PAGE_COMPRESSED, ROW_GROUPS, Parquet, with_footer
from taxi_pipeline_tests.fuzz.seeds import csv_seeds, parquet_seeds
from taxi_pipeline_tests.fuzz.target import (
    ENDINGS,
    MONTH,
    Hostile,
    attempt,
    attempt_measured,
    attempt_within,
)
from taxi_pipeline_tests.fuzz.thrift import decode
from taxi_pipeline_tests.support.source_files import TRIP, YELLOW_HEADER, read_batches, write_csv

FOUND = sorted((Path(__file__).parents[2] / "fuzz" / "found").iterdir())
FHV_COLUMNS = {
    "dispatching_base_num": pa.array(["B1"]),
    "pickup_datetime": pa.array([0], pa.timestamp("us")),
    "dropOff_datetime": pa.array([1], pa.timestamp("us")),
    "PUlocationID": pa.array([1]),
    "DOlocationID": pa.array([2]),
    "SR_Flag": pa.array([1]),
    "Affiliated_base_number": pa.array(["B2"]),
}


@pytest.mark.parametrize("found", FOUND, ids=lambda path: path.name)
def test_what_the_fuzzer_found_is_an_error_of_ours(found: Path) -> None:
    # in a process of its own, which some of them ended, and with no more memory than the fuzzer's
    said = apart(attempt_within, 4 << 30, found.read_bytes())
    assert said
    assert said.startswith(tuple(f"{service}_tripdata_2021-01.parquet: " for service in SERVICES))


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(st.sampled_from([*SERVICES.values()]), st.sampled_from(ENDINGS), st.binary(max_size=300))
@example(YELLOW, ".parquet", b"PAR1" + b"\xff" * 8 + b"PAR1")
@example(YELLOW, ".csv.gz", gzip.compress(b"\xff\xfe" * 9, mtime=0))
def test_random_bytes_are_an_error_of_ours(service: object, ending: str, content: bytes) -> None:
    hostile = Hostile(service, ending, content)  # type: ignore[arg-type]
    assert attempt(hostile)


def any_change(chance: random.Random) -> object:
    def of_bytes(content: bytes) -> bytes:
        at = chance.randrange(len(content) + 1)
        gone = chance.randrange(9)
        return content[:at] + chance.randbytes(chance.randrange(9)) + content[at + gone :]

    return of_bytes


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_with_wounds_is_an_error_of_ours_or_adds_up(ending: str) -> None:
    chance = random.Random(ending)
    outcomes = set()
    for seed in csv_seeds() if ending == "csv" else parquet_seeds():
        for _ in range(2):
            said = attempt(mutated(seed, chance, any_change(chance), 1 << 18))  # type: ignore[arg-type]
            outcomes.add(said is None)
    assert outcomes == {True, False}


def test_the_mutator_ends_with_a_file_that_promises_more_than_it_has() -> None:
    doubles = b"\x19\xf7\xff\xff\xff\xff\x0f"  # field 1, a list of 2^32 doubles, and none
    with pytest.raises(IndexError):
        decode(doubles + b"\0" * 16)
    parquet = Parquet.parse(bytes(next(iter(parquet_seeds())).content))
    size = parquet.chunks[0][0].header[PAGE_COMPRESSED]
    parquet.chunks[0][0].header.put(PAGE_COMPRESSED, -size)
    with pytest.raises((ValueError, IndexError, StopIteration)):
        Parquet.parse(bytes(parquet))


# --- bombs -------------------------------------------------------------------------------------


def tried(path: Path, service: Service, ending: str) -> tuple[str, int]:
    """Take in the file in a process of its own; return what is said, and by how much it grew."""
    said, grown = apart(attempt_measured, Hostile(service, ending, path.read_bytes()))
    assert said
    return said, grown


def zeros(rows: int) -> dict[str, pa.Array]:
    return {
        name: pa.array([None] * rows, values.type) if rows < 9 else pa.nulls(rows, values.type)
        for name, values in FHV_COLUMNS.items()
    }


def one_text_in_every_row() -> pa.Table:
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), ["x" * 1_000_000])
    return pa.table(zeros(100_000) | {"dispatching_base_num": text})


def one_page_of_long_texts() -> pa.Table:
    return pa.table(zeros(27) | {"dispatching_base_num": pa.array(["x" * 10_000_000] * 27)})


def very_many_rows() -> pa.Table:
    return pa.table(zeros(5_000_000))


def one_row_of_very_many() -> pa.Table:
    values = pa.array(np.zeros(40_000_000, np.int8))
    many = pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
    return pa.table(FHV_COLUMNS | {"more": many})


needs_peak = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells the peak"
)


@needs_peak
@pytest.mark.parametrize(
    "bomb",
    [one_text_in_every_row, one_page_of_long_texts, very_many_rows, one_row_of_very_many],
    ids=lambda bomb: bomb.__name__,
)
def test_a_small_parquet_that_unpacks_to_very_much_is_an_error(
    tmp_path: Path, bomb: object
) -> None:
    path = tmp_path / "bomb"
    pq.write_table(
        bomb(),  # type: ignore[operator]
        path,
        compression="zstd",
        use_dictionary=bomb is not one_page_of_long_texts,
        row_group_size=1 << 30,
        data_page_size=1 << 30,
        store_schema=False,
    )
    size = path.stat().st_size
    assert size < 2_000_000
    said, grown = tried(path, FHV, ".parquet")
    assert said.startswith(f"fhv_tripdata_2021-01.parquet: its {size:,} bytes unpack to ")
    assert said.endswith(
        "but at most 268,435,456 are taken: 100 times its size, or 268,435,456. "
        "Check what the publisher serves at its address."
    )
    assert grown < 100 << 20


@needs_peak
@pytest.mark.parametrize("line", [TRIP.encode() + b"\n", b"x" * 1_000_000 + b"\n"])
def test_a_gzip_that_unpacks_to_very_much_is_an_error(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "bomb"
    times = (300 << 20) // len(line)
    with igzip.open(path, "wb", compresslevel=1) as file:
        file.write(f"{YELLOW_HEADER}\n".encode())
        for _ in range(30):
            file.write(line * (times // 30))
    size = path.stat().st_size
    said, grown = tried(path, YELLOW, ".csv.gz")
    assert said.startswith(
        f"yellow_tripdata_2021-01.csv.gz: its {size:,} bytes unpack to more, but"
    )
    assert grown < 100 << 20


def test_a_file_may_unpack_to_a_hundred_times_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "UNPACKED_BYTES", 1000)
    path = tmp_path / "x.csv.gz"
    rows = "".join(TRIP.replace("142", str(number)) + "\n" for number in range(2000))
    path.write_bytes(gzip.compress(f"{YELLOW_HEADER}\n{rows}".encode(), mtime=0))
    assert len(rows) > 10 * path.stat().st_size
    assert examine(path, 0).rows == 2000
    path.write_bytes(gzip.compress(f"{YELLOW_HEADER}\n{TRIP * 20_000}\n".encode(), 9, mtime=0))
    for read in (
        lambda: examine(path, 0),
        lambda: read_batches(path, YELLOW.trips),
    ):
        with pytest.raises(PermanentError, match=r"^x\.csv\.gz: its .* bytes unpack to more"):
            read()


def test_rejected_rows_are_written_before_their_texts_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "ROW_GROUP_BYTES", 1 << 20)
    monkeypatch.setattr("taxi_pipeline.tlc.reading.lines.BLOCK_BYTES", 1 << 19)
    path = write_csv(tmp_path / "yellow_tripdata_2021-01.csv", ["x" * 100_000] * 40)
    trips, rejected = tmp_path / "trips", tmp_path / "rejected"
    cleaning.clean_trips(MONTH, open_published(path, YELLOW.trips), trips, rejected)
    metadata = pq.read_metadata(rejected)
    assert metadata.num_rows == 40
    assert metadata.num_row_groups >= 3


def test_a_row_group_is_small_however_often_it_has_one_long_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "ROW_GROUP_BYTES", 1 << 20)
    monkeypatch.setattr("taxi_pipeline.tlc.reading.parquet.PARQUET_BATCH_ROWS", 500)
    path = tmp_path / "fhv_tripdata_2021-01.parquet"
    picked_up = {"pickup_datetime": [MONTH.start] * 4000}
    texts = {"dispatching_base_num": ["B" * 900] * 4000}
    pq.write_table(pa.table(zeros(4000) | picked_up | texts), path)
    trips, rejected = tmp_path / "trips", tmp_path / "rejected"
    cleaning.clean_trips(MONTH, open_published(path, FHV.trips), trips, rejected)
    metadata = pq.read_metadata(trips)
    assert metadata.num_rows == 4000
    assert metadata.num_row_groups == 3  # of three batches: 1.4 MB, written out


def test_long_texts_are_read_in_parts_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BATCH_BYTES", 5_000)
    path = tmp_path / "fhv_tripdata_2021-01.parquet"
    bases = [f"{'B' * 900}{number % 3}" for number in range(50)]
    pq.write_table(pa.table(zeros(50) | {"dispatching_base_num": pa.array(bases)}), path)
    batches = read_batches(path, FHV.trips)
    assert max(len(batch.rows) for batch in batches) <= 5
    read = [row["dispatching_base_num"] for batch in batches for row in batch.rows.to_pylist()]
    assert read == bases
    numbers = [number for batch in batches for number in batch.numbers.to_pylist()]
    assert numbers == [*range(1, 51)]


@pytest.mark.parametrize("index", [-1, 2, 2**31 - 1])
def test_a_value_that_its_dictionary_does_not_have_is_arrows_error(index: int) -> None:
    indices = pa.array([0, None, index], pa.int32())
    texts = pa.DictionaryArray.from_arrays(indices, pa.array(["a", "b"]), safe=False)
    with pytest.raises(pa.ArrowException):
        limits.decoded_bytes(pa.record_batch([texts], ["text"]))


def test_a_footer_without_end_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    footer = b"\x19\xfc" + b"\0" * (5 << 20)
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(PermanentError, match=r"^x\.parquet: its footer says that it has 5,242,882"):
        open_published(path, FHV.trips)


def test_row_groups_that_share_their_pages_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    bases = pa.array([f"B{number:05}" for number in range(3000)])
    pq.write_table(pa.table(zeros(3000) | {"dispatching_base_num": bases}), path)
    content = path.read_bytes()
    footer = Parquet.parse(content).footer
    footer.put(3, 3 * 3000)  # rows
    kind, groups = footer[ROW_GROUPS]
    footer.put(ROW_GROUPS, (kind, groups * 3))
    path.write_bytes(content + with_footer(footer))
    with pytest.raises(PermanentError, match=r"^x\.parquet: .* bytes of pages in a file of "):
        read_batches(path, FHV.trips)


def test_a_file_of_very_many_columns_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    more = {f"c{number}": pa.array([0]) for number in range(2000)}
    pq.write_table(pa.table(FHV_COLUMNS | more), path)
    with pytest.raises(PermanentError, match=r"^x\.parquet: it has 2,007 columns, and at most 2,0"):
        examine(path, 5)
