"""A gate before the publisher: it holds the file of a month until a test lets the month through."""

import json
import re
import threading
import urllib.request
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

type Month = tuple[str, str]  # a table's name, and a partition's key

_FILE = re.compile(r"/(?P<service>[a-z]+)_tripdata_(?P<month>\d{4}-\d\d)\.")


class Gate:
    """Holds requests for files; a month that was let through stays so, however often it is asked.

    Months pass in the order in which they are first asked for.
    """

    def __init__(self, publisher: ASGIApp) -> None:
        self._publisher = publisher
        self._changed = threading.Condition()
        self._places = 0
        self._is_open = False
        self.waiting: list[Month] = []
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
        """Let these months through, whether they wait already or come later."""
        with self._changed:
            self.passed |= {*months}
            self.waiting = [month for month in self.waiting if month not in self.passed]
            self._changed.notify_all()

    def open(self) -> None:
        """Let everything through from now on, until it is closed."""
        with self._changed:
            self._is_open = True
            self.passed |= {*self.waiting}
            self.waiting = []
            self._changed.notify_all()

    def close(self) -> None:
        """Hold what asks from now on, but for months that were let through or asked before."""
        with self._changed:
            self._is_open = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, once its month may pass."""
        file = _FILE.search(scope["path"]) if scope["type"] == "http" else None
        if file and scope["method"] == "GET":
            await run_in_threadpool(self._pass, (f"{file['service']}_trips", file["month"]))
        await self._publisher(scope, receive, send)

    def _pass(self, month: Month) -> None:
        with self._changed:
            if self._is_open:
                self.passed.add(month)
            elif month not in self.passed and month not in self.waiting:
                self.waiting.append(month)
                self._admit()
            self._changed.wait_for(lambda: month in self.passed)

    def _admit(self) -> None:
        while self._places and self.waiting:
            self._places -= 1
            self.passed.add(self.waiting.pop(0))
        self._changed.notify_all()


def control(gate: Gate) -> Starlette:
    """Return the application by which a test in another container works the gate."""

    async def let(request: Request) -> Response:
        gate.let(int(request.query_params["months"]))
        return Response(status_code=204)

    async def let_through(request: Request) -> Response:
        gate.let_through([(table, month) for table, month in await request.json()])
        return Response(status_code=204)

    async def open_it(request: Request) -> Response:
        gate.open()
        return Response(status_code=204)

    async def close(request: Request) -> Response:
        gate.close()
        return Response(status_code=204)

    async def state(request: Request) -> Response:
        return JSONResponse(
            {"places": gate.places, "passed": sorted(gate.passed), "waiting": gate.waiting}
        )

    return Starlette(
        routes=[
            Route("/let", let, methods=["POST"]),
            Route("/let_through", let_through, methods=["POST"]),
            Route("/open", open_it, methods=["POST"]),
            Route("/close", close, methods=["POST"]),
            Route("/", state),
        ]
    )


@dataclass(frozen=True)
class RemoteGate:
    """The gate of another container, by the URL of its control."""

    url: str

    @property
    def places(self) -> int:
        """How many months were let through that have not asked yet."""
        places: int = self._state()["places"]
        return places

    @property
    def passed(self) -> set[Month]:
        """The months that were let through."""
        return {(table, month) for table, month in self._state()["passed"]}

    @property
    def waiting(self) -> list[Month]:
        """The months that have asked and wait."""
        return [(table, month) for table, month in self._state()["waiting"]]

    def let(self, months: int) -> None:
        """Let so many more months through, whether they wait already or come later."""
        self._post(f"let?months={months}")

    def let_through(self, months: Collection[Month]) -> None:
        """Let these months through, whether they wait already or come later."""
        self._post("let_through", json.dumps(sorted(months)).encode())

    def open(self) -> None:
        """Let everything through from now on, until it is closed."""
        self._post("open")

    def close(self) -> None:
        """Hold what asks from now on, but for months that were let through or asked before."""
        self._post("close")

    def _state(self) -> Any:
        with urllib.request.urlopen(f"{self.url}/", timeout=60) as answer:
            return json.load(answer)

    def _post(self, path: str, body: bytes = b"") -> None:
        urllib.request.urlopen(f"{self.url}/{path}", body, timeout=60).close()
