"""Processes of Python as `subprocess` starts them, but forked where the libraries are imported.

A command line of Dagster's takes seconds to import them. A server imports them once, and forks a
process for each command line that a test starts. The process has all that a new one has: its own
environment, descriptors and signals, and the interpreter's own end. It leads a session of its own.

Two things it shares with the server: what Python itself reads from the environment as it starts,
PYTHONUNBUFFERED excepted, and the command line that the system shows. So what measures imports or
memory is started by `subprocess`, and so is one cold start of each kind. No module of
`taxi_pipeline` is imported before the fork.

The server of `multiprocessing` does not do: its processes forget what libraries have registered
with `atexit`, and end without the interpreter's end.
"""

import atexit
import gc
import io
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, Self

from taxi_pipeline_tests.support.contracts import edge
from taxi_pipeline_tests.support.libraries import LIBRARIES, NO_THREADS
from taxi_pipeline_tests.support.processes import PATIENCE

_REPOSITORY = Path(__file__).parents[2]
_NUMBER = struct.Struct("q")
_starting = threading.Lock()


class Start(Protocol):
    """How a command is run to its end: `run` or `run_cold`."""

    def __call__(
        self,
        command: Sequence[str],
        *,
        stdout: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Return its exit code and what it wrote, unless `stdout` got it."""


class Forked:
    """A process, with as much of `subprocess.Popen` as tests use; leaving the block kills it.

    The command begins with the path of a script of Python's, or with `sys.executable` and -m or -c.
    `stdout` and `stderr` are descriptors.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdout: int = 1,
        stderr: int = 2,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.returncode: int | None = None
        self._warden, theirs = socket.socketpair()
        with theirs:
            # one byte: requests that are sent at once do not mingle
            socket.send_fds(_connection(), [b"1"], [theirs.fileno(), 0, stdout, stderr])
        request = {
            "command": list(command),
            "environment": dict(os.environ if env is None else env),
            "folder": str(Path.cwd()),
        }
        self._warden.sendall(json.dumps(request).encode())
        self._warden.shutdown(socket.SHUT_WR)
        self.pid = self._received()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return its exit code, or the negative number of the signal.

        Raises `TimeoutError` if it has not ended in so many seconds.
        """
        if self.returncode is None:
            self._warden.settimeout(timeout)
            self.returncode = self._received()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send it SIGKILL, if it runs."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()
        self._warden.close()

    def _received(self) -> int:
        number = self._warden.recv(_NUMBER.size)
        if not number:
            raise ChildProcessError("the forkserver has ended")
        return int(_NUMBER.unpack(number)[0])


def run(
    command: Sequence[str],
    *,
    stdout: int | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; return its exit code and what it wrote, unless `stdout` got it."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        target = out.fileno() if stdout is None else stdout
        with Forked(command, stdout=target, stderr=err.fileno(), env=env) as process:
            code = process.wait(timeout)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


def run_cold(
    command: Sequence[str],
    *,
    stdout: int | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Do as `run` by a new interpreter, which imports all that it needs."""
    target = subprocess.PIPE if stdout is None else stdout
    return subprocess.run(
        command, stdout=target, stderr=subprocess.PIPE, text=True, env=env, timeout=timeout
    )


def _connection() -> socket.socket:
    """Return the connection to the server, which is started for the first process."""
    with _starting:
        return _start_server()


@cache
def _start_server() -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=theirs.fileno(),
            cwd=_REPOSITORY,
            env={**os.environ, **NO_THREADS},
            start_new_session=True,
        )
    atexit.register(_end_server, server, ours)
    return ours


def _end_server(server: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()  # it ends by itself when it sees this, unless it still imports
    server.kill()
    server.wait()


def _serve() -> dict[str, Any]:
    """Fork a process for each request; return, in that process alone, what it is to be."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the processes' parents, for which nobody waits
    control = socket.socket(fileno=0)
    while True:
        asked, descriptors, *_ = socket.recv_fds(control, 1, 4)
        if not asked:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            return _guard(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _guard(connection: int, *standard: int) -> dict[str, Any]:
    """Fork the process, wait for it and report its exit code; return in the process alone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.socket(fileno=connection) as client:
        with client.makefile("rb") as stream:
            request: dict[str, Any] = json.load(stream)
        if pid := os.fork():
            for descriptor in standard:
                os.close(descriptor)
            _, status = os.waitpid(pid, 0)
            with suppress(BrokenPipeError):  # who asked has ended
                client.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))
            os._exit(0)
        os.setsid()
        client.sendall(_NUMBER.pack(os.getpid()))
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    return request


def _become(command: list[str], environment: dict[str, str], folder: str) -> None:
    """Be from now on what a new interpreter would be."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    tempfile.tempdir = None
    errors = sys.stdout.errors
    sys.stdin = _stream(io.BufferedReader(io.FileIO(0, closefd=False)), errors)
    sys.stdout = _stream(_writer(1), errors)
    sys.stderr = _stream(_writer(2), "backslashreplace")
    sys.stderr.reconfigure(line_buffering=not sys.stderr.write_through)
    match command:
        case [sys.executable, "-m", module, *words]:
            sys.argv = [module, *words]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [sys.executable, "-c", program, *words]:
            sys.argv = ["-c", *words]
            exec(program, {"__name__": "__main__"})
        case [script, *_]:
            sys.argv = command
            runpy.run_path(script, run_name="__main__")


def _stream(file: Any, errors: str | None) -> io.TextIOWrapper:
    """Return a standard stream as the interpreter opens it."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    return io.TextIOWrapper(file, sys.stdout.encoding, errors, write_through=unbuffered)


def _writer(descriptor: int) -> io.FileIO | io.BufferedWriter:
    file = io.FileIO(descriptor, "w", closefd=False)
    return file if os.environ.get("PYTHONUNBUFFERED") else io.BufferedWriter(file)


if __name__ == "__main__":
    for library in LIBRARIES:
        import_module(library)
    edge.install()
    gc.freeze()  # what is not searched for garbage stays in memory that all share
    _become(**_serve())
