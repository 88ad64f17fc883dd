"""The images that the tests run: the project's own, and what stands in for others.

    python -m taxi_pipeline_tests.containers.images

makes them ahead of the tests.
"""

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from taxi_pipeline_tests.containers.engine import (
    Engine,
    NoEngineError,
    docker_engine,
    install_plugins,
)
from taxi_pipeline_tests.support.dockerfile import REPOSITORY
from taxi_pipeline_tests.support.processes import PATIENCE

FOLDER = REPOSITORY / ".containers"
STANDINS = "taxi_standins"
OF_DEPLOYMENT = "label=com.docker.compose.project=taxi_pipeline"

_COMPOSE = yaml.safe_load((REPOSITORY / "deploy/compose/compose.yaml").read_text())["services"]
IMAGE: str = _COMPOSE["code"]["image"]
POSTGRES: str = _COMPOSE["dagster-database"]["image"]
_BASES = re.findall(r"^FROM (python:\S+)", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
(BASE,) = _BASES

_SUITE = re.search(r"-([a-z]+)$", BASE.partition("@")[0])
_LIBRARIES = (
    *("ca-certificates", "libbz2-1.0", "libffi8", "liblzma5", "libncursesw6", "libreadline8t64"),
    *("libsqlite3-0", "libssl3t64", "libuuid1", "netbase", "tzdata", "zlib1g"),
)
# No page of a manual, and no wait for the disk: what is half made is made anew.
_OF_DPKG = ("path-exclude=/usr/share/doc/*", "path-exclude=/usr/share/man/*", "force-unsafe-io")
_LOG = "mmdebstrap.log"
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


def refuse_deployment(engine: Engine) -> None:
    """Raise `NoEngineError` where the engine is somebody's, and has a deployment.

    Tests would replace it, and an image that they make has the name of the one that its next run is
    started from.
    """
    if engine.daemon:
        return
    containers = engine.run("ps", "--all", "--quiet", "--filter", OF_DEPLOYMENT)
    if containers or engine.run("volume", "ls", "--quiet", "--filter", OF_DEPLOYMENT):
        raise NoEngineError(
            "This engine has a deployment of taxi_pipeline, with its databases, which the tests "
            "would replace: use another engine."
        )


def make_images(engine: Engine, say: Callable[[str], None]) -> None:
    """Make all images that the engine does not have, or whose source was changed.

    Args:
        engine: Where they are made.
        say: Gets a line about each.

    Raises:
        NoEngineError: There is no base to make them of, or the engine has somebody's deployment.
    """
    refuse_deployment(engine)
    for name, make in (
        (BASE, _make_base),
        (IMAGE, _make_image),
        (STANDINS, _make_standins),
        (POSTGRES, _make_postgres),
    ):
        began = time.monotonic()
        make(engine)
        size = int(engine.run("image", "inspect", "--format", "{{.Size}}", name))
        say(f"{time.monotonic() - began:6.1f} s  {name}, {size / 1e6:,.0f} MB")
    if engine.daemon:  # else what is left of earlier ones is somebody's
        engine.run("image", "prune", "--force")
        engine.run("builder", "prune", "--force", "--keep-storage=6GB")


def _make_base(engine: Engine) -> None:
    """Have the official base, or one like it: Debian, with this machine's Python in its place."""
    if not engine.pull(BASE):
        _refuse_anothers(engine, BASE)
        python = engine.folder / "python"
        _put_python(python)
        packed = _bootstrap(engine.folder, python)
        subprocess.run(
            ["docker", "import", "--change", f"ENV PATH={_PATH}", "-", BASE.partition("@")[0]],
            stdin=packed.stdout,
            check=True,
            capture_output=True,
        )
        assert packed.wait() == 0, (engine.folder / _LOG).read_text()
        shutil.rmtree(python)
    install_plugins(engine, BASE)


def _refuse_anothers(engine: Engine, image: str) -> None:
    """Raise `NoEngineError` where a stand-in under an official name would stay for others."""
    if not engine.daemon:
        raise NoEngineError(
            f"No registry has {image}. A stand-in for it is made only in an engine that the tests "
            "start themselves, and one answers already."
        )


def _bootstrap(folder: Path, added: Path) -> subprocess.Popen[bytes]:
    """Start to write Debian, with the files of a folder added, as an archive to a pipe."""
    assert _SUITE
    if not shutil.which("mmdebstrap"):
        raise NoEngineError(f"No registry has {BASE}, and there is no mmdebstrap to make it with.")
    command = [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(_LIBRARIES)}",
    ]
    command += [f"--dpkgopt={option}" for option in _OF_DPKG]
    copy = f'tar -C {shlex.quote(str(added))} -c . | tar -C "$1" -x --no-overwrite-dir'
    command += [f"--customize-hook={copy}", '--customize-hook=chroot "$1" ldconfig']
    with (folder / _LOG).open("wb") as log:
        return subprocess.Popen([*command, _SUITE[1], "-"], stdout=subprocess.PIPE, stderr=log)


def _put_python(root: Path) -> None:
    """Copy this interpreter to where the official image has one, and the trusted certificates."""
    shutil.rmtree(root, ignore_errors=True)
    ours = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    unused = (
        "__pycache__",
        "test",
        "tests",
        "idlelib",
        "config-*",
        "*.a",
        "share",
        "site-packages",
    )
    shutil.copytree(
        ours,
        root / "usr/local",
        symlinks=True,
        ignore=shutil.ignore_patterns(*unused),
    )
    packages = f"lib/{version}/site-packages"
    for part in (ours / packages).glob("pip*"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(part, root / "usr/local" / packages / part.name, ignore=ignored)
    for script in (root / "usr/local/bin").glob("pip*"):
        rest = script.read_text().partition("\n")[2]
        script.write_text(f"#!/usr/local/bin/{version}\n{rest}")
    (root / "usr/local/bin/python").unlink(missing_ok=True)
    (root / "usr/local/bin/python").symlink_to(version)
    trusted = Path("/etc/ssl/certs/ca-certificates.crt")
    if trusted.exists():  # a company's proxy, say
        (root / "etc/ssl/certs").mkdir(parents=True)
        shutil.copy(trusted, root / "etc/ssl/certs/")


def _make_image(engine: Engine) -> None:
    """Build the image as the README of deploy/compose does, less the label of the revision."""
    build = _COMPOSE["code"]["build"]
    arguments = [f"--build-arg={name}={value}" for name, value in build["args"].items()]
    engine.run("build", "--quiet", *arguments, "--tag", IMAGE, REPOSITORY, seconds=PATIENCE * 3)


def _make_standins(engine: Engine) -> None:
    """Build what has the emulators and PostgreSQL: the project's image with the extra `local`."""
    context = engine.folder / "standins"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(Path(__file__).parent / "standins", context)
    for path in ("requirements-dev.lock", "taxi_pipeline_tests/__init__.py"):
        shutil.copy(REPOSITORY / path, context)
    for name in ("__init__.py", "emulators.py", "gate.py"):
        (context / "containers").mkdir(exist_ok=True)
        shutil.copy(Path(__file__).with_name(name), context / "containers")
    engine.run(
        *("build", "--quiet", f"--build-arg=IMAGE={IMAGE}", f"--build-arg=BASE={BASE}"),
        *("--tag", STANDINS, context),
        seconds=PATIENCE * 3,
    )


def _make_postgres(engine: Engine) -> None:
    """Have the official PostgreSQL, or PyPI's of the same version under its name."""
    label = ("image", "inspect", "--format", "{{.Config.Labels.standin}}", POSTGRES)
    if not engine.pull(POSTGRES) or engine.run(*label) == "yes":
        _refuse_anothers(engine, POSTGRES)
        engine.run("tag", STANDINS, POSTGRES)


if __name__ == "__main__":
    try:
        with docker_engine(FOLDER) as docker:
            make_images(docker, print)
    except NoEngineError as error:
        sys.exit(f"No images: {error}")
