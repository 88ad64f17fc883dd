"""Docker's engine, with compose: the one that answers, else one that is started and ended here."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from taxi_pipeline_tests.support.processes import PATIENCE, until

_SOCKET = Path("/var/run/docker.sock")  # the one that deploy/compose mounts
_PLUGINS = ("docker-compose", "docker-buildx")
_STOP_SECONDS = 150  # a PostgreSQL has 120 to stop


class NoEngineError(Exception):
    """There is no engine on this machine, and none can be started; why."""


@dataclass
class Engine:
    """The engine, asked by Docker's command line; `daemon` is its process, if it is ours."""

    folder: Path
    daemon: psutil.Process | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def run(
        self,
        *words: str | Path,
        seconds: float = PATIENCE,
        succeeds: bool = True,
    ) -> str:
        """Run a `docker` command; return what it printed, the error's words, too.

        Args:
            words: What follows `docker`.
            seconds: How long it may take.
            succeeds: Whether it must exit with 0.
        """
        done = self.start(*words, seconds=seconds)
        assert not succeeds or done.returncode == 0, (words, done.stdout)
        return done.stdout.strip()

    def start(
        self, *words: str | Path, seconds: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run a `docker` command to its end; return how it ended, and what it printed."""
        return subprocess.run(
            ["docker", *words],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )

    def answers(self) -> bool:
        """Return whether the engine takes commands."""
        return self.start("version").returncode == 0

    def has(self, image: str) -> bool:
        """Return whether the engine has an image."""
        return self.start("image", "inspect", image).returncode == 0

    def pull(self, image: str) -> bool:
        """Have an image, from its registry if need be; return whether there is one."""
        return (
            self.has(image)
            or self.start("pull", "--quiet", image, seconds=PATIENCE).returncode == 0
        )

    def restart(self) -> None:
        """Restart the engine, as an upgrade of Docker or of the machine does."""
        assert self.daemon, "only an engine that was started here is restarted"
        self.end()
        self.begin()

    def adopt(self) -> None:
        """Take over an engine's process that tests which were killed have left."""
        try:
            left = psutil.Process(int(self._pid_file.read_text()))
            if str(self._pid_file) in left.cmdline():
                self.daemon = left
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            pass

    def begin(self) -> None:
        """Start the engine's process; raise `NoEngineError` where it cannot live."""
        command = ["dockerd", "--data-root", self.folder / "data", "--host", f"unix://{_SOCKET}"]
        with (self.folder / "dockerd.log").open("ab") as log:
            self.daemon = psutil.Popen(
                [*map(str, command), "--pidfile", str(self._pid_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is the test's, which ends it in order
            )
        until(lambda: not self._runs() or self.answers(), every=0.2)
        if not self._runs():
            last = (self.folder / "dockerd.log").read_text().splitlines()[-3:]
            raise NoEngineError("Docker's engine cannot be started here: " + " ".join(last))

    def end(self) -> None:
        """End the engine's process, if it is ours."""
        if self.daemon and self._runs():
            self.daemon.terminate()
            self.daemon.wait(_STOP_SECONDS)

    @property
    def _pid_file(self) -> Path:
        return self.folder / "dockerd.pid"

    def _runs(self) -> bool:
        daemon = self.daemon
        return bool(daemon and daemon.is_running() and daemon.status() != psutil.STATUS_ZOMBIE)


@contextmanager
def docker_engine(folder: Path) -> Iterator[Engine]:
    """Yield an engine that has compose; one that was started here ends with the block.

    Args:
        folder: Where an engine that is started keeps its images and containers.

    Raises:
        NoEngineError: There can be none.
    """
    if not shutil.which("docker"):
        raise NoEngineError("There is no docker here: `make engine` installs one on Debian.")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # others of this checkout wait until it is free
        engine = Engine(folder)
        engine.adopt()
        if not engine.answers():
            if os.geteuid() != 0 or not shutil.which("dockerd"):
                raise NoEngineError(
                    "Docker's engine does not answer, and only root can start one, where dockerd "
                    "is installed."
                )
            engine.begin()
        try:
            yield engine
        finally:
            engine.end()


def install_plugins(engine: Engine, base: str) -> None:
    """Give the command line `docker compose` and `docker buildx`, from Debian, if it has none.

    Args:
        engine: Whose environment then has the folder of both.
        base: An image of Debian.
    """
    if engine.start("compose", "version").returncode == 0:
        return
    plugins = engine.folder / "config" / "cli-plugins"
    if not all((plugins / name).exists() for name in _PLUGINS):
        packages = engine.folder / "packages"
        packages.mkdir(parents=True, exist_ok=True)
        script = f"apt-get update -q && cd /out && apt-get download -q {' '.join(_PLUGINS)}"
        engine.run(
            *(
                "run",
                "--rm",
                "--user",
                "root",
                "--entrypoint",
                "sh",
                "--volume",
                f"{packages}:/out",
            ),
            *(base, "-c", script),
        )
        plugins.mkdir(parents=True, exist_ok=True)
        for package in packages.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, packages], check=True)
        for name in _PLUGINS:
            shutil.copy(packages / "usr/libexec/docker/cli-plugins" / name, plugins)
    engine.environment["DOCKER_CONFIG"] = str(plugins.parent)
