"""What every sink must do: the stores of the registry, and a third one that only these tests have.

A sink that passes here needs no other change: assets, checks and the ledger follow the registry.
"""

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.definitions import build_definitions
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.lake.cleaned import conformed_batches
from taxi_pipeline.ledger import read_ledger
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.settings import variables
from taxi_pipeline.sink import CleanedFile, Sink
from taxi_pipeline.tlc.cells import fingerprint, tally_batches
from taxi_pipeline.tlc.column_tallies import ColumnTallies
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.schema import arrow_schema
from taxi_pipeline.tlc.services import (
    DATETIME,
    GREEN,
    INTEGER,
    NUMBER,
    SERVICES,
    TAXI_ZONES,
    TEXT,
    UNPARTITIONED,
    Column,
    Table,
)
from taxi_pipeline.tlc.tally import Tally, tally_parquet
from taxi_pipeline_tests.conftest import Platform, with_resources
from taxi_pipeline_tests.support.forked import forked
from taxi_pipeline_tests.support.lake import overwrite
from taxi_pipeline_tests.support.parquet_folder import ParquetFolder

JANUARY, FEBRUARY = Month(2021, 1), Month(2021, 2)
TOTAL = "total_amount"
NEW = Column("new", INTEGER, "A column that was declared later.")
ALL_SINKS: tuple[type[Sink], ...] = (*SINKS, ParquetFolder)


@dataclass(frozen=True)
class Scene:
    """A sink with a table that nobody else has, and a lake to load it from."""

    sink: Sink
    table: Table
    lake: Lake
    folder: Path

    def file(
        self, rows: int, month: Month | None = JANUARY, table: Table | None = None
    ) -> CleanedFile:
        """Put so many rows into the lake, each of as many cents; return the file."""
        table = table or self.table
        schema = arrow_schema(table)
        known = {"pickup_datetime": month and month.start, TOTAL: rows / 100, NEW.name: 1}
        columns = [pa.array([known.get(field.name)] * rows, field.type) for field in schema]
        return self.stored(pa.table(columns, schema=schema), month, table)

    def stored(self, rows: pa.Table, month: Month | None, table: Table) -> CleanedFile:
        """Put rows into the lake; return the file."""
        path = self.folder / f"{uuid4()}.parquet"
        pq.write_table(rows, path)
        name = f"cleaned/{self.table.name}/{path.name}"
        stored = overwrite(self.lake, path, name, {})
        return CleanedFile(
            table,
            month,
            stored.uri,
            stored.stamp,
            rows.schema,
            len(rows),
            partial(conformed_batches, path, table, stored.uri),
        )

    def replace(self, file: CleanedFile) -> None:
        self.sink.replace(file, uuid4().hex)

    def tallies(self) -> dict[Month, Tally]:
        return self.sink.tallies(self.table, TOTAL)


def tally_of(rows: int) -> Tally:
    """Return the tally of a file of so many rows."""
    return Tally(rows, rows * rows)


@pytest.fixture(params=ALL_SINKS, ids=lambda sink: sink.name)
def scene(request: pytest.FixtureRequest, platform: Platform, tmp_path: Path) -> Scene:
    sinks = {**platform.resources.sinks, "parquet": ParquetFolder(folder=str(tmp_path / "sink"))}
    table = replace(GREEN.trips, name=f"sink_{uuid4().hex[:8]}")
    return Scene(sinks[request.param.name], table, platform.resources.lake, tmp_path)


def test_a_month_is_replaced_whole_and_no_other(scene: Scene) -> None:
    scene.replace(scene.file(30))
    scene.replace(scene.file(20, FEBRUARY))
    scene.replace(scene.file(7))
    assert scene.tallies() == {JANUARY: tally_of(7), FEBRUARY: tally_of(20)}
    assert scene.sink.tallies(scene.table, None, FEBRUARY) == {FEBRUARY: Tally(20, None)}
    assert scene.sink.tallies(scene.table, None, JANUARY, JANUARY) == {JANUARY: Tally(7, None)}


def test_the_same_file_twice_makes_the_same_table(scene: Scene) -> None:
    file = scene.file(30)
    for _ in range(2):
        scene.replace(file)
        assert scene.tallies() == {JANUARY: tally_of(30)}


def test_an_empty_month_takes_the_place_of_a_full_one(scene: Scene) -> None:
    scene.replace(scene.file(30))
    scene.replace(scene.file(0))
    assert scene.tallies() == {}
    scene.replace(scene.file(3))
    assert scene.tallies() == {JANUARY: tally_of(3)}


def test_a_table_that_is_missing_has_no_rows(scene: Scene) -> None:
    assert scene.tallies() == {}
    assert scene.sink.tally(replace(TAXI_ZONES, name=scene.table.name)) == Tally(0, None)


def test_a_table_without_months_is_replaced_whole(scene: Scene) -> None:
    zones = replace(TAXI_ZONES, name=scene.table.name)
    for rows in (265, 7, 0, 7):
        scene.replace(scene.file(rows, None, zones))
        assert scene.sink.tally(zones) == Tally(rows, None)


def test_amounts_sum_up_to_the_cent(scene: Scene) -> None:
    amounts = [0.1, 0.2, -0.3, 1e9, -1e9, 17.005, 2.675, None, 123_456.78]
    schema = arrow_schema(scene.table)
    known = {TOTAL: amounts, "pickup_datetime": [JANUARY.start] * len(amounts)}
    columns = [
        pa.array(known.get(field.name, [None] * len(amounts)), field.type) for field in schema
    ]
    rows = pa.table(columns, schema=schema)
    scene.replace(scene.stored(rows, JANUARY, scene.table))
    path = scene.folder / "amounts.parquet"
    pq.write_table(rows, path)
    assert scene.tallies() == {JANUARY: tally_parquet(path, TOTAL)}


def test_another_number_of_rows_than_the_file_says_is_an_error(scene: Scene) -> None:
    scene.replace(scene.file(30))
    file = scene.file(7)
    with pytest.raises(PermanentError, match=r"7 rows arrived of 8"):
        scene.replace(replace(file, rows=8))
    # a load job of BigQuery's says how many rows it has loaded when it has replaced the month
    kept = tally_of(7 if isinstance(scene.sink, BigQuery) else 30)
    assert scene.tallies() == {JANUARY: kept}
    scene.replace(file)
    assert scene.tallies() == {JANUARY: tally_of(7)}


def test_a_column_that_is_declared_later_is_added(scene: Scene) -> None:
    scene.replace(scene.file(30))
    more = replace(scene.table, columns=(*scene.table.columns, NEW))
    scene.replace(scene.file(20, FEBRUARY, more))
    assert scene.tallies() == {JANUARY: tally_of(30), FEBRUARY: tally_of(20)}
    assert scene.sink.tallies(more, NEW.name) == {JANUARY: Tally(30, 0), FEBRUARY: Tally(20, 2_000)}


def test_a_file_of_an_earlier_declaration_fits(scene: Scene) -> None:
    file = scene.file(30)
    more = replace(scene.table, columns=(NEW, *reversed(scene.table.columns)))
    batches = partial(conformed_batches, next(scene.folder.glob("*.parquet")), more, file.uri)
    scene.replace(replace(file, table=more, batches=batches))
    assert scene.tallies() == {JANUARY: tally_of(30)}
    assert scene.sink.tallies(more, NEW.name) == {JANUARY: Tally(30, 0)}


def test_two_months_of_a_table_that_is_missing_are_both_there(scene: Scene) -> None:
    months = [Month(2021, number) for number in range(1, 5)]
    files = [scene.file(number, month) for number, month in enumerate(months, 10)]
    with ThreadPoolExecutor(len(files)) as pool:
        for done in [pool.submit(scene.replace, file) for file in files]:
            done.result()
    assert scene.tallies() == {file.month: tally_of(file.rows) for file in files}


def test_readers_see_one_file_or_the_other_while_two_writers_replace_it(scene: Scene) -> None:
    files = [scene.file(rows) for rows in (100, 3_000)]
    scene.replace(files[0])
    rounds, reads = 4, 12

    def write(file: CleanedFile) -> None:
        for _ in range(rounds):
            while True:
                try:
                    scene.replace(file)
                    break
                except TransientError:  # as the step would try again
                    continue

    def read(written: Callable[[], bool]) -> Iterator[Tally]:
        times = 0
        while times < reads or not written():
            yield scene.tallies()[JANUARY]
            times += 1

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, file) for file in files]
        reader = pool.submit(lambda: [*read(lambda: all(each.done() for each in writers))])
        for writer in writers:
            writer.result()
        seen = {*reader.result(), scene.tallies()[JANUARY]}
    assert seen <= {tally_of(100), tally_of(3_000)}


def test_an_address_names_the_table_and_no_secret(scene: Scene) -> None:
    sink, fields = scene.sink, type(scene.sink).model_fields
    secrets = {getattr(sink, name) for name, field in fields.items() if field.exclude}
    secrets |= {urlsplit(secret).password for secret in secrets}
    for text in (sink.uri(scene.table), sink.sql_name(scene.table), sink.link(scene.table)):
        if text is not None:
            assert scene.table.name in text
            assert not any(secret in text for secret in secrets if secret)


def test_a_store_that_is_away_is_a_reason_to_try_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.replace(scene.file(30))
    file = scene.file(7)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:1")
    fields = {field: getattr(scene.sink, field) for field in type(scene.sink).variables}
    away: dict[str, dict[str, Any]] = {
        "bigquery": {},
        "postgres": {"url": "postgresql://nobody:x@127.0.0.1:1/nothing"},
        "parquet": {"folder": "/dev/null/nothing"},
    }
    assert scene.sink.name in away, "say under which fields the store is away"
    elsewhere = type(scene.sink)(**fields | away[scene.sink.name])
    with pytest.raises(TransientError):
        elsewhere.replace(file, "a-run")
    monkeypatch.undo()
    assert scene.tallies() == {JANUARY: tally_of(30)}


def test_a_column_that_does_not_fit_is_an_error_that_changes_nothing(scene: Scene) -> None:
    scene.replace(scene.file(30))
    columns = tuple(
        replace(column, type=TEXT) if column.name == TOTAL else column
        for column in scene.table.columns
    )
    other = replace(scene.table, columns=columns)
    schema = arrow_schema(other)
    known = {"pickup_datetime": JANUARY.start, TOTAL: "007"}
    rows = pa.table(
        [pa.array([known.get(field.name)] * 7, field.type) for field in schema], schema=schema
    )
    with pytest.raises(PermanentError, match=rf"the column {TOTAL} is string"):
        scene.replace(scene.stored(rows, JANUARY, scene.table))
    assert scene.tallies() == {JANUARY: tally_of(30)}


def test_a_sink_declares_what_dagster_and_the_pages_need(scene: Scene) -> None:
    sink = type(scene.sink)
    assert sink.name.isidentifier()
    assert sink.title
    assert sink.kinds
    assert sink.pool
    assert sink.variables.keys() == sink.model_fields.keys()
    assert {column.type for column in (*scene.table.columns, *TAXI_ZONES.columns)} <= {*sink.types}


# --- stamps and cells ---


def test_a_month_says_from_which_file_it_was_loaded(scene: Scene) -> None:
    assert scene.sink.stamps(scene.table) == {}
    january, february = scene.file(3), scene.file(4, FEBRUARY)
    scene.replace(january)
    scene.replace(february)
    assert scene.sink.stamps(scene.table) == {JANUARY: january.stamp, FEBRUARY: february.stamp}
    nothing = scene.file(0)
    scene.replace(nothing)
    assert scene.sink.stamps(scene.table) == {JANUARY: nothing.stamp, FEBRUARY: february.stamp}


def test_a_table_without_months_says_from_which_file_it_was_loaded(scene: Scene) -> None:
    table = replace(TAXI_ZONES, name=scene.table.name)
    for rows in (5, 2):
        file = scene.file(rows, None, table)
        scene.replace(file)
        assert scene.sink.stamps(table) == {None: file.stamp}


# Values at the ends of what a column can have, by its type; a code counts as any other text.
_EXTREMES: dict[pa.DataType, list[Any]] = {
    INTEGER: [None, 0, -(2**31), 2**31 - 1, 99],
    NUMBER: [None, 0.0, -0.004, 0.00004, 1e-300, -9_999_999.99, 9_999_999.9999, 1e12, 9.9e14, 0.1],
    DATETIME: [
        None,
        *map(datetime.fromisoformat, ("1970-01-01", "1903-02-01 03:00:00.000001")),
        *map(datetime.fromisoformat, ("2300-01-01 00:00:00.123457", "0001-01-01")),
        datetime.fromisoformat("9999-12-31 23:59:59.999999"),
    ],
    TEXT: [None, "", "N", "Y", "B02764", "ein Wort; über 28 Bit", "a'b\\c\"d", " ", "日本"],
}


_LAST = datetime.fromisoformat("2021-01-31 23:59:59.999999")


def cells_of(table: Table, rows: int, seed: int) -> pa.Table:
    """Return rows whose cells are drawn from the extremes, a pick-up in January in each."""
    drawn = random.Random(seed)
    columns = [
        pa.array(
            [_LAST.replace(day=drawn.randint(1, 31)) for _ in range(rows)]
            if field.name == table.partitioned_by
            else drawn.choices(_EXTREMES[field.type], k=rows),
            field.type,
        )
        for field in arrow_schema(table)
    ]
    return pa.table(columns, schema=arrow_schema(table))


@pytest.mark.parametrize(
    "declared",
    [*(service.trips for service in SERVICES.values()), *UNPARTITIONED],
    ids=lambda t: t.name,
)
def test_every_cell_is_counted_as_arrow_counts_it(scene: Scene, declared: Table) -> None:
    table = replace(declared, name=scene.table.name)
    month = JANUARY if table.partitioned_by else None
    assert scene.sink.column_tallies(table, month) == ColumnTallies.of_no_rows(table)
    assert scene.sink.fingerprint(table, month) == 0
    rows = cells_of(table, 300, seed=7)
    scene.replace(scene.stored(rows, month, table))
    if month:
        other = rows.set_column(
            rows.schema.get_field_index(table.partitioned_by),
            rows.schema.field(table.partitioned_by),
            pa.array([FEBRUARY.start] * len(rows), DATETIME),
        )
        scene.replace(scene.stored(other, FEBRUARY, table))
    assert scene.sink.column_tallies(table, month) == tally_batches(rows.to_batches(), table)
    assert scene.sink.fingerprint(table, month) == fingerprint(rows.to_batches(), table)


# --- crashes ---


def _replace_and_die(
    make: Callable[[], Sink],
    file: CleanedFile,
    environment: dict[str, str],
    run_id: str,
    point: int | None,
    noted: Path,
) -> None:
    """Replace a month in this process, which SIGKILL ends at a point: a line of the sink's code.

    `noted` gets the number of all points, where the process comes to its end.
    """
    os.environ.update(environment)
    sink = make()
    package = Path(sys.modules[type(sink).__module__].__file__ or "")
    ours = str(package.parent if package.name == "sink.py" else package)
    points = 0

    def count(code: Any, *_: object) -> Any:
        nonlocal points
        if not code.co_filename.startswith(ours):
            return sys.monitoring.DISABLE  # this line is not looked at again
        points += 1
        if points == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return None

    monitoring = sys.monitoring
    monitoring.use_tool_id(monitoring.DEBUGGER_ID, "crash")
    monitoring.register_callback(monitoring.DEBUGGER_ID, monitoring.events.LINE, count)
    monitoring.set_events(monitoring.DEBUGGER_ID, monitoring.events.LINE)
    sink.replace(file, run_id)
    monitoring.set_events(monitoring.DEBUGGER_ID, 0)
    noted.write_text(str(points))


def _run_to(scene: Scene, file: CleanedFile, run_id: str, point: int | None) -> int | None:
    """Replace a month in a process of its own up to a point; return the number of all points.

    None where the process died.
    """
    noted = scene.folder / "points"
    noted.unlink(missing_ok=True)
    fields = {field: getattr(scene.sink, field) for field in type(scene.sink).variables}
    names = ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST")
    environment = {name: os.environ[name] for name in names}
    arguments = (partial(type(scene.sink), **fields), file, environment, run_id, point, noted)
    process = forked().Process(target=_replace_and_die, args=arguments)
    process.start()
    process.join(100)
    assert process.exitcode in (0, -signal.SIGKILL)
    return int(noted.read_text()) if process.exitcode == 0 else None


def _spread(points: int, most: int) -> Sequence[int]:
    """Return up to so many of the points, the first and the last among them."""
    number = min(points, most)
    return [1 + round(index * (points - 1) / (number - 1)) for index in range(number)]


@pytest.mark.parametrize(
    "most", [8, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(900)])]
)
def test_a_crash_at_any_point_leaves_one_file_or_the_other_and_a_way_on(
    scene: Scene, most: int
) -> None:
    old, new, other = scene.file(30), scene.file(1_000), scene.file(20, FEBRUARY)
    scene.replace(other)
    scene.replace(old)
    points = _run_to(scene, new, "a-run", None)
    assert points
    outcomes = []
    for point in _spread(points, most):
        scene.replace(old)
        run_id = f"run-{point}"
        died = _run_to(scene, new, run_id, point) is None  # or it had fewer points, and is done
        tallies = scene.tallies()
        assert tallies.pop(FEBRUARY) == tally_of(20)
        outcomes.append(tallies.pop(JANUARY))
        # never the stamp of rows that are not there; an older one where its writing was lost
        stamp = scene.sink.stamps(scene.table)[JANUARY]
        assert stamp == old.stamp or (stamp, outcomes[-1]) == (new.stamp, tally_of(1_000))
        assert not tallies
        assert died or outcomes[-1] == tally_of(1_000)
        scene.sink.replace(new, run_id)  # as its step would be tried again
        assert scene.tallies() == {JANUARY: tally_of(1_000), FEBRUARY: tally_of(20)}
        assert scene.sink.stamps(scene.table) == {JANUARY: new.stamp, FEBRUARY: other.stamp}
    assert outcomes[0] == tally_of(30)
    assert outcomes[-1] == tally_of(1_000)
    assert {*outcomes} == {tally_of(30), tally_of(1_000)}


# --- the platform with a third sink ---


def test_a_third_sink_is_an_asset_a_check_and_a_column_of_the_ledger(
    platform: Platform, tmp_path: Path
) -> None:
    third = with_resources(platform, parquet=ParquetFolder(folder=str(tmp_path)))
    definitions = build_definitions(third.resources.by_name(), ALL_SINKS)
    result = definitions.resolve_job_def("green_trips").execute_in_process(
        instance=third.instance, tags={"dagster/partition": "2018-03"}, raise_on_error=False
    )
    assert result.success
    key = asset_key(GREEN.trips.name, "parquet")
    assert result.asset_materializations_for_node(key.path[0])
    checks = {check.asset_check_key: check.passed for check in result.get_asset_check_evaluations()}
    assert checks[dg.AssetCheckKey(key, "matches_lake")]
    (entry,) = read_ledger(GREEN, third.resources, Month(2018, 3), Month(2018, 3))
    assert entry.adds_up
    assert {*entry.tables} == {*ALL_SINKS}
    assert {entry.lake.kept, *entry.tables.values()} == {entry.lake.kept}
    assert "TAXI_PARQUET_FOLDER" in variables(ALL_SINKS)
