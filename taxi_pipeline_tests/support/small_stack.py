"""`taxi` with a stack of few servers, for tests that need a stack, whatever it consists of.

`python -m taxi_pipeline_tests.support.small_stack local CMD` is the very command `taxi local CMD`;
only the list of servers is another: two of Python's own, or PostgreSQL alone where the variable
`SERVERS` says `postgres`.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

from taxi_pipeline.cli import main
from taxi_pipeline.local import servers, stack
from taxi_pipeline.local.servers import Server, responds
from taxi_pipeline.local.stack import PublisherOptions

# While a file of this name lies beside the stack's folder, no server of it counts as started.
NOT_YET = "not-yet"


def two_servers(
    folder: Path, settings: PublisherOptions, ports: Sequence[int]
) -> tuple[list[Server], dict[str, str]]:
    """Return two servers of the stack's own folder, and where the first of them is."""
    first, second = f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
    both = [_server("first", folder, first), _server("second", folder, second)]
    return both, {"TAXI_ZONES_URL": first}


def postgres_alone(
    folder: Path, settings: PublisherOptions, ports: Sequence[int]
) -> tuple[list[Server], dict[str, str]]:
    """Return PostgreSQL, with its data in the stack's own folder, and its URL."""
    postgres, url = servers.postgres(folder / "postgres", ports[0])
    return [postgres], {"TAXI_POSTGRES_URL": url}


def _server(name: str, folder: Path, url: str) -> Server:
    # neither the environment nor what is installed is looked at, so that it starts at once
    command = [sys.executable, "-I", "-S", "-m", "http.server", url.rpartition(":")[2]]
    command += ["--bind", "127.0.0.1", "--directory", str(folder)]

    not_yet = folder.with_name(NOT_YET)
    return Server(name, command, lambda: not not_yet.exists() and responds(url))


if __name__ == "__main__":
    chosen = postgres_alone if os.environ.get("SERVERS") == "postgres" else two_servers
    with patch.object(stack, "running", partial(stack.running, make_servers=chosen)):
        main(prog_name="taxi")
