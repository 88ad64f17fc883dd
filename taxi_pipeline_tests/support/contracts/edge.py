"""The HTTP edge: where each request of Google's clients is looked at before it leaves the process.

`install` wraps what all of their requests go through, `requests.Session.send`. A request that
Google would refuse is answered as Google does, with 400 and the reason, and does not arrive. So the
code under test fails as it would; and what was refused is written to a file that all processes of
the test session share, at which `no_refusals` fails the test.
"""

import atexit
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Event
from types import FrameType
from typing import Any

import requests

from taxi_pipeline_tests.support.contracts.calls import Call, NotUnderstoodError, read_call

_SESSIONS = "google.auth.transport.requests"
_ROOT = Path(__file__).parents[3]
_PLATFORM = f"{_ROOT / 'taxi_pipeline'}{os.sep}"
_TESTS = f"{_ROOT / 'taxi_pipeline_tests'}{os.sep}"
_OURS = f"{Path(__file__).parent}{os.sep}"
# Dagster's manager of logs, which sends requests of its own.
_LOGS = f"{os.sep}dagster_gcp{os.sep}"

type Listener = Callable[[Call], None]

_listeners: list[Listener] = []
_emulator_is_alone = Event()
_reported = 0  # bytes of the file of refused requests that have failed a test


def install() -> None:
    """Look at the requests of this process from now on."""
    _refusals()  # before anybody changes the environment
    send = requests.Session.send
    if getattr(send, "looks_at_requests", False):
        return

    def look_and_send(
        session: requests.Session, request: requests.PreparedRequest, **options: Any
    ) -> requests.Response:
        is_googles = type(session).__module__ == _SESSIONS and not _emulator_is_alone.is_set()
        if is_googles and (words := _refusal(request)):
            return _refused(session, request, words)
        return send(session, request, **options)

    look_and_send.looks_at_requests = True  # type: ignore[attr-defined]
    requests.Session.send = look_and_send  # type: ignore[assignment,method-assign]


@contextmanager
def recording() -> Iterator[list[Call]]:
    """Yield the list to which the requests of the platform are added meanwhile.

    What docs/requests.md has of them is not asked.
    """
    calls: list[Call] = []
    add = calls.append
    _listeners.append(add)
    try:
        yield calls
    finally:
        _listeners.remove(add)


@contextmanager
def no_refusals() -> Iterator[None]:
    """Fail where a request was refused, in this process or one that a test has started.

    What was refused before the block counts, too: a fixture of a whole module sends it before the
    first test's block begins. Each refusal fails once.
    """
    global _reported
    yield
    with _refusals().open() as file:
        file.seek(min(_reported, os.fstat(file.fileno()).st_size))
        refused = file.read()
        _reported = file.tell()
    if refused:
        raise AssertionError(f"Google would refuse:\n{refused}")


@contextmanager
def emulator_alone() -> Iterator[None]:
    """Let the emulator be the one that refuses: for tests of what it says then."""
    _emulator_is_alone.set()
    try:
        yield
    finally:
        _emulator_is_alone.clear()


@contextmanager
def refusals_expected() -> Iterator[list[str]]:
    """Take what is refused meanwhile out of the file; yield the list that has it afterwards."""
    path = _refusals()
    before = path.stat().st_size
    refused: list[str] = []
    yield refused
    with path.open("r+") as file:
        file.seek(before)
        refused += file.read().splitlines()
        file.truncate(before)


@cache
def _refusals() -> Path:
    """Return the file of refused requests, which a worker of pytest's shares with what it starts.

    The process that is the first to ask makes it, and removes it when it ends.
    """
    variable = f"TAXI_TESTS_REFUSALS_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    if variable not in os.environ:
        descriptor, name = tempfile.mkstemp(prefix="taxi-refusals-")
        os.close(descriptor)
        os.environ[variable] = name
        atexit.register(Path(name).unlink, missing_ok=True)
    return Path(os.environ[variable])


def _refusal(request: requests.PreparedRequest) -> str | None:
    """Say why Google would refuse a request; None where it would not."""
    from taxi_pipeline_tests.support.contracts import page, rules

    verb, url = str(request.method), str(request.url)
    body = request.body if isinstance(request.body, bytes | str) else None
    try:
        call = read_call(verb, url, request.headers, body)
    except NotUnderstoodError as error:
        return str(error)
    if call is None:
        return None
    faults = [
        *call.method.faults_of_query(call.query, call.upload),
        *call.method.faults_of_body(call.body),
        *rules.faults(call),
    ]
    if not faults and _is_the_platforms():
        for listener in _listeners:
            listener(call)
        if not _listeners and (fault := page.page_fault(call)):
            faults.append(fault)
    return "; ".join(faults) or None


def _refused(
    session: requests.Session, request: requests.PreparedRequest, words: str
) -> requests.Response:
    """Write a refusal down; return the answer that stands for it."""
    address = str(request.url).partition("?")[0].partition("//")[2].partition("/")[2]
    with _refusals().open("a") as file:
        file.write(f"{request.method} /{address}: {words}\n")
    error = {"code": 400, "message": words, "errors": [{"reason": "invalid", "message": words}]}
    answer = requests.Response()
    answer.status_code, answer.reason = 400, "Bad Request"
    answer.url, answer.request = str(request.url), request
    answer.headers["Content-Type"] = "application/json"
    answer._content = json.dumps({"error": error}).encode()
    return answer


def _is_the_platforms() -> bool:
    """Whether the platform sends it and not a test: whose code is nearest in the stack."""
    frame: FrameType | None = sys._getframe()
    while frame:
        file = frame.f_code.co_filename
        if file.startswith(_PLATFORM) or _LOGS in file:
            return True
        if file.startswith(_TESTS) and not file.startswith(_OURS):
            return False
        frame = frame.f_back
    return False
