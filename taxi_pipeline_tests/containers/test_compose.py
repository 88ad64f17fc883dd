"""deploy/compose on a real engine: by its README, and in spite of what surprises people there."""

import json
import shutil
from dataclasses import replace

import pytest

from taxi_pipeline_tests.containers.deployment import Deployment, commands
from taxi_pipeline_tests.containers.faults import kill_process
from taxi_pipeline_tests.support.processes import until

TAXI = ("exec", "-T", "code", "entrypoint.sh", "taxi")


def run_month(deployment: Deployment, month: str) -> tuple[str, str]:
    """Run a month of green; return the run, and how it ended."""
    deployment.gate().open()  # a new container of the publisher's begins with a closed one
    run = deployment.launch("green_trips", month)
    return run, deployment.await_ended(run)


def test_the_doctor_finds_nothing_wrong(deployment: Deployment) -> None:
    findings = json.loads(deployment.compose(*TAXI, "doctor", "--json"))
    assert {finding["status"] for finding in findings} <= {"ok", "skipped"}
    by_check = {finding["check"]: finding for finding in findings}
    for check in ("Dagster's instance", "Dagster's daemon", "Dagster's webserver", "PostgreSQL"):
        assert by_check[check]["status"] == "ok", by_check


@pytest.fixture(scope="module")
def failed_month(deployment: Deployment) -> str:
    """Return a month of green whose run has failed for good: the stand-in does not publish it."""
    deployment.gate().open()
    run = deployment.launch("green_trips", "2013-08")
    assert deployment.await_ended(run) == "FAILURE"
    return "2013-08"


@pytest.mark.parametrize("service", ["code", "webserver", "daemon"])
def test_what_failed_can_be_run_again_from_every_container(
    deployment: Deployment, failed_month: str, service: str
) -> None:
    command = ("exec", "-T", service, "entrypoint.sh", "taxi", "retry-failed")
    printed = deployment.compose(*command)
    assert failed_month in printed
    assert deployment.await_ended(printed.strip().rpartition("/runs/")[2]) == "FAILURE"


def test_a_backfill_is_launched_and_followed_from_the_daemons_container(
    deployment: Deployment,
) -> None:
    deployment.gate().open()
    command = ("exec", "-T", "daemon", "entrypoint.sh", "taxi", "backfill", "green")
    printed = deployment.compose(*command, "--month", "2018-04", "--yes", "--json")
    told = json.loads(printed)
    assert told["outcome"] == "succeeded"
    assert [(entry["month"], entry["adds_up"]) for entry in told["ledger"]] == [("2018-04", True)]


def test_only_loopback_reaches_it_and_nothing_shows_a_password(deployment: Deployment) -> None:
    secrets = deployment.folder / "secrets"
    passwords = [path.read_text().strip() for path in secrets.glob("*_password")]
    assert len(passwords) == 2
    shown = deployment.compose("config")
    for service in deployment.compose("ps", "--services").split():
        inspected = deployment.inspect(container := deployment.container(service))
        shown += json.dumps(inspected) + deployment.engine.run("logs", container)
        for bindings in inspected["NetworkSettings"]["Ports"].values():
            assert {binding["HostIp"] for binding in bindings or []} <= {"127.0.0.1"}
    for container in deployment.containers_of_runs():
        shown += json.dumps(deployment.inspect(container))
    assert not [password for password in passwords if password in shown]


def test_the_code_location_that_dies_alone_comes_back_by_itself(deployment: Deployment) -> None:
    kill_process(deployment, "code")
    until(lambda: deployment.health("code") == "healthy", every=0.2)
    until(deployment.is_loaded, every=0.5)


def test_an_edited_file_takes_effect_by_the_command_of_the_readme(deployment: Deployment) -> None:
    secret = deployment.folder / "secrets/runs/TAXI_NOTIFY_URL"
    before = secret.read_text()
    new = secret.with_name("new")
    new.write_text("json://127.0.0.1:9/\n")
    new.chmod(0o644)
    new.rename(secret)  # as editors and git do it
    (restart,) = commands("A changed file")
    deployment.sh(restart)
    command = ("exec", "-T", "code", "entrypoint.sh", "printenv", "TAXI_NOTIFY_URL")
    assert deployment.compose(*command) == "json://127.0.0.1:9/\n"
    secret.write_text(before)  # for containers to come: nobody listens there
    until(deployment.is_loaded, every=0.5)


def test_dagsters_memory_is_saved_and_put_back_as_the_readme_says(deployment: Deployment) -> None:
    save, put_back = commands("Backup")
    deployment.sh(save)
    saved = {run.id for run in deployment.runs()}
    assert saved
    _, ended = run_month(deployment, "2018-01")
    assert ended == "SUCCESS"
    deployment.sh(put_back)
    until(deployment.is_loaded, every=0.5)
    assert {run.id for run in deployment.runs()} == saved


def test_a_moved_checkout_starts_where_it_is_and_a_wrong_bucket_is_named_by_its_runs(
    deployment: Deployment,
) -> None:
    checkout = deployment.folder.parents[1]
    moved = checkout.rename(checkout.with_name("moved"))
    there = replace(deployment, folder=moved / "deploy" / "compose")
    settings = there.folder / ".env"
    right = settings.read_text()
    settings.write_text(right + "TAXI_BUCKET=no-such-lake\n")
    try:
        there.compose("up", "--detach", "--wait")
        until(there.is_loaded, every=0.5)
        run, ended = run_month(there, "2018-02")
        assert ended == "FAILURE"  # and not lost, for want of the secrets in their new place
        # Dagster's own log manager would say "Invariant failed."
        assert "gs://no-such-lake" in there.error_of(run)
        assert "Check TAXI_BUCKET" in there.error_of(run)
    finally:
        settings.write_text(right)
        shutil.move(moved, checkout)
        deployment.compose("up", "--detach", "--wait")
    until(deployment.is_loaded, every=0.5)
    _, ended = run_month(deployment, "2018-03")
    assert ended == "SUCCESS"
