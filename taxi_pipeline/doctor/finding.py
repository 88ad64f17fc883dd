"""A check and what it finds, and how checks are run one after another.

What is checked is said by the modules of the systems; how a finding looks, by `view`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from taxi_pipeline.doctor.context import Context, NotCheckedError
from taxi_pipeline.errors import PermanentError, TransientError


class Status(StrEnum):
    """How a check has ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What a check has found.

    Attributes:
        status: How it has ended.
        message: What was seen, what to do about it, or why it was not checked. It holds no secret.
        details: Figures for programs, by name.
        blocking: Whether the checks that need this one cannot be made.
    """

    status: Status
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    blocking: bool = False


def ok(message: str, **details: Any) -> Finding:
    """Return the finding that all is well, and of what."""
    return Finding(Status.OK, message, details)


def failed(message: str, *, blocking: bool = True, **details: Any) -> Finding:
    """Return the finding that something is wrong, and what to do."""
    return Finding(Status.FAILED, message, details, blocking)


def skipped(message: str, *, blocking: bool = False, **details: Any) -> Finding:
    """Return the finding that it was not checked, and why."""
    return Finding(Status.SKIPPED, message, details, blocking)


@dataclass(frozen=True)
class Check:
    """A check.

    Attributes:
        name: What is checked, in a word or two.
        run: Checks it. It may raise what the systems raise: that counts as failed.
        needs: The checks without which this one cannot be made.
    """

    name: str
    run: Callable[[Context], Finding]
    needs: tuple[str, ...] = ()


def examine(checks: Iterable[Check], context: Context) -> Iterator[tuple[str, Finding]]:
    """Run the checks; yield each one's name and finding as soon as it has ended.

    Args:
        checks: The checks, each after those that it needs.
        context: What they share.
    """
    blocking: set[str] = set()
    for check in checks:
        if missing := [name for name in check.needs if name in blocking]:
            finding = skipped(f"needs {missing[0]}", blocking=True)
        else:
            finding = _finding(check, context)
        if finding.blocking:
            blocking.add(check.name)
        yield check.name, finding


def _finding(check: Check, context: Context) -> Finding:
    from taxi_pipeline.io.classification import message_of

    try:
        return check.run(context)
    except NotCheckedError as reason:
        return skipped(str(reason), blocking=True)
    except (PermanentError, TransientError) as error:
        return failed(str(error))
    except Exception as error:  # one that nobody foresaw keeps no other check from being made
        return failed(f"{type(error).__name__}: {message_of(error)}")
