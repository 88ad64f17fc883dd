"""Every column of every table, tampered with in every store: what shows it, and at which level."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import dagster as dg
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.tags import RECOUNT
from taxi_pipeline.definitions import defs
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.lake.paths import ZONES_PATHS, object_paths
from taxi_pipeline.ledger import Cells, Depth, Entry, read_ledger, read_unpartitioned
from taxi_pipeline.ledger.lake import find_objects, read_lake
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.resources.postgres.statements import rows_name
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.cells import fingerprint, tally_batches
from taxi_pipeline.tlc.column_tallies import FOOTER_KEY
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import (
    DATETIME,
    FHV,
    INTEGER,
    NUMBER,
    SERVICES,
    TAXI_ZONES,
    TEXT,
    UNPARTITIONED,
    YELLOW,
    Column,
    Service,
    Table,
)
from taxi_pipeline_tests.conftest import Platform, Publish
from taxi_pipeline_tests.support.cleaned import cleaned_file
from taxi_pipeline_tests.support.lake import overwrite
from taxi_pipeline_tests.support.results import MATCHES, evaluations, failed_checks
from taxi_pipeline_tests.support.source_files import MIRRORED, csv_gz, in_month
from taxi_pipeline_tests.support.tampering import (
    COLUMNS,
    DELETED,
    DOUBLED,
    FINGERPRINT,
    LEVELS,
    NULLED,
    REPLACED,
    ROWS,
    STAMP,
    STEP,
    SWAPPED,
    Tampering,
)

JANUARY = Month(2021, 1)
TABLES = (*(service.trips for service in SERVICES.values()), *UNPARTITIONED)
_STEPS: dict[pa.DataType, Callable[[Any, Column], Any]] = {
    INTEGER: lambda value, _: value + 1,
    NUMBER: lambda value, column: value + 1 / column.parts,
    DATETIME: lambda value, _: value + timedelta(microseconds=1),
    TEXT: lambda value, column: next(
        text for text in (*map(str, column.codes), f"{value}.") if text != value
    ),
}


def value_of(column: Column, row: int) -> Any:
    """Return a value that no other row has, but for codes, of which two have different ones."""
    if column.type == TEXT and column.codes:
        return [*map(str, column.codes)][row % 2]
    if column.type == DATETIME:
        return datetime.fromisoformat("2021-01-15") + timedelta(hours=row)
    number = (row + 0.25) * min(1, column.limit / 8)
    return {INTEGER: 10 * row + 1, NUMBER: number, TEXT: f"B0276{row}"}[column.type]


def three_rows(table: Table) -> pa.Table:
    columns = [
        pa.array([value_of(column, row) for row in range(3)], column.type)
        for column in table.columns
    ]
    return pa.table(columns, schema=arrow_schema(table))


class Tampered:
    """A table of three rows in a sink, changed a cell at a time and changed back."""

    def __init__(self, platform: Platform, sink: Sink, declared: Table) -> None:
        self._platform, self._sink = platform, sink
        self.table = replace(declared, name=f"cells_{uuid4().hex}")
        self._month = JANUARY if declared.partitioned_by else None
        # in the first column of the zones, and in the pick-up time of trips, rows differ
        self.key = declared[declared.partitioned_by or declared.columns[0].name]
        rows = three_rows(declared)
        self._lake = Cells(
            tally_batches(rows.to_batches(), declared), fingerprint(rows.to_batches(), declared)
        )
        self._rows = rows

    def load(self, folder: Path) -> None:
        path = folder / "rows.parquet"
        pq.write_table(self._rows, path)
        name = f"cleaned/{self.table.name}/rows.parquet"
        stored = overwrite(self._platform.resources.lake, path, name, {})
        file = cleaned_file(self.table, self._month, self._rows.to_batches(), 3, stored)
        self._sink.replace(file, uuid4().hex)

    def level(self, column: Column | None) -> str | None:
        """Return the first level that shows a difference, which no other column may show."""
        held = Cells(
            self._sink.column_tallies(self.table, self._month),
            self._sink.fingerprint(self.table, self._month),
        )
        if held.columns.rows != self._lake.columns.rows:
            return ROWS
        if differing := self._lake.columns.differing(held.columns):
            assert column
            assert [*differing] == [column.name]
            (problem,) = self._lake.problems_with(self.table, self._sink.title, held)
            assert problem.startswith((f"{column.name}: ", f"{column.name} ("))
            return COLUMNS
        return FINGERPRINT if held.fingerprint != self._lake.fingerprint else None

    def set(self, column: Column, values: dict[int, Any]) -> None:
        """Give rows, by number, other values of a column."""
        type_ = self._sink.types[column.type]
        cases = " ".join(
            f"WHEN {self.of_row(row)} THEN CAST({_literal(value)} AS {type_})"
            for row, value in values.items()
        )
        conditions = " OR ".join(map(self.of_row, values))
        self.execute(f"UPDATE {{}} SET {column.name} = CASE {cases} END WHERE {conditions}")

    def values(self, column: Column) -> list[Any]:
        values: list[Any] = self._rows[column.name].to_pylist()
        return values

    def execute(self, statement: str) -> None:
        """Execute a statement, in which {} stands for the table."""
        self._platform.execute(self._sink, statement.format(self._sink.sql_name(self.table)))

    def put_back(self, column: Column, tampered: dict[int, Any]) -> None:
        """Undo `set`."""
        if column == self.key:  # whose rows have other keys now
            type_ = self._sink.types[column.type]
            old = self.values(column)
            for row, value in tampered.items():
                held = "IS NULL" if value is None else f"= CAST({_literal(value)} AS {type_})"
                self.execute(
                    f"UPDATE {{}} SET {column.name} = CAST({_literal(old[row])} AS {type_}) "
                    f"WHERE {column.name} {held}"
                )
        else:
            self.set(column, {row: self.values(column)[row] for row in tampered})

    def of_row(self, row: int) -> str:
        key = self.values(self.key)[row]
        return f"{self.key.name} = CAST({_literal(key)} AS {self._sink.types[self.key.type]})"


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return repr(value) if isinstance(value, int | float) else f"'{value}'"


def cells() -> Iterator[Any]:
    """Yield each table and sink; all but those of few columns are for `make faults`."""
    for sink in SINKS:
        for table in TABLES:
            is_long = table not in (FHV.trips, TAXI_ZONES) or (
                sink is not Postgres and table != TAXI_ZONES
            )
            marks = [pytest.mark.long, pytest.mark.timeout(900)] if is_long else []
            yield pytest.param(sink, table, marks=marks, id=f"{sink.name}-{table.name}")


@pytest.mark.parametrize(("sink", "declared"), [*cells()])
def test_what_is_done_to_a_cell_of_a_sink_shows_at_its_level(
    platform: Platform, tmp_path: Path, sink: type[Sink], declared: Table
) -> None:
    tampered = Tampered(platform, platform.resources.sinks[sink.name], declared)
    tampered.load(tmp_path)
    assert tampered.level(None) is None
    for column in declared.columns:
        first, second, _ = tampered.values(column)
        changes: dict[Tampering, dict[int, Any]] = {
            STEP: {0: _STEPS[column.type](first, column)},
            NULLED: {0: None},
        }
        if column.name == declared.partitioned_by and sink is Postgres:
            with pytest.raises(psycopg.errors.CheckViolation):  # no partition takes it
                tampered.set(column, changes.pop(NULLED))
        for tampering, values in changes.items():
            tampered.set(column, values)
            assert tampered.level(column) == tampering.in_sink, (column.name, tampering.words)
            tampered.put_back(column, values)
            assert tampered.level(column) is None, column.name
        if column.name != tampered.key.name:  # to swap the keys is to swap all the others
            tampered.set(column, {0: second, 1: first})
            assert tampered.level(column) == SWAPPED.in_sink, column.name
            tampered.set(column, {0: first, 1: second})
            assert tampered.level(column) is None, column.name


@pytest.mark.parametrize("declared", TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.name)
def test_a_row_more_or_less_shows_in_the_rows(
    platform: Platform, tmp_path: Path, sink: type[Sink], declared: Table
) -> None:
    tampered = Tampered(platform, platform.resources.sinks[sink.name], declared)
    tampered.load(tmp_path)
    names = ", ".join(column.name for column in declared.columns)
    tampered.execute(
        f"INSERT INTO {{0}} ({names}) SELECT {names} FROM {{0}} WHERE {tampered.of_row(0)}"
    )
    assert tampered.level(None) == DOUBLED.in_sink
    tampered.load(tmp_path)
    tampered.execute(f"DELETE FROM {{}} WHERE {tampered.of_row(1)}")
    assert tampered.level(None) == DELETED.in_sink


@pytest.mark.parametrize(
    ("sink", "column", "value"),
    [
        ("postgres", "dropoff_datetime", "infinity"),
        ("postgres", "dropoff_datetime", "-infinity"),
        ("postgres", "dropoff_datetime", "20000-01-01"),
        ("postgres", "trip_distance", "NaN"),
        ("postgres", "trip_distance", "-Infinity"),
        ("bigquery", "trip_distance", "NaN"),
        ("bigquery", "trip_distance", "inf"),
        ("bigquery", "passenger_count", 2**63 - 1),
        ("bigquery", "passenger_count", -(2**63) + 1),
    ],
)
def test_a_value_that_no_file_can_bring_differs_and_breaks_nothing(
    platform: Platform, tmp_path: Path, sink: str, column: str, value: Any
) -> None:
    tampered = Tampered(platform, platform.resources.sinks[sink], YELLOW.trips)
    tampered.load(tmp_path)
    tampered.set(YELLOW.trips[column], {0: value})
    assert tampered.level(YELLOW.trips[column]) == COLUMNS


def test_a_declared_column_that_a_table_lacks_is_null(platform: Platform, tmp_path: Path) -> None:
    for sink in platform.resources.sinks.values():
        tampered = Tampered(platform, sink, FHV.trips)
        tampered.load(tmp_path)
        tampered.execute("ALTER TABLE {} DROP COLUMN sr_flag")
        assert tampered.level(FHV.trips["sr_flag"]) == COLUMNS


def test_a_table_of_somebodys_under_the_name_of_ours_keeps_a_month_as_it_was(
    platform: Platform, tmp_path: Path
) -> None:
    tampered = Tampered(platform, platform.resources.bigquery, FHV.trips)
    tampered.load(tmp_path)
    platform.bigquery("CREATE OR REPLACE TABLE kept AS SELECT * FROM taxi_loads")
    platform.bigquery("DROP TABLE taxi_loads")
    try:
        platform.bigquery("CREATE TABLE taxi_loads (table_name INT64)")
        tampered.set(FHV.trips["sr_flag"], {0: 7})
        with pytest.raises(PermanentError, match=r"table_name of .*taxi_loads` is INT64"):
            tampered.load(tmp_path)
        assert tampered.level(FHV.trips["sr_flag"]) == COLUMNS  # as it was
    finally:
        platform.bigquery("DROP TABLE taxi_loads")
        platform.bigquery("CREATE TABLE taxi_loads AS SELECT * FROM kept")


def test_no_stamp_is_written_where_the_file_was_replaced_while_it_was_loaded(
    platform: Platform, tmp_path: Path
) -> None:
    """BigQuery reads the newest object of the name: it may be another than was meant."""
    table = replace(FHV.trips, name=f"cells_{uuid4().hex}")
    path, name = tmp_path / "rows.parquet", f"cleaned/{table.name}/rows.parquet"
    pq.write_table(three_rows(table), path)
    stored = overwrite(platform.resources.lake, path, name, {})

    def replaced() -> None:
        raise TransientError("replaced")

    file = replace(cleaned_file(table, JANUARY, (), 3, stored), ensure_current=replaced)
    with pytest.raises(TransientError, match=r"^replaced$"):
        platform.resources.bigquery.replace(file, uuid4().hex)
    assert platform.resources.bigquery.stamps(table) == {}


def test_a_check_that_cannot_count_the_lakes_columns_has_not_passed(
    publish: Publish, tmp_path: Path
) -> None:
    month, of = "2015-02", Month(2015, 2)
    platform, _ = publish({MIRRORED.format(month): csv_gz(*[in_month(month)] * 5)})
    platform.load("yellow", month)
    paths, lake = object_paths(YELLOW, of), platform.resources.lake
    (stored,) = lake.find(paths.cleaned)
    path = lake.download(stored, tmp_path)
    rows = pq.read_table(path).replace_schema_metadata(None)
    index = rows.schema.get_field_index("vendor_id")
    other_type = rows["vendor_id"].cast(TEXT)  # as no release has declared it
    pq.write_table(rows.set_column(index, "vendor_id", other_type), path)
    overwrite(lake, path, paths.cleaned, stored.metadata)
    assert failed_checks(platform.run(f"{YELLOW.trips.name}_checks", month)) >= MATCHES


# --- the lake ---


@pytest.mark.parametrize(
    "service",
    [
        pytest.param(None, id="zones"),
        *(
            pytest.param(service, marks=() if service is FHV else pytest.mark.long, id=service.name)
            for service in SERVICES.values()
        ),
    ],
)
def test_what_is_done_to_the_lakes_parquet_shows_at_its_level_and_by_its_column(
    platform: Platform, tmp_path: Path, service: Service | None
) -> None:
    month, lake = Month(2022, 3), platform.resources.lake
    table = service.trips if service else TAXI_ZONES
    paths = object_paths(service, month) if service else ZONES_PATHS

    def load() -> None:
        for stored in lake.find(paths.raw):
            lake.delete(stored)
        if service:
            platform.load(service.name, month.key)
        else:
            assert platform.run(TAXI_ZONES.name).success

    def entry(depth: Depth = Depth.ROWS) -> Entry:
        entries = (
            read_ledger(service, platform.resources, month, month, depth)
            if service
            else read_unpartitioned(TAXI_ZONES, platform.resources, depth)
        )
        (one,) = entries
        return one

    load()
    assert entry(Depth.CELLS).problems == []
    (stored,) = lake.find(paths.cleaned)
    path = lake.download(stored, tmp_path)
    footer = pq.read_metadata(path).metadata
    # whoever changes the file leaves what it says of itself
    good = pq.read_table(path).replace_schema_metadata({FOOTER_KEY: footer[FOOTER_KEY]})
    columns = [column for column in table.columns if good[column.name].null_count < len(good)]

    def put(rows: pa.Table) -> None:
        pq.write_table(rows, path)
        overwrite(lake, path, paths.cleaned, stored.metadata)

    def with_values(column: Column, change: Callable[[list[Any], int], None]) -> pa.Table:
        values = good[column.name].to_pylist()
        change(values, next(index for index, value in enumerate(values) if value is not None))
        index = good.schema.get_field_index(column.name)
        return good.set_column(index, column.name, pa.array(values, column.type))

    def level() -> str | None:
        problems = entry().problems
        if any(" rows, the lake " in problem for problem in problems):
            return ROWS
        stamps = [problem for problem in problems if " the rows of generation " in problem]
        return STAMP if len(stamps) == len(SINKS) else None

    for column in columns:

        def step(values: list[Any], place: int, column: Column = column) -> None:
            values[place] = _STEPS[column.type](values[place], column)

        def null(values: list[Any], place: int) -> None:
            values[place] = None

        for tampering, change in ((STEP, step), (NULLED, null)):
            put(with_values(column, change))
            counted = read_lake(lake, paths, find_objects(lake, paths), table, None, Depth.CELLS)
            (fault,) = counted.faults
            rows = "trips" if service else "zones"
            assert fault.startswith((f"{column.name}: the cleaned {rows}", f"{column.name} ("))
            assert tampering.in_lake == STAMP
    # the stamps do not know which column it is
    assert level() == STEP.in_lake
    assert sum("the rows of generation" in problem for problem in entry().problems) == len(SINKS)

    def swap(values: list[Any], place: int) -> None:
        other = next(index for index, value in enumerate(values) if value != values[place])
        values[place], values[other] = values[other], values[place]

    put(with_values(table["pickup_location_id" if service else "zone"], swap))
    assert level() == SWAPPED.in_lake
    for sink in SINKS:
        of_sink = [each for each in entry(Depth.CELLS).problems if each.startswith(sink.title)]
        assert any(" has other rows than the lake: " in problem for problem in of_sink)
    put(good.slice(1))
    assert level() == DELETED.in_lake
    put(pa.concat_tables([good, good.slice(0, 1)]))
    assert level() == DOUBLED.in_lake


# --- whole months ---


def test_stores_of_two_versions_with_the_same_rows_and_totals_do_not_add_up(
    publish: Publish,
) -> None:
    month = "2014-11"
    first, _ = publish({MIRRORED.format(month): csv_gz(*[in_month(month)] * 20)})
    first.load("yellow", month)
    assert first.entry("yellow", month).adds_up
    # a correction of the zones, tips and distances, as TLC publishes them; the totals stay
    corrected = in_month(month, tip_amount="9.99", PULocationID="7", trip_distance="3.5")
    second, _ = publish({MIRRORED.format(month): csv_gz(*[corrected] * 20)})
    layers = ("raw", "cleaned", "postgres")  # BigQuery's step has failed
    run = second.run(YELLOW.trips.name, month, [asset_key(YELLOW.trips.name, of) for of in layers])
    made = [event.asset_key for event in run.get_asset_materialization_events()]
    assert made == [asset_key(YELLOW.trips.name, of) for of in layers]

    (problem,) = second.entry("yellow", month).problems
    assert problem.startswith("BigQuery has the rows of generation ")
    # to BigQuery the lake was replaced, to the lake BigQuery is of another month
    assert REPLACED.in_sink == REPLACED.in_lake == STAMP
    (entry,) = read_ledger(
        YELLOW, second.resources, Month.parse(month), Month.parse(month), Depth.COLUMNS
    )
    assert entry.problems[1:] == [
        "trip_distance: BigQuery has 42.00, the lake 70.00.",
        "pickup_location_id: BigQuery has 2,840, the lake 140.",
        "tip_amount: BigQuery has 0.00, the lake 199.80.",
    ]
    checked = second.run(f"{YELLOW.trips.name}_checks", month)
    assert failed_checks(checked) == {("bigquery", "matches_lake")}
    said = evaluations(checked)["bigquery", "matches_lake"]
    assert said.description == " ".join(entry.problems[1:])
    table = said.metadata["columns"]
    assert isinstance(table, dg.TableMetadataValue)
    differing = [record.data["column"] for record in table.records if not record.data["equal"]]
    assert differing == ["trip_distance", "pickup_location_id", "tip_amount"]
    assert [record.data["column"] for record in table.records][:3] == differing


@pytest.mark.parametrize(
    ("depth", "seen"),
    [("rows", {ROWS}), ("columns", {ROWS, COLUMNS}), ("cells", {*LEVELS})],
)
def test_the_depth_of_a_runs_comparison_can_be_set(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, depth: str, seen: set[str]
) -> None:
    month = {"rows": "2014-06", "columns": "2014-07", "cells": "2014-08"}[depth]
    monkeypatch.setenv("TAXI_CHECK_DEPTH", depth)
    rows = [in_month(month, tip_amount=f"{tip}", PULocationID=f"{tip + 1}") for tip in range(20)]
    platform, _ = publish({MIRRORED.format(month): csv_gz(*rows)})
    of_month = f"pickup_datetime >= '{month}-01' AND pickup_datetime < '{month}-30'"
    table, job = YELLOW.trips, f"{YELLOW.trips.name}_checks"
    for level, statement in {
        COLUMNS: "UPDATE {} SET tip_amount = 3.01 WHERE tip_amount = 3 AND " + of_month,
        FINGERPRINT: "UPDATE {} SET tip_amount = 5 - tip_amount WHERE tip_amount IN (1, 4) AND "
        + of_month,
    }.items():
        platform.load("yellow", month)
        for sink in platform.resources.sinks.values():
            platform.execute(sink, statement.format(sink.sql_name(table)))
        assert failed_checks(platform.run(job, month)) == (MATCHES if level in seen else set())


def test_two_cells_that_changed_places_show_in_a_run_that_recounts(publish: Publish) -> None:
    month = "2014-12"
    rows = [in_month(month, tip_amount=f"{tip}", PULocationID=f"{tip + 1}") for tip in range(20)]
    platform, _ = publish({MIRRORED.format(month): csv_gz(*rows)})
    platform.load("yellow", month)
    table, job = YELLOW.trips, f"{YELLOW.trips.name}_checks"
    assert not failed_checks(platform.run(job, month, tags={RECOUNT: "true"}))
    for sink in platform.resources.sinks.values():
        platform.execute(
            sink,
            f"UPDATE {sink.sql_name(table)} SET tip_amount = 7 - tip_amount "
            f"WHERE tip_amount IN (3, 4) AND pickup_datetime >= '{month}-01'",
        )
    assert platform.entry("yellow", month).adds_up
    assert not failed_checks(platform.run(job, month))
    recounted = platform.run(job, month, tags={RECOUNT: "true"})
    assert failed_checks(recounted) == MATCHES
    said = evaluations(recounted)["postgres", "matches_lake"].description or ""
    assert said.startswith("Postgres has other rows than the lake: every column has the same")


def test_a_month_that_an_earlier_release_has_loaded_adds_up_without_a_stamp(
    publish: Publish, tmp_path: Path
) -> None:
    month, of = "2015-01", Month(2015, 1)
    platform, _ = publish({MIRRORED.format(month): csv_gz(*[in_month(month)] * 5)})
    platform.load("yellow", month)
    paths, lake = object_paths(YELLOW, of), platform.resources.lake
    (stored,) = lake.find(paths.cleaned)
    path = lake.download(stored, tmp_path)
    rows = pq.read_table(path)
    # as it was cleaned before there were tallies, and loaded before there were stamps
    pq.write_table(rows.replace_schema_metadata(None), path)
    overwrite(lake, path, paths.cleaned, stored.metadata)
    platform.execute(
        platform.resources.postgres,
        f"COMMENT ON TABLE tlc.{rows_name(YELLOW.trips, of)} IS NULL",
    )
    platform.bigquery(f"DELETE FROM taxi_loads WHERE month = '{month}'")
    for depth in Depth:
        (entry,) = read_ledger(YELLOW, platform.resources, of, of, depth)
        assert entry.problems == []
    assert not failed_checks(platform.run(f"{YELLOW.trips.name}_checks", month))
    # cleaned anew by this release, it must be loaded anew
    assert platform.run(YELLOW.trips.name, month, [asset_key(YELLOW.trips.name, "cleaned")]).success
    problems = platform.entry("yellow", month).problems
    assert [problem.partition(" ")[2] for problem in problems] == [
        f"does not say from which cleaned object its rows were loaded: materialize {sink} again."
        for sink in ("bigquery", "postgres")
    ]


# --- the schedules that recount ---


def test_each_month_of_the_lake_is_recounted_one_night_in_so_many(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXI_RECOUNT_DAYS", "5")
    for month in ("2014-02", "2014-03", "2015-01"):
        platform.load("green", month)
    schedule = defs.resolve_schedule_def("green_recount")
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedule.job.name == "green_trips_checks"
    requests: list[dg.RunRequest] = []
    for night in range(5):
        time = datetime(2026, 11, 1 + night, 3, tzinfo=ZoneInfo("America/New_York"))
        with dg.build_schedule_context(
            scheduled_execution_time=time,
            repository_def=defs.get_repository_def(),
            resources={"lake": platform.resources.lake},
        ) as context:
            tick = schedule.evaluate_tick(context)
        requests += tick.run_requests or ()
        assert tick.run_requests or "has its turn tonight" in (tick.skip_message or "")
    nights = Counter(request.tags["dagster/partition"] for request in requests)
    assert {"2014-02", "2014-03", "2015-01"} <= nights.keys()
    assert {*nights.values()} == {1}
    assert {request.tags[RECOUNT] for request in requests} == {"true"}
