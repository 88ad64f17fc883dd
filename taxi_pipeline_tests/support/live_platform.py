"""A live platform: Dagster's own processes on an embedded stack, which a test prepares first.

`taxi local` starts the stack and then waits for what the test sets; `dagster dev` starts with it.
What happens on the platform is said by those who use it.
"""

import os
import shlex
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from taxi_pipeline.local.stack import PublisherOptions, running
from taxi_pipeline.settings import Resources, load_resources
from taxi_pipeline_tests.support.dagster_dev import ROWS, DagsterDev, started_dagster_dev
from taxi_pipeline_tests.support.processes import until


@dataclass(frozen=True)
class LivePlatform:
    """Dagster, the folder that all of it writes to, and the stack's variables."""

    dev: DagsterDev
    folder: Path
    variables: Mapping[str, str]
    _settings: Path
    _ends: ExitStack

    @property
    def dagster_yaml(self) -> Path:
        """The settings of Dagster's instance."""
        return Path(self.variables["DAGSTER_HOME"], "dagster.yaml")

    def start_dagster(self, settings: Mapping[str, str]) -> None:
        """Let Dagster start with these variables besides the stack's, without waiting for it."""
        exports = (f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
        self._settings.write_text("".join(exports))

    @contextmanager
    def in_this_process(self, **settings: str) -> Iterator[Resources]:
        """Put the platform's variables into this process's environment; yield the resources."""
        with patch.dict(os.environ, {**self.variables, **settings}):
            yield load_resources()

    def end(self) -> None:
        """End all of it, which must leave no process behind; the folder stays."""
        self._ends.close()


@contextmanager
def live_platform(
    starter: Sequence[str] = (), ended_by: signal.Signals = signal.SIGINT
) -> Iterator[LivePlatform]:
    """Start a stack by `taxi local`, inside of which Dagster waits to be started.

    When the block is left, `taxi` gets the signal, and all of it must end.
    """
    # pytest's own folders are closed to other users, and root's PostgreSQL runs as another
    with TemporaryDirectory(prefix="taxi-") as name, ExitStack() as ends:
        folder = Path(name)
        settings, output = folder / "settings", folder / "dev.log"
        os.mkfifo(settings)  # who reads it waits until it is written
        waiting = ["sh", "-c", f'. {settings}; exec "$@" >{output} 2>&1', "sh"]
        dev = ends.enter_context(
            started_dagster_dev(folder, *waiting, starter=starter, ended_by=ended_by)
        )
        data = folder / "data"
        until((data / "stack.json").exists)  # it is `taxi local` that starts the servers
        with running(data, PublisherOptions(None, int(ROWS[1]))) as variables:
            pass
        yield LivePlatform(dev, folder, variables, settings, ends)
