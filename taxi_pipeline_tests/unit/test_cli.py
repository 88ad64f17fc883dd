"""The command line's help, and what it does with a bad word."""

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy.exc import OperationalError

from taxi_pipeline import settings
from taxi_pipeline.cli import main
from taxi_pipeline_tests.support.forkserver import Start, run, run_cold

TAXI = [sys.executable, "-m", "taxi_pipeline"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["local", "-h"],
        ["doctor", "-h"],
        ["status", "-h"],
        ["ledger", "-h"],
        ["retry-failed", "-h"],
    ],
)
def test_help_teaches(arguments: list[str]) -> None:
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0
    assert "taxi local" in shown.output


def test_the_help_of_local_shows_commands_to_type() -> None:
    shown = CliRunner().invoke(main, ["local", "--help"]).output
    assert "\\b" not in shown
    for part in ("--data-dir", "--publisher", "--rows", "dagster job execute", "taxi ledger"):
        assert part in shown


def test_it_runs_as_a_module_too() -> None:
    done = run_cold([*TAXI, "--version"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("taxi, version ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fly"], "No such command 'fly'"),
        (["local"], "Missing argument 'COMMAND...'"),
        (["local", "--rows", "-1", "true"], "-1 is not in the range"),
        (["local", "--rows", "many", "true"], "'many' is not a valid integer"),
        (["ledger", "--month", "January"], "write it as YYYY-MM, such as 2021-01"),
        (["ledger", "--from", "2021-13"], "'2021-13' is not a month"),
        (["ledger", "--to", "9999-12"], "'9999-12' is not a month"),
        (["ledger", "--service", "red"], "write one of yellow, green, fhv, fhvhv"),
        (["status", "--from", "2021-03", "--to", "2021-01"], "--from 2021-03 is after --to 2021"),
        (["status", "--service", "red"], "write one of yellow, green, fhv, fhvhv"),
        (["status", "--html", "/"], "'/' is a directory"),
        (["export", "dbt"], "Missing option '--store'"),
        (["export", "dbt", "--store", "lake"], "'lake' is not a store: write one of bigquery, "),
        (["export", "odcs", "--store", "postgres", "--output", "/"], "'/' is a directory"),
        (["retry-failed", "--service", "red"], "write one of yellow, green, fhv, fhvhv"),
        (["ledger", "--month", "2021-01", "--to", "2021-02"], "either --month, or --from and --to"),
        (["ledger", "--from", "2021-03", "--to", "2021-01"], "--from 2021-03 is after --to 2021"),
    ],
)
def test_a_bad_word_is_named(arguments: list[str], said: str) -> None:
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 2
    assert said in shown.output


@pytest.mark.parametrize("verb", ["ledger", "status"])
def test_without_an_environment_a_verb_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    for name in ("TAXI_BUCKET", "TAXI_PUBLISHER_URLS", "TAXI_GCP_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    shown = CliRunner().invoke(main, [verb])
    assert shown.exit_code == 1
    for name in ("TAXI_BUCKET", "TAXI_PUBLISHER_URLS", "TAXI_GCP_PROJECT"):
        assert name in shown.output
    assert "taxi local COMMAND" in shown.output


def test_without_an_instance_retry_failed_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    shown = CliRunner().invoke(main, ["retry-failed"])
    assert shown.exit_code == 1
    assert shown.output.startswith("Error: DAGSTER_HOME: not set. Set it to the folder that")
    assert "taxi local COMMAND" in shown.output
    for home in (tmp_path / "nowhere", tmp_path):
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        shown = CliRunner().invoke(main, ["retry-failed"])
        assert shown.exit_code == 1
        assert shown.output.startswith(f"Error: DAGSTER_HOME: '{home}' has no dagster.yaml, so it")
    assert not list(tmp_path.iterdir())  # Dagster would begin an empty instance
    (tmp_path / "dagster.yaml").write_text("storage: nowhere")
    shown = CliRunner().invoke(main, ["retry-failed"])
    assert shown.exit_code == 1
    assert shown.output.startswith("Error: DAGSTER_HOME has no instance of Dagster: ")


def test_where_nothing_failed_nothing_runs_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "dagster.yaml").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    shown = CliRunner().invoke(main, ["retry-failed", "--dry-run"])
    assert (shown.exit_code, shown.stdout) == (0, "No month has failed.\n")


def test_a_url_of_dagster_with_a_password_is_refused_and_not_shown(tmp_path: Path) -> None:
    url = "https://ops:s3cr3t@dagster.example.org"
    environment = os.environ | {"DAGSTER_HOME": str(tmp_path), "TAXI_DAGSTER_URL": url}
    refused = run([*TAXI, "retry-failed"], env=environment)
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: TAXI_DAGSTER_URL: a URL must have no user, password")
    assert "s3cr3t" not in refused.stderr + refused.stdout


def test_a_storage_of_dagster_that_is_away_costs_the_status_what_it_alone_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away() -> None:
        raise OperationalError("SELECT", {}, Exception("postgresql://ops:s3cr3t@db is away"))

    monkeypatch.setattr(settings, "dagster_instance", away)
    facts = sys.modules["taxi_pipeline.cli.status"]._facts()
    (sentence,) = facts.unknown
    assert sentence.startswith("Dagster was not asked which months failed or are being run")
    assert "its storage cannot be read" in sentence
    assert "s3cr3t" not in sentence


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        pytest.param(["--help"], run_cold, id="help-cold"),
        pytest.param(["local", "-h"], run_cold, id="help-of-local-cold"),
        pytest.param(["retry-failed", "--dry-run"], run, id="retry-failed"),
        pytest.param(["export", "dbt", "--store", "postgres"], run, id="export"),
    ],
)
def test_an_output_that_takes_no_more_is_told_in_one_sentence(
    tmp_path: Path, arguments: list[str], start: Start, unbuffered: str
) -> None:
    (tmp_path / "dagster.yaml").touch()  # or Dagster remarks that there is none
    environment = os.environ | {"DAGSTER_HOME": str(tmp_path), "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = start([*TAXI, *arguments], stdout=full.fileno(), env=environment)
    said = "Error: The standard output cannot be written: No space left on device.\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_nobody_reads_ends_it_quietly(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        done = run_cold([*TAXI, "--help"], stdout=pipe.fileno(), env=environment)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_fault_that_is_not_of_the_output_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise OSError("the disk is on fire")

    monkeypatch.setattr(sys.modules["taxi_pipeline.cli.ledger"], "show_ledger", fails)
    shown = CliRunner().invoke(main, ["ledger"])
    assert isinstance(shown.exception, OSError)
    assert str(shown.exception) == "the disk is on fire"
