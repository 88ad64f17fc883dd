import gzip
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.local.generator import drawing, write_csv_gz, write_parquet, write_zones
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV, FHVHV, GREEN, SERVICES, YELLOW, Service
from taxi_pipeline_tests.support import headers
from taxi_pipeline_tests.support.generated import DEFECTS, DEFECTS_OF, frame, is_reversal, spelled
from taxi_pipeline_tests.support.real_files import REAL_FILES, with_real_files

REPOSITORY = Path(__file__).parents[3]

each_service = pytest.mark.parametrize(
    "service", SERVICES.values(), ids=lambda service: service.name
)
each_taxi = pytest.mark.parametrize("service", [YELLOW, GREEN], ids=lambda service: service.name)
each_format = pytest.mark.parametrize("write", [write_csv_gz, write_parquet])

CSV_HEADERS = {"yellow": headers.YELLOW_2019, "green": headers.GREEN_2019}

YELLOW_2019 = (
    "VendorID int64, tpep_pickup_datetime timestamp[us], tpep_dropoff_datetime timestamp[us], "
    "passenger_count double, trip_distance double, RatecodeID double, store_and_fwd_flag string, "
    "PULocationID int64, DOLocationID int64, payment_type int64, fare_amount double, "
    "extra double, mta_tax double, tip_amount double, tolls_amount double, "
    "improvement_surcharge double, total_amount double, congestion_surcharge double, "
    "airport_fee null"
)
YELLOW_2023 = (
    "VendorID int32, tpep_pickup_datetime timestamp[us], tpep_dropoff_datetime timestamp[us], "
    "passenger_count int64, trip_distance double, RatecodeID int64, "
    "store_and_fwd_flag large_string, PULocationID int32, DOLocationID int32, "
    "payment_type int64, fare_amount double, extra double, mta_tax double, tip_amount double, "
    "tolls_amount double, improvement_surcharge double, total_amount double, "
    "congestion_surcharge double, Airport_fee double"
)
GREEN_2019 = (
    "VendorID int64, lpep_pickup_datetime timestamp[us], lpep_dropoff_datetime timestamp[us], "
    "store_and_fwd_flag string, RatecodeID double, PULocationID int64, DOLocationID int64, "
    "passenger_count double, trip_distance double, fare_amount double, extra double, "
    "mta_tax double, tip_amount double, tolls_amount double, ehail_fee double, "
    "improvement_surcharge double, total_amount double, payment_type double, trip_type double, "
    "congestion_surcharge double"
)
GREEN_2023 = (
    "VendorID int32, lpep_pickup_datetime timestamp[us], lpep_dropoff_datetime timestamp[us], "
    "store_and_fwd_flag large_string, RatecodeID int64, PULocationID int32, DOLocationID int32, "
    "passenger_count int64, trip_distance double, fare_amount double, extra double, "
    "mta_tax double, tip_amount double, tolls_amount double, ehail_fee double, "
    "improvement_surcharge double, total_amount double, payment_type int64, trip_type int64, "
    "congestion_surcharge double"
)
CBD = ", cbd_congestion_fee double"
REQUEST = ", request_source large_string"
AIRPORT_FEE_FILLED = YELLOW_2019.replace("airport_fee null", "airport_fee double")
EHAIL_FEE_EMPTY = GREEN_2019.replace("ehail_fee double", "ehail_fee null")
PARQUET_SCHEMAS = [
    (YELLOW, "2019-01", YELLOW_2019),
    (YELLOW, "2020-07", YELLOW_2019),
    (YELLOW, "2020-08", AIRPORT_FEE_FILLED),
    (YELLOW, "2020-10", YELLOW_2019),
    (YELLOW, "2020-11", AIRPORT_FEE_FILLED),
    (YELLOW, "2023-01", AIRPORT_FEE_FILLED),
    (YELLOW, "2023-02", YELLOW_2023),
    (YELLOW, "2024-12", YELLOW_2023),
    (YELLOW, "2025-01", YELLOW_2023 + CBD),
    (YELLOW, "2026-06", YELLOW_2023 + CBD + REQUEST),
    (GREEN, "2019-01", GREEN_2019),
    (GREEN, "2019-09", EHAIL_FEE_EMPTY),
    (GREEN, "2020-07", EHAIL_FEE_EMPTY),
    (GREEN, "2020-08", EHAIL_FEE_EMPTY),
    (GREEN, "2023-01", EHAIL_FEE_EMPTY),
    (GREEN, "2023-02", GREEN_2023),
    (GREEN, "2025-01", GREEN_2023 + CBD),
    (GREEN, "2026-06", GREEN_2023 + CBD + REQUEST),
]

type Writer = Callable[[Service, Month, int, Path], None]


def csv_lines(service: Service, month: Month, rows: int, folder: Path) -> list[str]:
    """Return the header and the rows; every one must end in CRLF."""
    write_csv_gz(service, month, rows, folder / "month.csv.gz")
    text = gzip.decompress((folder / "month.csv.gz").read_bytes()).decode()
    *lines, last = text.split("\r\n")
    assert last == ""
    assert "\n" not in "".join(lines)
    return lines


# ---- The files -----------------------------------------------------------------------------------


@each_format
@each_service
def test_the_same_month_has_the_same_bytes(write: Writer, service: Service, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(service, Month(2021, 1), 2_000, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_another_month_or_service_has_other_trips(tmp_path: Path) -> None:
    january = frame(YELLOW, Month(2021, 1), 500, tmp_path)
    for other in (
        frame(YELLOW, Month(2021, 3), 500, tmp_path),
        frame(YELLOW, Month(2022, 1), 500, tmp_path),
        frame(GREEN, Month(2021, 1), 500, tmp_path),
    ):
        assert (january.trip_distance == other.trip_distance).mean() < 0.05


@each_service
def test_the_bytes_name_neither_file_nor_time(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "month.csv.gz"
    write_csv_gz(service, Month(2021, 1), 1, path)
    assert path.read_bytes()[3:8] == bytes(5)


@each_service
@pytest.mark.parametrize("rows", [0, 1, 2, 999, 1_001])
def test_a_month_has_exactly_so_many_rows(
    service: Service, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "CHUNK_ROWS", 1_000)
    write_parquet(service, Month(2020, 4), rows, tmp_path / "month.parquet")
    assert pq.read_metadata(tmp_path / "month.parquet").num_rows == rows
    assert len(csv_lines(service, Month(2020, 4), rows, tmp_path)) == 1 + rows


@each_service
def test_the_end_of_a_chunk_costs_no_row(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "CHUNK_ROWS", 100)
    # The metered trips alone are some 93 of 100, so they too pass the end of a chunk.
    for rows in range(98, 112):
        write_parquet(service, Month(2024, 2), rows, tmp_path / "month.parquet")
        assert pq.read_metadata(tmp_path / "month.parquet").num_rows == rows


@pytest.mark.parametrize(
    ("rows", "chunk_rows"), [(10_000, 1_000), (10_001, 1_000), (9_999, 1_000), (10_000, 3_333)]
)
@each_service
def test_no_defect_is_lost_between_chunks(
    service: Service, rows: int, chunk_rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = frame(service, Month(2024, 2), rows, tmp_path)
    monkeypatch.setattr(drawing, "CHUNK_ROWS", chunk_rows)
    cut = frame(service, Month(2024, 2), rows, tmp_path)
    assert {name: int(has(cut).sum()) for name, has in DEFECTS_OF[service.name].items()} == {
        name: int(has(whole).sum()) for name, has in DEFECTS_OF[service.name].items()
    }


@each_format
@each_service
def test_a_negative_number_of_rows_is_refused(
    write: Writer, service: Service, tmp_path: Path
) -> None:
    with pytest.raises(PermanentError, match="2021-01 cannot have -1 rows: choose 0 or more"):
        write(service, Month(2021, 1), -1, tmp_path / "month")
    assert not (tmp_path / "month").exists()


@pytest.mark.parametrize(
    ("write", "service", "month", "refusal"),
    [
        (write_csv_gz, YELLOW, "2008-12", "as CSV: choose 2009-01 to 2021-07"),
        (write_csv_gz, YELLOW, "2021-08", "as CSV: choose 2009-01 to 2021-07"),
        (write_csv_gz, GREEN, "2013-07", "as CSV: choose 2013-08 to 2021-07"),
        (write_csv_gz, FHV, "2022-01", "as CSV: choose 2015-01 to 2021-12"),
        (write_csv_gz, FHVHV, "2019-01", "as CSV: choose 2019-02 to 2021-12"),
        (write_parquet, YELLOW, "2008-12", "as Parquet: choose 2009-01 or a later month"),
        (write_parquet, GREEN, "2013-12", "as Parquet: choose 2014-01 or a later month"),
        (write_parquet, FHV, "2014-12", "as Parquet: choose 2015-01 or a later month"),
        (write_parquet, FHVHV, "2019-01", "as Parquet: choose 2019-02 or a later month"),
    ],
)
def test_a_month_that_cannot_be_drawn_is_refused_and_not_begun(
    write: Writer, service: Service, month: str, refusal: str, tmp_path: Path
) -> None:
    with pytest.raises(PermanentError, match=f"{month} cannot be generated {refusal}"):
        write(service, Month.parse(month), 1, tmp_path / "month")
    assert not (tmp_path / "month").exists()


@pytest.mark.long
@pytest.mark.parametrize("service", [YELLOW, FHVHV], ids=lambda service: service.name)
def test_memory_does_not_grow_with_the_month(service: Service, tmp_path: Path) -> None:
    small, large = (peak_kilobytes(service, rows, tmp_path) for rows in (200_000, 800_000))
    assert large < 1.25 * small


def peak_kilobytes(service: Service, rows: int, folder: Path) -> int:
    program = (
        "import resource; from pathlib import Path\n"
        "from taxi_pipeline.local.generator import write_parquet\n"
        "from taxi_pipeline.tlc.services import SERVICES\n"
        "from taxi_pipeline.tlc.month import Month\n"
        f"service, path = SERVICES[{service.name!r}], Path({str(folder / 'month')!r})\n"
        f"write_parquet(service, Month(2024, 1), {rows}, path)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return int(run.stdout)


# ---- As published --------------------------------------------------------------------------------


@pytest.mark.parametrize("month", [Month(2019, 1), Month(2020, 5), Month(2021, 7)], ids=str)
@each_taxi
def test_the_csv_header_is_the_published_one(
    service: Service, month: Month, tmp_path: Path
) -> None:
    assert csv_lines(service, month, 0, tmp_path) == [CSV_HEADERS[service.name]]


@pytest.mark.parametrize(("service", "month", "schema"), PARQUET_SCHEMAS)
@pytest.mark.parametrize("rows", [0, 50])
def test_the_parquet_schema_is_that_of_the_month(
    service: Service, month: str, schema: str, rows: int, tmp_path: Path
) -> None:
    write_parquet(service, Month.parse(month), rows, tmp_path / "month.parquet")
    assert spelled(pq.read_schema(tmp_path / "month.parquet")) == schema


@each_taxi
def test_csv_cells_are_spelled_as_published(service: Service, tmp_path: Path) -> None:
    header, *rows = csv_lines(service, Month(2020, 4), 20_000, tmp_path)
    columns = dict(
        zip(header.split(","), zip(*(row.split(",") for row in rows), strict=True), strict=True)
    )
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    spelling = {
        "tpep_pickup_datetime": time,
        "tpep_dropoff_datetime": time,
        "lpep_pickup_datetime": time,
        "lpep_dropoff_datetime": time,
        "store_and_fwd_flag": "[NY]?",
        "trip_distance": r"([1-9]\d*)?\.\d\d",
        "ehail_fee": "",
        **dict.fromkeys(("VendorID", "passenger_count", "RatecodeID"), r"\d*"),
        **dict.fromkeys(("payment_type", "trip_type"), r"[1-4]?"),
        **dict.fromkeys(("PULocationID", "DOLocationID"), r"\d+"),
    }
    amount = r"0|-?(0|[1-9]\d*)\.\d?[1-9]|-?[1-9]\d*"
    for name, cells in columns.items():
        optional = f"({amount})?" if name == "congestion_surcharge" else amount
        pattern = re.compile(spelling.get(name, optional))
        assert [cell for cell in {*cells} if not pattern.fullmatch(cell)] == [], name


@with_real_files
@pytest.mark.parametrize(
    ("service", "month", "line_end"),
    # The yellow files are samples, written again with line ends of their own.
    [(YELLOW, "2019-01", "\n"), (YELLOW, "2020-05", "\n"), (GREEN, "2020-04", "\r\n")],
)
def test_real_csv_headers(service: Service, month: str, line_end: str, tmp_path: Path) -> None:
    real = REAL_FILES / f"releases/{service.name}/{service.name}_tripdata_{month}.csv.gz"
    with gzip.open(real, "rt", newline="") as file:
        header = file.readline()
    assert header == csv_lines(service, Month.parse(month), 0, tmp_path)[0] + line_end


@with_real_files
def test_real_green_cells_have_the_same_shapes(tmp_path: Path) -> None:
    real = REAL_FILES / "releases/green/green_tripdata_2020-04.csv.gz"
    published = shapes(gzip.decompress(real.read_bytes()).decode().removesuffix("\r\n"))
    generated = shapes("\r\n".join(csv_lines(GREEN, Month(2020, 4), 20_000, tmp_path)))
    assert [name for name, seen in generated.items() if not seen <= published[name]] == []


def shapes(text: str) -> dict[str, set[str]]:
    """Return how the cells of each column look: without sign, digits as 9, whole numbers as one."""
    header, *rows = (line.split(",") for line in text.split("\r\n"))
    nines = str.maketrans("012345678", "9" * 9)
    return {
        name: {
            "9" + cell.translate(nines).removeprefix("-").lstrip("9") if cell else ""
            for cell in {*cells}
        }
        for name, cells in zip(header, zip(*rows, strict=True), strict=True)
    }


@with_real_files
def test_real_parquet_schemas(tmp_path: Path) -> None:
    real = sorted((REAL_FILES / "trip-data").glob("green_tripdata_*.parquet"))
    assert real
    for path in real:
        month = Month.parse(path.stem.removeprefix("green_tripdata_"))
        write_parquet(GREEN, month, 0, tmp_path / "month.parquet")
        assert spelled(pq.read_schema(tmp_path / "month.parquet")) == spelled(pq.read_schema(path))

    sample = REAL_FILES / "samples/yellow_tripdata_2025_schema.parquet"
    write_parquet(YELLOW, Month(2025, 1), 0, tmp_path / "month.parquet")
    assert spelled(pq.read_schema(tmp_path / "month.parquet")) == spelled(pq.read_schema(sample))


# ---- The trips -----------------------------------------------------------------------------------


@each_taxi
def test_pandas_reads_the_csv_and_finds_the_trips_of_the_parquet(
    service: Service, tmp_path: Path
) -> None:
    month = Month(2021, 1)
    write_csv_gz(service, month, 5_000, tmp_path / "month.csv.gz")
    csv = pd.read_csv(tmp_path / "month.csv.gz", parse_dates=[1, 2])
    parquet = frame(service, month, 5_000, tmp_path)
    csv = csv.rename(columns=lambda name: re.sub("^[tl]pep_", "", name))
    same = ["pickup_datetime", "dropoff_datetime", "PULocationID", "DOLocationID"]
    same += ["trip_distance", "passenger_count", "fare_amount", "total_amount"]
    assert (csv[same].fillna(-1) == parquet[same].fillna(-1)).all(axis=None)


@each_taxi
def test_trips_come_hour_by_hour_the_null_block_last(service: Service, tmp_path: Path) -> None:
    trips = frame(service, Month(2021, 1), 20_000, tmp_path)
    in_null_block = trips.passenger_count.isna()
    assert in_null_block.is_monotonic_increasing
    inside = trips[~DEFECTS["outside the month"](trips)]
    for _, part in inside.groupby(in_null_block):
        hours = part.pickup_datetime.dt.floor("h")
        assert hours.is_monotonic_increasing
        by_day = hours.dt.day.value_counts()
        assert len(by_day) == 31
        by_hour = hours.dt.hour.value_counts()
        assert by_hour[4] < by_hour[18] / 5


@each_taxi
@pytest.mark.parametrize("month", [Month(2019, 1), Month(2020, 11), Month(2023, 1)], ids=str)
def test_the_total_is_the_sum_of_its_parts(service: Service, month: Month, tmp_path: Path) -> None:
    trips = frame(service, month, 5_000, tmp_path)
    trips = trips[trips.passenger_count.notna()]
    parts = ["fare_amount", "extra", "mta_tax", "tip_amount", "tolls_amount"]
    parts += ["improvement_surcharge", "congestion_surcharge"]
    parts += ["airport_fee"] if service is YELLOW else []
    summed = trips[parts].astype(float).fillna(0).sum(axis=1)
    assert np.allclose(summed, trips.total_amount, atol=0.001)


# ---- The defects ---------------------------------------------------------------------------------


# Of 100,000 trips of 2021-01.
COUNTS = {
    "outside the month": (20, 20),
    "years away": (3, 3),
    "backwards": (40, 4),
    "takes a day": (250, 250),
    "negative": (250, 280),
    "reversal": (245, 275),
    "no distance": (1_200, 4_700),
    "absurd distance": (10, 10),
    "null block": (7_000, 30_000),
    "no passengers": (2_000, 700),
    "twice": (2, 2),
    "unknown vendor": (2, 2),
    "unknown rate": (10, 10),
}


@pytest.mark.parametrize("month", [Month(2019, 1), Month(2021, 1), Month(2026, 6)], ids=str)
@each_taxi
def test_a_thousand_trips_show_every_defect(service: Service, month: Month, tmp_path: Path) -> None:
    trips = frame(service, month, 1_000, tmp_path)
    assert [name for name, has in DEFECTS.items() if not has(trips).any()] == []
    assert trips.pickup_datetime.dt.year.isin([2008, 2009, month.year, month.year - 1]).all()


@each_taxi
def test_defects_have_their_real_shares(service: Service, tmp_path: Path) -> None:
    trips = frame(service, Month(2021, 1), 100_000, tmp_path)
    counted = {name: int(has(trips).sum()) for name, has in DEFECTS.items()}
    assert counted == {name: of[service is GREEN] for name, of in COUNTS.items()}


@each_taxi
def test_reversals_name_a_dispute_and_turn_every_amount(service: Service, tmp_path: Path) -> None:
    trips = frame(service, Month(2025, 3), 20_000, tmp_path)
    reversals = trips[is_reversal(trips)]
    assert set(reversals.payment_type) == {3, 4}
    twins = trips.loc[reversals.index + 1]
    fees = ["improvement_surcharge", "congestion_surcharge", "cbd_congestion_fee"]
    fees += ["Airport_fee"] if service is YELLOW else []
    assert (reversals[fees].to_numpy() == -twins[fees].to_numpy()).all()


@pytest.mark.parametrize(
    ("service", "csv", "parquet"),
    [
        (
            YELLOW,
            "VendorID passenger_count RatecodeID store_and_fwd_flag payment_type",
            "passenger_count RatecodeID store_and_fwd_flag congestion_surcharge airport_fee",
        ),
        (
            GREEN,
            "VendorID store_and_fwd_flag RatecodeID passenger_count ehail_fee payment_type "
            "trip_type congestion_surcharge",
            "store_and_fwd_flag RatecodeID passenger_count ehail_fee payment_type trip_type "
            "congestion_surcharge",
        ),
    ],
)
def test_the_null_block_leaves_the_same_columns_empty_as_in_the_real_files(
    service: Service, csv: str, parquet: str, tmp_path: Path
) -> None:
    month = Month(2021, 5)
    write_csv_gz(service, month, 5_000, tmp_path / "month.csv.gz")
    for trips, expected in (
        (pd.read_csv(tmp_path / "month.csv.gz"), csv),
        (frame(service, month, 5_000, tmp_path), parquet),
    ):
        block = trips[trips.passenger_count.isna()]
        assert [*block.columns[block.isna().all()]] == expected.split()
        others = trips[trips.passenger_count.notna()].drop(columns="ehail_fee", errors="ignore")
        assert others.notna().all(axis=None)
    if service is YELLOW:
        assert (block.payment_type == 0).all()


# ---- The zones -----------------------------------------------------------------------------------


def test_there_are_265_zones(tmp_path: Path) -> None:
    write_zones(tmp_path / "zones.csv")
    zones = pd.read_csv(tmp_path / "zones.csv", keep_default_na=False, index_col="LocationID")
    assert [*zones.index] == [*range(1, 266)]
    assert [*zones.columns] == ["Borough", "Zone", "service_zone"]
    named = {zone: tuple(row) for zone, row in zip(zones.index, zones.to_numpy(), strict=True)}
    assert named[1] == ("EWR", "Newark Airport", "EWR")
    assert named[132] == ("Queens", "JFK Airport", "Airports")
    assert named[138] == ("Queens", "LaGuardia Airport", "Airports")
    assert named[264] == ("Unknown", "N/A", "N/A")
    assert named[265] == ("N/A", "Outside of NYC", "N/A")
    assert [*zones.index[zones.duplicated(keep=False)]] == [56, 57, 103, 104, 105]
    assert zones.Zone[56] != zones.Zone[103]


@with_real_files
def test_real_zones_are_spelled_alike(tmp_path: Path) -> None:
    write_zones(tmp_path / "zones.csv")
    generated = (tmp_path / "zones.csv").read_bytes()
    real = (REAL_FILES / "misc/taxi_zone_lookup.csv").read_bytes()
    assert generated.split(b"\r\n")[:2] == real.split(b"\r\n")[:2]
    row = re.compile(rb'\d+,"[^"]+","[^"]+","[^"]+"')
    for text in (generated, real):
        _, *rows, last = text.split(b"\r\n")
        assert len(rows) == 265
        assert all(row.fullmatch(line) for line in rows)
        assert last == b""
    kinds = [
        pd.read_csv(path, keep_default_na=False)[["Borough", "service_zone"]].drop_duplicates()
        for path in (tmp_path / "zones.csv", REAL_FILES / "misc/taxi_zone_lookup.csv")
    ]
    assert {*map(tuple, kinds[0].to_numpy())} <= {*map(tuple, kinds[1].to_numpy())}
