"""The Dockerfile, its context and the entrypoint, as far as no engine is needed.

What the image is and does, taxi_pipeline_tests/containers shows.
"""

import fnmatch
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from taxi_pipeline_tests.support.dockerfile import REPOSITORY, Dockerfile
from taxi_pipeline_tests.support.processes import until

DOCKERFILE = Dockerfile.read()
SECRET = "s3cr3t $(w0rd)\nand more"


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
    assert froms[1:] == ["base", "base", "tools", "base"]
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


def test_the_entrypoint_names_what_dagsters_servers_need_and_lack(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text('a:\n  env: "TAXI_SET"\nb:\n  env: TAXI_UNSET  # why\n')
    environment = {"PATH": os.defpath, "DAGSTER_HOME": str(tmp_path), "TAXI_SET": "yes"}
    entrypoint = str(REPOSITORY / "deploy/entrypoint.sh")
    for command in ("dagster-webserver", "dagster-daemon"):
        done = subprocess.run(
            [entrypoint, command], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 1
        assert done.stderr.startswith(f"TAXI_UNSET: not set, and {tmp_path}/dagster.yaml needs it.")
    others = subprocess.check_output([entrypoint, "echo", "others"], env=environment, text=True)
    assert others == "others\n"


def test_the_daemon_starts_once_the_code_location_answers(tmp_path: Path) -> None:
    started = tmp_path / "started"
    (tmp_path / "dagster-daemon").write_text(f"#!/bin/sh\necho $* > {started}\n")
    (tmp_path / "dagster-daemon").chmod(0o755)
    tries = tmp_path / "tries"
    (tmp_path / "python").write_text(f'#!/bin/sh\necho >> {tries}\nexec {sys.executable} "$@"\n')
    (tmp_path / "python").chmod(0o755)
    with socket.socket() as location:
        location.bind(("127.0.0.1", 0))
        environment = {
            "PATH": f"{tmp_path}{os.pathsep}{os.defpath}",
            "WAIT_FOR": f"127.0.0.1:{location.getsockname()[1]}",
        }
        entrypoint = str(REPOSITORY / "deploy/entrypoint.sh")
        # the health check does not wait for anybody
        subprocess.run(
            [entrypoint, "dagster-daemon", "liveness-check"], env=environment, check=True
        )
        assert started.read_text() == "liveness-check\n"
        started.unlink()
        with subprocess.Popen([entrypoint, "dagster-daemon", "run"], env=environment) as daemon:
            until(lambda: tries.exists() and len(tries.read_text()) > 1)
            assert not started.exists()
            location.listen()
            assert daemon.wait(30) == 0
    assert started.read_text() == "run\n"
