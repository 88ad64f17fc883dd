"""What holds for any rows at all: whatever a file has, nothing of it is lost or made up."""

# ruff: noqa: DTZ001 - TLC's times carry no zone

import csv
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taxi_pipeline.tlc import duplicates
from taxi_pipeline.tlc.cleaning import Summary, clean_trips
from taxi_pipeline.tlc.duplicates import Duplicates
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import csv as csv_reading
from taxi_pipeline.tlc.reading import examine, open_published, parquet
from taxi_pipeline.tlc.reading.lines import Lines, is_row
from taxi_pipeline.tlc.services import SERVICES
from taxi_pipeline.tlc.tally import Tally, tally_parquet
from taxi_pipeline_tests.support.parquet import read_parquet
from taxi_pipeline_tests.support.row_hashes import row_hashes
from taxi_pipeline_tests.support.source_files import read_batches

JANUARY = Month(2021, 1)

type Row = dict[str, Any]

few = settings(max_examples=80, deadline=None, derandomize=True, database=None)

# --- any rows ----------------------------------------------------------------------------------

# published name: canonical name, kind
METERED = {
    "vendor_name": ("vendor_id", "vendor"),
    "Trip_Pickup_DateTime": ("pickup_datetime", "time"),
    "Trip_Dropoff_DateTime": ("dropoff_datetime", "time"),
    "Passenger_Count": ("passenger_count", "integer"),
    "Trip_Distance": ("trip_distance", "number"),
    "Start_Lon": ("pickup_longitude", "number"),
    "Start_Lat": ("pickup_latitude", "number"),
    "Rate_Code": ("ratecode_id", "integer"),
    "store_and_forward": ("store_and_fwd_flag", "flag"),
    "End_Lon": ("dropoff_longitude", "number"),
    "End_Lat": ("dropoff_latitude", "number"),
    "Payment_Type": ("payment_type", "payment"),
    "Fare_Amt": ("fare_amount", "number"),
    "surcharge": ("extra", "number"),
    "mta_tax": ("mta_tax", "number"),
    "Tip_Amt": ("tip_amount", "number"),
    "Tolls_Amt": ("tolls_amount", "number"),
    "Total_Amt": ("total_amount", "number"),
}
FHV = {
    "Pickup_DateTime": ("pickup_datetime", "time"),
    "DropOff_datetime": ("dropoff_datetime", "time"),
    "PUlocationID": ("pickup_location_id", "integer"),
    "DOlocationID": ("dropoff_location_id", "integer"),
    "SR_Flag": ("sr_flag", "integer"),
    "Dispatching_base_number": ("dispatching_base_num", "text"),
    "Dispatching_base_num": ("dispatching_base_num", "text"),
}
FHVHV = {
    "hvfhs_license_num": ("hvfhs_license_num", "text"),
    "dispatching_base_num": ("dispatching_base_num", "text"),
    "request_datetime": ("request_datetime", "time"),
    "pickup_datetime": ("pickup_datetime", "time"),
    "dropoff_datetime": ("dropoff_datetime", "time"),
    "PULocationID": ("pickup_location_id", "integer"),
    "DOLocationID": ("dropoff_location_id", "integer"),
    "trip_miles": ("trip_miles", "number"),
    "base_passenger_fare": ("base_passenger_fare", "number"),
    "shared_match_flag": ("shared_match_flag", "text"),
    "surprise": ("", "text"),
}
GREEN = {
    **{name.replace("Trip_P", "lpep_p").replace("Trip_D", "lpep_D"): of
       for name, of in METERED.items() if name not in ("Trip_Distance", "vendor_name")},
    "VendorID": ("vendor_id", "vendor"),
    "Trip_distance": ("trip_distance", "number"),
    "Trip_type ": ("trip_type", "integer"),
}  # fmt: skip
COLUMNS = {"yellow": METERED, "green": GREEN, "fhv": FHV, "fhvhv": FHVHV}

PICKUPS = ["2021-01-15 00:30:10", "2021-01-31 23:59:59.999999", "2021-01-01"]
CELLS = {
    "time": [
        *(*PICKUPS, "2020-12-31 23:59:59", "2021-02-01 00:00:00", "2021-01-15 12:00:00.5"),
        *("", "0001-01-01", "9999-12-31 23:59:59", "0000-01-01", "10000-01-01", "soon"),
        *("2021-01-15 00:30:10Z", "2021-01-15 25:00:00", '"2021-01-15 00:30:10"', " 2021-01-15"),
    ],
    "integer": [
        *("", "0", "1", "1.0", "264", "-1", "1e2", "0.5", "NaN", "x", "0x1", "9999999999", "inf"),
    ],
    "number": ["", "0", "-0", "8", "-8.25", ".5", "1e3", "1e15", "1e400", "nan", "$8", '"1"'],
    "vendor": ["", "1", "2.0", "CMT", "vts", " DDS ", "XYZ", '"a, b"', "1.5", "é", "nan"],
    "payment": ["", "1", "CASH", "Cre", "no charge", "UNK", "?", "N/A", "1_0", "-1", "3e9"],
    "flag": ["", "N", "Y", "0", "1", " ", "*", "ÿ"],
    "text": ["", "B02510", "b1", " ", '"B,1"', '"say ""x"""', 'a"b', "é", "N/A", "B" * 450],
}  # fmt: skip
GOOD = {
    "time": PICKUPS,
    "integer": ["", "1", "2.0"],
    "number": ["", "8", "-8.25", "0"],
    "vendor": ["1", "CMT", "XYZ"],
    "payment": ["2", "Credit", "?"],
    "flag": ["N", "1"],
    "text": ["", "B02510"],
}

services = st.sampled_from(sorted(COLUMNS))
seeds = st.integers(0, 2**32)
odd_cells = {kind: st.sampled_from(cells) for kind, cells in CELLS.items()}
odd_places = {
    service: st.sets(st.sampled_from(range(len(columns))), max_size=2)
    for service, columns in COLUMNS.items()
}


@st.composite
def good_cells(draw: st.DrawFn, service: str) -> list[str]:
    """Draw a good row's cells, all of them by one seed: to draw each takes longer than to clean."""
    chance = Random(draw(seeds))
    return [chance.choice(GOOD[kind]) for _, kind in COLUMNS[service].values()]


@st.composite
def any_cells(draw: st.DrawFn, service: str) -> list[str]:
    """Draw a row's cells: mostly good, some odd."""
    kinds = [kind for _, kind in COLUMNS[service].values()]
    cells = draw(good_cells(service))
    for place in sorted(draw(odd_places[service])):
        cells[place] = draw(odd_cells[kinds[place]])
    return cells


# what is made anew for every example, Hypothesis validates for every example
good_rows, any_rows = (
    {service: st.lists(cells(service), max_size=20) for service in COLUMNS}
    for cells in (good_cells, any_cells)
)


@cache
def any_lines(service: str) -> st.SearchStrategy[list[bytes]]:
    """Draw the lines of a file: rows, wide and narrow ones, rows with a wound, and noise."""
    rows = any_cells(service).map(lambda cells: ",".join(cells).encode())
    wounds = st.sampled_from([b'"', b"\r", b"\0", b"\xff", b",", b"\xc3", b'","', b"\r\r"])
    wounded = st.builds(
        lambda row, at, wound: row[: at % (len(row) + 1)] + wound + row[at % (len(row) + 1) :],
        rows,
        st.integers(0, 300),
        wounds,
    )
    wide = st.builds(
        lambda row, end: row + end, rows, st.sampled_from([b",", b",,", b',""', b",x"])
    )
    narrow = rows.map(lambda row: row.rpartition(b",")[0])
    noise = st.lists(st.sampled_from([b'"', b",", b"\r", b"\0", b"\xff", b"a", b" ", b"1"])).map(
        b"".join
    )
    returned = rows.map(lambda row: row + b"\r")
    return st.lists(st.one_of(rows, rows, wounded, wide, narrow, noise, returned), max_size=20)


# --- what they mean, by other code -------------------------------------------------------------

VENDORS = {"cmt": 1, "vts": 2, "dds": 3}
PAYMENTS = {"cash": 2, "cre": 1, "credit": 1, "no charge": 3, "unk": 5}


def number_of(cell: str) -> float | None:
    number = float(cell) if cell else math.nan
    return None if math.isnan(number) else number


def canonical(service: str, cells: Sequence[str]) -> Row:
    """Return the trip that the cells of a good row mean, without its nulls."""
    row: Row = {}
    unknown = []
    for (name, kind), cell in zip(COLUMNS[service].values(), cells, strict=False):
        value: object = None
        if kind == "time":
            value = datetime.fromisoformat(cell) if cell else None
        elif kind in ("number", "integer"):
            value = number_of(cell)
        elif kind == "flag":
            value = {"0": "N", "1": "Y"}.get(cell, cell) or None
        elif kind == "text":
            value = cell or None
        else:
            words = VENDORS if kind == "vendor" else PAYMENTS
            value = words.get(cell.strip().lower())
            try:
                value = value or number_of(cell.strip().replace("_", "no number"))
            except ValueError:
                unknown.append(f"{name}={cell}")
        if name and value is not None:
            row[name] = value
    # vendors come before payments, however a file orders them
    return row | ({"unknown_words": "; ".join(sorted(unknown, reverse=True))} if unknown else {})


def cells_of(line: bytes) -> list[str]:
    return next(csv.reader([line.decode().rstrip("\r")]))


# --- the runs ----------------------------------------------------------------------------------


@contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def write(path: Path, service: str, lines: Sequence[bytes]) -> Path:
    header = ",".join(COLUMNS[service]).encode()
    path.write_bytes(b"\n".join((header, *lines, b"")))
    return path


def clean(path: Path, service: str) -> tuple[Summary, pa.Table, pa.Table]:
    trips, rejected = path.parent / "trips.parquet", path.parent / "rejected.parquet"
    published = open_published(path, SERVICES[service].trips)
    summary = clean_trips(JANUARY, published, trips, rejected)
    assert summary.published == summary.kept + summary.rejected.total() == examine(path, 1).rows
    tables = read_parquet(trips), read_parquet(rejected)
    assert tables[0].num_rows == summary.kept
    return summary, *tables


def without_nulls(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None}


@few
@given(st.data())
def test_what_is_kept_and_what_is_rejected_are_what_was_published(data: st.DataObject) -> None:
    service = data.draw(services)
    lines = data.draw(any_lines(service))
    with folder() as at:
        _, trips, rejected = clean(write(at / "x.csv", service, lines), service)
    published = {number: line for number, line in enumerate(lines, 2) if line.strip()}
    for row in rejected.to_pylist():
        line = published.pop(row["number"])
        if row["line"] is None:
            cells = [row[name] or "" for name in COLUMNS[service]]
            assert cells == cells_of(line)[: len(cells)]
        else:
            assert row["line"] == line.rstrip(b"\r").decode(errors="backslashreplace")
    kept = [without_nulls(row) for row in trips.to_pylist()]
    assert kept == [canonical(service, cells_of(line)) for line in published.values()]


@few
@given(st.data())
def test_a_good_row_is_never_rejected(data: st.DataObject) -> None:
    service = data.draw(services)
    rows = data.draw(good_rows[service])
    places = {name: place for place, (name, _) in enumerate(COLUMNS[service].values())}
    times = places["pickup_datetime"], places["dropoff_datetime"]
    with folder() as at:
        summary, _, rejected = clean(
            write(at / "x.csv", service, [",".join(row).encode() for row in rows]), service
        )
    backwards = [
        number
        for number, row in enumerate(rows, 2)
        if datetime.fromisoformat(row[times[1]]) < datetime.fromisoformat(row[times[0]])
    ]
    assert rejected["number"].to_pylist() == backwards
    assert set(summary.rejected) <= {"dropoff_before_pickup"}


def read_all(path: Path, service: str) -> list[object]:
    return [
        (row, problem, number, published)
        for batch in read_batches(path, SERVICES[service].trips)
        for row, problem, number, published in zip(
            batch.rows.to_pylist(),
            batch.problems.to_pylist(),
            batch.numbers.to_pylist(),
            batch.as_published(pa.array(range(len(batch.rows)), pa.int64())).to_pylist(),
            strict=True,
        )
    ]


limits = st.sampled_from([400, 1 << 20])
sizes = st.lists(st.integers(1, 3000), min_size=1, max_size=3)


@few
@given(st.data())
def test_the_size_of_a_block_changes_nothing(data: st.DataObject) -> None:
    service = data.draw(services)
    lines = data.draw(any_lines(service))
    with folder() as at, pytest.MonkeyPatch.context() as patch:
        path = write(at / "x.csv", service, lines)
        patch.setattr("taxi_pipeline.tlc.reading.lines.LINE_LIMIT_BYTES", data.draw(limits))
        whole = read_all(path, service)
        for size in data.draw(sizes):
            patch.setattr("taxi_pipeline.tlc.reading.lines.BLOCK_BYTES", size)
            assert read_all(path, service) == whole


@few
@given(st.data())
def test_what_is_said_of_a_line_is_what_arrow_says(data: st.DataObject) -> None:
    service = data.draw(services)
    lines = [line for line in data.draw(any_lines(service)) if is_row(line)]
    arrow = list(COLUMNS[service])
    with folder() as at:
        published = open_published(write(at / "x.csv", service, lines), SERVICES[service].trips)
    assert isinstance(published, csv_reading.CsvFile)
    for line in lines:
        said = published._problem(line, arrow)
        try:
            csv_reading._parse_csv(
                Lines.from_lines([line]), arrow, dict.fromkeys(arrow, pa.string())
            )
        except pa.ArrowInvalid as error:
            by_arrow = published._arrow_message(error)
            if said != "CSV parse error: a quote is not closed":
                # what is no UTF-8 Arrow shows another way
                assert said == by_arrow or "\N{REPLACEMENT CHARACTER}" in by_arrow
            assert said
        else:
            assert said is None


@few
@given(st.data())
def test_cleaning_what_is_clean_changes_nothing(data: st.DataObject) -> None:
    service = data.draw(services)
    lines = data.draw(any_lines(service))
    with folder() as at:
        _, trips, _ = clean(write(at / "x.csv", service, lines), service)
        pq.write_table(trips, at / "clean.parquet")
        summary, again, rejected = clean(at / "clean.parquet", service)
    assert again.equals(trips)
    assert (summary.rejected, rejected.num_rows) == ({}, 0)


orders = {service: st.permutations(range(len(columns))) for service, columns in COLUMNS.items()}


@few
@given(st.data())
def test_the_order_of_the_columns_changes_nothing(data: st.DataObject) -> None:
    service = data.draw(services)
    rows = data.draw(any_rows[service])
    order = data.draw(orders[service])
    names = list(COLUMNS[service])
    with folder() as at:
        one, other = (
            clean(write_ordered(at / f"{len(places)}.csv", names, rows, places), service)
            for places in (range(len(names)), order)
        )
    assert one[0] == other[0]
    assert one[1].equals(other[1])
    same = ["number", "rejected_because"]
    assert one[2].select(same).equals(other[2].select(same))


def write_ordered(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], order: Sequence[int]
) -> Path:
    lines = [",".join(row[place] for place in order) for row in (names, *rows)]
    path.write_text("\n".join((*lines, "")))
    return path


# --- amounts -----------------------------------------------------------------------------------

# the service whose file needs the fewest columns beside its amounts
REQUIRED = {
    *("dispatching_base_num", "pickup_datetime", "dropoff_datetime"),
    *("PULocationID", "DOLocationID"),
}
LARGEST = math.nextafter(1e7, 0)
DOLLARS = st.one_of(
    st.sampled_from([LARGEST, -LARGEST, 1e7, -1e7, 9e14, -9e14, -0.0, 0.005, -0.005, 1.005]),
    st.floats(-LARGEST, LARGEST),
    st.floats(allow_nan=False, allow_infinity=False),
)


@few
@given(
    dollars=st.lists(DOLLARS, max_size=20),
    shuffled=st.randoms(use_true_random=False),
    kind=st.sampled_from(["csv", "parquet"]),
)
def test_amounts_below_the_limit_are_kept_and_sum_up_exactly_in_any_order(
    dollars: list[float], shuffled: Random, kind: str
) -> None:
    base = {name: GOOD[of][0] for name, (_, of) in FHVHV.items() if name in REQUIRED}
    kept = [amount for amount in dollars if abs(amount) < 1e7]
    cents = sum(math.floor(amount * 100 + 0.5) for amount in kept)
    for _ in range(2):
        with folder() as at:
            if kind == "csv":
                rows = [[*base.values(), repr(amount)] for amount in dollars]
                names = [*base, "base_passenger_fare"]
                path = write_ordered(at / "x.csv", names, rows, range(len(names)))
            else:
                texts = {
                    name: pa.array([cell or None] * len(dollars), pa.string())
                    for name, cell in base.items()
                }
                table = pa.table({**texts, "base_passenger_fare": pa.array(dollars, pa.float64())})
                path = at / "x.parquet"
                pq.write_table(table, path)
            summary, _, _ = clean(path, "fhvhv")
            tally = tally_parquet(at / "trips.parquet", "base_passenger_fare")
            assert tally == Tally(len(kept), cents)
        assert summary.rejected == Counter(unparsable=len(dollars) - len(kept))
        shuffled.shuffle(dollars)


# --- Parquet -----------------------------------------------------------------------------------

TIMES = [datetime(2021, 1, 15, 0, 30), datetime(2021, 1, 31), datetime(2020, 12, 31), None]
WHOLE: list[int | None] = [1, 2, 0, None]
AMOUNTS: list[float | None] = [0.0, 1.5, -8.25, math.nan, None]
DRIFTING: dict[str, list[tuple[pa.DataType, Sequence[object]]]] = {
    "time": [
        (pa.timestamp("us"), TIMES),
        (pa.timestamp("ms"), TIMES),
        (pa.timestamp("ns"), TIMES),
        (pa.string(), ["2021-01-15 00:30:00", "2021-01-16", "soon", None]),
        (pa.timestamp("us", "UTC"), TIMES),
        (pa.null(), [None]),
    ],
    "integer": [
        (pa.int32(), WHOLE),
        (pa.int64(), [*WHOLE, 2**40]),
        (pa.uint64(), [*WHOLE, 2**63 + 1]),
        (pa.float64(), [1.0, 0.0, 0.5, math.nan, math.inf, None]),
        (pa.float32(), [1.0, 2.0, math.nan, None]),
        (pa.decimal128(8, 2), [Decimal("1.00"), Decimal("2.50"), None]),
        (pa.large_string(), ["1", "x", None]),
        (pa.list_(pa.int8()), [[1], None]),
        (pa.null(), [None]),
    ],
    "number": [
        (pa.float64(), [*AMOUNTS, 1e15, math.inf]),
        (pa.float32(), AMOUNTS),
        (pa.int64(), [*WHOLE, 2**60]),
        (pa.decimal128(8, 2), [Decimal("1.50"), None]),
        (pa.null(), [None]),
    ],
    "text": [
        (pa.string(), ["B1", "", " ", "a\0b", None]),
        (pa.large_string(), ["B1", "é", None]),
        (pa.binary(), [b"B1", b"\xff", None]),
        (pa.dictionary(pa.int32(), pa.string()), ["B1", "B2", None]),
        (pa.null(), [None]),
    ],
}


drifting_types = {
    kind: st.sampled_from([drifting[0], drifting[0], *drifting])
    for kind, drifting in DRIFTING.items()
}


@st.composite
def any_table(draw: st.DrawFn, service: str) -> pa.Table:
    """Draw a table of few rows, each column of any type that a publisher could think of."""
    rows = draw(st.integers(0, 8))
    chance = Random(draw(seeds))
    columns = {}
    for name, (_, kind) in COLUMNS[service].items():
        of, values = draw(drifting_types[kind])
        columns[name] = pa.array(chance.choices(values, k=rows), of)
    return pa.table(columns)


def meant(kind: str, value: Any) -> object:
    """Return what a good value of a Parquet file means."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if kind == "time":
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    if kind == "text":
        return value.decode() if isinstance(value, bytes) else value
    return float(value)


@few
@given(st.data())
def test_what_is_kept_and_what_is_rejected_are_what_a_parquet_has(data: st.DataObject) -> None:
    service = data.draw(st.sampled_from(["fhv", "fhvhv"]))
    table = data.draw(any_table(service))
    size = data.draw(st.integers(1, 9))
    with folder() as at, pytest.MonkeyPatch.context() as patch:
        pq.write_table(table, at / "x.parquet")
        whole = clean(at / "x.parquet", service)
        patch.setattr(parquet, "PARQUET_BATCH_ROWS", size)
        in_parts = clean(at / "x.parquet", service)
        published = read_parquet(at / "x.parquet")
    _, trips, rejected = whole
    assert in_parts[0] == whole[0]
    assert in_parts[1].equals(trips)
    assert repr(in_parts[2].to_pylist()) == repr(rejected.to_pylist())

    gone = [number - 1 for number in rejected["number"].to_pylist()]
    assert len({*gone}) == len(gone)
    own = rejected.select(list(COLUMNS[service]))
    assert repr(own.to_pylist()) == repr(published.take(pa.array(gone, pa.int64())).to_pylist())
    kept = []
    for index, row in enumerate(published.to_pylist()):
        if index not in gone:
            pairs = zip(COLUMNS[service].values(), row.values(), strict=True)
            values = ((name, meant(kind, value)) for (name, kind), value in pairs if name)
            kept.append({name: value for name, value in values if value is not None})
    assert [without_nulls(row) for row in trips.to_pylist()] == kept


# --- copies ------------------------------------------------------------------------------------

VALUES = st.tuples(
    st.sampled_from([None, 0, 1, -1, 2**31 - 1]),
    st.sampled_from([None, 0.0, -0.0, 0.5, -0.5, 1e-300]),
    st.sampled_from([None, "", "N", "N ", "é"]),
    st.sampled_from([None, datetime(2021, 1, 15), datetime(2021, 1, 15, 0, 0, 0, 1)]),
)
TYPES = (pa.int32(), pa.float64(), pa.string(), pa.timestamp("us"))


@few
@given(
    batches=st.lists(st.lists(VALUES, max_size=30), max_size=5),
    part_rows=st.sampled_from([1, 2, 7, 1 << 20]),
)
def test_copies_are_counted_as_sets_count_them(
    batches: list[list[tuple[object, ...]]], part_rows: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, Duplicates() as copies:
        patch.setattr(duplicates, "PART_ROWS", part_rows)
        for rows in batches:
            columns = [pa.array([row[place] for row in rows], of) for place, of in enumerate(TYPES)]
            copies.add(row_hashes(pa.record_batch(columns, names=list("abcd"))))
        counted = copies.count()
    rows = [row for batch in batches for row in batch]
    assert counted == len(rows) - len(set(rows))
