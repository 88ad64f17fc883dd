"""The two kinds of failure: those that a retry can cure and those that it cannot.

Nothing else belongs here. Every other room raises one of the two with a message that names what
was wrong, where, and what to do; the assets decide by the kind whether Dagster tries again.
"""


class PermanentError(Exception):
    """Trying again as things stand fails again: not published, a bad file, a bad setting."""


class TransientError(Exception):
    """Trying again later may work: a server was busy, a connection broke."""
