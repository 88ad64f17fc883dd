"""What befalls the deployment in a backfill, each as an operator, or bad luck, does it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from taxi_pipeline_tests.containers.deployment import Deployment, commands
from taxi_pipeline_tests.support.postgres_server import losing_events
from taxi_pipeline_tests.support.processes import until
from taxi_pipeline_tests.support.webserver import Run

# The process that a container's first one, Docker's `init`, has started.
_KILL = r'kill -9 $(grep -l "^PPid:[[:space:]]*1$" /proc/[0-9]*/status | cut -d/ -f3)'


def kill_process(there: Deployment, service: str) -> None:
    """Kill a service's process as the kernel does that has no memory left; await the next one."""
    container = there.container(service)
    restarts = there.inspect(container)["RestartCount"]
    there.engine.start("exec", container, "sh", "-c", _KILL)
    until(lambda: there.inspect(container)["RestartCount"] > restarts)


def deploy(there: Deployment) -> None:
    """Deploy a new version by the README's commands; the version differs in a line of the code."""
    module = there.folder.parents[2] / "origin" / "taxi_pipeline" / "__init__.py"
    module.write_text(f"{module.read_text()}# another version\n")
    there.sh(f"git -C {module.parent} -c user.name=t -c user.email=t@localhost commit -qam 'Next'")
    for block in commands("A new version"):
        there.sh(block, 600)


def _started(there: Deployment) -> Run:
    def found() -> list[Run]:
        return [run for run in there.runs() if run.status == "STARTED" and _container_of(run)]

    return until(found)[0]


def _container_of(run: Run) -> str | None:
    return run.tags.get("docker/container_id")


def _kill_run(there: Deployment) -> None:
    there.engine.run("kill", cast("str", _container_of(_started(there))))


def _starve_run(there: Deployment) -> None:
    """Let a run have hardly more memory than it uses while it waits for its file."""
    container = cast("str", _container_of(_started(there)))
    used = there.engine.run("stats", "--no-stream", "--format", "{{.MemUsage}}", container)
    # Docker does not count what the kernel could take back, and the kernel refuses what it uses.
    limits = (f"{float(used.partition('MiB')[0]) + more:.0f}m" for more in range(10, 100, 10))
    accepted = (
        there.engine.start("update", f"--memory={limit}", f"--memory-swap={limit}", container)
        for limit in limits
    )
    assert any(done.returncode == 0 for done in accepted)


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
    there.engine.restart()
    until(lambda: there.health("emulators") == "healthy", every=0.5)


@dataclass(frozen=True)
class Fault:
    """What happens, and whether the months under way wait for their files until it has."""

    happen: Callable[[Deployment], None]
    held: bool = False


FAULTS = {
    "a new version is built, migrated and started": Fault(deploy),
    "the code location's process is killed (-9)": Fault(_kill("code")),
    "the daemon's process is killed (-9)": Fault(_kill("daemon")),
    "the webserver's process is killed (-9)": Fault(_kill("webserver")),
    "a run's container is killed": Fault(_kill_run),
    "a run needs more memory than it may have": Fault(_starve_run, held=True),
    "Dagster's PostgreSQL is restarted": Fault(_restart("dagster-database")),
    "Dagster's PostgreSQL loses what a run materialized": Fault(_lose_an_event),
    "the trips' PostgreSQL is restarted": Fault(_restart("taxi-database")),
    "the host's Docker is restarted": Fault(_restart_engine),
}
