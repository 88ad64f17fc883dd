"""deploy/compose on a real engine: by its README, and in spite of what surprises people there."""

import json
import shutil

import pytest

from taxi_pipeline_tests.containers.deployment import Deployment, commands
from taxi_pipeline_tests.containers.emulators import ROWS
from taxi_pipeline_tests.containers.faults import kill_process
from taxi_pipeline_tests.support.processes import until

TAXI = ("exec", "-T", "code", "entrypoint.sh", "taxi")


def run_month(deployment: Deployment, month: str) -> tuple[str, str]:
    """Run a month of green; return the run, and how it ended."""
    deployment.gate().open()  # a new container of the publisher's begins with a closed one
    run = deployment.launch("green_trips", month)
    return run, deployment.await_ended(run, 90)


def test_a_backfill_of_two_services_runs_in_containers_of_their_own(
    deployment: Deployment,
) -> None:
    deployment.gate().open()
    months = ["2018-01", "2018-02"]
    backfills = [deployment.backfill(table, months) for table in ("yellow_trips", "green_trips")]
    for backfill in backfills:
        assert deployment.await_backfill(backfill, 2, 120) == ["SUCCESS"] * 2
    assert deployment.containers_of_runs()
    entries = deployment.ledger("--from", months[0], "--to", months[-1])
    assert [(entry["service"], entry["month"]) for entry in entries] == [
        (service, month) for service in ("yellow", "green") for month in months
    ]
    assert [entry["published"] for entry in entries] == [ROWS] * 4


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
    assert deployment.await_ended(run, 90) == "FAILURE"
    return "2013-08"


@pytest.mark.parametrize("service", ["code", "webserver", "daemon"])
def test_what_failed_can_be_run_again_from_every_container(
    deployment: Deployment, failed_month: str, service: str
) -> None:
    command = ("exec", "-T", service, "entrypoint.sh", "taxi", "retry-failed")
    printed = deployment.compose(*command)
    assert failed_month in printed
    assert deployment.await_ended(printed.strip().rpartition("/runs/")[2], 90) == "FAILURE"


def test_only_loopback_reaches_it_and_nothing_shows_a_password(deployment: Deployment) -> None:
    secrets = deployment.folder / "secrets"
    passwords = [path.read_text().strip() for path in secrets.glob("*_password")]
    assert len(passwords) == 2
    shown = deployment.compose("config")
    for service in deployment.compose("ps", "--services").split():
        found = deployment.inspect(container := deployment.container(service))
        shown += json.dumps(found) + deployment.engine.run("logs", container)
        for bindings in found["NetworkSettings"]["Ports"].values():
            assert {binding["HostIp"] for binding in bindings or []} <= {"127.0.0.1"}
    for container in deployment.containers_of_runs():
        shown += json.dumps(deployment.inspect(container))
    assert not [password for password in passwords if password in shown]


def test_the_code_location_that_dies_alone_comes_back_by_itself(deployment: Deployment) -> None:
    kill_process(deployment, "code")
    until(lambda: deployment.health("code") == "healthy", 60, every=0.2)
    until(deployment.is_loaded, 60, every=0.5)


def test_edited_files_take_effect_by_the_commands_of_the_readme(deployment: Deployment) -> None:
    settings, secret = (
        deployment.folder / name for name in (".env", "secrets/runs/TAXI_NOTIFY_URL")
    )
    right = settings.read_text()
    settings.write_text(right + "TAXI_BUCKET=no-such-lake\n")
    deployment.compose("up", "--detach", "--wait")
    until(deployment.is_loaded, 60, every=0.5)
    run, ended = run_month(deployment, "2018-03")
    assert ended == "FAILURE"
    # Dagster's own log manager would say "Invariant failed."
    assert "gs://no-such-lake" in deployment.error_of(run)
    assert "Check TAXI_BUCKET" in deployment.error_of(run)

    settings.write_text(right)
    deployment.compose("up", "--detach", "--wait")
    new = secret.with_name("new")
    new.write_text("json://127.0.0.1:9/\n")
    new.chmod(0o644)
    new.rename(secret)  # as editors and git do it
    (restart,) = commands("A changed file")
    deployment.sh(restart)
    command = ("exec", "-T", "code", "entrypoint.sh", "printenv", "TAXI_NOTIFY_URL")
    assert deployment.compose(*command) == "json://127.0.0.1:9/\n"
    until(deployment.is_loaded, 60, every=0.5)


def test_dagsters_memory_is_saved_and_put_back_as_the_readme_says(deployment: Deployment) -> None:
    save, put_back = commands("Backup")
    deployment.sh(save)
    saved = {run.id for run in deployment.runs()}
    assert saved
    _, ended = run_month(deployment, "2018-04")
    assert ended == "SUCCESS"
    deployment.sh(put_back)
    until(deployment.is_loaded, 60, every=0.5)
    assert {run.id for run in deployment.runs()} == saved


def test_a_checkout_that_was_moved_starts_where_it_is_now(deployment: Deployment) -> None:
    checkout = deployment.folder.parents[1]
    moved = checkout.rename(checkout.with_name("moved"))
    there = Deployment(deployment.url, deployment.engine, moved / "deploy" / "compose")
    try:
        there.compose("up", "--detach", "--wait")
        until(there.is_loaded, 60, every=0.5)
        _, ended = run_month(there, "2018-05")
        assert ended == "SUCCESS"  # which has its secrets from the new place
    finally:
        shutil.move(moved, checkout)
        deployment.compose("up", "--detach", "--wait")
