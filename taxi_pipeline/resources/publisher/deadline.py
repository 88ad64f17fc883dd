"""A total timeout for requests, whose read timeout starts anew with every byte that arrives.

So a server that trickles could hold us for ever. A clock beside `read1` would bound a body alone,
and not headers, a handshake or a redirect; and connections have to be looked at anyway, for where a
redirect may not lead. Only how long an exchange may last, and how much
of it is read, belongs here: requests and answers are `publisher`'s, redirects are `redirects`'.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Timer
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy

from taxi_pipeline.resources.publisher.redirects import Redirects


@dataclass
class Deadline:
    """A point in time at which the connections that it watches are cut.

    Attributes:
        passed: Is set when it has passed.
    """

    passed: Event = field(default_factory=Event)
    _watched: list[socket.socket] = field(default_factory=list)

    def watch(self, connection: socket.socket) -> None:
        """Cut a connection when the deadline has passed, which may be now."""
        self._watched.append(connection.dup())  # TLS will take the socket itself away
        if self.passed.is_set():
            self.pass_()

    def pass_(self) -> None:
        """Pass: cut every connection."""
        self.passed.set()
        for connection in self._watched:
            with suppress(OSError):  # it has ended
                connection.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Watch no more."""
        for connection in self._watched:
            connection.close()


@contextmanager
def session_until(seconds: float) -> Iterator[tuple[requests.Session, Deadline]]:
    """Open a session for one request, which may be redirected where `Redirects` lets it.

    Args:
        seconds: After how many seconds its connections are cut.

    Yields:
        The session, and its deadline. What is cut may look like the end of an answer, so who reads
        one asks whether it has passed.

    Raises:
        PermanentError: The session was led where `Redirects` does not let it.
    """
    deadline = Deadline()
    timer = Timer(seconds, deadline.pass_)
    timer.daemon = True
    timer.start()
    try:
        with requests.Session() as session:
            watching = _Watching(deadline, Redirects())
            for scheme in ("http://", "https://"):
                session.mount(scheme, watching)
            session.hooks["response"].append(_leave_redirect_unread)
            yield session, deadline
    finally:
        timer.cancel()
        deadline.forget()


class _Watching(HTTPAdapter):
    """Makes connections that a deadline watches, and to nowhere that a redirect may not lead."""

    def __init__(self, deadline: Deadline, redirects: Redirects) -> None:
        super().__init__()
        self._deadline = deadline
        self._redirects = redirects

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        verify: bool | str | None,
        proxies: Mapping[str, str] | None = None,
        cert: Any = None,
    ) -> Any:
        is_proxied = bool(select_proxy(request.url or "", proxies))
        self._redirects.follow(request.url or "", is_proxied)
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies, cert)
        deadline, redirects, plain = self._deadline, self._redirects, type(pool).ConnectionCls

        class Watched(plain):  # type: ignore[misc, valid-type]
            def _new_conn(self) -> socket.socket:
                connection: socket.socket = super()._new_conn()
                try:
                    redirects.connect(connection)
                except BaseException:
                    connection.close()
                    raise
                deadline.watch(connection)
                return connection

        pool.ConnectionCls = Watched
        return pool


def _leave_redirect_unread(response: requests.Response, *_: object, **__: object) -> None:
    # else all of its body would be taken in, and decoded
    if response.is_redirect:
        response.raw.close()
