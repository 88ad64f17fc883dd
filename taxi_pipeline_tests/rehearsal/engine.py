"""Docker's engine, as far as Dagster's launcher asks for it: a container is a process.

It stands in for what this machine has not, behind the real launcher and Docker's real client. A
process is started by the image's entrypoint and gets the variables and secrets that its container
would get, and no others; there is no image, no network and no limit.
"""

import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from taxi_pipeline_tests.support.http import serving_application


@dataclass
class Container:
    """What was asked for, and its process once it was started."""

    wanted: Mapping[str, Any]
    process: psutil.Popen | None = None

    @property
    def state(self) -> dict[str, object]:
        """Return the container's state in the engine's words."""
        if self.process is None:
            return {"Status": "created"}
        code = self.process.poll()
        return {"Status": "running"} if code is None else {"Status": "exited", "ExitCode": code}


@dataclass
class Engine:
    """The containers by their ids.

    `image` is the environment that the image would set, `secrets` the folder that stands for the
    volume of that purpose.
    """

    image: Mapping[str, str]
    entrypoint: str
    secrets: Path
    folder: Path
    containers: dict[str, Container] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a container's process; what it prints goes to a file of the container's name."""
        container = self.containers[name]
        variables = (each.partition("=") for each in container.wanted["Env"])
        environment = {**self.image, **{key: value for key, _, value in variables}}
        if "/run/secrets" in [
            mount["Target"] for mount in container.wanted["HostConfig"]["Mounts"]
        ]:
            environment["SECRETS_DIR"] = str(self.secrets)
        with (self.folder / f"{name}.log").open("wb") as log:
            container.process = psutil.Popen(
                [self.entrypoint, *container.wanted["Cmd"]],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def process(self, name: str) -> psutil.Popen:
        """Return a container's process."""
        process = self.containers[name].process
        assert process, f"{name} was not started"
        return process

    def application(self) -> Starlette:
        """Return the API."""

        async def version(request: Request) -> Response:
            return JSONResponse({"ApiVersion": "1.44", "MinAPIVersion": "1.24"})

        async def create(request: Request) -> Response:
            name = uuid.uuid4().hex
            self.containers[name] = Container(await request.json())
            return JSONResponse({"Id": name, "Warnings": []}, 201)

        async def inspect(request: Request) -> Response:
            name = request.path_params["name"]
            if name not in self.containers:
                return JSONResponse({"message": f"No such container: {name}"}, 404)
            labels = self.containers[name].wanted.get("Labels", {})
            state = self.containers[name].state
            return JSONResponse({"Id": name, "Config": {"Labels": labels}, "State": state})

        async def start(request: Request) -> Response:
            self.start(request.path_params["name"])
            return Response(status_code=204)

        async def stop(request: Request) -> Response:
            self.process(request.path_params["name"]).terminate()
            return Response(status_code=204)

        one = "/{version}/containers/{name}"
        return Starlette(
            routes=[
                Route("/version", version),
                Route("/{version}/containers/create", create, methods=["POST"]),
                Route(f"{one}/json", inspect),
                Route(f"{one}/start", start, methods=["POST"]),
                Route(f"{one}/stop", stop, methods=["POST"]),
            ]
        )


@contextmanager
def docker_engine(
    image: Mapping[str, str], entrypoint: str, secrets: Path, folder: Path
) -> Iterator[tuple[Engine, str]]:
    """Run an engine; yield it and what DOCKER_HOST has to be."""
    folder.mkdir()
    engine = Engine(image, entrypoint, secrets, folder)
    with serving_application(engine.application()) as url:
        try:
            yield engine, f"tcp://{urlsplit(url).netloc}"
        finally:
            for container in engine.containers.values():
                if container.process and container.process.poll() is None:
                    container.process.kill()
                    container.process.wait()
