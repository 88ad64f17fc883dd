"""Google's APIs at the HTTP edge: scripted answers, for what the emulators do not have.

A test says what is answered; the clients find the server as they find an emulator.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from taxi_pipeline_tests.support.http import listening

PROJECT, DATASET, BUCKET = "a-project", "a_dataset", "a-lake"
STORAGE = f"/storage/v1/b/{BUCKET}"
TABLES = f"/bigquery/v2/projects/{PROJECT}/datasets/{DATASET}"


@dataclass(frozen=True)
class Request:
    """A request: its query by name, and its body, parsed where it is JSON."""

    query: Mapping[str, list[str]]
    body: Any


type Answer = Callable[[Request], tuple[int, Any]]


@dataclass
class FakeGoogle:
    """Answers by "METHOD /path"; what has no answer is not there. `asked` has what was asked."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __setitem__(self, what: str, answer: Any) -> None:
        """Let something be answered by a function, or with the status 200 by what is given."""
        self.answers[what] = answer if callable(answer) else lambda _: (200, answer)

    def answer(self, what: str, request: Request) -> tuple[int, Any]:
        """Return the status and the body."""
        self.asked.append(what)
        if what not in self.answers:
            return error(404, f"Not found: Table {what}")
        return self.answers[what](request)

    def refuse(self, what: str, status: int, reason: str = "refused") -> None:
        """Let something be answered by an error of Google's."""
        self.answers[what] = lambda _: error(status, reason)


def error(status: int, reason: str) -> tuple[int, Any]:
    """Return an error as Google's APIs write it."""
    errors = [{"reason": reason, "message": reason}]
    return status, {"error": {"code": status, "message": reason, "errors": errors}}


@contextmanager
def serving_google() -> Iterator[tuple[FakeGoogle, str]]:
    """Serve; yield the answers, to be given, and the URL."""
    fake = FakeGoogle()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            what = f"{self.command} {parts.path}"
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            is_json = body and "json" in self.headers.get("Content-Type", "")
            request = Request(parse_qs(parts.query), json.loads(body) if is_json else body)
            status, answer = fake.answer(what, request)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with listening(Handler) as address:
        yield fake, f"http://{address}"
