"""A gate before the publisher: it holds the file of a month until a test lets the month through."""

import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from taxi_pipeline.local.publisher import ZONES, application, url_templates
from taxi_pipeline_tests.rehearsal.production import Month
from taxi_pipeline_tests.support.http import serving_application

_FILE = re.compile(r"/(?P<service>[a-z]+)_tripdata_(?P<month>\d{4}-\d\d)\.")


class Gate:
    """Holds requests for files; a month that was let through stays so, however often it is asked.

    Months pass in the order in which they are first asked for.
    """

    def __init__(self, publisher: ASGIApp) -> None:
        self._publisher = publisher
        self._changed = threading.Condition()
        self._waiting: list[Month] = []
        self._places = 0
        self._is_open = False
        self.passed: set[Month] = set()

    @property
    def places(self) -> int:
        """How many months were let through that have not asked yet."""
        with self._changed:
            return self._places

    def let(self, months: int) -> None:
        """Let so many more months through, whether they wait already or come later."""
        with self._changed:
            self._places += months
            self._admit()

    def let_through(self, months: Collection[Month]) -> None:
        """Let these months through, and those that wait already."""
        with self._changed:
            self.passed |= {*months, *self._waiting}
            self._waiting.clear()
            self._changed.notify_all()

    def open(self) -> None:
        """Let everything through from now on."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, once its month may pass."""
        file = _FILE.search(scope["path"]) if scope["type"] == "http" else None
        if file and scope["method"] == "GET":
            await run_in_threadpool(self._pass, (f"{file['service']}_trips", file["month"]))
        await self._publisher(scope, receive, send)

    def _pass(self, month: Month) -> None:
        with self._changed:
            if month not in self.passed and month not in self._waiting:
                self._waiting.append(month)
                self._admit()
            self._changed.wait_for(lambda: self._is_open or month in self.passed)

    def _admit(self) -> None:
        while self._places and self._waiting:
            self._places -= 1
            self.passed.add(self._waiting.pop(0))
        self._changed.notify_all()


@contextmanager
def gated_publisher(folder: Path, rows: int) -> Iterator[tuple[Gate, dict[str, str]]]:
    """Generate and serve files behind a gate; yield it and the variables that lead there."""
    folder.mkdir()
    gate = Gate(application(folder, rows))
    with serving_application(Starlette(routes=[Mount("/", gate)])) as url:
        try:
            yield (
                gate,
                {"TAXI_PUBLISHER_URLS": url_templates(url), "TAXI_ZONES_URL": f"{url}/{ZONES}"},
            )
        finally:
            gate.open()  # the server ends when every request has its answer
