"""What TLC published changed with the years; the generator's files change with it."""

import gzip
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.local.generator import write_csv_gz, write_parquet
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV, FHVHV, GREEN, SERVICES, YELLOW, Service
from taxi_pipeline_tests.support.generated import spelled
from taxi_pipeline_tests.support.headers import (
    FHV_2015,
    FHV_2017,
    FHV_2017_QUOTED,
    FHV_2018,
    FHV_2019,
    FHV_2021,
    FHVHV_2019,
    GREEN_2013,
    GREEN_2015,
    GREEN_2016,
    GREEN_2019,
    YELLOW_2009,
    YELLOW_2010,
    YELLOW_2014,
    YELLOW_2015,
    YELLOW_2016,
    YELLOW_2019,
)
from taxi_pipeline_tests.support.real_files import NOT_THERE, REAL_FILES

BLANK = "\n\r\n"
TWO_BLANKS = "\n\n\r\n"
CRLF = "\r\n"

# service, first and last month of the era, all that stands above the rows, cells of a row
CSV_ERAS = [
    (YELLOW, "2009-01", "2009-12", YELLOW_2009 + BLANK, 18),
    (YELLOW, "2010-01", "2013-12", YELLOW_2010 + BLANK, 18),
    (YELLOW, "2014-01", "2014-12", YELLOW_2014 + BLANK, 18),
    (YELLOW, "2015-01", "2015-06", YELLOW_2015 + CRLF, 19),
    (YELLOW, "2015-07", "2016-06", YELLOW_2015.replace("RateCodeID", "RatecodeID") + CRLF, 19),
    (YELLOW, "2016-07", "2016-12", YELLOW_2016 + CRLF, 19),
    (YELLOW, "2017-01", "2018-12", YELLOW_2016 + BLANK, 17),
    (YELLOW, "2019-01", "2021-07", YELLOW_2019 + CRLF, 18),
    (GREEN, "2013-08", "2013-12", GREEN_2013 + BLANK, 22),
    (GREEN, "2014-01", "2014-12", GREEN_2013 + TWO_BLANKS, 22),
    (GREEN, "2015-01", "2015-06", GREEN_2015 + CRLF, 23),
    (GREEN, "2015-07", "2015-12", GREEN_2015 + CRLF, 21),
    (GREEN, "2016-01", "2016-06", GREEN_2015 + BLANK, 21),
    (GREEN, "2016-07", "2016-12", GREEN_2016 + BLANK, 21),
    (GREEN, "2017-01", "2018-12", GREEN_2016 + BLANK, 19),
    (GREEN, "2019-01", "2021-07", GREEN_2019 + CRLF, 20),
    (FHV, "2015-01", "2016-12", FHV_2015 + CRLF, 3),
    (FHV, "2017-01", "2017-06", FHV_2017 + CRLF, 5),
    (FHV, "2017-07", "2017-12", FHV_2017_QUOTED + CRLF, 6),
    (FHV, "2018-01", "2018-12", FHV_2018 + CRLF, 7),
    (FHV, "2019-01", "2021-12", FHV_2019 + CRLF, 6),
    (FHVHV, "2019-02", "2021-05", FHVHV_2019 + CRLF, 7),
    (FHVHV, "2021-06", "2021-06", FHV_2021 + CRLF, 7),
    (FHVHV, "2021-07", "2021-12", FHVHV_2019 + CRLF, 7),
]
each_csv_era = pytest.mark.parametrize(
    ("service", "first", "last", "top", "cells"),
    CSV_ERAS,
    ids=[f"{service.name}-{first}" for service, first, *_ in CSV_ERAS],
)


def csv_text(service: Service, month: Month, rows: int, folder: Path) -> str:
    write_csv_gz(service, month, rows, folder / "month.csv.gz")
    return gzip.decompress((folder / "month.csv.gz").read_bytes()).decode()


def split(text: str) -> tuple[str, list[list[str]]]:
    """Return all that stands above the rows, and the rows' cells; every row must end in CRLF."""
    match = re.match(r"[^\n]*\n(\r?\n)*", text)
    assert match is not None
    *rows, last = text[match.end() :].split("\r\n")
    assert last == ""
    assert "\n" not in "".join(rows)
    return match[0], [row.split(",") for row in rows]


# ---- CSV -----------------------------------------------------------------------------------------


@each_csv_era
def test_each_era_has_its_header_and_its_rows(
    service: Service, first: str, last: str, top: str, cells: int, tmp_path: Path
) -> None:
    for month in {first, last}:
        above, rows = split(csv_text(service, Month.parse(month), 300, tmp_path))
        assert above == top
        assert [len(row) for row in rows] == [cells] * 300
        quoted = {cell.startswith('"') and cell.endswith('"') for row in rows for cell in row}
        assert quoted == {top.startswith('"')}


TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
EXACT = r"-?\d+(\.\d{1,19})?"
AMOUNT = r"0|-?(0|[1-9]\d*)\.\d?[1-9]|-?[1-9]\d*"
DISTANCE = r"([1-9]\d*)?\.\d\d"


# the cells of a row, with ; between them
SPELLINGS = [
    (
        YELLOW,
        "2009-01",
        f"VTS|CMT|DDS;{TIME};{TIME};[0-6];{EXACT};{EXACT};{EXACT};;;{EXACT};{EXACT};"
        f"CASH|Cash|CREDIT|Credit|No Charge|Dispute;{EXACT};{EXACT};;{EXACT};{EXACT};{EXACT}",
    ),
    (
        YELLOW,
        "2010-04",
        rf"VTS|CMT|DDS;{TIME};{TIME};[0-6];{EXACT};{EXACT};{EXACT};\d+;[01]?;{EXACT};{EXACT};"
        f"CAS|Cas|CRE|Cre|No |Dis;{EXACT};{EXACT};{EXACT};{EXACT};{EXACT};{EXACT}",
    ),
    (
        YELLOW,
        "2013-12",
        rf"VTS|CMT;{TIME};{TIME};[0-6];{EXACT};{EXACT};{EXACT};\d+;[NY]?;{EXACT};{EXACT};"
        f"CSH|CRD|NOC|DIS|UNK;{EXACT};{EXACT};{EXACT};{EXACT};{EXACT};{EXACT}",
    ),
    (
        YELLOW,
        "2015-08",
        rf"\d;{TIME};{TIME};[0-6];{DISTANCE};{EXACT};{EXACT};\d+;[NY];{EXACT};{EXACT};[1-4];"
        + ";".join([AMOUNT] * 7),
    ),
    (
        GREEN,
        "2014-12",
        rf"\d;{TIME};{TIME};[NY];\d+;{EXACT};{EXACT};{EXACT};{EXACT};[0-6];{DISTANCE};"
        + ";".join([AMOUNT] * 5)
        + f";;{AMOUNT};[1-4];[12];;",
    ),
    (FHV, "2015-01", rf"[Bb]\d{{5}};{TIME};\d*"),
    (FHV, "2017-07", rf'"[Bb]\d{{5}}";"{TIME}";"{TIME}";"\d*";"\d*";"1?"'),
    (FHV, "2018-01", rf'"{TIME}";"{TIME}";"\d*";"\d*";"1?";"[Bb]\d{{5}}";""'),
    (FHVHV, "2019-02", rf"HV000[2-5];B\d{{5}};{TIME};{TIME};\d+;\d+;1?"),
    (FHVHV, "2021-06", rf"B\d{{5}};{TIME};{TIME};\d+;\d+;1?;(B\d{{5}})?"),
]


@pytest.mark.parametrize(
    ("service", "month", "spelling"),
    SPELLINGS,
    ids=[f"{service.name}-{month}" for service, month, _ in SPELLINGS],
)
def test_cells_are_spelled_as_in_their_year(
    service: Service, month: str, spelling: str, tmp_path: Path
) -> None:
    _, rows = split(csv_text(service, Month.parse(month), 3_000, tmp_path))
    for number, (pattern, cells) in enumerate(
        zip(spelling.split(";"), zip(*rows, strict=True), strict=True)
    ):
        assert [cell for cell in {*cells} if not re.fullmatch(pattern, cell)] == [], number


def test_numbers_have_seventeen_digits_to_2014(tmp_path: Path) -> None:
    for month, exact in ((Month(2014, 12), True), (Month(2015, 1), False)):
        _, rows = split(csv_text(YELLOW, month, 2_000, tmp_path))
        assert any(len(row[4]) > 10 for row in rows) is exact
        assert any(row[4].startswith(".") for row in rows) is not exact
        assert all(
            row[4] in (f"{float(row[4]):.17g}", f"{float(row[4]):.2f}".lstrip("0")) for row in rows
        )


def test_the_meters_of_one_vendor_knew_no_seconds_to_2014(tmp_path: Path) -> None:
    _, rows = split(csv_text(YELLOW, Month(2012, 3), 2_000, tmp_path))
    whole = {
        vendor: sum(row[1].endswith(":00") for row in rows if row[0] == vendor)
        / sum(row[0] == vendor for row in rows)
        for vendor in ("VTS", "CMT")
    }
    assert whole["VTS"] > 0.99  # but for the defects
    assert whole["CMT"] < 0.1


@pytest.mark.parametrize("month", ["2009-05", "2010-03", "2010-12", "2014-06"])
def test_the_project_knows_every_word(month: str, tmp_path: Path) -> None:
    _, rows = split(csv_text(YELLOW, Month.parse(month), 3_000, tmp_path))
    for number, name in ((0, "vendor_id"), (11, "payment_type"), (8, "store_and_fwd_flag")):
        column = YELLOW.trips[name]
        known = {word.casefold() for word in (*column.words, *map(str, column.codes), "")}
        assert {row[number].strip().casefold() for row in rows} <= known


@pytest.mark.parametrize(
    ("service", "month"),
    [
        *((YELLOW, month) for month in ("2009-05", "2010-02", "2012-06", "2015-06", "2018-03")),
        *((GREEN, month) for month in ("2014-01", "2015-02", "2016-11")),
        *((FHV, month) for month in ("2015-01", "2018-06", "2019-05")),
        *((FHVHV, month) for month in ("2019-02", "2021-06")),
    ],
    ids=lambda value: value.name if isinstance(value, Service) else value,
)
def test_csv_and_parquet_hold_the_same_trips(service: Service, month: str, tmp_path: Path) -> None:
    write_csv_gz(service, Month.parse(month), 2_000, tmp_path / "month.csv.gz")
    write_parquet(service, Month.parse(month), 2_000, tmp_path / "month.parquet")
    # The first line alone names the columns: rows may be wider.
    csv = pd.read_csv(
        tmp_path / "month.csv.gz", header=None, skiprows=1, float_precision="round_trip"
    )
    header = pd.read_csv(tmp_path / "month.csv.gz", nrows=0)
    csv = csv.iloc[:, : len(header.columns)].set_axis(header.columns, axis="columns")
    parquet = pd.read_parquet(tmp_path / "month.parquet")
    for frame in (csv, parquet):
        frame.columns = frame.columns.str.strip().str.casefold()
    time = next(name for name in csv.columns if "pickup_date" in name)
    time_in_parquet = next(name for name in parquet.columns if "pickup_date" in name)
    assert (pd.to_datetime(csv[time]) == pd.to_datetime(parquet[time_in_parquet])).all()
    compared = {"total_amount", "total_amt", "trip_distance", "pulocationid", "dolocationid"}
    for name in compared & {*csv.columns} & {*parquet.columns}:
        assert (csv[name].fillna(-1) == parquet[name].fillna(-1)).all(), name


# ---- Real heads ----------------------------------------------------------------------------------

HEADS = sorted((REAL_FILES / "heads").glob("*/*.csv"))
# What a hundred lines happen not to show.
UNSEEN = {
    "payment_type": {"Dispute", "Dis", "No ", "No Charge"},
    "sr_flag": {"9"},
    "dropoff_datetime": {"9-9-9 9:9:9"},
    "locationid": {"9"},
    "pulocationid": {"", "9"},
    "dolocationid": {"", "9"},
}


BASE_OR_LICENSE = re.compile(r"[Bb]\d{5}|HV\d{4}")
DIGITS = re.compile("[0-9]+")


def shape(cell: str) -> str:
    """Return how a cell looks: without quotes and sign, digits as one 9; words as they are."""
    cell = cell.strip('"').removeprefix("-")
    if BASE_OR_LICENSE.fullmatch(cell):
        return cell[0].upper()
    return DIGITS.sub("9", cell)


def test_there_are_heads_of_every_service() -> None:
    if not HEADS:
        pytest.skip(NOT_THERE)
    assert {path.parent.name for path in HEADS} == {*SERVICES}


@pytest.mark.parametrize("path", HEADS, ids=[path.stem for path in HEADS])
def test_a_real_head_looks_alike(path: Path, tmp_path: Path) -> None:
    service = SERVICES[path.parent.name]
    month = Month.parse(path.stem.removeprefix(f"{service.name}_tripdata_"))
    top, rows = head(path)
    made_top, made_rows = split(csv_text(service, month, 1_000, tmp_path))
    assert made_top == top
    assert {len(row) for row in made_rows} == {len(row) for row in rows}
    real = shapes_of(service.name, compact(top))
    names = [name.strip().strip('"').casefold() for name in top.splitlines()[0].split(",")]
    for number, cells in enumerate(zip(*made_rows, strict=True)):
        unseen = UNSEEN.get(names[number], set()) if number < len(names) else set()
        assert {shape(cell) for cell in {*cells}} - real[number] <= unseen, number


RELEASES = sorted((REAL_FILES / "releases").glob("*/*.csv.gz"))


@pytest.mark.parametrize("path", RELEASES, ids=[path.name[:-7] for path in RELEASES])
def test_a_real_release_names_the_same_columns(path: Path, tmp_path: Path) -> None:
    service = SERVICES[path.parent.name]
    month = Month.parse(path.name[:-7].removeprefix(f"{service.name}_tripdata_"))
    with gzip.open(path, "rt") as file:
        header = file.readline().strip()
    assert csv_text(service, month, 0, tmp_path).splitlines()[0] == header


@cache
def head(path: Path) -> tuple[str, list[list[str]]]:
    return split(path.read_bytes().decode())


@cache
def shapes_of(service: str, header: str) -> dict[int, set[str]]:
    """Return the shapes in each column of all real heads of that compact header."""
    shapes = defaultdict(set)
    for path in HEADS:
        top, rows = head(path)
        if path.parent.name == service and compact(top) == header:
            for row in rows:
                for number, cell in enumerate(row):
                    shapes[number].add(shape(cell))
    return shapes


def compact(top: str) -> str:
    """Return the names that stand above the rows, however spaced."""
    return top.splitlines()[0].replace(" ", "").casefold()


# ---- Parquet -------------------------------------------------------------------------------------


def typed(names: str, type_name: str) -> str:
    return ", ".join(f"{name} {type_name}" for name in names.split())


AMOUNTS_2009 = "Fare_Amt surcharge mta_tax Tip_Amt Tolls_Amt Total_Amt"
AMOUNTS_2010 = "fare_amount surcharge mta_tax tip_amount tolls_amount total_amount"
PARQUET_2009 = ", ".join(
    (
        typed("vendor_name Trip_Pickup_DateTime Trip_Dropoff_DateTime", "string"),
        "Passenger_Count int64, Trip_Distance double",
        typed("Start_Lon Start_Lat Rate_Code store_and_forward End_Lon End_Lat", "double"),
        "Payment_Type string",
        typed(AMOUNTS_2009, "double"),
    )
)
PARQUET_2010 = ", ".join(
    (
        typed("vendor_id pickup_datetime dropoff_datetime", "string"),
        "passenger_count int64",
        typed("trip_distance pickup_longitude pickup_latitude", "double"),
        "rate_code int64, store_and_fwd_flag string",
        typed("dropoff_longitude dropoff_latitude", "double"),
        "payment_type string",
        typed(AMOUNTS_2010, "double"),
    )
)
PARQUET_2011 = (
    "VendorID int64, tpep_pickup_datetime timestamp[us], tpep_dropoff_datetime timestamp[us], "
    "passenger_count double, trip_distance double, RatecodeID double, store_and_fwd_flag string, "
    "PULocationID int64, DOLocationID int64, payment_type int64, fare_amount double, "
    "extra double, mta_tax double, tip_amount double, tolls_amount double, "
    "improvement_surcharge double, total_amount double, congestion_surcharge double, "
    "airport_fee null"
)
PARQUET_GREEN = (
    "VendorID int64, lpep_pickup_datetime timestamp[us], lpep_dropoff_datetime timestamp[us], "
    "store_and_fwd_flag string, RatecodeID double, PULocationID int64, DOLocationID int64, "
    "passenger_count double, trip_distance double, fare_amount double, extra double, "
    "mta_tax double, tip_amount double, tolls_amount double, ehail_fee double, "
    "improvement_surcharge double, total_amount double, payment_type double, trip_type double, "
    "congestion_surcharge double"
)


def fhv(text: str, pickup: str, dropoff: str, flag: str) -> str:
    return (
        f"dispatching_base_num {text}, pickup_datetime timestamp[us], "
        f"dropOff_datetime timestamp[us], PUlocationID {pickup}, DOlocationID {dropoff}, "
        f"SR_Flag {flag}, Affiliated_base_number {text}"
    )


def fhvhv(text: str, place: str, airport_fee: str, wav_match: str) -> str:
    times = "request_datetime on_scene_datetime pickup_datetime dropoff_datetime"
    fees = "base_passenger_fare tolls bcf sales_tax congestion_surcharge"
    flags = "shared_request_flag shared_match_flag access_a_ride_flag wav_request_flag"
    return ", ".join(
        (
            typed("hvfhs_license_num dispatching_base_num originating_base_num", text),
            typed(times, "timestamp[us]"),
            typed("PULocationID DOLocationID", place),
            "trip_miles double, trip_time int64",
            typed(fees, "double"),
            f"airport_fee {airport_fee}, tips double, driver_pay double",
            typed(flags, text),
            f"wav_match_flag {wav_match}",
        )
    )


PARQUET_SCHEMAS = [
    (YELLOW, "2009-01", PARQUET_2009),
    (YELLOW, "2009-12", PARQUET_2009),
    (YELLOW, "2010-01", PARQUET_2010),
    (YELLOW, "2010-02", f"{PARQUET_2010}, __index_level_0__ int64"),
    (YELLOW, "2010-03", f"{PARQUET_2010}, __index_level_0__ int64"),
    (YELLOW, "2010-04", PARQUET_2010),
    (YELLOW, "2010-12", PARQUET_2010),
    (YELLOW, "2011-01", PARQUET_2011),
    (YELLOW, "2018-12", PARQUET_2011),
    (GREEN, "2014-01", PARQUET_GREEN),
    (GREEN, "2018-12", PARQUET_GREEN),
    (FHV, "2015-01", fhv("string", "double", "double", "double")),
    (FHV, "2019-02", fhv("string", "double", "double", "double")),
    (FHV, "2019-04", fhv("string", "double", "double", "null")),
    (FHV, "2019-05", fhv("string", "int64", "int64", "null")),
    (FHV, "2019-06", fhv("string", "int64", "int64", "null")),
    (FHV, "2019-07", fhv("string", "double", "double", "null")),
    (FHV, "2020-07", fhv("string", "double", "int64", "null")),
    (FHV, "2020-08", fhv("string", "double", "double", "null")),
    (FHV, "2023-01", fhv("string", "double", "double", "null")),
    (FHV, "2023-02", fhv("large_string", "int64", "int64", "int64")),
    (FHVHV, "2019-02", fhvhv("string", "int64", "null", "null")),
    (FHVHV, "2019-04", fhvhv("string", "int64", "null", "string")),
    (FHVHV, "2019-07", fhvhv("string", "int64", "double", "string")),
    (FHVHV, "2020-04", fhvhv("string", "int64", "null", "string")),
    (FHVHV, "2020-05", fhvhv("string", "int64", "double", "string")),
    (FHVHV, "2020-10", fhvhv("string", "int64", "null", "string")),
    (FHVHV, "2023-01", fhvhv("string", "int64", "double", "string")),
    (FHVHV, "2023-02", fhvhv("large_string", "int32", "double", "large_string")),
    (
        FHVHV,
        "2025-01",
        fhvhv("large_string", "int32", "double", "large_string") + ", cbd_congestion_fee double",
    ),
]


@pytest.mark.parametrize(
    ("service", "month", "schema"),
    PARQUET_SCHEMAS,
    ids=[f"{service.name}-{month}" for service, month, _ in PARQUET_SCHEMAS],
)
@pytest.mark.parametrize("rows", [0, 50])
def test_the_parquet_schema_is_that_of_the_month(
    service: Service, month: str, schema: str, rows: int, tmp_path: Path
) -> None:
    write_parquet(service, Month.parse(month), rows, tmp_path / "month.parquet")
    assert spelled(pq.read_schema(tmp_path / "month.parquet")) == schema


def test_the_words_of_the_first_years_are_in_the_parquet_too(tmp_path: Path) -> None:
    write_parquet(YELLOW, Month(2009, 3), 3_000, tmp_path / "month.parquet")
    trips = pd.read_parquet(tmp_path / "month.parquet")
    assert {*trips.vendor_name} == {"CMT", "VTS", "DDS"}
    assert {*trips.Payment_Type} >= {"CASH", "Cash", "CREDIT", "Credit", "No Charge"}
    assert trips.Trip_Pickup_DateTime.str.fullmatch(TIME).all()
    assert trips[["Rate_Code", "store_and_forward", "mta_tax"]].isna().all(axis=None)
    assert 0.002 < (trips.Start_Lon == 0).mean() < 0.05
    assert trips.Start_Lat[trips.Start_Lat != 0].between(40.4, 41).all()


def test_the_row_numbers_that_a_writer_left(tmp_path: Path) -> None:
    write_parquet(YELLOW, Month(2010, 2), 200, tmp_path / "month.parquet")
    assert pd.read_parquet(tmp_path / "month.parquet")["__index_level_0__"].tolist() == [
        *range(200)
    ]


# ---- Against the declared columns ----------------------------------------------------------------


def check_declared(service: Service, published: set[str]) -> None:
    """Check that the project knows these columns and that all it requires are among them."""
    names = {
        column.name: {name.casefold() for name in (column.name, *column.published_as)}
        for column in service.trips.columns
    }
    assert published - {"__index_level_0__"} <= set().union(*names.values())
    for column in service.trips.columns:
        alternative = names.get(column.required_unless, set())
        assert not column.required or published & (names[column.name] | alternative), column.name


@each_csv_era
def test_the_project_knows_every_column_of_the_csv(
    service: Service, first: str, last: str, top: str, cells: int, tmp_path: Path
) -> None:
    header = csv_text(service, Month.parse(first), 0, tmp_path).splitlines()[0]
    check_declared(service, {name.strip().strip('"').casefold() for name in header.split(",")})


@pytest.mark.parametrize(
    ("service", "month"),
    [
        *((YELLOW, month) for month in ("2009-01", "2010-02", "2011-01", "2019-01")),
        *((YELLOW, month) for month in ("2023-02", "2025-01", "2026-06")),
        *((GREEN, month) for month in ("2014-01", "2019-01", "2023-02", "2025-01", "2026-06")),
        *((FHV, month) for month in ("2015-01", "2023-02")),
        *((FHVHV, month) for month in ("2019-02", "2023-02", "2025-01")),
    ],
    ids=lambda value: value.name if isinstance(value, Service) else value,
)
def test_the_project_knows_every_column_of_the_parquet(
    service: Service, month: str, tmp_path: Path
) -> None:
    write_parquet(service, Month.parse(month), 0, tmp_path / "month.parquet")
    check_declared(
        service, {name.casefold() for name in pq.read_schema(tmp_path / "month.parquet").names}
    )
