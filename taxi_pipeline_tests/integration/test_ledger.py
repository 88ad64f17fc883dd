"""The ledger on real stores: whatever is tampered with, anywhere, is noticed and named."""

import gzip
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from taxi_pipeline.cli import main
from taxi_pipeline.lake.paths import ObjectPaths, object_paths
from taxi_pipeline.ledger import Depth, Entry, lake_entry, read_ledger
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN, YELLOW
from taxi_pipeline.tlc.tally import Tally
from taxi_pipeline_tests.conftest import Platform, Publish, with_publisher
from taxi_pipeline_tests.support.forkserver import Start, run, run_cold
from taxi_pipeline_tests.support.http import body, serving
from taxi_pipeline_tests.support.lake import delete, overwrite
from taxi_pipeline_tests.support.source_files import YELLOW_HEADER, trip

MONTH = Month(2024, 3)
PLACE = object_paths(YELLOW, MONTH)
RAW = f"{PLACE.raw}csv.gz"
PUBLISHED = "releases/yellow/yellow_tripdata_2024-03.csv.gz"
HELD = Tally(3, 3_915)

OTHER_FILE = (
    "The lake's trips or its rejected rows were cleaned from another published file than the one "
    "that is there."
)


def csv_gz(*rows: str) -> bytes:
    text = "".join(f"{line}\r\n" for line in (YELLOW_HEADER, *rows)).replace("2021-01", MONTH.key)
    return gzip.compress(text.encode(), mtime=0)


TRIPS = (trip(), trip(total_amount="20.05"), trip(total_amount="7.3"))
REJECTED = (trip(passenger_count="0"), "garbage")
CONTENT = csv_gz(*TRIPS, *REJECTED)
ETAG = '"1"'


@pytest.fixture(scope="module")
def untouched(platform: Platform) -> Iterator[Platform]:
    """Return a platform whose stores hold the month, for tests that change none of them."""
    with serving({f"/{PUBLISHED}": [body(CONTENT, ETAG)]}) as (base, _):
        holding = with_publisher(platform, base)
        holding.load("yellow", MONTH.key)
        yield holding


@pytest.fixture
def filled(untouched: Platform) -> Iterator[Platform]:
    """Return the platform for a test that changes a store; load the month again afterwards."""
    yield untouched
    untouched.load("yellow", MONTH.key, replace_raw=True)


def ledger(platform: Platform, depth: Depth = Depth.ROWS) -> Entry:
    (entry,) = read_ledger(YELLOW, platform.resources, MONTH, MONTH, depth)
    return entry


def taxi_ledger(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["ledger", *arguments])


def downloaded(platform: Platform, name: str, folder: Path) -> Path:
    (found,) = platform.resources.lake.find(name)
    return platform.resources.lake.download(found, folder)


def reupload(platform: Platform, name: str, path: Path, described: bool = True) -> None:
    """Put another file in an object's place, with the object's metadata or what is vital of it."""
    (before,) = platform.resources.lake.find(name)
    vital = {key: said for key, said in before.metadata.items() if key == "rejected_rows"}
    overwrite(platform.resources.lake, path, before.name, before.metadata if described else vital)


@pytest.mark.parametrize("depth", Depth)
def test_a_month_in_good_order_adds_up(untouched: Platform, depth: Depth) -> None:
    entry = ledger(untouched, depth)
    assert entry.problems == []
    assert entry.lake.published == 5
    assert entry.lake.rejected == {"no_passengers": 1, "unparsable": 1}
    assert {entry.lake.kept, *entry.tables.values()} == {HELD}
    assert entry.lake.etag == ETAG
    assert entry.lake == lake_entry(
        untouched.resources.lake, PLACE, YELLOW.trips, YELLOW.total, depth
    )
    # to look deeply into all months that other tests have left takes long
    first, last = (None, None) if depth == Depth.ROWS else (MONTH.previous, MONTH.next)
    assert entry in read_ledger(YELLOW, untouched.resources, first, last, depth)


IN_MONTH = "pickup_datetime BETWEEN '2024-03-01' AND '2024-03-31'"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            f"DELETE FROM {{}} WHERE total_amount = 7.3 AND {IN_MONTH}",
            "{} has 2 rows, the lake 3.",
        ),
        (
            "INSERT INTO {} (pickup_datetime) VALUES ('2024-03-31 23:59:59.999999')",
            "{} has 4 rows, the lake 3.",
        ),
        (
            f"UPDATE {{}} SET total_amount = 7.31 WHERE total_amount = 7.3 AND {IN_MONTH}",
            "{} has a total of $39.16, the lake $39.15.",
        ),
        (
            f"UPDATE {{}} SET total_amount = NULL WHERE total_amount = 7.3 AND {IN_MONTH}",
            "{} has a total of $31.85, the lake $39.15.",
        ),
        (
            f"DELETE FROM {{}} WHERE {IN_MONTH}",
            "{} does not have the month.",
        ),
    ],
    ids=["deleted", "added", "a cent more", "emptied", "all deleted"],
)
def test_a_tampered_table_is_named(filled: Platform, statement: str, said: str) -> None:
    for sink in filled.resources.sinks.values():
        filled.execute(sink, statement.format(sink.sql_name(YELLOW.trips)))
        assert ledger(filled).problems == [said.format(sink.title)]
        filled.load("yellow", MONTH.key)


def test_a_row_of_no_month_is_found(filled: Platform) -> None:
    # PostgreSQL takes no row without a partition
    filled.bigquery("INSERT INTO yellow_trips (vendor_id) VALUES (1)")
    said = "BigQuery has 4 rows, 1 of them without a pick-up time, the lake 3."
    assert ledger(filled).problems == [said]
    filled.bigquery("DELETE FROM yellow_trips WHERE pickup_datetime IS NULL")
    assert ledger(filled).adds_up


def without_first(rows: pa.Table) -> pa.Table:
    return rows.slice(1)


def with_first_twice(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows, rows.slice(0, 1)])


def with_a_cent_less(rows: pa.Table) -> pa.Table:
    index = rows.schema.get_field_index("total_amount")
    first = pa.array([True] + [False] * (rows.num_rows - 1))
    amounts = rows["total_amount"]
    less = pc.if_else(first, pc.subtract(amounts, 0.01), amounts)
    return rows.set_column(index, "total_amount", less)


@pytest.mark.parametrize("described", [True, False], ids=["its metadata", "no metadata"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            without_first,
            [
                "The published file has 5 rows, the lake 4: 2 kept and 2 rejected.",
                *(f"{sink.title} has 3 rows, the lake 2." for sink in SINKS),
            ],
        ),
        (
            with_first_twice,
            [
                "The published file has 5 rows, the lake 6: 4 kept and 2 rejected.",
                *(f"{sink.title} has 3 rows, the lake 4." for sink in SINKS),
            ],
        ),
        (
            with_a_cent_less,
            [f"{sink.title} has a total of $39.15, the lake $39.14." for sink in SINKS],
        ),
    ],
    ids=["deleted", "added", "a cent less"],
)
def test_tampered_trips_in_the_lake_are_named(
    filled: Platform,
    tmp_path: Path,
    change: Callable[[pa.Table], pa.Table],
    said: list[str],
    described: bool,
) -> None:
    path = downloaded(filled, PLACE.cleaned, tmp_path)
    pq.write_table(change(pq.read_table(path)), path)
    reupload(filled, PLACE.cleaned, path, described)
    entry = ledger(filled)
    assert not entry.adds_up
    from_another = [
        problem for problem in entry.problems if " has the rows of generation " in problem
    ]
    assert len(from_another) == len(SINKS)
    others = [problem for problem in entry.problems if problem not in (OTHER_FILE, *from_another)]
    assert others == said
    assert (OTHER_FILE in entry.problems) == (not described)
    assert entry.lake == lake_entry(filled.resources.lake, PLACE, YELLOW.trips, YELLOW.total)


def test_a_rejected_row_removed_is_named(filled: Platform, tmp_path: Path) -> None:
    path = downloaded(filled, PLACE.rejected, tmp_path)
    pq.write_table(without_first(pq.read_table(path)), path)
    reupload(filled, PLACE.rejected, path)
    said = "The published file has 5 rows, the lake 4: 3 kept and 1 rejected."
    assert ledger(filled).problems == [said]


@pytest.mark.parametrize("place", [PLACE.cleaned, PLACE.rejected])
def test_an_object_that_is_no_parquet_is_named(
    filled: Platform, tmp_path: Path, place: str
) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    reupload(filled, place, broken)
    (uri,) = (found.uri for found in filled.resources.lake.find(place))
    assert ledger(filled).problems[0].startswith(f"{uri} cannot be read: ")


def test_rejected_rows_with_wrong_bytes_are_named(filled: Platform, tmp_path: Path) -> None:
    path = tmp_path / "broken.parquet"
    no_text = pa.array([b"no_passengers", b"\xff"]).cast(pa.string(), safe=False)
    pq.write_table(pa.table({"rejected_because": no_text}), path)
    reupload(filled, PLACE.rejected, path)
    (uri,) = (found.uri for found in filled.resources.lake.find(PLACE.rejected))
    assert ledger(filled).problems[0].startswith(f"{uri} cannot be read: 'utf-8' codec")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            csv_gz(trip(tip_amount="99"), *TRIPS[1:], *REJECTED),
            ["The published file in the lake has the SHA-256 "],
        ),
        (
            csv_gz(*TRIPS, *REJECTED, trip()),
            [
                "The published file in the lake has 6 rows, when it was stored it had 5.",
                "The published file in the lake has the SHA-256 ",
            ],
        ),
        (CONTENT[:-9], ["The published file in the lake cannot be read: "]),
    ],
    ids=["another cell", "another row", "cut short"],
)
def test_a_replaced_published_file_is_named_by_a_recount(
    filled: Platform, tmp_path: Path, content: bytes, said: list[str]
) -> None:
    path = tmp_path / "other.csv.gz"
    path.write_bytes(content)
    reupload(filled, RAW, path)
    assert ledger(filled).adds_up  # by what was noted of the one that was stored
    problems = ledger(filled, Depth.PUBLISHED).problems
    assert len(problems) == len(said)
    assert all(map(str.startswith, problems, said))


def test_a_published_file_stored_by_others_is_named(filled: Platform, tmp_path: Path) -> None:
    path = tmp_path / "same.csv.gz"
    path.write_bytes(CONTENT)
    reupload(filled, RAW, path, described=False)
    entry = ledger(filled)
    assert entry.problems == ["The lake has no published file that says how many rows it has."]
    assert (entry.lake.published, entry.lake.etag, entry.lake.sha256) == (None, None, None)


@pytest.mark.parametrize("name", [RAW, PLACE.cleaned, PLACE.rejected])
def test_a_missing_object_does_not_add_up(filled: Platform, name: str) -> None:
    (found,) = filled.resources.lake.find(name)
    filled.resources.lake.delete(found)
    assert not ledger(filled).adds_up


def test_objects_of_others_are_left_out(untouched: Platform, tmp_path: Path) -> None:
    lake = untouched.resources.lake
    copy = downloaded(untouched, PLACE.cleaned, tmp_path)
    others = [
        "cleaned/yellow/notes.txt",
        f"{PLACE.cleaned}.bak",
        ObjectPaths("yellow", "yellow_tripdata_0000-00").cleaned,
    ]
    for name in others:
        overwrite(lake, copy, name, {})
    months = {entry.month for entry in read_ledger(YELLOW, untouched.resources)}
    assert ledger(untouched).adds_up
    for name in others:
        delete(lake, name)
    assert months == {entry.month for entry in read_ledger(YELLOW, untouched.resources)}


def test_the_command_shows_what_does_not_add_up_and_fails(filled: Platform) -> None:
    chosen = ("--service", "yellow", "--month", MONTH.key)
    good = taxi_ledger(*chosen, "--recount")
    assert good.exit_code == 0, good.output
    assert " ".join(good.stdout.split()).endswith("yellow 2024-03 5 3 2 3 3 39.15 yes")
    filled.bigquery(f"DELETE FROM yellow_trips WHERE total_amount = 7.3 AND {IN_MONTH}")
    bad = taxi_ledger(*chosen)
    assert bad.exit_code == 1
    assert "yellow 2024-03: BigQuery has 2 rows, the lake 3.\n" in bad.stdout
    as_json = taxi_ledger(*chosen, "--json")
    assert as_json.exit_code == 1
    assert as_json.stderr == "yellow 2024-03: BigQuery has 2 rows, the lake 3.\n"
    (entry,) = json.loads(as_json.stdout)
    assert entry["bigquery"] == 2
    assert entry["total_bigquery"] == 31.85
    assert entry["adds_up"] is False


def test_the_command_chooses_services_and_months(untouched: Platform, platform: Platform) -> None:
    platform.load("green", "2024-03")

    def months(*arguments: str) -> list[tuple[str, str]]:
        done = taxi_ledger(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return [(entry["service"], entry["month"]) for entry in json.loads(done.stdout)]

    both = [("yellow", "2024-03"), ("green", "2024-03")]
    assert months("--month", "2024-03") == both
    assert months("--from", "2024-02", "--to", "2024-04") == both
    assert months("--service", "green", "--service", "yellow", "--month", "2024-03") == both
    assert months("--service", "green", "--from", "2024-03", "--to", "2024-03") == both[1:]


def test_what_was_asked_for_and_is_nowhere_is_said(untouched: Platform) -> None:
    done = taxi_ledger("--service", "yellow", "--service", "fhv", "--month", "2024-03", "--json")
    assert done.exit_code == 1
    assert done.stderr == "No store has fhv trips of 2024-03.\n"
    assert [entry["service"] for entry in json.loads(done.stdout)] == ["yellow"]
    nothing = taxi_ledger("--from", "2008-01", "--to", "2008-12")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert nothing.stderr == "No store has trips of 2008-01 to 2008-12.\n"


def test_the_tables_tally_only_the_months_asked_for(untouched: Platform) -> None:
    outside = replace(MONTH, month=2)
    for store in untouched.resources.sinks.values():
        held = {MONTH: HELD}
        assert store.tallies(YELLOW.trips, YELLOW.total, MONTH, MONTH) == held
        assert store.tallies(YELLOW.trips, None, MONTH, MONTH) == {MONTH: Tally(3, None)}
        assert store.tallies(YELLOW.trips, YELLOW.total, outside, outside) == {}
        every = store.tallies(YELLOW.trips, YELLOW.total)
        assert store.tallies(YELLOW.trips, YELLOW.total, first=MONTH) == {
            month: tally for month, tally in every.items() if month >= MONTH
        }
        assert store.tallies(YELLOW.trips, YELLOW.total, last=MONTH) == {
            month: tally for month, tally in every.items() if month <= MONTH
        }


def test_rejected_rows_of_another_file_are_named(filled: Platform, tmp_path: Path) -> None:
    path = downloaded(filled, PLACE.rejected, tmp_path)
    reupload(filled, PLACE.rejected, path, described=False)
    assert ledger(filled).problems == [OTHER_FILE]


@pytest.mark.parametrize(
    ("options", "unbuffered", "start"),
    [
        pytest.param([], "", run_cold, id="table-cold"),
        pytest.param([], "1", run, id="table-unbuffered"),
        pytest.param(["--json"], "", run, id="json"),
        pytest.param(["--json"], "1", run, id="json-unbuffered"),
    ],
)
def test_an_output_that_takes_no_more_is_told_in_one_sentence(
    untouched: Platform, options: list[str], unbuffered: str, start: Start
) -> None:
    words = [sys.executable, "-m", "taxi_pipeline", "ledger", "--month", MONTH.key, *options]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = start(words, stdout=full.fileno(), env=environment)
    said = "Error: The standard output cannot be written: No space left on device.\n"
    assert (done.returncode, done.stderr) == (1, said)


def with_lake(platform: Platform, lake: Lake) -> Platform:
    return replace(platform, resources=replace(platform.resources, lake=lake))


def test_a_month_that_is_replaced_while_it_is_read_gets_a_second_look(
    filled: Platform, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    republished, _ = publish({PUBLISHED: csv_gz(*TRIPS[:2], *REJECTED)})
    opened = Lake.opened

    def overtaken(lake: Lake, known: LakeObject) -> AbstractContextManager[BinaryIO]:
        monkeypatch.undo()
        republished.load("yellow", MONTH.key)
        return opened(lake, known)

    monkeypatch.setattr(Lake, "opened", overtaken)
    entry = ledger(filled)
    assert entry.problems == []
    assert entry.lake.published == 4
    assert {entry.lake.kept, *entry.tables.values()} == {Tally(2, 3_185)}


def test_a_month_that_is_replaced_again_and_again_costs_its_own_line_alone(
    filled: Platform, platform: Platform, tmp_path: Path
) -> None:
    platform.load("green", "2019-01")

    class Restless(Lake):
        """A lake in which somebody replaces the month's trips whenever they are read."""

        @contextmanager
        def opened(self, known: LakeObject) -> Iterator[BinaryIO]:
            if known.name == PLACE.cleaned:
                overwrite(self, self.download(known, tmp_path), known.name, known.metadata)
            with super().opened(known) as file:
                yield file

    lake = filled.resources.lake
    restless = with_lake(filled, Restless(bucket=lake.bucket, project=lake.project))
    entry = ledger(restless)
    assert entry.problems == [
        "The lake's objects were replaced while they were read, again and again: look at the month "
        "again when its runs have ended."
    ]
    month = Month(2019, 1)
    (other,) = read_ledger(GREEN, restless.resources, month, month)
    assert other.adds_up
