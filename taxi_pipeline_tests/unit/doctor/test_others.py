"""The publisher, this machine, Dagster and the notifier, each with the fault its check is for."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from taxi_pipeline.doctor import context as contexts
from taxi_pipeline.doctor import dagster as of_dagster
from taxi_pipeline.doctor.checks import READING
from taxi_pipeline.doctor.context import Context
from taxi_pipeline.doctor.finding import Check, Finding, Status, examine
from taxi_pipeline.doctor.machine import check_scratch
from taxi_pipeline.doctor.notifier import check_notifier
from taxi_pipeline.doctor.publisher import check_newest_month, check_old_month
from taxi_pipeline.tlc.month import Month
from taxi_pipeline_tests.support.disks import small_disk
from taxi_pipeline_tests.support.http import (
    Answer,
    body,
    missing_in_s3,
    named,
    receiving,
    refused_by_cloudfront,
    serving,
    silent,
    status,
)

NEWEST = Month.newest_published(date.today())  # noqa: DTZ011 - as the check


def run_check(check: Callable[[Context], Finding], emulated: bool = False) -> Finding:
    with Context(emulated).closed() as context:
        ((_, finding),) = examine([Check("it", check)], context)
    return finding


# --- the publisher ---


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, Answer]], None]]:
    """Return a function that lets a publisher of two URLs answer: a mirror, and TLC."""
    answers: dict[str, list[Answer]] = {}
    with serving(answers) as (base, _):
        templates = (
            f"{base}/mirror_{{service}}_{{month}}.csv.gz,{base}/{{service}}_{{month}}.parquet"
        )
        monkeypatch.setenv("TAXI_PUBLISHER_URLS", templates)
        yield lambda files: answers.update({path: [answer] for path, answer in files.items()})


def test_what_the_publisher_says_of_a_month_is_shown(
    publish: Callable[[dict[str, Answer]], None],
) -> None:
    there = named(200, "AmazonS3", ETag='"1"')
    publish({"/yellow_2021-01.parquet": there, f"/yellow_{NEWEST}.parquet": there})
    for check, month in ((check_old_month, "2021-01"), (check_newest_month, NEWEST)):
        finding = run_check(check)
        assert finding.status is Status.OK
        assert f"/mirror_yellow_{month}.csv.gz does not have it, " in finding.message
        assert f'/yellow_{month}.parquet 200 (ETag: "1"; Content-Length: 0; Server: AmazonS3)' in (
            finding.message
        )
        of_mirror, of_tlc = finding.details["answers"]
        assert of_mirror.keys() == {"url"}
        assert of_tlc["status"] == 200


def test_a_publisher_that_has_blocked_us_fails(
    publish: Callable[[dict[str, Answer]], None],
) -> None:
    publish(
        {
            "/mirror_yellow_2021-01.csv.gz": body(b"x"),
            "/yellow_2021-01.parquet": refused_by_cloudfront(),
            f"/yellow_{NEWEST}.parquet": refused_by_cloudfront(),
        }
    )
    for check in (check_old_month, check_newest_month):
        finding = run_check(check)
        assert finding.status is Status.FAILED
        assert "answered 403" in finding.message
        assert "the publisher refuses us" in finding.message


def test_a_month_that_is_due_may_be_late_and_an_old_one_may_not(
    publish: Callable[[dict[str, Answer]], None],
) -> None:
    publish({"/yellow_2021-01.parquet": missing_in_s3(), f"/yellow_{NEWEST}.parquet": status(404)})
    assert run_check(check_newest_month).status is Status.OK
    finding = run_check(check_old_month)
    assert finding.status is Status.FAILED
    assert finding.message.endswith("was published long ago: check TAXI_PUBLISHER_URLS.")


def test_a_publisher_that_is_away_fails() -> None:
    assert run_check(check_old_month).status is Status.FAILED


# --- the disk ---


def test_a_disk_with_room_for_the_largest_month_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taxi_pipeline.doctor.machine.shutil.disk_usage", lambda _: usage(8 << 30))
    finding = run_check(check_scratch)
    assert finding.status is Status.OK
    assert finding.message.startswith("8.0 GiB free in ")


def test_a_disk_without_that_room_fails_but_beside_emulators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = (8 << 30) - 1
    monkeypatch.setattr("taxi_pipeline.doctor.machine.shutil.disk_usage", lambda _: usage(few))
    finding = run_check(check_scratch)
    assert finding.status is Status.FAILED
    assert "where the largest month takes 8 GiB: make room, or set TMPDIR" in finding.message
    assert run_check(check_scratch, emulated=True).status is Status.SKIPPED


def test_the_disk_of_a_server_is_none_of_its_runs_in_containers(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    launcher = {"module": "dagster_docker", "class": "DockerRunLauncher", "config": {}}
    (home / "dagster.yaml").write_text(yaml.safe_dump({"run_launcher": launcher}))
    monkeypatch.setattr("taxi_pipeline.doctor.machine.shutil.disk_usage", lambda _: usage(1 << 30))
    names = ("Dagster's instance", "scratch disk")
    with Context(emulated=False).closed() as context:
        by_name = dict(examine([check for check in READING if check.name in names], context))
    finding = by_name["scratch disk"]
    assert finding.status is Status.SKIPPED
    assert finding.message.startswith("runs have disks of their own; here 1.0 GiB free in ")


def test_the_runs_that_go_on_at_once_are_those_that_the_instance_lets(home: Path) -> None:
    concurrency = {"runs": {"max_concurrent_runs": 4}}
    (home / "dagster.yaml").write_text(yaml.safe_dump({"concurrency": concurrency}))
    with Context(emulated=False).closed() as context:
        assert context.concurrent_runs == 20
        assert of_dagster.check_instance(context).status is Status.OK
        assert context.concurrent_runs == 4


def usage(free: int) -> Any:
    return type("Usage", (), {"free": free})()


def test_a_full_disk_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with small_disk(tmp_path, 64 << 10):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        with pytest.raises(OSError, match="No space left"):
            (tmp_path / "large").write_bytes(b"x" * (128 << 10))
        for emulated in (False, True):
            finding = run_check(check_scratch, emulated)
            assert finding.status is Status.FAILED
            assert str(tmp_path) in finding.message
            assert "TMPDIR" in finding.message


# --- Dagster ---


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return DAGSTER_HOME, with settings of an instance."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(
        yaml.safe_dump(
            {"telemetry": {"enabled": False}, "concurrency": {"pools": {"default_limit": 2}}}
        )
    )
    return tmp_path


def test_a_home_without_an_instance_fails(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    (home / "dagster.yaml").unlink()
    finding = run_check(of_dagster.check_instance)
    assert finding.status is Status.FAILED
    assert "has no dagster.yaml" in finding.message
    assert [*home.iterdir()] == []
    monkeypatch.delenv("DAGSTER_HOME")
    finding = run_check(of_dagster.check_instance)
    assert finding.status is Status.FAILED
    assert finding.message.startswith("DAGSTER_HOME: not set.")


def test_an_instance_is_described(home: Path) -> None:
    finding = run_check(of_dagster.check_instance)
    assert finding.status is Status.OK
    assert finding.message == f"{home}: SqliteRunStorage, DefaultRunLauncher"


def test_files_as_the_storage_of_runs_in_containers_fail(home: Path) -> None:
    launcher = {"module": "dagster_docker", "class": "DockerRunLauncher", "config": {}}
    (home / "dagster.yaml").write_text(yaml.safe_dump({"run_launcher": launcher}))
    finding = run_check(of_dagster.check_instance)
    assert finding.status is Status.FAILED
    assert "runs go on elsewhere (DockerRunLauncher)" in finding.message


@pytest.mark.usefixtures("home")
def test_each_pool_has_its_limit_or_the_default() -> None:
    with dg.DagsterInstance.get() as instance:
        instance.event_log_storage.set_concurrency_slots("bigquery", 8)
    finding = run_check(of_dagster.check_pools)
    assert finding.status is Status.OK
    assert finding.message == "publisher 2 (default), bigquery 8, postgres 2 (default)"


def test_a_pool_without_a_limit_fails(home: Path) -> None:
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.get() as instance:
        instance.event_log_storage.set_concurrency_slots("bigquery", 8)
    finding = run_check(of_dagster.check_pools)
    assert finding.status is Status.FAILED
    assert finding.message == (
        "publisher, postgres without a limit: dagster instance concurrency set publisher 2; "
        "dagster instance concurrency set postgres 2."
    )


@pytest.mark.usefixtures("home")
def test_a_pool_that_lets_nothing_start_fails() -> None:
    with dg.DagsterInstance.get() as instance:
        instance.event_log_storage.set_concurrency_slots("postgres", 0)
    finding = run_check(of_dagster.check_pools)
    assert finding.status is Status.FAILED
    assert finding.message == (
        "postgres with a limit of 0, so that nothing of theirs starts: "
        "dagster instance concurrency set postgres 2."
    )


@pytest.mark.usefixtures("home")
def test_a_daemon_that_lives_is_right_and_a_dead_one_fails() -> None:
    finding = run_check(of_dagster.check_daemon)
    assert finding.status is Status.FAILED
    assert "SCHEDULER (never)" in finding.message
    assert run_check(of_dagster.check_daemon, emulated=True).status is Status.SKIPPED
    now = time.time()
    with dg.DagsterInstance.get() as instance:
        for name in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(now, name, "an id", []))
        assert run_check(of_dagster.check_daemon).status is Status.OK
        long_ago = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
        instance.add_daemon_heartbeat(DaemonHeartbeat(long_ago, "SENSOR", "an id", []))
    finding = run_check(of_dagster.check_daemon)
    assert finding.status is Status.FAILED
    assert finding.message.startswith(
        "not heard of lately: SENSOR (last at 2026-01-31 12:00:00 UTC). See that dagster-daemon"
    )


@pytest.mark.usefixtures("home")
def test_a_daemon_that_is_silent_for_minutes_or_has_errors_fails() -> None:
    with dg.DagsterInstance.get() as instance:
        for name in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), name, "an id", []))
        error = SerializableErrorInfo("No route to postgresql://u:secret@host.\n", [], "OSError")
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "an id", [error]))
        six_minutes_ago = time.time() - 360
        instance.add_daemon_heartbeat(DaemonHeartbeat(six_minutes_ago, "SCHEDULER", "an id", []))
    finding = run_check(of_dagster.check_daemon)
    assert finding.status is Status.FAILED
    assert finding.message.startswith("not heard of lately: SCHEDULER (last at 20")
    assert finding.message.endswith(
        "SENSOR had an error in the last minutes: No route to postgresql://…@host."
    )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://dagster:secret@127.0.0.1:1/dagster", "Connection refused"),
        ("postgresql://dagster:a@secret@127.0.0.1:1/dagster", 'host name "…@127.0.0.1"'),
    ],
)
def test_a_storage_that_is_away_fails_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    home: Path,
    url: str,
    words: str,
) -> None:
    monkeypatch.setattr("dagster_postgres.utils.time.sleep", lambda _: None)
    storage = {"storage": {"postgres": {"postgres_url": url}}}
    (home / "dagster.yaml").write_text(yaml.safe_dump(storage))
    finding = run_check(of_dagster.check_instance)
    assert finding.status is Status.FAILED
    assert finding.message.startswith("Dagster's storage cannot be reached: ")
    assert words in finding.message
    assert finding.message.endswith("check DAGSTER_POSTGRES_URL.")
    assert "secret" not in finding.message + caplog.text


def test_a_storage_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(of_dagster, "_STORAGE_SECONDS", 0.1)
    monkeypatch.setattr(dg.DagsterInstance, "get", lambda: ended.wait())
    try:
        finding = run_check(of_dagster.check_instance)
    finally:
        ended.set()
    assert finding.status is Status.FAILED
    assert finding.message.startswith("Dagster's storage does not answer within 0.1 s")


def test_a_webserver_that_answers_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    version = b'{"dagster_version": "1.13.27"}'
    with serving({"/people/server_info": [body(version)]}) as (url, _):
        monkeypatch.setenv("TAXI_DAGSTER_URL", f"{url}/people/")
        finding = run_check(of_dagster.check_webserver)
    assert (finding.status, finding.message) == (Status.OK, f"Dagster 1.13.27 at {url}/people")


@pytest.mark.parametrize("answer", [status(302, Location="https://login.example.org"), body(b"{}")])
def test_what_answers_in_the_webservers_place_fails(
    monkeypatch: pytest.MonkeyPatch, answer: Answer
) -> None:
    with serving({"/server_info": [answer]}) as (url, _):
        monkeypatch.setenv("TAXI_DAGSTER_URL", url)
        finding = run_check(of_dagster.check_webserver)
    assert finding.status is Status.FAILED
    assert "not as Dagster's webserver does" in finding.message


def test_a_webserver_whose_answer_never_ends_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_dagster, "ANSWER_SECONDS", 0.5)
    ended = threading.Event()

    def dripping(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not ended.wait(0.05):
            request.wfile.write(b" ")

    with serving({"/server_info": [dripping]}) as (url, _):
        monkeypatch.setenv("TAXI_DAGSTER_API_URL", url)
        finding = run_check(of_dagster.check_webserver)
        ended.set()
    assert finding.status is Status.FAILED
    assert "/server_info: not all of the answer has arrived in 1.0 s. Start" in finding.message


def test_a_webserver_that_is_away_fails_but_beside_emulators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TAXI_DAGSTER_URL", "http://127.0.0.1:1")
    finding = run_check(of_dagster.check_webserver)
    assert finding.status is Status.FAILED
    assert "set TAXI_DAGSTER_API_URL to where it is" in finding.message
    assert run_check(of_dagster.check_webserver, emulated=True).status is Status.SKIPPED


# --- the notifier ---


def test_a_message_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as (url, messages):
        monkeypatch.setenv("TAXI_NOTIFY_URL", url)
        assert run_check(check_notifier).status is Status.OK
    assert [message["title"] for message in messages] == ["taxi doctor"]


def test_a_message_that_nobody_takes_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving(500) as (url, _):
        monkeypatch.setenv("TAXI_NOTIFY_URL", f"{url}?retry=0")
        finding = run_check(check_notifier)
    assert finding.status is Status.FAILED
    assert "could not be sent" in finding.message


def test_a_message_that_one_of_two_services_takes_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as (takes, messages), receiving(500) as (refuses, _):
        monkeypatch.setenv("TAXI_NOTIFY_URL", f"{takes},{refuses}?retry=0")
        finding = run_check(check_notifier)
    assert finding.status is Status.FAILED
    assert "could not be sent to every service" in finding.message
    assert len(messages) == 1


def test_without_anybody_to_tell_no_message_is_sent() -> None:
    assert run_check(check_notifier).status is Status.SKIPPED


# --- systems that take a connection and never answer ---


@pytest.mark.usefixtures("fake")
def test_no_system_is_waited_for_longer_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (contexts, of_dagster):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)
    monkeypatch.setenv("TAXI_PUBLISHER_LOOK_TIMEOUT", "1")
    with silent() as url:
        for variable in ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST", "TAXI_DAGSTER_URL"):
            monkeypatch.setenv(variable, url)
        monkeypatch.setenv("TAXI_PUBLISHER_URLS", f"{url}/{{service}}_{{month}}.parquet")
        names = ("bucket", "dataset", "publisher, old month", "Dagster's webserver")
        chosen = [Check(check.name, check.run) for check in READING if check.name in names]
        began = time.monotonic()
        with Context(emulated=False).closed() as context:
            by_name = dict(examine(chosen, context))
    assert {finding.status for finding in by_name.values()} == {Status.FAILED}
    assert by_name.keys() == {*names}
    assert time.monotonic() - began < 10
