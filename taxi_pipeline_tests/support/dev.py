"""`dagster dev` as people start it: its webserver and its daemon, on our code location."""

import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .processes import started, until

WORKSPACE = Path(__file__).parents[2] / "workspace.yaml"
TAXI = [sys.executable, "-m", "taxi_pipeline"]


@contextmanager
def dagster_dev(within: Sequence[str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run it by a command such as `taxi local`; yield its URL and process once it answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    dagster = str(Path(sys.executable).with_name("dagster"))
    dev = [dagster, "dev", "-w", str(WORKSPACE), "-h", "127.0.0.1", "-p", str(port)]
    url = f"http://127.0.0.1:{port}"
    with started([*within, *dev]) as process:
        until(lambda: _answers(url), 120)
        yield url, process


def graphql(url: str, query: str, **variables: object) -> Any:
    """Return the webserver's answer to a query."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["data"]


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/server_info", timeout=5).close()
    except OSError:
        return False
    return True
