"""Hostile names and cells through the real job into every store: data stays data, and no more."""

import gzip
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV
from taxi_pipeline_tests.conftest import Platform, Publish
from taxi_pipeline_tests.support.forkserver import run
from taxi_pipeline_tests.support.job_execute import job_execute

MONTH = "2020-07"
PATH = "releases/fhv/fhv_tripdata_{}.csv.gz"

HEADER = (
    "dispatching_base_num,pickup_datetime,dropOff_datetime,PUlocationID,DOlocationID,SR_Flag,"
    "Affiliated_base_number"
)
NAMES = (
    "; DROP TABLE tlc.fhv_trips; --",
    '"',
    "'); DROP SCHEMA tlc CASCADE; --",
    "\x1b[31mred\x1b]0;title\x07",
    "{service} {0} %s %n",
    "__index_level_0__",
    "рickup_datetime",  # noqa: RUF001 - the first letter is Cyrillic
    "\u202egnp.exe",
    "<script>alert(1)</script>",
    "x" * 50_000,
)
CELLS = (
    "'; DROP TABLE tlc.fhv_trips; --",
    "=HYPERLINK(0)",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\x1b[2J\x1b]0;title\x07",
    "\u202egnp.exe",
    "<script>alert(1)</script>",
    "![x](http://h/x.png)",
    "| a | b |`c`",
    "{service} %s ${HOME} $(id)",
    "\\N",
    "x" * 900_000,
)


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def row(base: str, *more: str, zone: str = "1") -> str:
    times = f"{MONTH}-15 10:00:00,{MONTH}-15 10:10:00"
    return ",".join((quoted(base), times, zone, "2", "", "B2", *map(quoted, more)))


def published(*rows: str, names: tuple[str, ...] = NAMES) -> bytes:
    header = ",".join((HEADER, *map(quoted, names)))
    return gzip.compress("".join(f"{line}\n" for line in (header, *rows)).encode(), mtime=0)


def text_of(value: Any) -> str:
    """Return a value as Dagster keeps it."""
    return json.dumps(json.loads(dg.serialize_value(value)), ensure_ascii=False)


def test_hostile_names_and_cells_are_kept_as_data_and_shown_harmless(
    publish: Publish, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [row(cell, *CELLS[: len(NAMES)]) for cell in CELLS]
    nul = row("B1\0", *NAMES)
    odd = row("B1", *("",) * len(NAMES), zone="=1+1")
    platform, _ = publish({PATH.format(MONTH): published(*rows, nul, odd)})
    result = platform.run("fhv_trips", MONTH)
    assert result.success
    entry = platform.entry("fhv", MONTH)
    assert entry.adds_up
    assert entry.lake.rejected == {"unparsable": 2}

    # every cell is in every store as it was published
    table = f"tlc.fhv_trips_{MONTH.replace('-', '_')}"
    in_postgres = platform.postgres(f"SELECT dispatching_base_num FROM {table}")
    assert sorted(found for (found,) in in_postgres) == sorted(CELLS)
    in_bigquery = platform.bigquery(
        "SELECT dispatching_base_num FROM fhv_trips "
        f"WHERE FORMAT_DATETIME('%Y-%m', pickup_datetime) = '{MONTH}'"
    )
    assert sorted(found for (found,) in in_bigquery) == sorted(CELLS)
    lake, place = platform.resources.lake, object_paths(FHV, Month.parse(MONTH))
    (cleaned,) = lake.find(place.cleaned)
    trips = pq.read_table(lake.download(cleaned, tmp_path))
    assert sorted(trips["dispatching_base_num"].to_pylist()) == sorted(CELLS)
    rejected = [
        row
        for found in lake.find(place.rejected)
        for row in pq.read_table(lake.download(found, tmp_path)).to_pylist()
    ]
    assert [row["line"] for row in rejected] == [nul, odd]
    assert {*NAMES} <= rejected[0].keys()

    # and none of it is long, or more than text, where people look
    for event in result.get_asset_materialization_events():
        shown = {name: text_of(value) for name, value in metadata_of(event).items()}
        assert sum(map(len, shown.values())) < 100_000
        for name, text in shown.items():
            assert not any(odd in text for odd in ("\\u001b", "\x1b", "\u202e")), (name, text)
        for value in metadata_of(event).values():
            if isinstance(value, dg.MarkdownMetadataValue):
                assert "script" not in value.value
    logged = capfd.readouterr()
    assert "has columns that are not declared" in logged.err
    assert not any(odd in logged.out + logged.err for odd in ("\x1b[31mred", "\x07", "\u202e"))
    assert max(map(len, logged.err.splitlines())) < 20_000


def metadata_of(event: dg.DagsterEvent) -> Mapping[str, dg.MetadataValue[Any]]:
    return event.materialization.metadata


def test_hostile_names_are_escaped_in_the_error_that_lists_them(publish: Publish) -> None:
    names = (*NAMES, "dispatching_base_num")
    platform, _ = publish({PATH.format(MONTH): published(names=names)})
    result = platform.run("fhv_trips", MONTH)
    (failed,) = result.get_step_failure_events()
    data = failed.step_failure_data.user_failure_data
    assert data is not None
    said = data.description or ""
    assert "a column appears twice" in said
    assert said.isprintable()
    assert len(said) < 5_000


HOSTILE_MONTHS = (
    "2021-01'; DROP TABLE tlc.fhv_trips; --",
    "../../etc/passwd",
    "%2e%2e/2021-01",
    "２０２１-０１",  # noqa: RUF001
    "2021-01\n",
    "\x1b[31m2021-01",
    "2021-1",
    "2021-13",
    "2021-01" * 10_000,
)


@pytest.mark.parametrize("month", HOSTILE_MONTHS, ids=range(len(HOSTILE_MONTHS)))
def test_a_hostile_month_is_refused_before_anything_is_asked(publish: Publish, month: str) -> None:
    platform, asked = publish({})
    # Dagster refuses most by its own words, before it calls us
    with pytest.raises((ValueError, dg.Failure), match=r"does not match|is not a month: write it"):
        failed_by(platform.run("fhv_trips", month))
    assert asked == []


def failed_by(result: dg.ExecuteInProcessResult) -> None:
    """Raise the failure that ended a run of one step."""
    (failed,) = result.get_step_failure_events()
    data = failed.step_failure_data.user_failure_data
    raise dg.Failure((data and data.description) or "")


def test_a_hostile_month_is_refused_on_the_command_line(platform: Platform) -> None:
    done = job_execute("fhv_trips", "--tags", json.dumps({"dagster/partition": HOSTILE_MONTHS[0]}))
    assert done.returncode != 0
    assert "does not match format" in done.stderr
    command = [sys.executable, "-m", "taxi_pipeline", "ledger"]
    for option, value in (("--month", "\x1b[31m../2021"), ("--service", "fhv'; --\x1b[31m")):
        refused = run([*command, option, value])
        assert refused.returncode == 2
        assert "is not a" in refused.stderr
        assert "\x1b" not in refused.stderr
