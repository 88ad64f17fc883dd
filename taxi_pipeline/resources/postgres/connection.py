"""A connection to PostgreSQL on which neither side waits for ever.

Only waiting belongs here; what is asked of the server is `sink`'s and `rows`'s.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from taxi_pipeline.errors import TransientError

if TYPE_CHECKING:
    from psycopg.abc import ConnDict, PQGen

# A network that is gone is noticed after two minutes, by us and by the server.
_CLIENT_SETTINGS: "ConnDict" = {
    "client_encoding": "utf8",  # in which the rows are sent, whatever the database's
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 120_000,  # ms, which the kernel then also takes for the keepalives
}
_SERVER_SETTINGS = {
    "tcp_keepalives_idle": "60s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "6",
    "tcp_user_timeout": "120s",
    "client_connection_check_interval": "1s",  # or it would not look while it waits for a lock
    "idle_in_transaction_session_timeout": "60s",
}

_GRACE_SECONDS = 5  # by which the server's own word comes first, if it lives


class Connection(psycopg.Connection):
    """A connection whose calls end, with a server that is silent too.

    Attributes:
        timeout: Seconds that a statement may take.
    """

    timeout = 0  # seconds that a statement may take

    @classmethod
    def open(cls, url: str, connect_timeout: int, timeout: int) -> Self:
        """Connect.

        Args:
            url: The database. What it says of the connection counts before our defaults.
            connect_timeout: Seconds to wait for the connection.
            timeout: Seconds that a statement may take.
        """
        defaults = _CLIENT_SETTINGS | {
            "connect_timeout": connect_timeout,
            "application_name": "taxi_pipeline",
        }
        conninfo = make_conninfo("", **defaults | conninfo_to_dict(url))
        # a prepared statement would stay in a session that a pooler gives to somebody else
        connection = cls.connect(conninfo, prepare_threshold=None)
        connection.timeout = timeout
        return connection

    def begin(self, lock_timeout: int) -> None:
        """Begin a transaction that waits for a lock for so many seconds, and ends without us."""
        settings = {
            **_SERVER_SETTINGS,
            "statement_timeout": f"{self.timeout}s",
            "lock_timeout": f"{lock_timeout}s",
        }
        # of the transaction alone: a pooler may give the session to somebody else after it
        self.execute(
            "SELECT set_config(name, setting, true) FROM unnest(%s::text[], %s::text[]) "
            "AS settings (name, setting)",
            [list(settings), list(settings.values())],
        )

    @contextmanager
    def closed_if_interrupted(self) -> Iterator[None]:
        """Close the connection where an interrupt ends the context.

        Else psycopg would tell the server that a COPY ends, and wait for its answer.
        """
        try:
            yield
        except Exception:
            raise
        except BaseException:
            self.close()
            raise

    def wait[T](self, gen: "PQGen[T]", interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait as psycopg does, but not for ever; close what is broken off in the middle.

        Args:
            gen: What to wait for.
            interval: As in psycopg, in seconds.
            timeout: Seconds to wait; None for those of a statement and 5 more, by which the
                server's own word comes first.

        Raises:
            TransientError: The server did not answer by then.
        """
        try:
            return super().wait(gen, interval, timeout or self.timeout + _GRACE_SECONDS)
        except BaseException as error:
            # interrupted, or without an answer: the server rolls back when it sees us gone
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.close()
            if isinstance(error, psycopg.errors._WaitTimeout):
                raise TransientError(
                    f"PostgreSQL does not answer: a statement may take {self.timeout} s "
                    "(TAXI_POSTGRES_TIMEOUT)."
                ) from None
            raise
