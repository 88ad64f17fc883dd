"""The two kinds of failure: those that a retry can cure and those that it cannot.

Nothing else belongs here. Every other room raises one of the two with a message that names what
was wrong, where, and what to do; the assets decide by the kind whether Dagster tries again. Which
kind the failure of a system outside is of, `io.classification` says.
"""


class PermanentError(Exception):
    """Trying again as things stand fails again: not published, a bad file, a bad setting."""


class TransientError(Exception):
    """Trying again later may work: a server was busy, a connection broke.

    `retry_after` is for how many seconds the server has asked us to wait, if it has.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
