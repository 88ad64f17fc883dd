"""What befalls production while a backfill goes on, each as an operator, or bad luck, does it."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from taxi_pipeline.local import servers
from taxi_pipeline_tests.rehearsal.gate import Gate
from taxi_pipeline_tests.rehearsal.production import Production
from taxi_pipeline_tests.support.postgres_server import losing_events, restart
from taxi_pipeline_tests.support.processes import until


@dataclass(frozen=True)
class Scene:
    """Production, its publisher's gate, and the stack that plays the stores.

    Of the stack, its folder and its environment.
    """

    production: Production
    gate: Gate
    stack: Path
    stores: dict[str, str]


def _deploy(scene: Scene) -> None:
    scene.production.end("code", signal.SIGTERM)
    scene.production.start("code")


def _kill_daemon(scene: Scene) -> None:
    scene.production.end("daemon", signal.SIGKILL)
    scene.production.start("daemon")


def _kill_worker(scene: Scene) -> None:
    def workers() -> list[str]:
        containers = [
            run.tags.get("docker/container_id")
            for run in scene.production.runs()
            if run.status == "STARTED"
        ]
        return [container for container in containers if container]

    scene.production.engine.process(until(workers)[0]).kill()


def _restart_storage(scene: Scene) -> None:
    scene.production.end("storage", signal.SIGINT)  # as "stop now", for PostgreSQL
    scene.production.start("storage")
    until(lambda: servers.accepts(scene.production.storage))


def _lose_an_event(scene: Scene) -> None:
    def failed() -> int:
        return sum(run.status == "FAILURE" for run in scene.production.runs())

    so_far = failed()
    with losing_events(scene.production.storage, "ASSET_MATERIALIZATION"):
        scene.gate.let(1)  # which materializes from now on
        until(lambda: failed() > so_far, every=0.5)


def _restart_database(scene: Scene) -> None:
    restart(scene.stack, scene.stores["TAXI_POSTGRES_URL"])


FAULTS: dict[str, Callable[[Scene], None]] = {
    "the code server is restarted, as by a deploy": _deploy,
    "the daemon is killed (-9) and started again": _kill_daemon,
    "a run's worker is killed (-9)": _kill_worker,
    "Dagster's PostgreSQL is restarted": _restart_storage,
    "Dagster's PostgreSQL loses what a run materialized": _lose_an_event,
    "the trips' PostgreSQL is restarted": _restart_database,
}
