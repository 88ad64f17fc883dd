"""What befalls the deployment in a backfill, each as an operator, or bad luck, does it."""

from collections.abc import Callable
from typing import cast

from taxi_pipeline.automation.lost_retries import RELAUNCHES
from taxi_pipeline_tests.containers.deployment import PASSED_OVER, Deployment, commands
from taxi_pipeline_tests.support.postgres_server import losing_events, slow_failures
from taxi_pipeline_tests.support.processes import PATIENCE, until
from taxi_pipeline_tests.support.webserver import Run

# The process that a container's first one, Docker's `init`, has started.
_MAIN = r'$(grep -l "^PPid:[[:space:]]*1$" /proc/[0-9]*/status | cut -d/ -f3)'
_KILL = f"kill -9 {_MAIN}"
_STARVE = f"echo 1000 > /proc/{_MAIN}/oom_score_adj"


def kill_process(there: Deployment, service: str) -> None:
    """Kill a service's process as the kernel does that has no memory left; await the next one."""
    container = there.container(service)
    restarts = there.inspect(container)["RestartCount"]
    there.engine.start("exec", container, "sh", "-c", _KILL)
    until(lambda: there.inspect(container)["RestartCount"] > restarts, every=0.5)


def deploy(there: Deployment) -> None:
    """Deploy a new version by the README's commands; the version differs in a line of the code."""
    module = there.folder.parents[2] / "origin" / "taxi_pipeline" / "__init__.py"
    module.write_text(f"{module.read_text()}# another version\n")
    there.sh(f"git -C {module.parent} -c user.name=t -c user.email=t@localhost commit -qam 'Next'")
    for block in commands("A new version"):
        there.sh(block, PATIENCE * 3)


def _started(there: Deployment) -> Run:
    """Return a run whose file has come. It is no retry: Dagster makes two of them and no third."""

    def started() -> list[Run]:
        passed = there.gate().passed
        return [
            run
            for run in there.runs()
            if run.status == "STARTED"
            and run.month in passed
            and _container_of(run)
            and "dagster/parent_run_id" not in run.tags
        ]

    return until(started, every=0.5)[0]


def _container_of(run: Run) -> str | None:
    return run.tags.get("docker/container_id")


def _kill_run(there: Deployment) -> None:
    there.engine.run("kill", cast("str", _container_of(_started(there))))


def _fetching(there: Deployment) -> Run:
    """Return a run that waits for its file, and so has a place in the pool."""

    def fetching() -> list[Run]:
        waiting = there.gate().waiting
        return [
            run
            for run in there.runs()
            if run.status == "STARTED" and run.month in waiting and _container_of(run)
        ]

    return until(fetching, every=0.5)[0]


def _kill_fetching_run(there: Deployment) -> None:
    there.engine.run("kill", cast("str", _container_of(_fetching(there))))


def _starve_run(there: Deployment) -> None:
    """Use up the memory of a run's container, in which the kernel then kills the run first."""
    container = cast("str", _container_of(_fetching(there)))  # which does not end meanwhile
    there.engine.start("exec", container, "sh", "-c", f"{_STARVE}; tail /dev/zero")
    until(lambda: there.inspect(container)["State"]["OOMKilled"], every=0.5)


def _lose_a_retry(there: Deployment) -> None:
    """Kill a run's container while the code location is away, until Dagster has given it up."""
    run = _fetching(there)
    there.compose("stop", "code")
    try:
        there.engine.run("kill", cast("str", _container_of(run)))
        until(lambda: there.lost_retry(run), every=0.5)
    finally:
        there.compose("start", "code")
    _await_relaunch(there, run)


def _pass_over_a_failure(there: Deployment) -> None:
    """Kill a run's container while Dagster's storage is so busy that the daemon passes it over.

    The daemon looks for failures every five seconds, and reads this one before the run has failed.
    """
    run = _fetching(there)
    with slow_failures(there.storage(), seconds=20):
        there.engine.run("kill", cast("str", _container_of(run)))
        until(lambda: there.status(run.id) == "FAILURE", every=0.5)
    _await_relaunch(there, run)
    messages = there.events(run.id, ["EngineEvent"])
    assert any(PASSED_OVER in message for message in messages), messages


def _await_relaunch(there: Deployment, run: Run) -> None:
    def is_run_again() -> bool:
        return any(again.month == run.month and RELAUNCHES in again.tags for again in there.runs())

    until(is_run_again, every=0.5)


def _restart(service: str) -> Callable[[Deployment], None]:
    def restart(there: Deployment) -> None:
        there.compose("restart", service)

    return restart


def _kill(service: str) -> Callable[[Deployment], None]:
    def kill(there: Deployment) -> None:
        kill_process(there, service)

    return kill


def _lose_an_event(there: Deployment) -> None:
    def failed() -> int:
        return sum(run.status == "FAILURE" for run in there.runs())

    so_far = failed()
    with losing_events(there.storage(), "ASSET_MATERIALIZATION"):
        there.gate().let(1)  # which materializes from now on
        until(lambda: failed() > so_far, every=0.5)


def _restart_engine(there: Deployment) -> None:
    before = there.start_of("emulators")
    there.engine.restart()
    # a container that is not started yet is as healthy as it was
    until(lambda: there.start_of("emulators") != before, every=0.5)
    until(lambda: there.health("emulators") == "healthy", every=0.5)


LOSE_A_RETRY = "a run's container is killed while the code location is away"
PASS_OVER = "a run's failure is read before its status says the same"
STARVE_A_RUN = "a run needs more memory than it may have"
_FETCH_AND_DIE = "a run's container is killed while it fetches"

FAULTS: dict[str, Callable[[Deployment], None]] = {
    "a new version is built, migrated and started": deploy,
    "the daemon's process is killed (-9)": _kill("daemon"),
    "the code location's process is killed (-9)": _kill("code"),
    "the webserver's process is killed (-9)": _kill("webserver"),
    "a run's container is killed": _kill_run,
    _FETCH_AND_DIE: _kill_fetching_run,
    LOSE_A_RETRY: _lose_a_retry,
    PASS_OVER: _pass_over_a_failure,
    STARVE_A_RUN: _starve_run,
    "Dagster's PostgreSQL is restarted": _restart("dagster-database"),
    "Dagster's PostgreSQL loses what a run materialized": _lose_an_event,
    "the trips' PostgreSQL is restarted": _restart("taxi-database"),
    "the host's Docker is restarted": _restart_engine,
}
# The months under way keep waiting for their files until it has happened.
WHILE_FETCHING = {_FETCH_AND_DIE, LOSE_A_RETRY, PASS_OVER, STARVE_A_RUN}
