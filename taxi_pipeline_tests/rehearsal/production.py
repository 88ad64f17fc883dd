"""Production's processes, as deploy/compose has them, each to be stopped and started.

Commands, settings, secrets and Dagster's instance are read from there, and the image's part from
the Dockerfile; addresses are this machine's.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml
from dotenv import dotenv_values

from taxi_pipeline.local import servers
from taxi_pipeline_tests.rehearsal.engine import Engine, docker_engine
from taxi_pipeline_tests.support.dagster_dev import free_port
from taxi_pipeline_tests.support.dockerfile import REPOSITORY, Dockerfile
from taxi_pipeline_tests.support.processes import until
from taxi_pipeline_tests.support.webserver import Run, Webserver

_COMPOSE = REPOSITORY / "deploy" / "compose"
_SERVICES = ("code", "webserver", "daemon")  # in this order
_STORAGE, _TRIPS = "DAGSTER_POSTGRES_URL", "TAXI_POSTGRES_URL"

_LOCATION = """
query {
  workspaceOrError {
    ... on Workspace { locationEntries { locationOrLoadError { __typename } } }
  }
}
"""


type Month = tuple[str, str]  # a table's name, and a partition's key


@dataclass(frozen=True)
class Command:
    """How a process is started: its words, its folder, its environment, and whom it runs as."""

    words: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    user: str | None = None


@dataclass(frozen=True)
class Production(Webserver):
    """The webserver, where Dagster's storage is, the engine, and the processes by their names."""

    storage: str
    engine: Engine
    folder: Path
    commands: Mapping[str, Command]
    processes: dict[str, psutil.Popen] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a process; what it prints goes to a file of its name."""
        command = self.commands[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = psutil.Popen(
                command.words,
                env=command.environment,
                cwd=command.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C is then the test's, which ends it in order
                **servers.as_user(command.user),
            )

    def end(self, name: str, how: signal.Signals) -> None:
        """Send a process a signal; wait until it is gone, and kill what it leaves behind."""
        process = self.processes[name]
        with suppress(psutil.NoSuchProcess):
            children = process.children(recursive=True)
            process.send_signal(how)
            _, left = psutil.wait_procs([process], timeout=60)
            for one in (*left, *filter(psutil.Process.is_running, children)):
                one.kill()
            psutil.wait_procs([process, *children], timeout=10)

    def is_loaded(self) -> bool:
        """Return whether the webserver has loaded the code location."""
        try:
            found = self.graphql(_LOCATION)["workspaceOrError"].get("locationEntries") or []
        except (OSError, ValueError):
            return False
        loaded = [entry["locationOrLoadError"] or {} for entry in found]
        return [one.get("__typename") for one in loaded] == ["RepositoryLocation"]

    def runs(self) -> list[Run]:
        """Return all runs; none while the webserver or its storage is away."""
        try:
            return super().runs()
        except (OSError, ValueError):
            return []

    def done(self) -> set[Month]:
        """Return the months of which a run has succeeded."""
        return {run.month for run in self.runs() if run.status == "SUCCESS"}

    def await_done(self, count: int, seconds: float) -> None:
        """Wait until so many months are done; fail if one has failed that is not retried."""

        def all_done() -> bool:
            given_up = [
                run
                for run in self.runs()
                if run.status == "FAILURE" and run.tags.get("dagster/will_retry") == "false"
            ]
            assert not given_up, given_up
            return len(self.done()) >= count

        until(all_done, seconds, every=5)

    def set_up_pools(self) -> None:
        """Run what the README of compose says to run before the first run."""
        commands = re.findall(
            r"^docker compose exec daemon entrypoint\.sh (dagster instance .+)$",
            (_COMPOSE / "README.md").read_text(),
            re.MULTILINE,
        )
        assert commands
        command = self.commands["daemon"]
        for words in commands:
            subprocess.run(
                [command.words[0], *words.split()],
                env=command.environment,
                cwd=command.folder,
                check=True,
            )


@contextmanager
def production(folder: Path, stores: Mapping[str, str]) -> Iterator[Production]:
    """Run it on the stores, in a new folder; all of it ends with the block."""
    home = folder / "dagster"
    shutil.copytree(_COMPOSE, home, ignore=shutil.ignore_patterns("secrets"))
    (folder / "storage").mkdir()
    postgres, storage = servers.postgres(folder / "storage" / "postgres", free_port())
    secrets = {_STORAGE: storage, _TRIPS: stores[_TRIPS]}
    code, web = free_port(), free_port()
    workspace = {"host": "127.0.0.1", "port": code, "location_name": "taxi_pipeline"}
    (home / "workspace.yaml").write_text(
        yaml.safe_dump({"load_from": [{"grpc_server": workspace}]})
    )
    image, entrypoint = _image(home, stores), str(REPOSITORY / "deploy" / "entrypoint.sh")
    of_runs = _files(folder / "secrets" / "runs", secrets, secrets)
    with docker_engine(image, entrypoint, of_runs, folder / "containers") as (engine, host):
        moved = {"0.0.0.0": "127.0.0.1", "4000": str(code), "3000": str(web)}
        commands = {"storage": Command(postgres.command, folder, {}, postgres.user)}
        for name, service in yaml.safe_load((home / "compose.yaml").read_text())[
            "services"
        ].items():
            if name in _SERVICES:
                words = service.get("command") or Dockerfile.read().command("CMD")
                its = _files(folder / "secrets" / name, secrets, service["secrets"])
                environment = image | _settings(stores) | service.get("environment", {})
                environment |= {"DOCKER_HOST": host, "SECRETS_DIR": str(its)}
                words = [entrypoint, *(moved.get(word, word) for word in words)]
                commands[name] = Command(words, home, environment)
        there = Production(f"http://127.0.0.1:{web}", storage, engine, folder, commands)
        try:
            there.start("storage")
            until(lambda: servers.accepts(storage))
            for name in _SERVICES:
                there.start(name)
            there.set_up_pools()
            until(there.is_loaded, 120)
            yield there
        finally:
            for name in reversed(there.processes):
                there.end(name, signal.SIGINT if name == "storage" else signal.SIGTERM)


def _image(home: Path, stores: Mapping[str, str]) -> dict[str, str]:
    """Return what the image sets, and where the emulators are, which stand for Google."""
    return {
        **Dockerfile.read().environment,
        "DAGSTER_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "GOOGLE_CLOUD_PROJECT": servers.PROJECT,  # as a key or the metadata server would name it
        **{
            name: value
            for name, value in stores.items()
            if not name.startswith(("TAXI_", "DAGSTER_"))
        },
    }


def _settings(stores: Mapping[str, str]) -> dict[str, str]:
    """Return what compose's two files of settings would set; secrets are in neither."""
    return {
        **{name: value or "" for name, value in dotenv_values(_COMPOSE / "defaults.env").items()},
        **{
            name: value
            for name, value in stores.items()
            if name.startswith("TAXI_") and name != _TRIPS
        },
    }


def _files(folder: Path, secrets: Mapping[str, str], wanted: Iterable[str]) -> Path:
    """Write the wanted secrets, as far as there are any, into files."""
    folder.mkdir(parents=True)
    for name in secrets.keys() & {*wanted}:
        (folder / name).write_text(secrets[name])
    return folder
