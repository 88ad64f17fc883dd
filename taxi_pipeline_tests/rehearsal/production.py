"""Production's processes: storage, code server, webserver and daemon, to be stopped and started."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from taxi_pipeline.local import servers
from taxi_pipeline_tests.rehearsal.engine import Engine, docker_engine
from taxi_pipeline_tests.support.dagster_dev import LAUNCH_BACKFILL, free_port
from taxi_pipeline_tests.support.processes import until

_DEPLOY = Path(__file__).parents[2] / "deploy"
_BIN = Path(sys.executable).parent
_DEFINITIONS = "taxi_pipeline.definitions"
_STORAGE = "DAGSTER_POSTGRES_URL"

_RUNS = """
query {
  runsOrError {
    ... on Runs {
      results { runId status startTime endTime assetSelection { path } tags { key value } }
    }
  }
}
"""
_LOCATION = """
query {
  workspaceOrError {
    ... on Workspace { locationEntries { locationOrLoadError { __typename } } }
  }
}
"""


type Month = tuple[str, str]  # a table's name, and a partition's key


@dataclass(frozen=True)
class Run:
    """A run of a month, as the UI shows it; it `started` and `ended` at Unix times, or not yet."""

    month: Month
    status: str
    started: float | None
    ended: float | None
    container: str | None


@dataclass(frozen=True)
class Command:
    """How a process is started: its words, all of its environment, and whom it runs as."""

    words: Sequence[str | Path]
    environment: Mapping[str, str]
    user: str | None = None


@dataclass
class Production:
    """Where the UI and Dagster's storage are, the engine, and the processes by their names."""

    url: str
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
                [str(word) for word in command.words],
                env=command.environment,
                cwd=self.folder,
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

    def graphql(self, query: str, **variables: object) -> Any:
        """Return the data of GraphQL's answer; raises `OSError` or `ValueError` without one."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        if answer.get("errors"):
            raise ValueError(answer["errors"])
        return answer["data"]

    def is_loaded(self) -> bool:
        """Return whether the webserver has loaded the code location."""
        try:
            found = self.graphql(_LOCATION)["workspaceOrError"].get("locationEntries") or []
        except (OSError, ValueError):
            return False
        loaded = [entry["locationOrLoadError"] or {} for entry in found]
        return [one.get("__typename") for one in loaded] == ["RepositoryLocation"]

    def backfill(self, table: str, months: Sequence[str]) -> None:
        """Launch a backfill of a table's four assets as the UI does."""
        assets = [{"path": [layer, table]} for layer in ("raw", "cleaned", "bigquery", "postgres")]
        launched = self.graphql(LAUNCH_BACKFILL, months=months, assets=assets)
        assert "backfillId" in launched["launchPartitionBackfill"], launched

    def runs(self) -> list[Run]:
        """Return all runs; none while the webserver or its storage is away."""
        try:
            found = self.graphql(_RUNS)["runsOrError"].get("results", [])
        except (OSError, ValueError):
            return []
        return [_run(one) for one in found]

    def done(self) -> set[Month]:
        """Return the months of which a run has succeeded."""
        return {run.month for run in self.runs() if run.status == "SUCCESS"}

    def await_months(self, count: int, seconds: float) -> None:
        """Wait until so many months are done."""
        until(lambda: len(self.done()) >= count, seconds, every=1)


def _run(found: Mapping[str, Any]) -> Run:
    tags = {tag["key"]: tag["value"] for tag in found["tags"]}
    table = found["assetSelection"][0]["path"][-1]
    return Run(
        (table, tags["dagster/partition"]),
        found["status"],
        found["startTime"],
        found["endTime"],
        tags.get("docker/container_id"),
    )


@contextmanager
def production(folder: Path, stores: Mapping[str, str]) -> Iterator[Production]:
    """Run it on the stores, in a new folder; all of it ends with the block."""
    home = folder / "dagster"
    for place in (home, folder / "storage"):
        place.mkdir(parents=True)
    image = {
        "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR": "1",
        "DAGSTER_HOME": str(home),
        "GOOGLE_CLOUD_PROJECT": servers.PROJECT,
        "PATH": "/usr/bin:/bin",
        **{name: stores[name] for name in ("NO_GCE_CHECK", "NO_PROXY")},
    }
    ours = {name: value for name, value in stores.items() if name not in image}
    server, storage = servers.postgres(folder / "storage" / "postgres", free_port())
    code, web = free_port(), free_port()
    (home / "dagster.yaml").write_text(yaml.safe_dump(_instance([*ours, _STORAGE])))
    workspace = folder / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": _grpc_server(code)}]}))
    with docker_engine(image, folder / "containers") as (engine, docker_host):
        image |= {_STORAGE: storage}
        logs = {name: ours[name] for name in ("TAXI_BUCKET", "STORAGE_EMULATOR_HOST")}
        at = ("-h", "127.0.0.1", "-p")
        commands = {
            "storage": Command(server.command, {}, server.user),
            "code server": Command(
                [_BIN / "dagster", "code-server", "start", *at, str(code), "-m", _DEFINITIONS],
                image | ours,
            ),
            "webserver": Command(
                [_BIN / "dagster-webserver", "-w", workspace, *at, str(web)], image | logs
            ),
            "daemon": Command(
                [_BIN / "dagster-daemon", "run", "-w", workspace],
                image | ours | {"DOCKER_HOST": docker_host},
            ),
        }
        there = Production(f"http://127.0.0.1:{web}", storage, engine, folder, commands)
        try:
            there.start("storage")
            until(lambda: servers.accepts(storage))
            for name in ("code server", "webserver", "daemon"):
                there.start(name)
            until(there.is_loaded, 120)
            yield there
        finally:
            for name in reversed(there.processes):
                there.end(name, signal.SIGINT if name == "storage" else signal.SIGTERM)


def _instance(variables: Sequence[str]) -> dict[str, Any]:
    """Return the instance of deploy/, with the launcher and as many runs as two cores can bear."""
    instance: dict[str, Any] = yaml.safe_load((_DEPLOY / "dagster.yaml").read_text())
    instance["run_launcher"] = {
        "module": "dagster_docker",
        "class": "DockerRunLauncher",
        "config": {"image": "taxi_pipeline", "env_vars": [*variables]},
    }
    instance["concurrency"]["runs"]["max_concurrent_runs"] = 4
    return instance


def _grpc_server(port: int) -> dict[str, object]:
    return {"host": "127.0.0.1", "port": port, "location_name": "taxi_pipeline"}
