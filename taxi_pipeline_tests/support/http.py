"""Real HTTP servers on loopback: one that answers as a test scripts it, one for an application."""

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

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            script = answers.get(self.path, [status(404)])
            script[min(asked.count(self.path), len(script)) - 1](self)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving_application(application: Starlette) -> Iterator[str]:
    """Serve an application; yield its URL."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="warning"))
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
