"""The command line's help, and what it does with a bad word."""

import json
import os
import re
import sys
from pathlib import Path
from unittest.mock import Mock

import click
import dagster as dg
import pytest
from click.testing import CliRunner
from sqlalchemy.exc import OperationalError

from taxi_pipeline import settings
from taxi_pipeline.cli import main
from taxi_pipeline.cli.local import local
from taxi_pipeline.settings import variables
from taxi_pipeline.tlc.addresses import ADDRESSES
from taxi_pipeline_tests.support.forkserver import Start, run, run_cold
from taxi_pipeline_tests.support.internet import internet

TAXI = [sys.executable, "-m", "taxi_pipeline"]


def verbs(group: click.Group = main, before: str = "taxi") -> dict[str, click.Command]:
    """Return all verbs, those of groups included, by the words that run them."""
    commands = {}
    for name, command in group.commands.items():
        words = f"{before} {name}"
        commands[words] = command
        if isinstance(command, click.Group):
            commands |= verbs(command, words)
    return commands


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["local", "-h"], ["doctor", "-h"], ["ledger", "-h"], ["retry-failed", "-h"]),
        ["backfill", "-h"],
        ["status", "-h"],
    ],
)
def test_help_teaches(arguments: list[str]) -> None:
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0
    assert "taxi local" in shown.output


@pytest.mark.parametrize("words", verbs())
def test_the_help_of_each_verb_has_an_example(words: str) -> None:
    shown = CliRunner().invoke(main, [*words.split()[1:], "--help"])
    assert shown.exit_code == 0
    usage, _, rest = shown.output.partition("\n")
    assert words in usage.replace("main", "taxi")
    assert re.search(rf"^  (taxi local )?{words}( |$)", rest, re.MULTILINE), shown.output
    assert "\\b" not in shown.output


def test_the_verbs_stand_in_the_order_in_which_people_need_them() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    listed = re.findall(r"^  ([a-z-]+)  ", shown.partition("Commands:")[2], re.MULTILINE)
    assert listed == list(main.commands)
    assert listed[:2] == ["local", "demo"]
    assert sorted(listed) != listed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["leger"], "No such command 'leger'. Did you mean 'ledger'?"),
        (["retry-faild"], "Did you mean 'retry-failed'?"),
        (["export", "db"], "Did you mean 'dbt'?"),
        (["ledger", "--moth", "2021-01"], "Did you mean one of: '--month'"),
        (["local", "--row", "7", "true"], "No such option '--row'. Did you mean '--rows'?"),
        (["local", "ledger"], "'ledger' is a verb of taxi: write taxi local taxi ledger."),
    ],
)
def test_for_a_word_that_is_none_the_nearest_is_named(arguments: list[str], said: str) -> None:
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 2
    assert said in shown.output


def test_the_word_tlc_is_no_folder_and_another_path_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tlc").mkdir()
    monkeypatch.chdir(tmp_path)
    (publisher,) = (option for option in local.params if option.name == "publisher")
    assert publisher.type.convert("tlc", publisher, None) == "tlc"
    assert publisher.type.convert("./tlc", publisher, None) == str(tmp_path / "tlc")


PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()


def test_the_page_has_all_verbs_in_their_order() -> None:
    listed = re.findall(r"^\| `taxi ([a-z-]+)` \|.*\| `(.+)` \|$", PAGE, re.MULTILINE)
    assert [verb for verb, _ in listed] == list(main.commands)
    for verb, example in listed:
        assert example.startswith((f"taxi {verb}", f"taxi local taxi {verb}"))


def test_the_page_has_every_verb_that_prints_json() -> None:
    printing = {
        words
        for words, verb in verbs().items()
        if any("--json" in parameter.opts for parameter in verb.params)
    }
    assert printing == set(re.findall(r"^\| `(taxi [a-z-]+) --json` \|", PAGE, re.MULTILINE))


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (0, ["--version"]),
        (0, ["export", "odcs", "--store", "postgres"]),
        (1, ["ledger"]),
        (1, ["status"]),
        (1, ["retry-failed"]),
        (2, ["fly"]),
        (2, ["ledger", "--month", "January"]),
        (2, ["local"]),
    ],
)
def test_the_exit_codes_are_those_of_the_page(
    code: int, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DAGSTER_HOME", "TAXI_BUCKET"):
        monkeypatch.delenv(name, raising=False)
    codes = re.findall(r"^\| (\d+) \| ", PAGE, re.MULTILINE)
    # those of Ctrl-C are below; live/test_local has those of commands and signals
    assert codes == ["0", "1", "2", "126", "127", "130", "143"]
    assert CliRunner().invoke(main, arguments).exit_code == code


def completed(*words: str) -> list[str]:
    """Return what bash is offered in place of the last word."""
    asked = {
        "_TAXI_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    shown = CliRunner().invoke(main, env=asked, prog_name="taxi")
    assert shown.exit_code == 0
    return [line.partition(",")[2] for line in shown.output.splitlines()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_that_completes(shell: str) -> None:
    asked = {"_TAXI_COMPLETE": f"{shell}_source"}
    shown = CliRunner().invoke(main, env=asked, prog_name="taxi")
    assert shown.exit_code == 0
    assert f"_TAXI_COMPLETE={shell}_complete" in shown.output


def test_verbs_options_services_months_and_stores_are_completed() -> None:
    assert completed("taxi", "le") == ["ledger"]
    assert completed("taxi", "ledger", "--mo") == ["--month"]
    assert completed("taxi", "ledger", "--service", "f") == ["fhv", "fhvhv"]
    assert completed("taxi", "retry-failed", "--service", "g") == ["green"]
    assert completed("taxi", "export", "dbt", "--store", "p") == ["postgres"]
    assert completed("taxi", "ledger", "--month", "2021-0")[-1] == "2021-01"
    # of the services that are chosen
    assert completed("taxi", "ledger", "--service", "green", "--from", "2013")[-1] == "2013-08"
    assert completed("taxi", "ledger", "--from", "2009-0")[-1] == "2009-01"


def test_ctrl_c_ends_a_verb_with_a_shells_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["taxi_pipeline.cli.ledger"], "show_ledger", interrupted)
    shown = CliRunner().invoke(main, ["ledger"])
    assert (shown.exit_code, shown.output) == (130, "Interrupted.\n")


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
        (["status", "--html", "-"], "the page goes into a file: write a file's name"),
        (["status", "--html", "/no/where/status.html"], "there is no folder '/no/where': make it"),
        (["export", "dbt"], "Missing option '--store'"),
        (["export", "dbt", "--store", "lake"], "'lake' is not a store: write one of bigquery, "),
        (["export", "odcs", "--store", "postgres", "--output", "/"], "'/' is a directory"),
        (["retry-failed", "--service", "red"], "write one of yellow, green, fhv, fhvhv"),
        (["backfill", "--month", "2021-01"], "Write at least one service, such as yellow."),
        (["backfill", "red", "--month", "2021-01"], "write one of yellow, green, fhv, fhvhv"),
        (["backfill", "yellow", "--month", "2021-1"], "write it as YYYY-MM, such as 2021-01"),
        (["backfill", "yellow"], "Write either --month, or --from and --to."),
        (["backfill", "yellow", "--from", "2021-01"], "Write both --from and --to."),
        (
            ["backfill", "yellow", "--month", "2021-01", "--to", "2021-02"],
            "Write either --month, or --from and --to.",
        ),
        (
            ["backfill", "yellow", "--from", "2021-03", "--to", "2021-01"],
            "--from 2021-03 is after --to 2021-01",
        ),
        (
            ["backfill", "fhv", "fhvhv", "--from", "2018-11", "--to", "2019-03"],
            "fhvhv has no 2018-11 to 2019-01: its months are 2019-02 to ",
        ),
        (
            ["backfill", "yellow", "--month", "2999-01", "--yes"],
            "the newest that TLC should have published by now",
        ),
        (["backfill", "yellow", "--month", "2021-01"], "write --yes, or --dry-run"),
        (["backfill", "--cancel", ""], "Write the id of a backfill after --cancel"),
        (
            ["backfill", "yellow", "--cancel", "abc"],
            "Write --cancel ID without a service and other",
        ),
        (["backfill", "--cancel", "abc", "--dry-run"], "Write --cancel ID without a service and"),
        (["backfill", "--cancel", "abc", "--yes"], "Write --cancel ID without a service and other"),
        (["backfill", "--cancel", "", "yellow", "--from", "2021-01"], "Write --cancel ID without"),
        (["ledger", "--month", "2021-01", "--to", "2021-02"], "either --month, or --from and --to"),
        (["ledger", "--from", "2021-03", "--to", "2021-01"], "--from 2021-03 is after --to 2021"),
    ],
)
def test_a_bad_word_is_named(arguments: list[str], said: str) -> None:
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 2
    assert said in shown.output


def test_a_shell_that_has_closed_the_standard_input_cannot_be_asked() -> None:
    done = run_cold(
        ["sh", "-c", 'exec "$@" <&-', "sh", *TAXI, "backfill", "fhv", "--month", "2021-01"]
    )
    assert done.returncode == 2
    assert "There is nobody to ask: write --yes, or --dry-run." in done.stderr


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


@pytest.fixture
def where_tlc_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what must be set, and of the publisher what .env.example has."""
    for name, field in variables().items():
        if field.is_required():
            monkeypatch.setenv(name, ADDRESSES.get(name, "nowhere"))


@pytest.mark.usefixtures("where_tlc_publishes")
def test_a_demo_of_months_that_tlc_does_not_have_names_where_they_were_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with internet(tmp_path, tmp_path, tmp_path) as empty:
        for name, value in empty.variables.items():
            monkeypatch.setenv(name, value)
        shown = CliRunner().invoke(main, ["demo"])
    assert shown.exit_code == 1
    error = shown.stderr.splitlines()[-1]
    assert error.startswith(
        "Error: green 2021-01 is not at any of https://github.com/DataTalksClub"
    )
    assert ", https://d37ci6vzurychx.cloudfront.net/trip-data/" in error


@pytest.mark.usefixtures("where_tlc_publishes")
def test_without_the_internet_the_demo_of_tlcs_months_says_so_before_it_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    shown = CliRunner().invoke(main, ["demo"])
    assert shown.exit_code == 1
    asking, error = shown.stderr.splitlines()
    assert asking == "Asking TLC and the mirror of its CSVs for the demo's months …"
    assert error.startswith("Error: TLC's months cannot be fetched from here: https://github.com/")
    assert error.endswith("HTTPS_PROXY may name a proxy; make demo needs neither.")


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
    shown = CliRunner().invoke(main, ["retry-failed", "--json"])
    assert (shown.exit_code, json.loads(shown.stdout)) == (0, [])


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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: 1\nstorage: [\n", "dagster.yaml is no YAML: see line "),
        ("storage:\n  mysql: {}\n", "DAGSTER_HOME has no instance of Dagster: "),
    ],
    ids=["yaml", "setting"],
)
def test_a_dagster_yaml_that_is_broken_costs_the_status_what_it_alone_knows(
    content: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dagster.yaml").write_text(content)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (sentence,) = sys.modules["taxi_pipeline.cli.status"]._facts().unknown
    assert said in sentence
    assert "\n" not in sentence


def test_a_storage_of_dagster_that_cannot_be_opened_costs_the_status_what_it_alone_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for error in (PermissionError(13, "Permission denied"), dg.DagsterInvariantViolationError("x")):
        monkeypatch.setattr(settings, "dagster_instance", Mock(side_effect=error))
        (sentence,) = sys.modules["taxi_pipeline.cli.status"]._facts().unknown
        assert sentence.startswith("Dagster was not asked which months failed or are being run")


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
