"""deploy/compose, set up and started by the commands of its README.

What the test adds stands in an override file and in two lists: the emulators' addresses, and ports
of loopback by which the test looks in.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from taxi_pipeline.local import servers
from taxi_pipeline.local.publisher import ZONE_SHAPES, ZONES, url_templates
from taxi_pipeline_tests.containers.emulators import BIGQUERY, GCS, HOST, PUBLISHER, READY
from taxi_pipeline_tests.containers.engine import Engine
from taxi_pipeline_tests.containers.gate import Month, RemoteGate
from taxi_pipeline_tests.containers.images import OF_DEPLOYMENT, STANDINS, refuse_deployment
from taxi_pipeline_tests.support.dagster_dev import free_port
from taxi_pipeline_tests.support.dockerfile import REPOSITORY
from taxi_pipeline_tests.support.processes import PATIENCE, until
from taxi_pipeline_tests.support.webserver import Run, Webserver

README = (REPOSITORY / "deploy/compose/README.md").read_text()

PASSED_OVER = "has not launched the run again"  # in the event that lost_retries writes

_RUNS = "taxi_pipeline_runs"  # by a label in deploy/compose/dagster.yaml
_PUBLISHED = f"http://{HOST}:{PUBLISHER}"
# in place of .env.example's
_SETTINGS = {
    "TAXI_GCP_PROJECT": servers.PROJECT,
    "TAXI_BUCKET": servers.BUCKET,
    "TAXI_DATASET": servers.DATASET,
    "TAXI_PUBLISHER_URLS": url_templates(_PUBLISHED),
    "TAXI_ZONES_URL": f"{_PUBLISHED}/{ZONES}",
    "TAXI_ZONE_SHAPES_URL": f"{_PUBLISHED}/{ZONE_SHAPES}",
}
# which Google's clients read, in runs, too
_EMULATORS = {
    "STORAGE_EMULATOR_HOST": f"http://{HOST}:{GCS}",
    "BIGQUERY_EMULATOR_HOST": f"http://{HOST}:{BIGQUERY}",
    "NO_GCE_CHECK": "true",
}

_LOCATION = """
query {
  workspaceOrError {
    ... on Workspace { locationEntries { locationOrLoadError { __typename } } }
  }
}
"""
_ERRORS = """
query ($run: ID!) {
  runOrError(runId: $run) {
    ... on Run {
      eventConnection {
        events { ... on RunFailureEvent { message error { message causes { message } } } }
      }
    }
  }
}
"""


def commands(heading: str) -> list[str]:
    """Return the blocks of commands under a heading of deploy/compose's README."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert blocks, heading
    return blocks


@dataclass(frozen=True)
class Ports:
    """The ports of loopback by which tests look in; no start of a container changes them."""

    webserver: int
    publisher: int
    database: int


@dataclass(frozen=True)
class Deployment(Webserver):
    """The webserver, the engine, and the folder in which the README's commands are given."""

    engine: Engine
    folder: Path
    ports: Ports

    def sh(self, script: str, seconds: float = PATIENCE) -> str:
        """Run a script of the README's in its folder; return what it printed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )
        assert done.returncode == 0, (script, done.stdout)
        return done.stdout

    def compose(self, *words: str, seconds: float = PATIENCE) -> str:
        """Run a command of `docker compose`; return what it printed, without the error's words."""
        done = self.start(*words, seconds=seconds)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def start(self, *words: str, seconds: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run a command of `docker compose` to its end; return how it ended."""
        return subprocess.run(
            ["docker", "compose", *words],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def container(self, service: str) -> str:
        """Return the id of a service's container."""
        return self.compose("ps", "--all", "--quiet", service).strip()

    def inspect(self, container: str) -> Any:
        """Return what the engine knows of a container."""
        (inspected,) = json.loads(self.engine.run("inspect", container))
        return inspected

    def start_of(self, service: str) -> str:
        """Return when a service's container was started."""
        start: str = self.inspect(self.container(service))["State"]["StartedAt"]
        return start

    def health(self, service: str) -> str:
        """Return a service's health, in Docker's words."""
        health: str = self.inspect(self.container(service))["State"]["Health"]["Status"]
        return health

    def gate(self) -> RemoteGate:
        """Return the publisher's gate."""
        return RemoteGate(f"http://127.0.0.1:{self.ports.publisher}/gate")

    def storage(self) -> str:
        """Return the URL of Dagster's own database."""
        password = (self.folder / "secrets/dagster_database_password").read_text().strip()
        return f"postgresql://dagster:{password}@127.0.0.1:{self.ports.database}/dagster"

    def containers_of_runs(self) -> list[str]:
        """Return the ids of all containers of our runs, those that have ended, too."""
        # the engine may have runs of others
        of_ours = f"label=com.docker.compose.project={_RUNS}"
        return self.engine.run("ps", "-aq", "--filter", of_ours).split()

    def is_loaded(self) -> bool:
        """Return whether the webserver has loaded the code location."""
        try:
            entries = self.graphql(_LOCATION)["workspaceOrError"].get("locationEntries") or []
        except (OSError, ValueError):
            return False
        loaded = [entry["locationOrLoadError"] or {} for entry in entries]
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

    def error_of(self, run: str) -> str:
        """Return what a run failed with, its causes too, as the UI shows it."""
        events = self.graphql(_ERRORS, run=run)["runOrError"]["eventConnection"]["events"]
        return json.dumps([event for event in events if event])

    def await_done(self, months: Collection[Month]) -> None:
        """Wait until these months are done; fail if one has ended that is not run again."""

        def all_done() -> bool:
            failed = [
                run
                for run in self.runs()
                if run.status == "CANCELED"
                or (run.status == "FAILURE" and run.tags.get("dagster/will_retry") == "false")
            ]
            errors = [
                (run.month, self.error_of(run.id))
                for run in failed
                if run.month in months and not self.lost_retry(run)
            ]
            assert not errors, errors
            return self.done() >= {*months}

        try:
            until(all_done, PATIENCE * 3, every=1)
        except AssertionError as error:
            error.add_note(self.state())
            raise

    def lost_retry(self, run: Run) -> bool:
        """Return whether Dagster was to launch a failed run again, and has not."""
        messages = self.events(run.id, ["EngineEvent"])
        return "Failed to retry run" in messages or any(PASSED_OVER in words for words in messages)

    def has_recovered(self) -> bool:
        """Return whether each run that was lost is known to be, and was launched again."""
        runs = self.runs()
        return bool(runs) and not any(self._is_lost(run) for run in runs)

    def _is_lost(self, run: Run) -> bool:
        container = run.tags.get("docker/container_id")
        if run.status in {"STARTING", "STARTED"} and container:
            # one that has ended well since may be gone
            listed = self.engine.run("ps", "-aq", "--no-trunc", "--filter", f"id={container}")
            return bool(listed) and not self.inspect(container)["State"]["Running"]
        is_retried = run.tags.get("dagster/will_retry") == "true"
        return (
            run.status == "FAILURE" and is_retried and "dagster/auto_retry_run_id" not in run.tags
        )

    def state(self) -> str:
        """Return what whoever looks for a fault asks first: runs, the gate, the daemon's words."""
        runs = [f"{run.status} {run.month} {run.id[:8]}" for run in self.runs()]
        words = self.start("logs", "--no-color", "--tail", "60", "daemon").stdout
        return "\n".join([*runs, f"waiting: {self.gate().waiting}", words])

    def ledger(self, *options: str) -> list[Mapping[str, Any]]:
        """Return what `taxi ledger --json` prints, which must end well."""
        words = ("exec", "-T", "code", "entrypoint.sh", "taxi", "ledger", "--json", *options)
        entries: list[Mapping[str, Any]] = json.loads(self.compose(*words))
        return entries

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.engine.environment,
            "COMPOSE_FILE": "compose.yaml:override.yaml",
            "PWD": str(self.folder),
        }


@contextmanager
def set_up(engine: Engine, folder: Path) -> Iterator[Deployment]:
    """Clone the repository and follow the README up to its start; remove all of it in the end."""
    origin = folder / "origin"
    _copy_repository(origin)
    subprocess.run(["git", "clone", "-q", origin, folder / "taxi_pipeline"], check=True)
    ports = Ports(free_port(), free_port(), free_port())
    url = f"http://127.0.0.1:{ports.webserver}"
    there = Deployment(url, engine, folder / "taxi_pipeline" / "deploy" / "compose", ports)
    (there.folder / "KEY.json").write_text("{}")
    for heading in ("Settings", "Secrets"):
        for block in commands(heading):
            there.sh(block)
    _point_at_emulators(there)
    try:
        yield there
    finally:
        for container in there.containers_of_runs():
            engine.start("rm", "--force", "--volumes", container)
        there.compose("down", "--volumes", "--timeout", "20")


def start(there: Deployment) -> None:
    """Start it as the README does, the pools' limits too."""
    for block in commands("Start"):
        there.sh(block.replace("docker compose exec ", "docker compose exec -T "), PATIENCE * 3)
    until(there.is_loaded, every=0.5)


def clear(engine: Engine) -> None:
    """Remove what tests that were killed have left in an engine of theirs.

    Raises:
        NoEngineError: The engine is somebody's, and has a deployment that they would replace.
    """
    refuse_deployment(engine)
    for container in engine.run("ps", "--all", "--quiet", "--filter", OF_DEPLOYMENT).split():
        engine.run("rm", "--force", container)
    for volume in engine.run("volume", "ls", "--quiet", "--filter", OF_DEPLOYMENT).split():
        engine.run("volume", "rm", volume)


def _copy_repository(to: Path) -> None:
    """Make a repository of what git would take of ours, changes that are not committed included."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        if (REPOSITORY / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, to / name)
    git = ["git", "-C", str(to), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "As it is"]):
        subprocess.run([*git, *words], check=True)


def _point_at_emulators(there: Deployment) -> None:
    path = there.folder / ".env"
    kept = [
        line for line in path.read_text().splitlines() if line.partition("=")[0] not in _SETTINGS
    ]
    kept += [f"{name}={value}" for name, value in (_SETTINGS | _EMULATORS).items()]
    path.write_text("\n".join(kept) + "\n")

    path = there.folder / "dagster.yaml"
    added = "".join(f"\n      - {name}" for name in _EMULATORS)
    text = path.read_text()
    assert text.count("\n    env_vars:") == 1
    path.write_text(text.replace("\n    env_vars:", f"\n    env_vars:{added}"))

    services = {
        HOST: {
            "image": STANDINS,
            "entrypoint": ["python", "-u", "-m", "taxi_pipeline_tests.containers.emulators"],
            "stop_signal": "SIGTERM",
            "init": True,
            "networks": ["default", "runs"],
            "ports": [f"127.0.0.1:{there.ports.publisher}:{PUBLISHER}"],
            "tmpfs": [f"{READY.parent}:mode=1777"],
            "healthcheck": {
                "test": ["CMD", "test", "-e", str(READY)],
                "interval": "2s",
                "start_period": "300s",
            },
            "restart": "unless-stopped",
        },
        "dagster-database": {"ports": [f"127.0.0.1:{there.ports.database}:5432"]},
    }
    override = yaml.safe_dump({"services": services})
    ports = f'  webserver:\n    ports: !override ["127.0.0.1:{there.ports.webserver}:3000"]\n'
    (there.folder / "override.yaml").write_text(override + ports)
