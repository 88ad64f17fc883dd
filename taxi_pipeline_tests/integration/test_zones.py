"""The taxi zones: all of TLC's or nothing is replaced, and their line in the ledger."""

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import dagster as dg
import pytest
from click.testing import CliRunner

from taxi_pipeline.assets.keys import LAYERS, asset_key
from taxi_pipeline.cli import main
from taxi_pipeline.lake.paths import ZONES_PATHS
from taxi_pipeline.ledger import Entry, read_unpartitioned
from taxi_pipeline.local.generator import write_zones
from taxi_pipeline.local.publisher import ZONES
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.tlc.services import TAXI_ZONES
from taxi_pipeline.tlc.tally import Tally
from taxi_pipeline_tests.conftest import Platform, Publish
from taxi_pipeline_tests.support.lake import overwrite
from taxi_pipeline_tests.support.results import (
    EVERY_ROW,
    MATCHES,
    SINK_LAYERS,
    evaluations,
    failure_of,
)

JOB = "taxi_zones"
FROM_PUBLISHER = ("cleaned", "from_publisher")
CHECKS = {EVERY_ROW, FROM_PUBLISHER, *MATCHES}
HELD, NOTHING = Tally(265, None), Tally(0, None)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """Return the lines of a whole file: the header, and zone by zone."""
    path = tmp_path_factory.mktemp("zones") / "zones.csv"
    write_zones(path)
    return path.read_text().splitlines()


@pytest.fixture(scope="module")
def loaded(platform: Platform) -> Platform:
    """Return a platform whose stores hold the zones."""
    assert platform.run(JOB).success
    return platform


@pytest.fixture
def filled(loaded: Platform, platform: Platform) -> Iterator[Platform]:
    """Return the platform for a test that changes a store; run the zones again afterwards."""
    yield platform
    for found in platform.resources.lake.find(ZONES_PATHS.raw):
        platform.resources.lake.delete(found)
    assert platform.run(JOB).success


def file_of(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()


def zones_entry(platform: Platform) -> Entry:
    (entry,) = read_unpartitioned(TAXI_ZONES, platform.resources)
    return entry


def failed(result: dg.ExecuteInProcessResult) -> set[tuple[str, str]]:
    found = evaluations(result)
    assert found.keys() == CHECKS
    return {check for check, evaluation in found.items() if not evaluation.passed}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda lines: lines[:1],
            "missing: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20 and "
            "245 more.",
        ),
        (lambda lines: lines[:-2], "missing: 264, 265."),
        (lambda lines: [*lines, lines[7], lines[7], lines[3]], "more than once: 3, 7."),
        (
            lambda lines: [*lines, "266,Queens,Moon,Boro Zone", ",Queens,Moon,Boro Zone"],
            "unknown: 266, none.",
        ),
        (
            lambda lines: [*lines[:5], "five" + lines[5][1:], *lines[6:], lines[1]],
            "missing: 5; more than once: 1.",
        ),
    ],
    ids=["a header alone", "cut short", "twice", "unknown", "unparsable and twice"],
)
def test_zones_that_are_not_all_of_tlcs_replace_nothing(
    filled: Platform, publish: Publish, lines: Sequence[str], change: object, said: str
) -> None:
    assert callable(change)
    lake = filled.resources.lake
    before = [*lake.find(ZONES_PATHS.raw), *lake.find(ZONES_PATHS.cleaned)]
    bad, _ = publish({ZONES: file_of(change(lines))})
    result = bad.run(JOB)
    failure = failure_of(result)
    assert failure.startswith(
        "taxi_zone_lookup.csv does not have TLC's zones, the ids 1 to 265, each once: "
    )
    assert said in failure
    assert [event.step_key for event in result.get_step_failure_events()] == ["zones_raw"]
    assert [*lake.find(ZONES_PATHS.raw), *lake.find(ZONES_PATHS.cleaned)] == before
    entry = zones_entry(filled)
    assert entry.adds_up
    assert {entry.lake.kept, *entry.tables.values()} == {HELD}


def test_a_line_that_is_no_zone_is_rejected_as_ever(
    filled: Platform, publish: Publish, lines: Sequence[str]
) -> None:
    odd, _ = publish({ZONES: file_of([*lines, "what is this"])})
    assert odd.run(JOB).success
    entry = zones_entry(filled)
    assert entry.adds_up
    assert entry.lake.rejected == {"unparsable": 1}


def test_zones_that_a_person_put_into_the_lake_are_checked_before_cleaning(
    filled: Platform, lines: Sequence[str], tmp_path: Path
) -> None:
    lake = filled.resources.lake
    before = lake.find(ZONES_PATHS.cleaned)
    path = tmp_path / "taxi_zone_lookup.csv"
    path.write_bytes(file_of(lines[:100]))
    overwrite(lake, path, f"{ZONES_PATHS.raw}csv", {})
    later = [asset_key(JOB, layer) for layer in LAYERS if layer != "raw"]
    failure = failure_of(filled.run(JOB, assets=later))
    assert failure.startswith("taxi_zone_lookup.csv does not have TLC's zones")
    assert lake.find(ZONES_PATHS.cleaned) == before
    assert filled.postgres("SELECT count(*) FROM tlc.taxi_zones") == [(265,)]


def test_a_run_checks_the_zones_and_so_does_a_job_alone(filled: Platform) -> None:
    for job in (JOB, f"{JOB}_checks"):
        result = filled.run(job)
        assert result.success
        assert failed(result) == set()
    for number, sink in enumerate(filled.resources.sinks.values()):
        filled.execute(
            sink, f"DELETE FROM {sink.sql_name(TAXI_ZONES)} WHERE location_id > {number}"
        )
    result = filled.run(f"{JOB}_checks")
    assert failed(result) == MATCHES
    descriptions = {layer: found.description for (layer, _), found in evaluations(result).items()}
    for number, sink in enumerate(filled.resources.sinks.values()):
        assert descriptions[sink.name] == f"{sink.title} has {number} rows, the lake 265."
    assert zones_entry(filled).problems == [descriptions[layer] for layer in SINK_LAYERS]


def test_zones_that_the_lake_has_lost_pass_no_check_but_that_of_raw(filled: Platform) -> None:
    lake = filled.resources.lake
    (cleaned,) = lake.find(ZONES_PATHS.cleaned)
    lake.delete(cleaned)
    result = filled.run(f"{JOB}_checks")
    assert failed(result) == CHECKS - {FROM_PUBLISHER}
    said = "The lake has no cleaned zones that can be read."
    assert said in (evaluations(result)[EVERY_ROW].description or "")
    assert said in zones_entry(filled).problems


def test_the_ledger_has_a_line_of_the_zones(filled: Platform) -> None:
    shown = CliRunner().invoke(main, ["ledger"])
    rows = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "taxi_zones - 265 265 0 265 265 - yes" in rows
    filled.bigquery(f"DELETE FROM {JOB} WHERE location_id = 7")
    shown = CliRunner().invoke(main, ["ledger"])
    assert shown.exit_code == 1
    assert "taxi_zones: BigQuery has 264 rows, the lake 265.\n" in shown.stdout
    as_json = CliRunner().invoke(main, ["ledger", "--json"])
    (zones,) = [each for each in json.loads(as_json.stdout) if each["service"] == "taxi_zones"]
    assert (zones["month"], zones["bigquery"], zones["adds_up"]) == (None, 264, False)
    asked = CliRunner().invoke(main, ["ledger", "--service", "yellow"])
    assert "taxi_zones" not in asked.output


def test_zones_that_no_store_has_are_no_fault(filled: Platform, isolated: Platform) -> None:
    for sink in filled.resources.sinks.values():
        filled.execute(sink, f"DROP TABLE IF EXISTS {sink.sql_name(TAXI_ZONES)}")
        assert sink.tally(TAXI_ZONES) == NOTHING
    assert read_unpartitioned(TAXI_ZONES, isolated.resources) == []


def test_zones_that_are_replaced_while_they_are_read_get_a_second_look(
    filled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert filled.run(JOB).success  # whatever other tests have left
    opened = Lake.opened

    def overtaken(lake: Lake, known: LakeObject) -> AbstractContextManager[BinaryIO]:
        monkeypatch.undo()
        assert filled.run(JOB, assets=[asset_key(JOB, "cleaned")]).success
        return opened(lake, known)

    monkeypatch.setattr(Lake, "opened", overtaken)
    entry = zones_entry(filled)
    assert entry.problems == []
    assert {entry.lake.kept, *entry.tables.values()} == {HELD}
