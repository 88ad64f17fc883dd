"""The stack's life: started by the first who needs it, joined by the next, stopped by the last.

The data folder holds the servers' data and logs, `stack.json` (what runs, while it runs),
`publisher` (whose months it keeps) and two locks: `starting.lock` is held while servers start or
stop, `users.lock` is shared by all who use them. Locks go with their process, so a killed user
leaves none behind.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import IO

import psutil

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.local import servers
from taxi_pipeline.local.publisher import ZONE_SHAPES, ZONES, url_templates
from taxi_pipeline.local.servers import Server
from taxi_pipeline.tlc.addresses import ADDRESSES, TLC

_START_SECONDS = 90
_STOP_SECONDS = 30
_STATE = "stack.json"


@dataclass(frozen=True)
class PublisherOptions:
    """Who is the publisher: `TLC`, a folder, or the generator with so many `rows` a file."""

    publisher: str | None
    rows: int

    def __str__(self) -> str:
        return f"--publisher {self.publisher}" if self.publisher else f"--rows {self.rows}"

    @property
    def months(self) -> str:
        """Whose months it publishes, in words."""
        if self.publisher == TLC:
            return "TLC's own months"
        return "months of a folder" if self.publisher else "generated months"


# Given the folder, the settings and four free ports: servers to start, and the variables by which
# they are found.
type Servers = Callable[
    [Path, PublisherOptions, Sequence[int]], tuple[list[Server], dict[str, str]]
]


@dataclass(frozen=True)
class _Running:
    """A server's process; its `command` tells it from a later process with the same pid."""

    name: str
    pid: int
    command: list[str]

    def process(self) -> psutil.Process | None:
        """Return the process if it still runs."""
        try:
            process = psutil.Process(self.pid)
            return process if process.cmdline() == self.command else None
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None


def every_server(
    folder: Path, settings: PublisherOptions, ports: Sequence[int]
) -> tuple[list[Server], dict[str, str]]:
    """Return PostgreSQL, the emulators and the publisher, unless that is TLC itself."""
    postgres_port, gcs_port, bigquery_port, publisher_port = ports
    postgres, postgres_url = servers.postgres(folder / "postgres", postgres_port)
    gcs, gcs_url = servers.gcs(folder / "gcs", gcs_port)
    bigquery, bigquery_url = servers.bigquery(folder / "bigquery", folder / "gcs", bigquery_port)
    publisher, published_at = _publisher(folder, settings, publisher_port)
    return [postgres, gcs, bigquery, *publisher], {
        "BIGQUERY_EMULATOR_HOST": bigquery_url,
        "STORAGE_EMULATOR_HOST": gcs_url,
        "TAXI_BUCKET": servers.BUCKET,
        "TAXI_DATASET": servers.DATASET,
        "TAXI_GCP_PROJECT": servers.PROJECT,
        "TAXI_POSTGRES_URL": postgres_url,
        **published_at,
    }


def _publisher(
    folder: Path, settings: PublisherOptions, port: int
) -> tuple[list[Server], Mapping[str, str]]:
    """Return the publisher's server, if there is to be one, and the variables that name it."""
    if settings.publisher == TLC:
        return [], ADDRESSES
    if settings.publisher:
        published, rows = Path(settings.publisher), None
    else:
        published, rows = folder / "published" / str(settings.rows), settings.rows
        published.mkdir(parents=True, exist_ok=True)
    server, url = servers.publisher(published, rows, port)
    return [server], {
        "TAXI_PUBLISHER_URLS": url_templates(url),
        "TAXI_ZONES_URL": f"{url}/{ZONES}",
        "TAXI_ZONE_SHAPES_URL": f"{url}/{ZONE_SHAPES}",
    }


@contextmanager
def running(
    folder: Path,
    settings: PublisherOptions,
    say: Callable[[str], None] = lambda _: None,
    make_servers: Servers = every_server,
) -> Iterator[dict[str, str]]:
    """Start the stack in `folder`, or join the one that runs there; yield its environment.

    On leaving, the last user stops the servers. `say` gets a sentence about each thing worth
    knowing. Raises `PermanentError` for a folder that holds something else, keeps the months of
    another publisher or runs a stack with other settings, `TransientError` for a server that does
    not come up.
    """
    folder = folder.resolve()
    _claim(folder)
    with ExitStack() as locks:
        users = locks.enter_context((folder / "users.lock").open("a"))
        with _starting(folder):
            environment = _join(folder, settings, say) or _start(
                folder, settings, say, make_servers
            )
            processes = _processes(folder)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield environment
        finally:
            with _signals_held():
                try:
                    with _starting(folder):
                        if _is_last(users):
                            _stop(folder)
                except FileNotFoundError:  # somebody has deleted the folder
                    _end(processes)


def _claim(folder: Path) -> None:
    """Make the folder ours, unless it holds something that is not."""
    marker = folder / ".taxi-stack"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not marker.exists():
            if any(folder.iterdir()):
                raise PermanentError(
                    f"{folder} holds files that are not the embedded stack's, which wants a folder "
                    "of its own: name a new or empty one with --data-dir."
                )
            marker.write_text("The data of taxi_pipeline's embedded stack. Safe to delete.\n")
    except OSError as error:
        raise PermanentError(
            f"{folder} cannot be used: {error}. Name another folder with --data-dir."
        ) from error


@contextmanager
def _starting(folder: Path) -> Iterator[None]:
    with (folder / "starting.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold signals back until the block is done, so that it is done whole.

    They are caught, so what is started in the block has their default, whatever we inherited.
    """
    held: list[int] = []
    numbers = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda n, _: held.append(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


def _is_last(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _join(
    folder: Path, settings: PublisherOptions, say: Callable[[str], None]
) -> dict[str, str] | None:
    """Return the environment of the stack that runs in the folder; clear away a broken one."""
    try:
        state = json.loads((folder / _STATE).read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        say(f"{folder / _STATE} is damaged; if servers of an earlier stack still run, end them.")
        (folder / _STATE).unlink()
        return None
    processes = _processes(folder)
    alive = [entry for entry in processes if entry.process()]
    with (folder / "users.lock").open("a") as users:
        used = not _is_last(users)
    if used and len(alive) == len(processes):
        if (running_options := PublisherOptions(**state["settings"])) != settings:
            raise PermanentError(
                f"A stack with {running_options} runs in {folder}, not one with {settings}: use "
                "the same, stop that one, or name another folder with --data-dir."
            )
        environment: dict[str, str] = state["environment"]
        return environment
    what = "lost a server" if used else "was killed"
    say(f"The last stack in {folder} {what}; {len(alive)} servers of it still ran: stopped.")
    _stop(folder)
    return None


def _start(
    folder: Path, settings: PublisherOptions, say: Callable[[str], None], make_servers: Servers
) -> dict[str, str]:
    _keep_apart(folder, settings)
    dagster_home = folder / "dagster"
    dagster_home.mkdir(exist_ok=True)
    if not (dagster_home / "dagster.yaml").exists():
        template = resources.files("taxi_pipeline.local").joinpath("dagster.yaml")
        (dagster_home / "dagster.yaml").write_text(template.read_text())
    say(f"Starting the embedded stack in {folder} …")
    to_start, addresses = make_servers(folder, settings, _ports(folder))
    environment = {
        **addresses,
        "DAGSTER_HOME": str(dagster_home),
        "NO_GCE_CHECK": "true",  # or Google's clients look for a metadata server
        # both, because libraries take the one in small letters where the user has set it
        **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
    }
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    state: dict[str, object] = {"settings": asdict(settings), "environment": environment}
    try:
        started: list[tuple[Server, subprocess.Popen[bytes]]] = []
        with _signals_held():  # what runs is written down
            for server in to_start:
                started.append((server, _spawn(server, logs)))
                processes = [
                    asdict(_Running(server.name, popen.pid, server.command))
                    for server, popen in started
                ]
                _write_state(folder, {**state, "servers": processes})
        for server, popen in started:
            _await(server, popen, logs)
    except BaseException:
        with _signals_held():
            _stop(folder)
        raise
    return environment


def _keep_apart(folder: Path, settings: PublisherOptions) -> None:
    """Note whose months the folder keeps; raise `PermanentError` where they are another's."""
    note = folder / "publisher"
    months = note.read_text(errors="replace").strip() if note.exists() else ""
    if not months:
        # a folder of an earlier release has no note, and a disk that was full an empty one
        is_used = (folder / "published").is_dir()
        months = PublisherOptions(None, 0).months if is_used else settings.months
        unfinished = note.with_suffix(".new")
        unfinished.write_text(f"{months}\n")
        os.replace(unfinished, note)
    if months != settings.months:
        raise PermanentError(
            f"{folder} keeps {months}, among which {settings.months} could not be told apart: name "
            f"another folder with --data-dir, or delete this one. ({note} says whose they are.)"
        )


def _spawn(server: Server, logs: Path) -> subprocess.Popen[bytes]:
    with (logs / f"{server.name}.log").open("ab") as log:
        return subprocess.Popen(
            server.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the command that runs inside the stack
            start_new_session=True,
            **servers.as_user(server.user),
        )


def _await(server: Server, popen: subprocess.Popen[bytes], logs: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not server.answers():
        if popen.poll() is not None or time.monotonic() > deadline:
            log = logs / f"{server.name}.log"
            last = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
            raise TransientError(f"The stack's {server.name} did not start; {log} ends:\n{last}")
        time.sleep(0.05)
    server.prepare()


def _processes(folder: Path) -> list[_Running]:
    """Return the servers that the state file names."""
    state = json.loads((folder / _STATE).read_text())
    return [_Running(**entry) for entry in state["servers"]]


def _stop(folder: Path) -> None:
    """Stop the servers that the state file names, if there is one, and remove it."""
    if (folder / _STATE).exists():
        _end(_processes(folder))
        (folder / _STATE).unlink()


def _end(processes: list[_Running]) -> None:
    # PostgreSQL takes SIGTERM as "when all have left", SIGINT as "now"
    _signal(processes, lambda name: signal.SIGINT if name == "postgres" else signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while any(entry.process() for entry in processes) and time.monotonic() < deadline:
        time.sleep(0.02)
    _signal(processes, lambda _: signal.SIGKILL)


def _signal(processes: list[_Running], number: Callable[[str], signal.Signals]) -> None:
    for entry in processes:
        if process := entry.process():
            process.send_signal(number(entry.name))


def _write_state(folder: Path, state: dict[str, object]) -> None:
    path = folder / _STATE
    unfinished = path.with_suffix(".new")
    unfinished.touch(mode=0o600)  # it holds the database's password
    unfinished.write_text(json.dumps(state, indent=1))
    os.replace(unfinished, path)


def _ports(folder: Path) -> list[int]:
    """Return a free port for each server: the last stack's, so that addresses stay good."""
    remembered = folder / "ports.json"
    try:
        return _free_ports(json.loads(remembered.read_text()))
    except (OSError, ValueError):
        ports = _free_ports([0, 0, 0, 0])
        remembered.write_text(json.dumps(ports))
        return ports


def _free_ports(wanted: list[int]) -> list[int]:
    """Return the ports, 0 standing for any; raise `OSError` for one that is taken."""
    with ExitStack() as held:
        ports = []
        for port in wanted:
            listener = held.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            ports.append(int(listener.getsockname()[1]))
    return ports
