"""The status on real stores: what a run, a deletion, a failure and a rewritten file make of it."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.request import urlopen

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from taxi_pipeline.assets.status_page import KEY, OBJECT, status_page
from taxi_pipeline.automation.facts import read_facts
from taxi_pipeline.backfill.survey import _loaded as loaded_months
from taxi_pipeline.cli import main
from taxi_pipeline.definitions import defs
from taxi_pipeline.io.google import GoogleBigQuery
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.local.generator import write_parquet
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.sink import Sink
from taxi_pipeline.status import Facts, MonthStatus, State, read_status
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN
from taxi_pipeline_tests.conftest import Platform, with_publisher
from taxi_pipeline_tests.support.http import body, serving
from taxi_pipeline_tests.support.lake import delete

MONTH, FAILING, ABSENT = (Month(2021, month) for month in (1, 2, 3))
ROWS = 500


@pytest.fixture(scope="module")
def filled(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Return a platform that has run a month, and a second one whose file is broken."""
    path = tmp_path_factory.mktemp("published") / "month.parquet"
    write_parquet(GREEN, MONTH, ROWS, path)
    files = {MONTH: path.read_bytes(), FAILING: b"PAR1 and no more"}
    answers = {
        f"/trip-data/green_tripdata_{month}.parquet": [body(content, f'"{month}"')]
        for month, content in files.items()
    }
    with serving(answers) as (base, _):
        publishing = with_publisher(platform, base)
        assert publishing.run("green_trips", str(MONTH)).success
        assert not publishing.run("green_trips", str(FAILING)).success
        yield publishing


def facts(platform: Platform) -> Facts:
    return read_facts(platform.instance, defs.get_repository_def().get_all_jobs())


def statuses(platform: Platform, known: Facts | None = None) -> Mapping[Month, MonthStatus]:
    stores = platform.resources
    status = read_status(
        stores.lake, stores.sinks.values(), known or facts(platform), [GREEN], MONTH, ABSENT
    )
    return {month.month: month for month in status.months}


def taxi_status(*arguments: str) -> Result:
    of_green = ("--service", "green", "--from", str(MONTH), "--to", str(ABSENT))
    return CliRunner().invoke(main, ["status", *of_green, *arguments])


@pytest.fixture
def no_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line find no instance of Dagster."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def test_a_month_that_ran_is_as_loaded_with_the_ledgers_figures(filled: Platform) -> None:
    month = statuses(filled)[MONTH]
    entry = filled.entry("green", str(MONTH))
    assert entry.adds_up
    assert (month.state, month.cause) == (
        State.LOADED,
        "All stores have the trips that were cleaned last.",
    )
    assert month.figures
    assert entry.lake.kept
    assert (month.figures.published, month.figures.kept) == (ROWS, entry.lake.kept.rows)
    assert month.figures.rejected == entry.lake.rejected
    assert month.figures.cents == entry.lake.kept.cents
    assert sum(month.figures.trips_by_day) == month.figures.kept
    assert len(month.figures.trips_by_day) == 31
    of_month = [
        item
        for folder in ("raw", "cleaned", "rejected")
        for item in filled.resources.lake.find(f"{folder}/green/green_tripdata_{MONTH}.")
    ]
    assert month.figures.size == sum(item.size for item in of_month)
    assert {*month.figures.stores.values()} == {True}


def test_a_month_that_failed_says_in_what_and_one_that_is_nowhere_is_missing(
    filled: Platform,
) -> None:
    found = statuses(filled)
    assert (found[FAILING].state, found[FAILING].cause, found[FAILING].figures) == (
        State.FAILED,
        "Its last run failed in green_raw; the run's page in Dagster says why.",
        None,
    )
    assert (found[ABSENT].state, found[ABSENT].figures) == (State.MISSING, None)


def test_a_month_that_the_publisher_has_rewritten_was_rewritten_since(filled: Platform) -> None:
    rewritten = Facts(rewritten={("green", MONTH): f'"{MONTH}"'})
    assert statuses(filled, rewritten)[MONTH].state is State.REWRITTEN


def test_a_cleaned_object_that_is_gone_does_not_add_up(filled: Platform) -> None:
    lake, name = filled.resources.lake, object_paths(GREEN, MONTH).cleaned
    try:
        delete(lake, name)
        month = statuses(filled)[MONTH]
        assert month.state is State.UNEQUAL
        assert "The lake has no cleaned trips that can be read." in month.cause
    finally:
        cleaned = [dg.AssetKey(f"green_{layer}") for layer in ("cleaned", "bigquery", "postgres")]
        assert filled.run("green_trips", str(MONTH), cleaned).success
    assert statuses(filled)[MONTH].state is State.LOADED


def test_a_table_that_bigquery_has_lost_has_no_month(filled: Platform) -> None:
    warehouse = filled.resources.bigquery
    try:
        with GoogleBigQuery(project=warehouse.project).get_client() as client:
            client.delete_table(f"{warehouse.dataset}.{GREEN.trips.name}")
        month = statuses(filled)[MONTH]
        assert (month.state, month.is_begun) == (State.UNEQUAL, True)
        assert month.cause.startswith("BigQuery does not say that it has loaded the month")
        assert MONTH not in loaded_months(GREEN, filled.resources)
    finally:
        assert filled.run("green_trips", str(MONTH), [dg.AssetKey("green_bigquery")]).success
    assert statuses(filled)[MONTH].state is State.LOADED
    assert MONTH in loaded_months(GREEN, filled.resources)


@pytest.mark.usefixtures("no_instance")
def test_the_command_line_knows_the_stores_without_an_instance(
    filled: Platform, tmp_path: Path
) -> None:
    page = tmp_path / "status.html"
    shown = taxi_status("--html", str(page))
    assert shown.exit_code == 0
    assert "✓ as loaded: 1   ○ missing: 2" in shown.stdout
    assert (
        "Not known: Dagster was not asked which months failed or are being run, nor which were "
        "rewritten: DAGSTER_HOME: not set."
    ) in shown.stdout
    assert "taxi backfill green --from 2021-02 --to 2021-03" in shown.stdout
    assert f"The page is in {page}." in shown.stderr
    assert "green 2021-01" in page.read_text("utf-8")
    months = json.loads(taxi_status("--json").stdout)["months"]
    assert [(month["month"], month["state"]) for month in months] == [
        ("2021-01", "as loaded"),
        ("2021-02", "missing"),
        ("2021-03", "missing"),
    ]


@pytest.mark.usefixtures("filled")
def test_a_month_that_failed_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Facts(failed={("green", FAILING): "Its last run failed in green_raw."})
    monkeypatch.setattr(sys.modules["taxi_pipeline.cli.status"], "_facts", lambda: failed)
    shown = taxi_status()
    assert shown.exit_code == 1
    assert "green 2021-02: Its last run failed in green_raw." in shown.stdout
    assert "1 month failed.  taxi retry-failed --service green" in shown.stdout


@pytest.mark.usefixtures("filled", "no_instance")
def test_a_sink_that_is_away_costs_what_it_alone_knows() -> None:
    with patch.dict(os.environ, TAXI_POSTGRES_URL="postgresql://nobody:x@127.0.0.1:1/nothing"):
        shown = taxi_status()
        object_ = json.loads(taxi_status("--json").stdout)
    assert shown.exit_code == 1
    assert "Not known: Postgres could not be asked what it has: " in shown.stdout
    assert "nobody" not in shown.stdout
    assert "Traceback" not in shown.output
    assert object_["months"][0]["stores"] == {"bigquery": True, "postgres": None}
    assert object_["months"][0]["state"] == "as loaded"


@pytest.mark.usefixtures("filled", "no_instance")
def test_a_page_that_cannot_be_written_costs_nobody_the_answer() -> None:
    shown = taxi_status("--html", "/dev/full", "--json")
    assert shown.exit_code == 1
    assert len(json.loads(shown.stdout)["months"]) == 3
    assert shown.stderr == "Error: /dev/full cannot be written: No space left on device.\n"


@pytest.mark.usefixtures("filled", "no_instance")
def test_a_choice_without_a_month_ends_with_1(tmp_path: Path) -> None:
    page = tmp_path / "status.html"
    none = ["status", "--service", "green", "--to", "2012-01", "--html", str(page)]
    shown = CliRunner().invoke(main, none)
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "No month was chosen: green begins with 2013-08, and the last" in shown.stderr
    as_json = CliRunner().invoke(main, [*none, "--json"])
    assert (as_json.exit_code, json.loads(as_json.stdout)["months"]) == (1, [])
    assert not page.exists()


@pytest.mark.usefixtures("filled", "no_instance")
def test_a_lake_that_is_away_is_one_sentence() -> None:
    with patch.dict(os.environ, STORAGE_EMULATOR_HOST="http://127.0.0.1:1"):
        shown = taxi_status()
    assert shown.exit_code == 1
    assert shown.stdout == ""
    assert shown.stderr.startswith("Error: gs://")
    assert len(shown.stderr.splitlines()) == 1


def test_the_page_is_in_the_lake_with_a_link_to_it(filled: Platform) -> None:
    made = filled.run("status_page")
    assert made.success
    (event,) = made.asset_materializations_for_node("write_status_page")
    assert event.asset_key == KEY
    said: dict[str, Any] = {name: value.value for name, value in event.metadata.items()}
    lake = filled.resources.lake
    assert said["dagster/uri"] == f"gs://{lake.bucket}/status/index.html"
    assert said["page"] == lake.page(OBJECT)
    assert said["months_as_loaded"] == 1
    assert {state: said["states"][state] for state in ("as loaded", "failed")} == {
        "as loaded": 1,
        "failed": 1,
    }
    assert sum(said["states"].values()) >= said["months_due"] > 600
    with urlopen(str(said["page"])) as answer:
        assert answer.headers["content-type"] == "text/html"
        page = answer.read().decode()
    assert len(page.encode()) == said["bytes"]
    assert "<h4>green 2021-01</h4><p><b>✓</b> as loaded</p>" in page
    assert "Its last run failed in green_raw" in page
    # the one that is there is replaced
    assert filled.run("status_page").success
    assert len(lake.find("status/")) == 1


def page_is_written(
    platform: Platform, known: Callable[[dg.DagsterInstance], Facts], **others: Sink
) -> bool:
    """Materialize the page, given what Dagster knows and other stores; return whether it could."""
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            [status_page(SINKS, known)],
            instance=instance,
            resources={**platform.resources.by_name(), **others},
            raise_on_error=False,
        )
    return done.success


def test_a_page_of_an_earlier_look_does_not_replace_a_later_one(
    filled: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    later = tmp_path / "index.html"
    later.write_text("of a later look")
    lake = filled.resources.lake

    def overtaken(_: dg.DagsterInstance) -> Facts:
        lake.upload(later, OBJECT, {}, lake.generation_of(OBJECT))
        return Facts()

    monkeypatch.setattr("taxi_pipeline.assets.reporting.sleep", lambda _: None)
    assert not page_is_written(filled, overtaken)
    with urlopen(lake.page(OBJECT)) as answer:
        assert answer.read() == b"of a later look"


def test_a_page_that_knows_less_does_not_replace_one_that_knows_all(
    filled: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert page_is_written(filled, lambda _: Facts())
    before = filled.resources.lake.generation_of(OBJECT)
    monkeypatch.setattr("taxi_pipeline.assets.reporting.sleep", lambda _: None)
    away = Postgres(url="postgresql://nobody@127.0.0.1:1/nowhere")
    assert not page_is_written(filled, lambda _: Facts(), postgres=away)
    assert filled.resources.lake.generation_of(OBJECT) == before
