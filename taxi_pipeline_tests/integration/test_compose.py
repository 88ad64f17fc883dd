"""deploy/compose: a sound compose file, no second truth beside the others, and runs as it says.

No engine is needed: an API that takes Docker's place is asked for runs, and notes what for.
taxi_pipeline_tests/containers starts all this on a real one.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs

import dagster as dg
import pytest
import yaml
from dagster._config import process_config
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import deserialize_value
from dagster_postgres import DagsterPostgresStorage

from taxi_pipeline.definitions import build_definitions
from taxi_pipeline.instance.compute_logs import BucketComputeLogManager
from taxi_pipeline.instance.run_launcher import RUN_SECRETS, SECRETS, ContainerRunLauncher
from taxi_pipeline_tests.support.dockerfile import REPOSITORY
from taxi_pipeline_tests.support.http import Answer, body, listening, status

FOLDER = REPOSITORY / "deploy/compose"
SECRET_SETTINGS = {
    "TAXI_POSTGRES_URL",
    "TAXI_NOTIFY_URL",
    "TAXI_HEARTBEAT_URL",
    "GCP_CREDENTIALS",
    "OPENLINEAGE_API_KEY",
}
INSTANCE = yaml.safe_load((FOLDER / "dagster.yaml").read_text())
LAUNCHER = INSTANCE["run_launcher"]["config"]
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DAEMONS_IMAGE = f"sha256:{'c0ffee' * 10}c0ff"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def names_in(text: str) -> list[str]:
    """Return the variables of an environment file, those in comments too."""
    return re.findall(r"^(?:# )?([A-Z_]+)=", text, re.MULTILINE)


EXAMPLE = names_in((REPOSITORY / ".env.example").read_text())


def test_it_is_what_the_specification_says() -> None:
    check = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [check, "--builtin-schema", "vendor.compose-spec", FOLDER / "compose.yaml"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_docker_compose_takes_it(tmp_path: Path) -> None:
    if not (command := _docker_compose()):
        pytest.skip("there is no docker compose on this machine")
    shutil.copytree(
        REPOSITORY, tmp_path / "repository", ignore=shutil.ignore_patterns(".*", "build")
    )
    folder = tmp_path / "repository/deploy/compose"
    (folder / ".env").write_text("DOCKER_GID=999\nTAXI_BUCKET=a-lake\n")
    done = subprocess.run(
        [*command, "config", "--format", "json"],
        cwd=folder,
        env=os.environ | {"PWD": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)
    for name in ("webserver", "daemon", "code"):
        assert config["services"][name]["environment"]["TAXI_BUCKET"] == "a-lake"
    (mount,) = [
        volume
        for volume in config["services"]["daemon"]["volumes"]
        if volume["target"] == RUN_SECRETS
    ]
    assert mount["source"] == f"{folder}/secrets/runs"


def _docker_compose() -> list[str] | None:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, "version"], capture_output=True, text=True)
            if done.stdout.startswith("Docker Compose version"):  # the one before knew other files
                return command
    return None


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_restarts_is_watched_pinned_and_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert name == "code" or service["healthcheck"]["test"]  # code has its image's
    assert re.fullmatch(r"[a-z_]+:\d+(\.\d+)+(-[a-z]+)?", service["image"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "network_mode" not in service


def test_what_is_published_is_published_on_loopback_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:3000:3000"]


def test_only_who_starts_and_ends_runs_has_dockers_socket() -> None:
    having = {
        name for name, service in SERVICES.items() if "docker.sock" in str(service.get("volumes"))
    }
    assert having == {"daemon", "webserver"}


def test_no_file_has_a_password() -> None:
    for path in FOLDER.glob("*"):
        if path.name not in ("secrets", ".env"):
            text = path.read_text()
            assert not re.search(r"PASSWORD\s*[:=]", text), path
            assert not re.search(r"://[^/\s$]+:[^/\s$]+@", text), path


def test_secrets_are_declared_used_and_files_that_git_ignores() -> None:
    used = {secret for service in SERVICES.values() for secret in service["secrets"]}
    assert used == set(COMPOSE["secrets"])
    for secret in COMPOSE["secrets"].values():
        assert set(secret) == {"file"}
        assert secret["file"].startswith("./secrets/")
    assert "deploy/compose/secrets/" in (REPOSITORY / ".gitignore").read_text().splitlines()


def test_every_secret_is_one_that_the_readme_says_how_to_make() -> None:
    text = (FOLDER / "README.md").read_text()
    for name, secret in COMPOSE["secrets"].items():
        made = re.sub(r"^(DAGSTER|TAXI)_POSTGRES_URL$", "_POSTGRES_URL", name)
        made = re.sub(r"^(dagster|taxi)_database_password$", "_database_password", made)
        assert made in text, secret


def test_every_variable_is_the_examples_the_entrypoints_dagsters_or_postgresqls() -> None:
    theirs = re.compile(r"(DAGSTER|POSTGRES)_[A-Z_]+")
    entrypoint = (REPOSITORY / "deploy/entrypoint.sh").read_text()
    known = {*EXAMPLE, *re.findall(r"\$\{([A-Z_]+)-\}", entrypoint)}
    for service in SERVICES.values():
        for variable in service.get("environment", {}):
            assert variable in known or theirs.fullmatch(variable), variable
    text = (FOLDER / "compose.yaml").read_text()
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    assert asked == {"DOCKER_GID", "REVISION"}


def test_every_setting_reaches_the_code_location_and_runs() -> None:
    for name in ("webserver", "daemon", "code"):
        assert SERVICES[name]["env_file"] == ["defaults.env", ".env"]
    assert set(LAUNCHER["env_vars"]) == set(EXAMPLE) - SECRET_SETTINGS
    # the launcher refuses a variable that the daemon does not have, and these need not be set
    defaults = (FOLDER / "defaults.env").read_text()
    optional = re.findall(r"^# ([A-Z_]+)=", (REPOSITORY / ".env.example").read_text(), re.MULTILINE)
    assert names_in(defaults) == [name for name in optional if name not in SECRET_SETTINGS]
    assert re.findall(r"=(.*)$", defaults, re.MULTILINE) == [""] * len(names_in(defaults))


def test_every_server_reaches_the_webserver() -> None:
    command = SERVICES["webserver"]["command"]
    url = f"http://webserver:{command[command.index('-p') + 1]}"
    for name in ("webserver", "daemon", "code"):
        assert SERVICES[name]["environment"]["TAXI_DAGSTER_API_URL"] == url


def test_the_instance_is_productions_but_for_where_runs_go_on() -> None:
    production = yaml.safe_load((FOLDER.parent / "dagster.yaml").read_text())
    ours = dict(INSTANCE)
    del ours["run_launcher"]
    ours["concurrency"] = {**ours["concurrency"], "runs": production["concurrency"]["runs"]}
    # no machine has to be found for a run first
    timeout = {"start_timeout_seconds": production["run_monitoring"]["start_timeout_seconds"]}
    ours["run_monitoring"] = {**ours["run_monitoring"], **timeout}
    assert ours == production
    assert set(INSTANCE["concurrency"]["runs"]) == {"max_concurrent_runs"}


def test_dagster_takes_the_instance() -> None:
    ref = InstanceRef.from_dir(str(FOLDER))
    assert isinstance(ref.run_launcher, ContainerRunLauncher)
    assert ref.run_launcher.supports_check_run_worker_health
    assert isinstance(ref.run_coordinator, QueuedRunCoordinator)
    with patch.dict(os.environ, DAGSTER_POSTGRES_URL="postgresql://u:p@h/d", TAXI_BUCKET="a-lake"):
        for data, kind in (
            (ref.storage_data, DagsterPostgresStorage),
            (ref.compute_logs_data, BucketComputeLogManager),
        ):
            # checked and not made, as that would ask its server
            assert data
            assert getattr(import_module(data.module_name), data.class_name) is kind
            assert process_config(kind.config_type(), yaml.safe_load(data.config_yaml)).success


def test_the_image_has_the_projects_version() -> None:
    image = f"taxi_pipeline:{PROJECT['version']}"
    assert {SERVICES[name]["image"] for name in ("webserver", "daemon", "code")} == {image}
    assert SERVICES["code"]["build"]["args"]["VERSION"] == PROJECT["version"]
    (location,) = yaml.safe_load((FOLDER / "workspace.yaml").read_text())["load_from"]
    assert location["grpc_server"]["host"] in SERVICES


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """Return the instance of deploy/compose with its memory in files."""
    overrides = {"storage": {"sqlite": {"base_dir": str(tmp_path)}}}
    with dg.DagsterInstance.from_ref(
        InstanceRef.from_dir(str(tmp_path), config_dir=str(FOLDER), overrides=overrides)
    ) as found:
        yield found


@pytest.fixture
def answers() -> dict[str, Answer]:
    """Return what takes the place of Docker's API answers, by path without the version."""
    daemon = {
        "Id": "d43m0n",
        "Name": "/taxi_pipeline-daemon-1",
        "Image": DAEMONS_IMAGE,
        "Mounts": [
            {"Destination": "/var/run/docker.sock", "Source": "/var/run/docker.sock"},
            {"Destination": RUN_SECRETS, "Source": "/srv/compose/secrets/runs"},
        ],
    }
    names = ("refused", "succeeded", "failed", "failed_yesterday", "starting", "never_started")
    ended = [{"Id": name} for name in names]
    now, yesterday = datetime.now(UTC), datetime.now(UTC) - timedelta(hours=25)
    return {
        "/version": body(b'{"ApiVersion": "1.50"}'),
        f"/containers/{socket.gethostname()}/json": body(json.dumps(daemon).encode()),
        "/containers/json": body(json.dumps(ended).encode()),
        "/containers/succeeded/json": body(_exited("succeeded", 0, now)),
        "/containers/failed/json": body(_exited("failed", 137, now)),
        "/containers/failed_yesterday/json": body(_exited("failed_yesterday", 1, yesterday)),
        "/containers/starting/json": body(_created("starting", now)),
        "/containers/never_started/json": body(_created("never_started", yesterday)),
        "/containers/refused/json": status(500),
        "/containers/create": body(b'{"Id": "c0ffee", "Warnings": []}'),
        "/containers/c0ffee/json": body(b'{"Id": "c0ffee", "State": {"Status": "running"}}'),
        "/containers/c0ffee/start": status(204),
        "/containers/c0ffee/stop": status(204),
    }


@pytest.fixture
def engine(answers: dict[str, Answer], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Take the place of Docker's API; return what it was asked."""
    asked: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = re.sub(r"^/v1\.\d+", "", self.path).partition("?")
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked[path] = json.loads(content) if content else query
            answers.get(path, status(404))(self)

        do_POST = do_GET  # noqa: N815

        def do_DELETE(self) -> None:
            path, _, query = re.sub(r"^/v1\.\d+", "", self.path).partition("?")
            asked.setdefault("removed", []).append(f"{path}?{query}")
            status(204)(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with listening(Handler) as address:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{address}")
        yield asked


def _exited(container: str, code: int, at: datetime) -> bytes:
    state = {"Status": "exited", "ExitCode": code, "FinishedAt": at.isoformat()}
    return json.dumps({"Id": container, "State": state}).encode()


def _created(container: str, at: datetime) -> bytes:
    state = {"Status": "created", "ExitCode": 0, "FinishedAt": "0001-01-01T00:00:00Z"}
    return json.dumps({"Id": container, "Created": at.isoformat(), "State": state}).encode()


@pytest.fixture
def run(
    instance: dg.DagsterInstance, engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> dg.DagsterRun:
    """Launch a run as the daemon does, with a setting of .env and the others as defaults.env."""
    monkeypatch.setenv("TAXI_POSTGRES_URL", "s3cr3t")
    for name in LAUNCHER["env_vars"]:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("TAXI_BUCKET", "a-lake")
    origin = RepositoryPythonOrigin(
        executable_path="/opt/taxi/bin/python",
        code_pointer=ModuleCodePointer("taxi_pipeline.definitions", "defs"),
        container_image="taxi_pipeline:of_when_it_was_queued",
        entry_point=["dagster"],
    )
    job = build_definitions().resolve_job_def("taxi_zones")
    launched = instance.create_run_for_job(job, job_code_origin=JobPythonOrigin(job.name, origin))
    instance.run_launcher.launch_run(LaunchRunContext(launched, workspace=None))
    found = instance.get_run_by_id(launched.run_id)
    assert found
    return found


def test_a_run_is_a_confined_container_of_the_daemons_image(
    run: dg.DagsterRun, engine: dict[str, Any]
) -> None:
    asked = engine["/containers/create"]
    assert "/containers/c0ffee/start" in engine
    assert asked["Image"] == DAEMONS_IMAGE
    *command, arguments = asked["Cmd"]
    assert command == ["dagster", "api", "execute_run"]
    deserialized = deserialize_value(arguments, ExecuteRunArgs)
    assert deserialized.run_id == run.run_id
    assert deserialized.job_origin.repository_origin.container_image == DAEMONS_IMAGE
    # for compose it is none of its services, whatever the labels of an image that compose built
    assert asked["Labels"]["com.docker.compose.project"] != COMPOSE["name"]
    assert asked.get("Entrypoint") is None  # the image's, which reads the secrets
    assert asked["Healthcheck"]["Test"] == ["NONE"]
    host = asked["HostConfig"]
    assert host["ReadonlyRootfs"] is host["Init"] is True
    assert not host.get("AutoRemove")  # so that it can be seen why it ended
    assert host["Memory"] == host["MemorySwap"] == 2 * 2**30
    assert host["NanoCpus"] == 2 * 10**9
    assert host["PidsLimit"] == SERVICES["code"]["pids_limit"]
    assert host["CapDrop"] == SERVICES["code"]["cap_drop"]
    assert host["SecurityOpt"] == SERVICES["code"]["security_opt"]
    assert host["LogConfig"]["Type"] == SERVICES["code"]["logging"]["driver"]


def test_a_run_has_the_settings_by_name_and_the_secrets_by_file(
    run: dg.DagsterRun, engine: dict[str, Any]
) -> None:
    asked = engine["/containers/create"]
    variables = dict(pair.split("=", 1) for pair in asked["Env"])
    assert variables.pop("DAGSTER_RUN_JOB_NAME") == "taxi_zones"
    assert variables == {**dict.fromkeys(LAUNCHER["env_vars"], ""), "TAXI_BUCKET": "a-lake"}
    assert "s3cr3t" not in json.dumps(asked)

    scratch, secrets = asked["HostConfig"]["Mounts"]
    assert scratch == {"Type": "volume", "Target": "/tmp"}
    assert secrets == {
        "Type": "bind",
        "Source": "/srv/compose/secrets/runs",  # where the daemon's container has it from
        "Target": SECRETS,
        "ReadOnly": True,
    }
    assert f"./secrets/runs:{RUN_SECRETS}:ro" in SERVICES["daemon"]["volumes"]
    for secret in SERVICES["code"]["secrets"]:
        assert COMPOSE["secrets"][secret]["file"] == f"./secrets/runs/{secret}"


def test_a_launch_removes_what_ended_well_and_a_day_later_what_failed(
    run: dg.DagsterRun, engine: dict[str, Any]
) -> None:
    filters = json.loads(parse_qs(engine["/containers/json"])["filters"][0])
    label = "taxi_pipeline/launched_by"  # not that of every run, which other deployments' have, too
    assert filters == {
        "label": [f"{label}=/taxi_pipeline-daemon-1"],
        "status": ["exited", "dead", "created"],
    }
    assert engine["/containers/create"]["Labels"][label] == "/taxi_pipeline-daemon-1"
    removed = [path.partition("?") for path in engine["removed"]]
    assert [path for path, _, _ in removed] == [
        "/containers/succeeded",
        "/containers/failed_yesterday",
        "/containers/never_started",
    ]
    assert all("v=True" in query for _, _, query in removed)  # their scratch disks, too


def test_a_run_is_launched_where_no_container_can_be_listed_or_removed(
    answers: dict[str, Answer], engine: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    answers["/containers/json"] = status(500)
    request.getfixturevalue("run")
    assert "/containers/c0ffee/start" in engine
    assert "removed" not in engine


def test_a_run_reaches_the_databases_and_neither_webserver_nor_code_location(
    run: dg.DagsterRun, engine: dict[str, Any]
) -> None:
    asked = engine["/containers/create"]
    networks = {key: network["name"] for key, network in COMPOSE["networks"].items()}
    joined = {asked["HostConfig"]["NetworkMode"], *asked["NetworkingConfig"]}
    beside = {
        name
        for name, service in SERVICES.items()
        if joined & {networks[key] for key in service.get("networks", ["default"])}
    }
    assert beside == {"dagster-database", "taxi-database"}
    assert joined <= set(networks.values())  # compose makes it
    assert "connect" not in " ".join(engine)  # to no other network
    # the servers have one in common with each other
    for service in SERVICES.values():
        assert "default" in service.get("networks", ["default"])


def test_a_terminated_run_has_a_minute_to_end(
    run: dg.DagsterRun, instance: dg.DagsterInstance, engine: dict[str, Any]
) -> None:
    assert instance.run_launcher.terminate(run.run_id)
    assert engine["/containers/c0ffee/stop"] == "t=60"


def test_a_run_whose_container_was_killed_for_its_memory_says_so(
    run: dg.DagsterRun, instance: dg.DagsterInstance, answers: dict[str, Answer]
) -> None:
    launcher = instance.run_launcher
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    state = {"Status": "exited", "ExitCode": 137, "OOMKilled": False}
    for killed_for_memory in (True, False):
        state["OOMKilled"] = killed_for_memory
        found = json.dumps({"Id": "c0ffee", "State": state}).encode()
        answers["/containers/c0ffee/json"] = body(found)
        health = launcher.check_run_worker_health(run)
        assert health.status is WorkerStatus.FAILED
        assert ("needed more memory than it may have" in (health.msg or "")) is killed_for_memory
        assert (health.msg or "").startswith("The run's container has ended, with exit code 137.")


def test_a_run_that_died_as_it_started_is_described_by_its_state_and_last_lines(
    run: dg.DagsterRun, instance: dg.DagsterInstance, answers: dict[str, Answer]
) -> None:
    answers["/containers/c0ffee/json"] = body(
        b'{"Id": "c0ffee", "Config": {"Tty": false}, "State": {"Status": "exited", "ExitCode": 1}}'
    )
    printed = b"password authentication failed"
    answers["/containers/c0ffee/logs"] = body(
        bytes([2, 0, 0, 0]) + len(printed).to_bytes(4, "big") + printed
    )
    described = instance.run_launcher.get_run_worker_debug_info(run)
    assert described == (
        'Its container\'s state: {"Status": "exited", "ExitCode": 1}\n'
        "password authentication failed"
    )
    answers["/containers/c0ffee/json"] = status(404)
    assert instance.run_launcher.get_run_worker_debug_info(run) == "Its container is gone."
