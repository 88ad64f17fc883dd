"""How checks follow each other, and how the verb shows what they find."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from taxi_pipeline.cli import main
from taxi_pipeline.doctor import checks
from taxi_pipeline.doctor.context import Context
from taxi_pipeline.doctor.finding import (
    Check,
    Finding,
    Status,
    examine,
    failed,
    ok,
    skipped,
)
from taxi_pipeline.errors import TransientError
from taxi_pipeline_tests.support.marked import MARK
from taxi_pipeline_tests.unit.doctor.conftest import SETTINGS


def raising(error: Exception) -> Check:
    def check(_: Context) -> Finding:
        raise error

    return Check("broken", check)


def test_a_check_that_breaks_stops_no_other() -> None:
    good = Check("good", lambda _: ok("fine"))
    errors = (TransientError("away"), KeyError("x"), OSError(f"https://u:{MARK}@h/?sig={MARK}"))
    for error in errors:
        by_name = dict(examine([raising(error), good], Context(emulated=False)))
        assert by_name["broken"].status is Status.FAILED
        assert by_name["good"] == ok("fine")
        assert MARK not in by_name["broken"].message
    assert by_name["broken"].message == "OSError: https://…@h/?…"


def test_what_needs_a_check_that_did_not_pass_is_skipped_and_so_is_what_needs_that() -> None:
    chain = [
        Check("first", lambda _: failed("wrong")),
        Check("second", lambda _: ok("fine"), ("first",)),
        Check("third", lambda _: ok("fine"), ("second",)),
        Check("other", lambda _: skipped("an emulator")),
        Check("after other", lambda _: ok("fine"), ("other",)),
    ]
    by_name = dict(examine(chain, Context(emulated=False)))
    assert by_name["second"].message == "needs first"
    assert by_name["third"].message == "needs second"
    assert by_name["after other"].status is Status.OK


def test_each_check_comes_after_those_that_it_needs() -> None:
    before: set[str] = set()
    for check in (*checks.READING, *checks.WRITING, *checks.NOTIFYING):
        assert {*check.needs} <= before
        assert check.name not in before
        before.add(check.name)


def test_the_page_has_every_check_in_order() -> None:
    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text()
    section = page.partition("## The checks")[2].partition("\n## ")[0]
    rows = [row.split(" | ")[0] for row in re.findall(r"^\| (.+) \|$", section, re.MULTILINE)]
    names = [re.sub(r" \(`--\w+`\)", "", row) for row in rows]
    made = (*checks.READING, *checks.WRITING, *checks.NOTIFYING)
    assert names == ["check", *(check.name for check in made)]


@pytest.fixture
def _three(monkeypatch: pytest.MonkeyPatch) -> None:
    three = (
        Check("one", lambda _: ok("fine", number=1)),
        Check("two", lambda _: skipped("an emulator")),
        Check("three", lambda _: failed("do [this]")),
    )
    monkeypatch.setattr(checks, "READING", three)


@pytest.mark.usefixtures("_three")
def test_a_line_a_check_is_printed_and_a_failure_ends_it_with_1() -> None:
    shown = CliRunner().invoke(main, ["doctor"])
    assert shown.exit_code == 1
    assert shown.output.splitlines() == [
        "one: ok: fine",
        "two: skipped: an emulator",
        "three: FAILED: do [this]",
    ]


@pytest.mark.usefixtures("_three")
def test_programs_get_a_list_of_objects() -> None:
    shown = CliRunner().invoke(main, ["doctor", "--json"])
    assert shown.exit_code == 1
    assert json.loads(shown.output) == [
        {"check": "one", "status": "ok", "message": "fine", "number": 1},
        {"check": "two", "status": "skipped", "message": "an emulator"},
        {"check": "three", "status": "failed", "message": "do [this]"},
    ]


def test_where_nothing_is_set_what_is_missing_is_said_and_all_else_is_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (*SETTINGS, "DAGSTER_HOME", "STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("TAXI_DAGSTER_URL", "http://127.0.0.1:1")
    shown = CliRunner().invoke(main, ["doctor", "--write", "--notify", "--json"])
    assert shown.exit_code == 1
    by_name = {each["check"]: each for each in json.loads(shown.output)}
    assert by_name["settings"]["message"].startswith(
        "TAXI_BUCKET, TAXI_GCP_PROJECT, TAXI_POSTGRES_URL, TAXI_PUBLISHER_URLS, TAXI_ZONES_URL: "
        "not set."
    )
    failed = {name for name, each in by_name.items() if each["status"] == "failed"}
    expected = {"settings", "credentials", "Dagster's instance", "Dagster's webserver"}
    assert failed - {"scratch disk"} == expected
    for name in ("PostgreSQL", "publisher, old month", "publisher, newest month"):
        assert by_name[name]["message"] == "needs settings"
    for name in ("bucket", "dataset"):
        assert by_name[name]["message"] == "needs credentials"


def test_without_a_failure_it_ends_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "READING", (Check("one", lambda _: ok("fine")),))
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 0


def test_writing_and_messages_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("READING", "WRITING", "NOTIFYING"):
        monkeypatch.setattr(checks, name, (Check(name, lambda _: ok("fine")),))
    for options, made in (
        ([], ["READING"]),
        (["--write"], ["READING", "WRITING"]),
        (["--notify"], ["READING", "NOTIFYING"]),
    ):
        shown = CliRunner().invoke(main, ["doctor", *options]).output
        assert [line.partition(":")[0] for line in shown.splitlines()] == made
