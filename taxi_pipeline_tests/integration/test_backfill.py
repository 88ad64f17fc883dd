"""`taxi backfill`, and whose runs leave the queue first, on Dagster's own queue and webserver.

What follows a launched month is `live`'s to show: here nobody launches runs.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result
from dagster._core.execution.backfill import BulkActionStatus

from taxi_pipeline.assets.keys import LAYERS, asset_key
from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.automation.failures import FailedPartition, run_again
from taxi_pipeline.automation.pods import pod_tags
from taxi_pipeline.automation.webserver import UnreachableError, Webserver
from taxi_pipeline.backfill import launch
from taxi_pipeline.backfill.queue import HEARTBEAT_SECONDS
from taxi_pipeline.backfill.survey import AT_ONCE, FAILURES
from taxi_pipeline.backfill.unfinished import unfinished_months
from taxi_pipeline.cli import main
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHV, GREEN, YELLOW
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support import forkserver
from taxi_pipeline_tests.support.dagster_dev import free_port
from taxi_pipeline_tests.support.http import Answer, body, serving, status
from taxi_pipeline_tests.support.lake import put
from taxi_pipeline_tests.support.queue import DagsterQueue, dagster_queue

PEOPLES = "https://dagster.example.org"  # which no program here reaches
type Scripted = tuple[dict[str, list[Answer]], list[str]]  # answers, and what was asked

NEWEST = months_of(YELLOW).get_last_partition_key()


@pytest.fixture(scope="module")
def everything(
    platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DagsterQueue]:
    """Start the webserver and the code server, whose schedules ask each minute."""
    home = tmp_path_factory.mktemp("dagster")
    with (
        patch.dict(os.environ, {"TAXI_SCHEDULE": "* * * * *", "TAXI_DAGSTER_URL": PEOPLES}),
        # nobody is there to try a run again that has failed
        dagster_queue(home, {"run_retries": {"enabled": False}}) as queue,
        patch.dict(os.environ, {"TAXI_DAGSTER_API_URL": queue.url}),
    ):
        yield queue


@pytest.fixture
def queue(everything: DagsterQueue) -> DagsterQueue:
    """Return an empty queue, whose daemon lives."""
    everything.clear()
    everything.heartbeat()
    return everything


def taxi(*words: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, ["backfill", *words], input=answer, catch_exceptions=False)


def backfills(queue: DagsterQueue) -> list[str]:
    statuses = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING]
    return [one.backfill_id for one in queue.instance.get_backfills() if one.status in statuses]


def test_a_new_month_leaves_the_queue_before_twenty_of_a_backfill(queue: DagsterQueue) -> None:
    months = ("--from", "2019-01", "--to", "2020-08")
    assert taxi("yellow", *months, "--yes", "--detach").exit_code == 0
    queue.submit_backfills()
    waiting = queue.queued()
    assert len(waiting) == 20
    assert {run.tags["dagster/priority"] for run in waiting} == {"-10"}
    queue.tick("yellow_newest_month")
    first, second = queue.dequeue()  # as many as run at once
    assert (first.job_name, first.tags["dagster/partition"]) == ("yellow_trips", NEWEST)
    assert first.tags["dagster/schedule_name"] == "yellow_newest_month"
    assert second.run_id in {run.run_id for run in waiting}


def test_a_month_that_runs_again_leaves_it_before_a_backfill_of_the_ui(queue: DagsterQueue) -> None:
    assets = [asset_key("yellow_trips", layer) for layer in LAYERS]
    Webserver(queue.url).launch_backfill(assets, ["2020-01", "2020-02"], {}, "by hand")
    queue.submit_backfills()
    assert not any("dagster/priority" in run.tags for run in queue.queued())
    raw = asset_key("green_trips", "raw")
    asked = {"taxi/replace_raw": "true"}
    again = run_again(FailedPartition("green_trips", "2020-02", (raw,), asked), queue.url)
    first, _ = queue.dequeue()
    assert first.run_id == again
    assert (first.job_name, first.asset_selection) == ("green_trips", {raw})
    assert asked.items() <= first.tags.items()


def test_a_backfill_has_the_months_assets_a_title_and_who_launched_it(queue: DagsterQueue) -> None:
    done = taxi("green", "fhv", "--month", "2020-03", "--month", "2020-01", "--yes", "--detach")
    assert done.exit_code == 0
    of_fhv, of_green = sorted(
        (one for one in queue.instance.get_backfills() if one.backfill_id in backfills(queue)),
        key=lambda one: one.title or "",
    )
    assert of_fhv.title == "taxi backfill fhv 2020-01, 2020-03"
    assert of_green.title == "taxi backfill green 2020-01, 2020-03"
    assert of_green.tags["dagster/priority"] == "-10"
    assert "@" in of_green.tags["taxi/launched_by"]
    (pods,) = (json.loads(of_green.tags[tag]) for tag in pod_tags("green_trips"))
    assert pods in pod_tags("green_trips").values()
    assert {*(of_green.asset_selection or ())} == {
        asset_key("green_trips", each) for each in LAYERS
    }
    for one in (of_green, of_fhv):
        assert f"{PEOPLES}/runs/b/{one.backfill_id}" in done.stdout
    queue.submit_backfills()
    assert sorted(run.tags["dagster/partition"] for run in queue.queued()) == [
        *("2020-01", "2020-01"),
        *("2020-03", "2020-03"),
    ]


def test_many_gaps_have_a_title_that_dagster_takes(queue: DagsterQueue) -> None:
    odd = [Month(2014 + number // 6, number % 6 * 2 + 1) for number in range(60)]
    launched = launch.launch(Webserver(queue.url), GREEN, odd)
    backfill = queue.instance.get_backfill(launched.id)
    assert backfill
    assert backfill.title == "taxi backfill green, 60 months of 2014-01 to 2023-11"


def test_what_is_only_to_be_said_is_not_launched(queue: DagsterQueue) -> None:
    done = taxi("yellow", "--from", "2020-01", "--to", "2020-03", "--dry-run")
    assert done.exit_code == 0
    assert "yellow 2020-01 to 2020-03: 3 months, " in done.stdout
    assert "3 runs, 2 at once: some " in done.stdout
    for store in ("lake", "BigQuery", "Postgres"):
        assert f"  {store} " in done.stdout
    assert "list prices" in done.stdout
    assert backfills(queue) == []


def test_for_programs_it_is_one_object(queue: DagsterQueue) -> None:
    done = taxi("yellow", "--month", "2020-01", "--yes", "--detach", "--json")
    printed = json.loads(done.stdout)
    assert printed["outcome"] == "launched"
    assert printed["backfills"] == [{"service": "yellow", "id": backfills(queue)[0]}]
    (of_yellow,) = printed["estimate"]["services"]
    assert (of_yellow["months"], printed["estimate"]["runs"]) == (["2020-01"], 1)
    assert 0 < of_yellow["bytes"] == printed["estimate"]["bytes"]
    assert "Launched yellow" in done.stderr


@pytest.mark.parametrize(("answer", "launched"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
def test_a_person_is_asked(
    queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch, answer: str, launched: int
) -> None:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    done = taxi("yellow", "--month", "2020-01", "--detach", answer=answer)
    assert done.exit_code == 1 - launched
    assert "Launch 1 run? [y/N]" in done.stderr
    assert len(backfills(queue)) == launched


def test_a_month_that_is_not_published_is_left_out(queue: DagsterQueue) -> None:
    done = taxi("green", "--month", "2013-08", "--month", "2021-02", "--yes", "--detach")
    assert done.exit_code == 1
    assert "green 2013-08: not published, left out.\n" in done.stdout
    assert done.stdout.endswith("green 2013-08: not run, since not published.\n")
    queue.submit_backfills()
    assert [run.tags["dagster/partition"] for run in queue.queued()] == ["2021-02"]
    for words in ((), ("--missing",)):
        nothing = taxi("green", "--month", "2013-08", "--yes", *words)
        assert nothing.exit_code == 1
        assert nothing.stderr == "Nothing is launched.\n"
    assert taxi("green", "--month", "2013-08", "--missing", "--dry-run").exit_code == 0


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """Yield a publisher's answers, by path, and what it was asked for."""
    answers: dict[str, list[Answer]] = {}
    with serving(answers) as (base, asked):
        monkeypatch.setenv("TAXI_PUBLISHER_URLS", f"{base}/{{service}}-{{month}}.parquet")
        yield answers, asked


def test_a_month_of_which_the_size_is_not_said_is_launched_too(
    queue: DagsterQueue, publisher: Scripted
) -> None:
    answers, _ = publisher
    answers["/fhv-2020-01.parquet"] = [body(b"x" * 3_000_000)]
    answers["/fhv-2020-02.parquet"] = [status(503)]
    done = taxi("fhv", "--from", "2020-01", "--to", "2020-03", "--yes", "--detach")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[:3] == [
        "fhv 2020-03: not published, left out.",
        "fhv 2020-01 to 2020-02: 2 months, 6.0 MB published.",  # as large as the other
        "  The publisher has not said the size of 2020-02.",
    ]
    queue.submit_backfills()
    assert {run.tags["dagster/partition"] for run in queue.queued()} == {"2020-01", "2020-02"}


def test_a_publisher_that_is_away_is_not_asked_for_all(
    queue: DagsterQueue, publisher: Scripted
) -> None:
    answers, asked = publisher
    answers |= {f"/fhv-2020-{number:02}.parquet": [status(503)] for number in range(1, 13)}
    refused = taxi("fhv", "--from", "2020-01", "--to", "2020-12", "--yes")
    assert refused.exit_code == 1
    assert "answered 503" in refused.stderr
    assert len(asked) <= FAILURES + AT_ONCE
    assert backfills(queue) == []


def test_a_month_that_is_refused_for_good_does_not_hide_the_others(
    queue: DagsterQueue, publisher: Scripted
) -> None:
    answers, _ = publisher
    answers["/fhv-2020-01.parquet"] = [body(b"x" * 3_000_000)]
    answers["/fhv-2020-02.parquet"] = [status(410)]
    done = taxi("fhv", "--from", "2020-01", "--to", "2020-02", "--yes", "--detach", "--json")
    assert done.exit_code == 1
    assert "fhv 2020-02: refused, left out: " in done.stderr
    assert "fhv 2020-02: not run, since refused.\n" in done.stderr
    (of_fhv,) = json.loads(done.stdout)["estimate"]["services"]
    assert of_fhv["months"] == ["2020-01"]
    assert "answered 410" in of_fhv["refused"]["2020-02"]
    assert len(backfills(queue)) == 1
    every = taxi("fhv", "--month", "2020-02", "--yes")
    assert every.exit_code == 1
    assert every.stderr.startswith("Error: ")
    assert "answered 410" in every.stderr


def test_a_file_that_somebody_put_into_the_lake_is_the_months_own(
    platform: Platform,
    queue: DagsterQueue,
    publisher: Scripted,
    tmp_path: Path,
) -> None:
    (file := tmp_path / "file").write_bytes(b"x" * 2_000_000)
    put(platform.resources.lake, "raw/fhv/fhv_tripdata_2020-04.parquet", file)
    done = taxi("fhv", "--month", "2020-04", "--dry-run")
    assert "fhv 2020-04: 1 month, 2.0 MB published.\n" in done.stdout
    _, asked = publisher
    assert asked == []


def test_what_is_loaded_already_is_said_and_can_be_left_out(
    platform: Platform, queue: DagsterQueue
) -> None:
    assert platform.run("green_trips", "2020-01").success
    months = ("--month", "2020-01", "--month", "2020-02")
    said = taxi("green", *months, "--dry-run").stdout
    assert "  1 of 2 is loaded already, and would be run again (--missing leaves" in said
    done = taxi("green", *months, "--missing", "--yes", "--detach")
    assert done.exit_code == 0
    assert "green 2020-01: loaded already, left out.\n" in done.stdout
    queue.submit_backfills()
    assert [run.tags["dagster/partition"] for run in queue.queued()] == ["2020-02"]
    nothing = taxi("green", "--month", "2020-01", "--missing", "--yes")
    assert (nothing.exit_code, nothing.stderr) == (0, "Nothing is launched.\n")


@pytest.mark.parametrize("queued", [False, True])
def test_what_is_being_run_already_is_said_and_can_be_left_out(
    queue: DagsterQueue, queued: bool
) -> None:
    def submit() -> None:
        if queued:
            queue.submit_backfills()

    months = ("--from", "2020-05", "--to", "2020-06", "--missing", "--yes", "--detach", "--json")
    first = taxi("green", *months)
    submit()
    again = taxi("green", *months)
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert "green 2020-05 to 2020-06: being run already, left out.\n" in again.stderr
    assert json.loads(again.stdout)["outcome"] == "not launched"
    (of_green,) = json.loads(again.stdout)["estimate"]["services"]
    assert (of_green["months"], of_green["under_way"]) == ([], ["2020-05", "2020-06"])
    assert len(backfills(queue)) == 1
    waiting = taxi("green", "--month", "2020-05", "--missing", "--yes")
    assert waiting.exit_code == 1
    assert "green 2020-05: not run, since being run already, which is not" in waiting.stdout
    said = taxi("green", "fhv", "--from", "2020-05", "--to", "2020-07", "--dry-run").stdout
    assert said.count("2 of 3 are being run already, and would be run again (--missing") == 1


def test_months_that_have_ended_and_runs_of_one_asset_are_not_under_way(
    queue: DagsterQueue,
) -> None:
    launched = launch.launch(Webserver(queue.url), GREEN, [Month(2020, 5), Month(2020, 6)])
    queue.submit_backfills()
    failed, _ = queue.queued()
    queue.instance.report_run_failed(failed)
    goes_on = {"2020-05", "2020-06"} - {failed.tags["dagster/partition"]}
    raw = (asset_key("fhv_trips", "raw"),)
    run_again(FailedPartition("fhv_trips", "2020-05", raw, {}), queue.url)
    found = unfinished_months(Webserver(queue.url), [GREEN, FHV])
    assert found == {"green": goes_on, "fhv": set()}
    assert backfills(queue) == [launched.id]


def test_without_a_daemon_it_says_what_to_start(queue: DagsterQueue) -> None:
    queue.heartbeat(HEARTBEAT_SECONDS + 60)
    refused = taxi("yellow", "--month", "2020-01", "--yes")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: Dagster's daemon does not run (it was heard of last ")
    assert (
        "Start it: make dev, which has one, or in production dagster-daemon run" in refused.stderr
    )
    assert backfills(queue) == []
    said = taxi("yellow", "--month", "2020-01", "--dry-run")
    assert said.exit_code == 0
    assert said.stderr.startswith("It could not be launched now. Dagster's daemon does not run")
    assert "yellow 2020-01: 1 month, " in said.stdout


def test_without_a_webserver_it_says_what_to_start(
    queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXI_DAGSTER_API_URL", f"http://127.0.0.1:{free_port()}")
    refused = taxi("yellow", "--month", "2020-01", "--yes")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: Dagster's webserver does not answer at http://127.0")
    assert "start it (make dev), or set TAXI_DAGSTER_API_URL" in refused.stderr
    said = taxi("yellow", "--month", "2020-01", "--dry-run")
    assert said.exit_code == 0
    assert said.stderr.startswith("It could not be launched now. Dagster's webserver does not")


def test_a_month_that_fails_makes_it_fail(
    queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go_on(_: float) -> None:
        queue.submit_backfills()
        for run in queue.queued():
            queue.instance.report_run_failed(run)

    monkeypatch.setattr(launch, "sleep", go_on)
    done = taxi("yellow", "--month", "2020-05", "--month", "2020-06", "--yes", "--json")
    assert done.exit_code == 1
    assert "yellow 2020-05 to 2020-06: 0 of 2 succeeded; not so 2020-05, 2020-06." in done.stderr
    printed = json.loads(done.stdout)
    assert (printed["outcome"], printed["ledger"]) == ("failed", [])


def test_a_daemon_that_dies_while_it_is_waited_for_is_named_once(
    queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def go_on(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:  # it was heard of until now
            queue.heartbeat(HEARTBEAT_SECONDS + 60)
        if len(looks) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(launch, "sleep", go_on)
    monkeypatch.setattr(launch, "DAEMON_SECONDS", 0.0)
    done = taxi("yellow", "--month", "2020-05", "--yes")
    assert done.exit_code == 130
    assert done.stderr.count("Dagster's daemon does not run (it was heard of last at ") == 1
    assert "): nothing more begins until it is started.\nThe backfill " in done.stderr


def test_ctrl_c_leaves_it_running_and_says_how_to_cancel_it(
    queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "sleep", interrupt)
    done = taxi("yellow", "--month", "2020-05", "--yes")
    (goes_on,) = backfills(queue)
    assert done.exit_code == 130
    assert done.stderr == (
        f"The backfill {goes_on} of yellow goes on. To cancel it: taxi backfill --cancel "
        f"{goes_on}, or on its page: {PEOPLES}/runs/b/{goes_on}\n"
    )
    done = taxi("--cancel", goes_on, "--json")
    assert done.exit_code == 0
    title = "taxi backfill yellow 2020-05"
    assert json.loads(done.stdout) == {"id": goes_on, "title": title, "outcome": "canceling"}
    assert f"{goes_on} is being canceled ({title}); what was loaded stays.\n" in done.stderr
    (canceled,) = (one for one in queue.instance.get_backfills() if one.backfill_id == goes_on)
    assert canceled.status is BulkActionStatus.CANCELING
    unknown = taxi("--cancel", "nowhere")
    assert unknown.exit_code == 1
    assert "did not cancel the backfill nowhere: " in unknown.stderr


@pytest.mark.parametrize("status", ["COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"])
def test_one_that_has_ended_is_not_canceled(queue: DagsterQueue, status: str) -> None:
    launched = launch.launch(Webserver(queue.url), GREEN, [Month(2020, 7)])
    ended = queue.instance.get_backfill(launched.id)
    assert ended
    queue.instance.update_backfill(ended._replace(status=BulkActionStatus[status]))
    refused = taxi("--cancel", launched.id)
    assert refused.exit_code == 1
    assert f"(taxi backfill green 2020-07): ended already: {status}." in refused.stderr
    after = queue.instance.get_backfill(launched.id)
    assert after
    assert after.status is BulkActionStatus[status]


type Launching = Callable[..., str]


def before_launching(
    monkeypatch: pytest.MonkeyPatch, does: Callable[[Launching, str], str]
) -> None:
    """Let each launch be done by a function of what launches it and of its title."""
    launch_backfill = Webserver.launch_backfill

    def launches(self: Webserver, *words: Any) -> str:
        return does(lambda: launch_backfill(self, *words), words[-1])

    monkeypatch.setattr(Webserver, "launch_backfill", launches)


def succeed(_: Webserver, launched: list[launch.Launched], *__: object) -> dict[str, launch.State]:
    return {
        one.id: launch.State("REQUESTED", {each.key: "SUCCESS" for each in one.months}, "", 1)
        for one in launched
    }


def test_ctrl_c_while_a_launch_is_asked_for_hides_no_backfill(
    queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(launching: Launching, _: str) -> str:
        signal.raise_signal(signal.SIGINT)
        return launching()

    before_launching(monkeypatch, interrupt)
    done = taxi("green", "fhv", "--month", "2020-05", "--yes", "--json")
    (goes_on,) = backfills(queue)  # and none of fhv
    assert done.exit_code == 130
    assert f"The backfill {goes_on} of green goes on. To cancel it: " in done.stderr
    printed = json.loads(done.stdout)
    assert printed["backfills"] == [{"service": "green", "id": goes_on}]
    assert printed["outcome"] == "unknown"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_launch_of_which_the_answer_was_lost_is_looked_for(
    queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(launching: Launching, _: str) -> str:
        launching()
        raise UnreachableError("no answer within 60 s")

    before_launching(monkeypatch, lose)
    done = taxi("green", "--month", "2020-05", "--yes", "--detach")
    assert done.exit_code == 0
    assert f"{PEOPLES}/runs/b/{backfills(queue)[0]}\n" in done.stdout


def test_a_launch_that_may_come_yet_is_not_denied(
    queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(_: Launching, __: str) -> str:
        raise UnreachableError("no answer within 60 s")

    before_launching(monkeypatch, lose)
    monkeypatch.setattr(launch, "sleep", lambda _: None)
    done = taxi("green", "--month", "2020-05", "--yes", "--json")
    assert (done.exit_code, backfills(queue)) == (1, [])
    assert "Nothing is launched" not in done.stderr
    assert "taxi backfill green 2020-05 may have been launched. Before you launch" in done.stderr
    assert f"{PEOPLES}/runs?view=backfills for the tag taxi/launch_id: " in done.stderr
    assert json.loads(done.stdout)["outcome"] == "unknown"


def test_a_launch_that_is_refused_does_not_hide_the_ones_before(
    queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_fhv(launching: Launching, title: str) -> str:
        if "fhv" in title:
            raise PermanentError("not of fhv")
        return launching()

    before_launching(monkeypatch, refuse_fhv)
    done = taxi("green", "fhv", "--month", "2020-05", "--yes", "--json")
    (goes_on,) = backfills(queue)
    assert done.exit_code == 1
    assert f"The backfill {goes_on} of green goes on. To cancel it: " in done.stderr
    assert done.stderr.endswith("Error: not of fhv\n")
    printed = json.loads(done.stdout)
    assert printed["backfills"] == [{"service": "green", "id": goes_on}]
    assert printed["outcome"] == "unknown"
    refused = json.loads(taxi("fhv", "--month", "2020-05", "--yes", "--json").stdout)
    assert (refused["backfills"], refused["outcome"]) == ([], "not launched")


def test_an_error_while_it_is_waited_for_says_that_it_goes_on(
    queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise UnreachableError("no answer for five minutes")

    monkeypatch.setattr(launch, "follow", gone)
    done = taxi("green", "--month", "2020-05", "--yes", "--json")
    (goes_on,) = backfills(queue)
    assert done.exit_code == 1
    assert f"goes on. To cancel it: taxi backfill --cancel {goes_on}, " in done.stderr
    assert done.stderr.endswith("Error: no answer for five minutes\n")
    assert json.loads(done.stdout)["outcome"] == "unknown"


def test_a_ledger_that_cannot_be_read_does_not_hide_what_ran(
    queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise TransientError("PostgreSQL is away")

    monkeypatch.setattr(launch, "follow", succeed)
    monkeypatch.setattr("taxi_pipeline.backfill.ledger.read_ledger", away)
    done = taxi("green", "--month", "2020-05", "--yes", "--json")
    assert done.exit_code == 1
    assert "goes on" not in done.stderr
    assert done.stderr.endswith("Error: PostgreSQL is away\n")
    printed = json.loads(done.stdout)
    assert printed["outcome"] == "unknown"
    assert [one["id"] for one in printed["backfills"]] == backfills(queue)


def test_all_is_launched_though_nobody_reads_the_output(queue: DagsterQueue) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    words = ("green", "fhv", "--month", "2020-05", "--yes", "--detach")
    done = forkserver.run(
        [sys.executable, "-m", "taxi_pipeline", "backfill", *words], stdout=writes
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(backfills(queue)) == 2


def test_months_of_which_one_is_not_published_are_not_complete(
    platform: Platform, queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "follow", succeed)
    assert platform.run("green_trips", "2020-01").success
    complete = taxi("green", "--month", "2020-01", "--yes", "--json")
    assert (complete.exit_code, json.loads(complete.stdout)["outcome"]) == (0, "succeeded")
    queue.clear()
    mixed = taxi("green", "--month", "2013-08", "--month", "2020-01", "--yes", "--json")
    assert (mixed.exit_code, json.loads(mixed.stdout)["outcome"]) == (1, "incomplete")
    assert "green 2013-08: not run, since not published.\n" in mixed.stderr


def test_what_dagster_does_not_launch_or_know_is_named(queue: DagsterQueue) -> None:
    webserver = Webserver(queue.url)
    raw = [asset_key("green_trips", "raw")]
    with pytest.raises(PermanentError, match="did not launch too early: "):
        webserver.launch_backfill(raw, ["1999-01"], {}, "too early")
    unknown = launch.Launched(GREEN, [Month(2021, 1)], "nowhere")
    with pytest.raises(PermanentError, match="does not know the backfill nowhere: "):
        launch.follow(webserver, [unknown], lambda _: None)


def test_a_webserver_that_is_replaced_meanwhile_is_waited_for(
    queue: DagsterQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, gone = Webserver(queue.url), Webserver(f"http://127.0.0.1:{free_port()}")
    launched = launch.launch(there, GREEN, [Month(2020, 7)])
    queue.submit_backfills()
    for run in queue.queued():
        queue.instance.report_run_failed(run)
    queue.submit_backfills()  # it has seen that all have ended
    asked = iter([gone, gone, there])

    class Replaced(Webserver):
        def ask(self, query: str, **variables: object) -> Any:
            return next(asked).ask(query, **variables)

    waited: list[float] = []
    monkeypatch.setattr(launch, "sleep", waited.append)
    states = launch.follow(Replaced(queue.url), [launched], lambda _: None)
    assert states[launched.id].failed == ["2020-07"]
    assert len(waited) == 2
