"""Every real file, read by DuckDB from its bytes: the kept rows, and the figures of every column.

It shares no code with the reading, the rules or the tallies, and agrees with the figures that the
cleaned file keeps in its footer.
"""

import gzip
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.tlc.cleaning import clean_trips
from taxi_pipeline.tlc.column_tallies import FOOTER_KEY, ColumnTallies
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import open_published
from taxi_pipeline.tlc.services import SERVICES
from taxi_pipeline_tests.support.real_files import (
    CANONICAL,
    CSV_FILES,
    PARQUET_FILES,
    PAYMENTS,
    VENDORS,
    service_and_month,
    with_real_files,
)

pytestmark = with_real_files

_WHOLE = {
    *("vendor_id", "passenger_count", "ratecode_id", "pickup_location_id", "dropoff_location_id"),
    *("payment_type", "trip_type", "sr_flag", "trip_time"),
}
_DEGREES = ("longitude", "latitude")
# the texts of which there are few, and all that they may be
_CODES = {
    "store_and_fwd_flag": ("Y", "N"),
    "hvfhs_license_num": ("HV0002", "HV0003", "HV0004", "HV0005"),
    **dict.fromkeys(
        (
            "shared_request_flag",
            "shared_match_flag",
            "access_a_ride_flag",
            "wav_request_flag",
            "wav_match_flag",
        ),
        ("Y", "N", " "),
    ),
}


def _words(words: Mapping[str, object], cell: str) -> str:
    cases = " ".join(f"WHEN '{word.lower()}' THEN '{code}'" for word, code in words.items())
    return f"CASE lower(trim({cell})) {cases} ELSE {cell} END"


def converted(name: str, cell: str) -> str:
    """Return the SQL for a published cell as the value that it means."""
    if name.endswith("_datetime"):
        return f"CAST({cell} AS TIMESTAMP)"
    if name == "vendor_id":
        cell = _words(VENDORS, f"CAST({cell} AS VARCHAR)")
    if name == "payment_type":
        cell = _words(PAYMENTS, f"CAST({cell} AS VARCHAR)")
    if name in _WHOLE:
        return f"CAST(CAST({cell} AS DOUBLE) AS BIGINT)"
    if name == "store_and_fwd_flag":
        return _words({"0": "N", "1": "Y"}, cell)
    return cell if name.endswith(("_num", "_flag")) else f"CAST({cell} AS DOUBLE)"


def figures(name: str) -> dict[str, str]:
    """Return the SQL of a column's figures, by their names."""
    if name in ("unknown_words", "request_source") or name.endswith("_base_num"):
        hashed = f"CAST('0x' || substr(md5({name}), 1, 7) AS BIGINT)"
        return {"length": f"sum(length({name}))", "hashes": f"sum({hashed})"}
    if name in _CODES:
        return {code: f"count(*) FILTER ({name} = '{code}')" for code in _CODES[name]}
    if name.endswith("_datetime"):
        micros = f"epoch_us({name})"
        return {"sum": f"sum({micros})", "first": f"min({micros})", "last": f"max({micros})"}
    if name in _WHOLE:
        return {"sum": f"sum({name})"}
    parts = 1_000_000 if name.endswith(_DEGREES) else 10_000
    return {"sum": f"sum(CAST(floor({name} * {parts} + 0.5) AS BIGINT))"}


def published(path: Path, database: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Register the file as the view `published`; return its columns: as published, as ours."""
    if path.suffix == ".parquet":
        database.read_parquet(str(path)).create_view("published")
        names = database.view("published").columns
        return [(f'"{name}"', CANONICAL[name.strip().lower()]) for name in names]
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    header = content.partition(b"\n")[0].decode().strip().replace('"', "").split(",")
    cells = [f"c{index}" for index in range(len(header) + 2)]  # some rows have two commas more
    columns = ", ".join(f"'{cell}': 'VARCHAR'" for cell in cells)
    database.execute(
        f"CREATE VIEW published AS SELECT * FROM read_csv('{path}', header = false, skip = 1, "
        f"columns = {{{columns}}}, delim = ',', quote = '\"', null_padding = true, "
        f"strict_mode = false, auto_detect = false, nullstr = '', parallel = false) "
        f"WHERE coalesce({', '.join(cells)}) IS NOT NULL"
    )
    return [
        (cell, CANONICAL[name.strip().lower()]) for cell, name in zip(cells, header, strict=False)
    ]


@pytest.mark.parametrize(
    "path", [*CSV_FILES, *PARQUET_FILES], ids=lambda path: path.parts[-3] + "-" + path.name
)
def test_the_lakes_tallies_are_those_of_the_files_bytes(path: Path, tmp_path: Path) -> None:
    service, month = service_and_month(path)
    table, of = SERVICES[service].trips, Month.parse(month)
    kept = tmp_path / "kept.parquet"
    clean_trips(of, open_published(path, table), kept, tmp_path / "rejected.parquet")
    footer = pq.read_metadata(kept).metadata
    tallies = ColumnTallies.parse(footer[FOOTER_KEY], table)
    assert tallies

    with duckdb.connect() as database:
        by_name: dict[str, list[str]] = {}
        for cell, name in published(path, database):
            by_name.setdefault(name, []).append(converted(name, cell))
        # of two published columns of one name the later counts where it says something
        values = {name: f"coalesce({', '.join(cells[::-1])})" for name, cells in by_name.items()}
        values_of_file = [f"{value} AS {name}" for name, value in values.items()]
        for column in table.columns:
            if column.name not in values:
                type_ = "TIMESTAMP" if column.name.endswith("_datetime") else "VARCHAR"
                values_of_file.append(f"CAST(NULL AS {type_}) AS {column.name}")
        selected = ", ".join(values_of_file)
        database.execute(f"CREATE TABLE rows AS SELECT {selected} FROM published")
        dropoff = "AND (dropoff_datetime IS NULL OR dropoff_datetime >= pickup_datetime)"
        passengers = "AND passenger_count IS DISTINCT FROM 0" if "passenger_count" in values else ""
        database.execute(
            f"CREATE VIEW kept AS SELECT * FROM rows WHERE pickup_datetime >= '{of.start}' "
            f"AND pickup_datetime < '{of.end}' {dropoff} {passengers}"
        )
        ((rows,),) = database.sql("SELECT count(*) FROM kept").fetchall()
        assert tallies.rows == rows
        for column in table.columns:
            name = column.name
            expected = {"nulls": f"count(*) - count({name})", **figures(name)}
            if name in values:
                (row,) = database.sql(f"SELECT {', '.join(expected.values())} FROM kept").fetchall()
            else:  # nulls alone
                row = (rows, *(None for _ in figures(name)))
            held = {
                figure: value if figure in ("first", "last") else value or 0
                for figure, value in zip(expected, row, strict=True)
            }
            assert tallies.columns[name] == held, name
