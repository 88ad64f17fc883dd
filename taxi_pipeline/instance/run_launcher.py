"""Runs in containers of Docker's engine, as deploy/compose has them.

What a container may do and how much it gets is said in deploy/compose/dagster.yaml.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import dagster as dg
import docker

# A launcher has these to take and to give, and they have no public name.
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster_docker import DockerRunLauncher
from dagster_docker.container_context import DockerContainerContext
from docker.errors import DockerException, NotFound
from docker.models.containers import Container
from requests import RequestException

from taxi_pipeline.errors import PermanentError

# What the daemon's container has here, containers of runs have where the image's entrypoint looks.
RUN_SECRETS = "/run/run_secrets"
SECRETS = "/run/secrets"

_CONTAINER_ID = "docker/container_id"  # the tag that DockerRunLauncher gives to a run
_LAUNCHED_BY = "taxi_pipeline/launched_by"  # a label: the host may have other deployments' runs
_ENDED = ("exited", "dead")
_NEVER_STARTED = "created"  # as where the engine could not start it
_FAILED_ARE_KEPT = timedelta(days=1)
_LAST_LINES = 100  # of a traceback, whose first lines say why
_OUT_OF_MEMORY = (
    " It needed more memory than it may have (mem_limit in deploy/compose/dagster.yaml), and was "
    "killed."
)


class ContainerRunLauncher(DockerRunLauncher):
    """`DockerRunLauncher` whose runs are of the daemon's own image, and that says why one died.

    A container stays after its end, so that its state and its last lines can be read. Each launch
    removes those that ended well, and a day later the others.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a run in a container of the image that the daemon is of, by the image's id.

        A run that was queued before a new version was deployed would start in the old image, and
        one that starts while a new version of the same tag is built in one that the daemon is not.
        """
        _remove_ended(self._own["Name"])
        run = _in_image(context.dagster_run, self._own["Image"])
        super().launch_run(LaunchRunContext(run, context.workspace))

    def get_container_context(self, dagster_run: dg.DagsterRun) -> DockerContainerContext:
        """Return the container's settings, with our label and the daemon's folder of secrets.

        By its place on the host, which Docker knows of the daemon's container: so a checkout may be
        moved, and a secret that is changed is in the next run.
        """
        context: DockerContainerContext = super().get_container_context(dagster_run)
        settings = dict(context.container_kwargs)
        settings["labels"] = {**settings.get("labels", {}), _LAUNCHED_BY: self._own["Name"]}
        settings["mounts"] = [*settings.get("mounts", []), *self._mounts()]
        return context._replace(container_kwargs=settings)

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether a run's container goes on; if not, why, in short."""
        health: CheckRunHealthResult = super().check_run_worker_health(run)
        if health.status is not WorkerStatus.FAILED or not (container := _container(run)):
            return health
        state = container.attrs["State"]
        if state["Status"] not in _ENDED:
            return health
        ended = f"The run's container has ended, with exit code {state['ExitCode']}."
        return health._replace(msg=ended + (_OUT_OF_MEMORY if state["OOMKilled"] else ""))

    def get_run_worker_debug_info(
        self, run: dg.DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """Return the state of a run's container and the last lines that it printed."""
        if not (container := _container(run)):
            return "Its container is gone."
        lines = [f"Its container's state: {json.dumps(container.attrs['State'])}"]
        if include_container_logs:
            lines.append(container.logs(tail=_LAST_LINES).decode(errors="replace"))
        return "\n".join(lines)

    @cached_property
    def _own(self) -> Mapping[str, Any]:
        """What the engine knows of the container that this process is in."""
        name = socket.gethostname()  # Docker's default for it is the container's id
        try:
            container: Container = docker.from_env().containers.get(name)
        except NotFound as error:
            raise PermanentError(
                f"Docker has no container {name}: Dagster's daemon and webserver have to be in "
                "containers that keep the host name that Docker gives them, as in deploy/compose."
            ) from error
        attributes: Mapping[str, Any] = container.attrs
        return attributes

    def _mounts(self) -> Iterator[dict[str, object]]:
        for mount in self._own["Mounts"]:
            if mount["Destination"] == RUN_SECRETS:
                yield {
                    "Type": "bind",
                    "Source": mount["Source"],
                    "Target": SECRETS,
                    "ReadOnly": True,
                }


def _remove_ended(launched_by: str) -> None:
    """Remove the containers of runs that nobody needs any more, with their scratch disks.

    A container that cannot be removed keeps no run from being launched: what goes wrong is logged.
    """
    filters = {"label": f"{_LAUNCHED_BY}={launched_by}", "status": [*_ENDED, _NEVER_STARTED]}
    client = docker.from_env()
    with _problems_logged():
        for listed in client.api.containers(all=True, filters=filters):
            with _problems_logged():
                container = client.containers.get(listed["Id"])
                if _is_needless(container):
                    container.remove(v=True)


@contextmanager
def _problems_logged() -> Iterator[None]:
    try:
        yield
    except NotFound:
        pass  # somebody else has removed it
    except (DockerException, RequestException) as error:
        dg.get_dagster_logger().warning(f"A run's ended container could not be removed: {error}")


def _is_needless(container: Container) -> bool:
    state = container.attrs["State"]
    if state["Status"] == _NEVER_STARTED:
        return _is_old(container.attrs["Created"])
    return state["ExitCode"] == 0 or _is_old(state["FinishedAt"])


def _is_old(moment: str) -> bool:
    return datetime.now(UTC) - datetime.fromisoformat(moment) > _FAILED_ARE_KEPT


def _in_image(run: dg.DagsterRun, image: str) -> dg.DagsterRun:
    """Return a run whose code is in an image."""
    if not (origin := run.job_code_origin):
        return run  # which DockerRunLauncher refuses to launch
    repository = origin.repository_origin._replace(container_image=image)
    return run._replace(job_code_origin=origin._replace(repository_origin=repository))


def _container(run: dg.DagsterRun) -> Container | None:
    try:
        return docker.from_env().containers.get(run.tags[_CONTAINER_ID])
    except (KeyError, NotFound):
        return None
