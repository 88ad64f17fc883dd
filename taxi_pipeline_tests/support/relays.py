"""Relays between a process and its servers, which hand what passes to a test at named points.

A `Point` says what it waits for and what happens then; what matches no point is passed on as it is.
There is a relay for HTTP, which knows requests and answers, and one for PostgreSQL, which knows the
messages of its protocol. Which faults there are, and what they must lead to, is not said here.
"""

import http.client
import json
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from .processes import PATIENCE

_NOT_PASSED_ON = ("connection", "content-length", "date", "server", "transfer-encoding")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close without a farewell


@dataclass
class Point[Passing]:
    """What happens to what `matches`, the first `times` times; None is for ever.

    `happens` gets what is passing, holds it as long as it takes, and may answer in its place.
    """

    matches: Callable[[Passing], bool]
    happens: Callable[[Passing], None]
    times: int | None = 1
    reached: int = 0
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def takes(self, passing: Passing) -> bool:
        """Whether it happens to this one; the point is then reached once more."""
        with self._counting:
            if self.reached == self.times or not self.matches(passing):
                return False
            self.reached += 1
            return True

    @property
    def missed(self) -> bool:
        """Whether it has happened less often than it was to happen."""
        return self.reached < (self.times or 1)


@dataclass(frozen=True)
class Reply:
    """An HTTP server's answer."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


class Exchange:
    """A request that is passing; it is read as far as somebody asks for it."""

    def __init__(self, handler: BaseHTTPRequestHandler, server: str) -> None:
        self._handler = handler
        self._server = urlsplit(server).netloc
        self._ours = f"127.0.0.1:{handler.connection.getsockname()[1]}"
        self._length = int(handler.headers.get("Content-Length", 0))
        self.method = handler.command
        self.path = unquote(handler.path)
        self.client_port = handler.client_address[1]
        self.answered = False

    @cached_property
    def body(self) -> bytes:
        """The whole of the request's body."""
        return self._handler.rfile.read(self._length)

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)

    @property
    def opening(self) -> bytes:
        """What has arrived of the body, at least its first bytes, without reading it."""
        return self._handler.rfile.peek() if self._length else b""  # type: ignore[attr-defined]

    def asked(self, body: bytes | None = None) -> Reply:
        """Pass the request on, or the same with another body; return the server's answer."""
        content = self.body if body is None else body
        with closing(self._begun(len(content))) as connection:
            connection.send(content)
            with connection.getresponse() as response:
                headers = [
                    (name, self._readdressed(value))
                    for name, value in response.getheaders()
                    if name.lower() not in _NOT_PASSED_ON
                ]
                answer = response.read()
                if "json" in response.getheader("Content-Type", ""):
                    answer = self._readdressed(answer.decode()).encode()
                return Reply(response.status, headers, answer)

    def begin(self) -> None:
        """Pass the request on up to the middle of its body, of which no more is read either."""
        half = self._handler.rfile.read(self._length // 2)
        with closing(self._begun(self._length)) as connection:
            connection.send(half)

    def answer(self, reply: Reply) -> None:
        """Send an answer."""
        self._handler.send_response_only(reply.status)
        for name, value in reply.headers:
            self._handler.send_header(name, value)
        self._handler.send_header("Content-Length", str(len(reply.body)))
        self._handler.end_headers()
        self._handler.wfile.write(reply.body)
        self.answered = True

    def answer_json(self, status: int, content: object, **headers: str) -> None:
        """Send an answer of JSON."""
        typed = [("Content-Type", "application/json"), *headers.items()]
        self.answer(Reply(status, typed, json.dumps(content).encode()))

    def reset(self) -> None:
        """Reset the connection."""
        reset(self._handler.connection)

    def _begun(self, length: int) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._server, timeout=PATIENCE)
        connection.putrequest(self.method, self._handler.path, skip_accept_encoding=True)
        for name, value in self._handler.headers.items():
            if name.lower() not in (*_NOT_PASSED_ON, "host"):
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        return connection

    def _readdressed(self, text: str) -> str:
        """Lead who follows a link to the server through the relay."""
        return text.replace(self._server, self._ours)


@contextmanager
def http_relay(server: str, points: Sequence[Point[Exchange]]) -> Iterator[str]:
    """Relay to the HTTP server at a URL; yield the relay's URL. `points` may grow meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            exchange = Exchange(self, server)
            with suppress(OSError):  # one of the two has left
                for point in points:
                    if point.takes(exchange):
                        point.happens(exchange)
                        break
                else:
                    exchange.answer(exchange.asked())
            self.close_connection = self.close_connection or not exchange.answered

        do_DELETE = do_HEAD = do_PATCH = do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as relay, _served(relay):
        yield f"http://127.0.0.1:{relay.server_port}"


@dataclass
class Session:
    """A connection to PostgreSQL: its statements so far, and the bytes of rows copied in."""

    client: socket.socket
    server: socket.socket
    statements: list[str] = field(default_factory=list)
    copied: int = 0
    ended: bool = False

    def reset(self) -> None:
        """Reset the connection, on both sides."""
        self.ended = True
        reset(self.client)
        reset(self.server)

    def close(self) -> None:
        """End the connection, on both sides."""
        self.ended = True
        _close(self.client)
        _close(self.server)


@dataclass(frozen=True)
class Message:
    """A message that is passing, from the client or to it, by PostgreSQL's one letter for it."""

    session: Session
    from_client: bool
    kind: bytes
    body: bytes

    def says(self, statement: str) -> bool:
        """Whether it is the client's, and carries a statement that begins like this."""
        return bool(self.statement) and self.statement.startswith(statement)

    def reports(self, command: str) -> bool:
        """Whether it is the server's word that a command is done."""
        return not self.from_client and self.kind == b"C" and self.body == command.encode() + b"\0"

    @property
    def statement(self) -> str:
        """The statement that it carries, if it does."""
        if not self.from_client or self.kind not in (b"Q", b"P"):
            return ""
        # Query has the statement alone, Parse a name before it
        return self.body.split(b"\0")[0 if self.kind == b"Q" else 1].decode()

    @property
    def is_row_data(self) -> bool:
        """Whether it carries rows of a COPY into a table."""
        return self.from_client and self.kind == b"d"


@contextmanager
def postgres_relay(port: int, points: Sequence[Point[Message]]) -> Iterator[int]:
    """Relay to PostgreSQL at a port of loopback; yield the relay's. `points` may grow meanwhile."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                session = Session(self.request, socket.create_connection(("127.0.0.1", port)))
                back = threading.Thread(target=_carry, args=(session, points, False))
                back.start()
                _carry(session, points, True)
                back.join()

    class Relay(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Relay(("127.0.0.1", 0), Handler) as relay, _served(relay):
        yield int(relay.server_address[1])


def _carry(session: Session, points: Sequence[Point[Message]], from_client: bool) -> None:
    """Carry messages one way until one of the two leaves."""
    source, target = session.client, session.server
    if not from_client:
        source, target = target, source
    with suppress(OSError), source.makefile("rb") as stream:
        if from_client:  # its first message alone has no letter
            (size,) = struct.unpack("!i", head := _exactly(stream, 4))
            target.sendall(head + _exactly(stream, size - 4))
        while True:
            head = _exactly(stream, 5)
            kind, size = struct.unpack("!ci", head)
            message = Message(session, from_client, kind, _exactly(stream, size - 4))
            if message.statement:
                session.statements.append(message.statement)
            if message.is_row_data:
                session.copied += len(message.body)
            for point in points:
                if point.takes(message):
                    point.happens(message)
            if session.ended:
                return
            target.sendall(head + message.body)
    session.close()


def _exactly(stream: Any, size: int) -> bytes:
    data: bytes = stream.read(size)
    if len(data) < size:
        raise ConnectionError("the other side has left")
    return data


def reset(connection: socket.socket) -> None:
    """Close a connection as a broken one is: what is under way is lost, the other side is told."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    _close(connection)


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)  # a thread that reads from it would keep it open
    connection.close()


def passing(method: str, pattern: str) -> Callable[[Exchange], bool]:
    """Return whether a request has that method, and a path that the pattern is found in."""
    found = re.compile(pattern)
    return lambda exchange: exchange.method == method and bool(found.search(exchange.path))


@contextmanager
def _served(server: socketserver.TCPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
