"""Real HTTP servers on loopback: scripted by a test, taking messages, silent, or an application."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import uvicorn
from starlette.applications import Starlette

type Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def serving(answers: dict[str, list[Answer]]) -> Iterator[tuple[str, list[str]]]:
    """Serve each path's answers in turn, the last for ever; yield the URL and the paths asked."""
    asked: list[str] = []

    class Handler(_Silent):
        def do_GET(self) -> None:
            asked.append(self.path)
            script = answers.get(self.path, [status(404)])
            script[min(asked.count(self.path), len(script)) - 1](self)

        do_HEAD = do_POST = do_GET  # noqa: N815

    with listening(Handler) as address:
        yield f"http://{address}", asked


@contextmanager
def receiving(code: int = 200) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Take messages, answering with a status; yield the URL for Apprise and the messages' JSON."""
    received: list[dict[str, str]] = []

    class Handler(_Silent):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status(code)(self)

    with listening(Handler) as address:
        yield f"json://{address}/", received


class _Silent(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve with the handler; yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving_application(application: Starlette) -> Iterator[str]:
    """Serve an application; yield its URL."""
    config = uvicorn.Config(application, port=0, log_level="warning", server_header=False)
    server = uvicorn.Server(config)
    listener = server.config.bind_socket()
    listener.listen()  # who asks before the server runs, waits
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def status(code: int, **headers: str) -> Answer:
    """Answer with a status and no body."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


def named(code: int, server: str, **headers: str) -> Answer:
    """Answer with a status as that server, and no body."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response_only(code)
        for name, value in {"Server": server, "Content-Length": "0", **headers}.items():
            request.send_header(name, value)
        request.end_headers()

    return answer


def missing_in_s3() -> Answer:
    """Answer as Amazon S3 does for a key that is not there, to whom may not list the bucket."""
    return _refusal(
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
        {
            "Server": "AmazonS3",
            "Content-Type": "application/xml",
            "x-amz-request-id": "4442587FB7D0A2F9",
        },
    )


def refused_by_cloudfront() -> Answer:
    """Answer as CloudFront does to whom it has blocked."""
    return _refusal(
        b"<HTML><BODY><H1>403 ERROR</H1><H2>The request could not be satisfied.</H2></BODY></HTML>",
        {"Server": "CloudFront", "Content-Type": "text/html", "X-Cache": "Error from cloudfront"},
    )


def _refusal(content: bytes, headers: dict[str, str]) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response_only(403)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    return answer


def body(content: bytes, etag: str = "", promised: int | None = None) -> Answer:
    """Answer with a body, 304 if the ETag is asked for; `promised` is the length it claims."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if etag and request.headers["If-None-Match"] == etag:
            status(304)(request)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(content) if promised is None else promised))
        if etag:
            request.send_header("ETag", etag)
        request.send_header("Last-Modified", "Wed, 20 Jul 2022 10:00:00 GMT")
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)
        request.close_connection = True

    return answer


@contextmanager
def silent() -> Iterator[str]:
    """Take connections and never answer; yield the URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
