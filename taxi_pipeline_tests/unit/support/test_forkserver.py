"""A forked process beside a new interpreter: a program cannot tell in which it runs."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from taxi_pipeline_tests.support.contracts import edge
from taxi_pipeline_tests.support.forkserver import Forked, run, run_cold

EXAMINE = """
import os, signal, sys, tempfile, threading, time
print(__name__, sys.argv, os.getcwd(), tempfile.gettempdir(), time.tzname)
print(sorted(os.environ.items()))
print([number for number in range(99) if os.path.exists(f"/dev/fd/{number}")])
for number in sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}):
    print(number, signal.getsignal(number))
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
print(threading.active_count())
for one in (sys.stdin, sys.stdout, sys.stderr):
    print(one.encoding, one.errors, one.line_buffering, one.write_through, type(one.buffer))
"""
LATE = "import threading; threading.main_thread().join(); print('late')"
ENDS = {
    "end": "print('no end of line', end='')",
    "code": "raise SystemExit(7)",
    "no-code": "import sys; sys.exit()",
    "word": "import sys; print('out'); sys.exit('a word')",
    "signal": "import os; os.kill(os.getpid(), 15)",
    "atexit": "import atexit; atexit.register(print, 'last'); print('first')",
    "thread": f"import threading; threading.Thread(target=exec, args=({LATE!r},)).start()",
    "at-once": "import os; print('lost'); os._exit(3)",
}


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_program_has_the_same_surroundings(tmp_path: Path, unbuffered: str) -> None:
    command = [sys.executable, "-c", EXAMINE, "a word", "--option"]
    environment = os.environ | {
        "PYTHONUNBUFFERED": unbuffered,
        "TMPDIR": str(tmp_path),
        "TZ": "America/New_York",
    }
    forked, cold = (start(command, env=environment) for start in (run, run_cold))
    assert forked.stdout.splitlines() == cold.stdout.splitlines()
    assert (forked.returncode, forked.stderr) == (0, "")


@pytest.mark.parametrize("program", ENDS.values(), ids=ENDS)
def test_a_program_ends_the_same(program: str) -> None:
    command = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONUNBUFFERED": ""}
    forked, cold = (start(command, env=environment) for start in (run, run_cold))
    assert (forked.returncode, forked.stdout) == (cold.returncode, cold.stdout)
    assert forked.stderr == cold.stderr


def test_an_error_that_nobody_catches_is_shown_and_its_code_is_1() -> None:
    done = run([sys.executable, "-c", "raise ValueError('nobody')"])
    assert done.returncode == 1
    assert done.stderr.endswith("\nValueError: nobody\n")


def test_what_cannot_be_written_at_the_end_is_an_error() -> None:
    command = [sys.executable, "-c", "print('lost')"]
    environment = os.environ | {"PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("w") as full:
        done = run(command, stdout=full.fileno(), env=environment)
    assert done.returncode == 120
    assert done.stderr.endswith("OSError: [Errno 28] No space left on device\n")


def test_it_leads_a_session_of_its_own_and_ends_with_its_block() -> None:
    with Forked([sys.executable, "-c", "import threading; threading.Event().wait()"]) as process:
        with pytest.raises(TimeoutError):
            process.wait(0.01)
        assert os.getpgid(process.pid) == os.getsid(process.pid) == process.pid
    assert process.returncode == -signal.SIGKILL
    assert not psutil.pid_exists(process.pid)


def test_the_server_has_one_thread_and_has_imported_nothing_of_the_project() -> None:
    program = (
        "import psutil, sys\n"
        "print(psutil.Process().parent().parent().num_threads())\n"
        "print([name for name in sys.modules if name.startswith('taxi_pipeline.')])"
    )
    assert run([sys.executable, "-c", program]).stdout.split() == ["1", "[]"]


def test_what_a_process_sends_to_google_is_looked_at_and_said_to_its_test() -> None:
    program = (
        "from google.auth.credentials import AnonymousCredentials as Nobody\n"
        "from google.auth.transport.requests import AuthorizedSession\n"
        "session = AuthorizedSession(Nobody())\n"
        "print(session.request('GET', 'http://127.0.0.1:1/storage/v1/b/Lake').status_code)"
    )
    with edge.refusals_expected() as refused:
        done = run([sys.executable, "-c", program], env={"PATH": os.environ["PATH"]})
    assert (done.stdout, done.stderr) == ("400\n", "")
    assert refused == ["GET /storage/v1/b/Lake: 'Lake' is no legal bucket"]
