"""Who is told of schedules and sensors that fail at each tick, and when the monitor is called."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._daemon.types import DaemonHeartbeat
from dagster_shared.error import SerializableErrorInfo

from taxi_pipeline.automation.watching import failed_ticks, heartbeat_sensor
from taxi_pipeline.definitions import build_definitions
from taxi_pipeline.errors import TransientError
from taxi_pipeline.resources.heartbeat import Heartbeat
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline_tests.support.daemon import Daemon
from taxi_pipeline_tests.support.http import receiving, serving, status
from taxi_pipeline_tests.support.instances import sqlite_instance

UI = "https://dagster.example.org"
RUNNING, STOPPED = InstigatorStatus.RUNNING, InstigatorStatus.STOPPED
FAILURE, SKIPPED, STARTED = TickStatus.FAILURE, TickStatus.SKIPPED, TickStatus.STARTED


@dg.sensor(name="arrivals", default_status=dg.DefaultSensorStatus.RUNNING)
def arrivals() -> None:
    pass


@dg.schedule("0 6 25 * *", name="newest_month", target=dg.AssetSelection.all())
def newest_month() -> None:
    pass


@dg.asset
def made() -> None:
    pass


@dataclass
class Instigators:
    """Dagster's memory of schedules and sensors, as its daemon would write it."""

    instance: dg.DagsterInstance
    clock: float = 1000.0
    url: str = ""
    monitor: str = ""
    daemon: Daemon = field(init=False)

    def __post_init__(self) -> None:
        definitions = dg.Definitions(
            assets=[made],
            schedules=[newest_month],
            sensors=[arrivals, failed_ticks(), heartbeat_sensor()],
            resources={
                "notifier": Notifier(url=self.url),
                "heartbeat": Heartbeat(url=self.monitor),
            },
        )
        self.daemon = Daemon(definitions, self.instance, ["failed_ticks"])

    def turn(self, name: str, to: InstigatorStatus) -> None:
        """Turn a schedule or sensor on or off, as somebody does in the UI."""
        origin = self._origin(name)
        data: ScheduleInstigatorData | SensorInstigatorData
        self.clock += 1
        if name == "newest_month":
            kind, data = InstigatorType.SCHEDULE, ScheduleInstigatorData("0 6 25 * *", self.clock)
        else:
            kind, data = (
                InstigatorType.SENSOR,
                SensorInstigatorData(last_sensor_start_timestamp=self.clock),
            )
        state = InstigatorState(origin, kind, to, data)
        if self.instance.get_instigator_state(origin.get_id(), state.selector_id):
            self.instance.update_instigator_state(state)
        else:
            self.instance.add_instigator_state(state)

    def tick(self, name: str, *statuses: TickStatus, failures: int = 0) -> None:
        """Let the daemon note ticks that ended so."""
        origin = self._origin(name)
        for each in statuses:
            self.clock += 1
            wrapped = SerializableErrorInfo(
                "dagster._core.errors.SensorExecutionError: Error occurred\n",
                [],
                "SensorExecutionError",
                SerializableErrorInfo("a.b.ValueError: no\nmore\n", [], "ValueError"),
            )
            self.instance.create_tick(
                TickData(
                    instigator_origin_id=origin.get_id(),
                    instigator_name=name,
                    instigator_type=InstigatorType.SENSOR,
                    status=each,
                    timestamp=self.clock,
                    selector_id=origin.get_selector().get_id(),
                    error=wrapped if each is FAILURE else None,
                    consecutive_failure_count=failures,
                )
            )

    def watch(self) -> str:
        """Evaluate the watcher; return what it said."""
        return self.daemon.tick()["failed_ticks"].skip_message or ""

    def _origin(self, name: str) -> RemoteInstigatorOrigin:
        location = GrpcServerCodeLocationOrigin("127.0.0.1", 1, None, "taxi_pipeline")
        return RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)


@pytest.fixture
def own_instance() -> Iterator[dg.DagsterInstance]:
    """Return an instance that knows of no schedule and no sensor, and can."""
    with sqlite_instance() as instance:
        yield instance


type Told = tuple[Instigators, list[dict[str, str]]]


@pytest.fixture
def told(own_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Return the memory with one sensor and one schedule that run, and the messages."""
    monkeypatch.setenv("TAXI_DAGSTER_URL", UI)
    with receiving() as (url, received):
        instigators = Instigators(own_instance, url=url)
        instigators.turn("arrivals", InstigatorStatus.DECLARED_IN_CODE)
        instigators.turn("newest_month", RUNNING)
        yield instigators, received


@pytest.mark.parametrize("name", ["arrivals", "newest_month"])
def test_three_failures_in_a_row_are_told_once_and_that_it_recovered_once(
    told: Told, name: str
) -> None:
    instigators, received = told
    instigators.tick(name, FAILURE, FAILURE)
    assert instigators.watch() == "None of 2 schedules and sensors that run fails at each tick."
    instigators.tick(name, FAILURE, STARTED)
    assert instigators.watch() == f"{name} failed three times in a row (people were told now)."
    instigators.tick(name, FAILURE, FAILURE)
    assert instigators.watch() == f"{name} failed three times in a row (people were told)."
    instigators.tick(name, SKIPPED)
    instigators.watch()
    instigators.watch()
    failing, well = received
    assert failing["title"] == f"{name} failed three times in a row"
    assert failing["message"].splitlines() == [
        f"{name}: ValueError: no",
        "That they are well again is told, too.",
        f"{UI}/automation",
    ]
    assert (well["title"], well["message"]) == (f"{name} recovered", f"{UI}/automation")


def test_who_failed_before_a_success_is_not_told_of(told: Told) -> None:
    instigators, received = told
    instigators.tick("arrivals", FAILURE, FAILURE, SKIPPED, FAILURE, FAILURE)
    instigators.watch()
    assert received == []


def test_those_that_fail_together_are_one_message_and_who_recovers_waits_for_it(
    told: Told,
) -> None:
    instigators, received = told
    instigators.tick("arrivals", FAILURE, FAILURE, FAILURE)
    instigators.watch()
    instigators.tick("arrivals", SKIPPED)
    instigators.tick("newest_month", FAILURE, FAILURE, FAILURE)
    instigators.watch()
    instigators.watch()
    assert [message["title"] for message in received] == [
        "arrivals failed three times in a row",
        "newest_month failed three times in a row",
        "arrivals recovered",
    ]


def test_a_tick_that_a_killed_daemon_left_is_no_recovery(told: Told) -> None:
    instigators, received = told
    instigators.tick("arrivals", FAILURE, FAILURE, FAILURE)
    instigators.watch()
    instigators.tick("arrivals", SKIPPED, failures=3)  # as the next daemon calls it
    instigators.watch()
    instigators.tick("arrivals", FAILURE)
    instigators.watch()
    assert len(received) == 1


def test_a_damaged_cursor_starts_over(told: Told) -> None:
    instigators, received = told
    instigators.tick("arrivals", FAILURE, FAILURE, FAILURE)
    for cursor in ("{", "5", None):
        instigators.daemon.cursors["failed_ticks"] = cursor
        instigators.watch()
    assert len(received) == 3


def test_what_is_turned_off_is_forgotten_and_old_failures_do_not_count(told: Told) -> None:
    instigators, received = told
    instigators.tick("arrivals", FAILURE, FAILURE, FAILURE)
    instigators.watch()
    instigators.turn("arrivals", STOPPED)
    instigators.watch()
    instigators.turn("arrivals", RUNNING)
    instigators.watch()
    instigators.tick("arrivals", FAILURE, FAILURE)
    instigators.watch()
    assert len(received) == 1
    instigators.tick("arrivals", FAILURE)
    instigators.watch()
    assert len(received) == 2


def test_what_the_code_leaves_off_is_not_watched(told: Told) -> None:
    instigators, received = told
    instigators.turn("newest_month", InstigatorStatus.DECLARED_IN_CODE)
    instigators.tick("newest_month", FAILURE, FAILURE, FAILURE)
    assert instigators.watch() == "None of 1 schedules and sensors that run fails at each tick."
    assert received == []


def test_a_message_that_could_not_be_sent_is_sent_at_the_next_tick(told: Told) -> None:
    instigators, received = told
    instigators.tick("arrivals", FAILURE, FAILURE, FAILURE)
    with receiving(500) as (refusing, _):
        refused = Instigators(instigators.instance, url=refusing)
        with pytest.raises(TransientError):
            refused.watch()
    instigators.watch()
    assert len(received) == 1


def test_without_anybody_to_tell_each_tick_says_it(own_instance: dg.DagsterInstance) -> None:
    instigators = Instigators(own_instance)
    instigators.turn("arrivals", RUNNING)
    instigators.tick("arrivals", FAILURE, FAILURE, FAILURE)
    for _ in range(2):
        assert instigators.watch() == (
            "arrivals failed three times in a row (nobody is told, since TAXI_NOTIFY_URL is not "
            "set)."
        )


@pytest.fixture
def alive() -> Iterator[dg.DagsterInstance]:
    """Return an instance that has a daemon, each thread of which was heard of just now."""
    with sqlite_instance() as instance:
        for name in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), name, "an id", []))
        yield instance


def beat(instance: dg.DagsterInstance, url: str) -> str:
    instigators = Instigators(instance, monitor=url)
    instigators.daemon.sensors = ["heartbeat"]
    return instigators.daemon.tick()["heartbeat"].skip_message or ""


def test_the_monitor_is_called_while_all_threads_live(alive: dg.DagsterInstance) -> None:
    def last_heard_of(seconds: int) -> None:
        then = time.time() - seconds
        alive.add_daemon_heartbeat(DaemonHeartbeat(then, "SCHEDULER", "an id", []))

    with serving({"/ping": [status(200)]}) as (url, asked):
        assert beat(alive, f"{url}/ping") == "The monitor was called."
        last_heard_of(590)  # it may launch a run whose image is pulled
        assert beat(alive, f"{url}/ping") == "The monitor was called."
        last_heard_of(601)
        silence = "not called: SCHEDULER of Dagster's daemon not heard of for 600 s"
        with pytest.raises(TransientError, match=silence):
            beat(alive, f"{url}/ping")
        assert asked == ["/ping"] * 2


def test_a_thread_that_was_never_heard_of_is_not_called_silent_for_a_time(
    own_instance: dg.DagsterInstance,
) -> None:
    names = sorted(own_instance.get_required_daemon_types())
    with serving({"/ping": [status(200)]}) as (url, asked):
        with pytest.raises(TransientError) as caught:
            beat(own_instance, f"{url}/ping")
        assert asked == []
    said = str(caught.value)
    assert said.startswith(
        f"The monitor was not called: {', '.join(names)} of Dagster's daemon never heard of. "
    )
    assert "600 s" not in said


def test_the_monitor_is_not_called_while_the_watcher_fails(alive: dg.DagsterInstance) -> None:
    watcher = Instigators(alive)
    watcher.turn("failed_ticks", RUNNING)
    watcher.tick("failed_ticks", FAILURE, FAILURE)
    with serving({"/ping": [status(200)]}) as (url, asked):
        assert beat(alive, f"{url}/ping") == "The monitor was called."
        watcher.tick("failed_ticks", FAILURE)
        with pytest.raises(TransientError, match=r"it fails itself: ValueError: no$"):
            beat(alive, f"{url}/ping")
        assert len(asked) == 1


def test_without_a_url_no_monitor_is_called(own_instance: dg.DagsterInstance) -> None:
    assert beat(own_instance, "") == "No monitor is called, since TAXI_HEARTBEAT_URL is not set."


@pytest.mark.parametrize(
    ("automation", "told_at", "monitor", "running"),
    [
        ("off", "", "", set()),
        ("on", "", "", {"failed_ticks", "due_months"}),
        ("off", "json://127.0.0.1", "", {"failed_ticks", "due_months"}),
        ("off", "", "https://monitor.example.org/s", {"heartbeat"}),
    ],
)
def test_who_watches_runs_where_there_is_something_to_watch_and_somebody_to_tell(
    monkeypatch: pytest.MonkeyPatch,
    automation: str,
    told_at: str,
    monitor: str,
    running: set[str],
) -> None:
    monkeypatch.setenv("TAXI_AUTOMATION", automation)
    monkeypatch.setenv("TAXI_NOTIFY_URL", told_at)
    monkeypatch.setenv("TAXI_HEARTBEAT_URL", monitor)
    monkeypatch.setenv("TAXI_HEARTBEAT_EVERY_SECONDS", "300")
    definitions = build_definitions()
    sensors = {
        name: definitions.resolve_sensor_def(name)
        for name in ("failed_ticks", "due_months", "heartbeat")
    }
    is_running = dg.DefaultSensorStatus.RUNNING
    assert {name for name, one in sensors.items() if one.default_status is is_running} == running
    assert sensors["heartbeat"].minimum_interval_seconds == 300
