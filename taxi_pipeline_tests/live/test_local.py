"""The embedded stack, as a person uses it: `taxi local CMD` from a shell.

What is about the servers themselves runs `taxi` with all of them; what is about locks, signals,
terminals and folders the same command with a stack of few or small ones.
"""

import fcntl
import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from taxi_pipeline_tests.support import small_stack
from taxi_pipeline_tests.support.processes import (
    PATIENCE,
    killed_leftovers,
    run_with_family,
    started,
    until,
)

TAXI = [sys.executable, "-m", "taxi_pipeline"]
SMALL_TAXI = [sys.executable, "-m", small_stack.__name__]


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with TemporaryDirectory(prefix="taxi-") as name:
        yield Path(name)


@pytest.fixture
def folder(home: Path) -> Iterator[Path]:
    """Return the folder of a small stack, of which nothing may run when the test is over."""
    yield home / "small"
    assert killed_leftovers(home) == []


@pytest.fixture
def whole(home: Path) -> Iterator[Path]:
    """Return the folder of a stack with every server, of which nothing may run at the end."""
    yield home / "data"
    assert killed_leftovers(home) == []


@pytest.fixture
def scratch(home: Path) -> Iterator[Path]:
    """Return a folder beside the stack's."""
    with TemporaryDirectory(dir=home) as name:
        yield Path(name)


def taxi_local(
    folder: Path, *words: str, taxi: Sequence[str] = SMALL_TAXI, **options: str
) -> list[str]:
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    return [*taxi, "local", "--data-dir", str(folder), *flags, *words]


def run(
    folder: Path, *words: str, taxi: Sequence[str] = SMALL_TAXI, **options: str
) -> subprocess.CompletedProcess[str]:
    return run_with_family(taxi_local(folder, *words, taxi=taxi, **options))


def descendants(pid: int, name: str) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children(True) if child.name() == name]


def content_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_the_command_finds_every_server_and_its_exit_code_is_ours(whole: Path) -> None:
    check = """
import os, urllib.request, psycopg, psutil, json, sys
from taxi_pipeline import settings
from taxi_pipeline.resources.publisher.urls import url_templates
stores = settings.load_resources()
psycopg.connect(stores.postgres.url).close()
assert stores.lake.find("") == []
assert url_templates(stores.publisher.urls)
for name in ("BIGQUERY_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"):
    assert os.environ[name].startswith("http://127.0.0.1:")
home = os.environ["DAGSTER_HOME"]
assert "enabled: false" in open(home + "/dagster.yaml").read()
state = json.load(open(sys.argv[1]))
for server in state["servers"]:
    for listening in psutil.Process(server["pid"]).net_connections():
        if listening.status == "LISTEN":
            assert listening.laddr.ip == "127.0.0.1", (server, listening)
sys.exit(7)
"""
    done = run(whole, sys.executable, "-c", check, str(whole / "stack.json"), taxi=TAXI)
    assert done.returncode == 7, done.stderr
    assert "Starting the embedded stack" in done.stderr
    assert not (whole / "stack.json").exists()


def test_data_stays_from_one_stack_to_the_next_whatever_the_user_has_set(whole: Path) -> None:
    assert run(whole, *TAXI, "demo", taxi=TAXI, rows="500").returncode == 0
    ledger = run_with_family(
        taxi_local(whole, *TAXI, "ledger", taxi=TAXI, rows="500"),
        # of no matter are a proxy and settings for another PostgreSQL
        env=os.environ
        | dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://127.0.0.1:1")
        | {"no_proxy": "example.org", "PGSSLMODE": "require"},
    )
    assert ledger.returncode == 0, ledger.stderr
    assert "Error" not in ledger.stderr
    assert ledger.stdout.count("yes") == 8  # of six months, the zones and their shapes


def test_a_command_that_is_not_there_says_so(folder: Path, scratch: Path) -> None:
    done = run(folder, "no-such-command")
    assert done.returncode == 127
    assert "no-such-command: command not found" in done.stderr
    forbidden = scratch / "not-executable"
    forbidden.touch()
    assert run(folder, str(forbidden)).returncode == 126


def test_what_the_command_leaves_running_is_ended(folder: Path) -> None:
    # the word is found in the command line of whatever is left
    done = run(folder, "sh", "-c", f"(trap '' HUP; sleep 600; : {folder}) & exit 3")
    assert done.returncode == 3


def test_a_second_call_joins_and_the_last_stops(folder: Path, scratch: Path) -> None:
    release = scratch / "release"
    wait = f"while [ ! -e {release} ]; do sleep 0.05; done"
    with started(taxi_local(folder, "sh", "-c", wait)) as first:
        state = until(lambda: content_of(folder / "stack.json"))
        url = "print(__import__('os').environ['TAXI_ZONES_URL'])"
        second = run(folder, sys.executable, "-c", url)
        assert second.stdout.strip() == json.loads(state)["environment"]["TAXI_ZONES_URL"]
        assert first.poll() is None
        assert all(psutil.pid_exists(server["pid"]) for server in json.loads(state)["servers"])
        release.touch()
    assert first.returncode == 0
    assert not (folder / "stack.json").exists()


def test_the_first_may_leave_before_the_second(folder: Path, scratch: Path) -> None:
    release = scratch / "release"
    ask = "import os, urllib.request as r; r.urlopen(os.environ['TAXI_ZONES_URL']).close()"
    asking = shlex.join([sys.executable, "-c", ask])
    wait = f"while [ ! -e {release}-$0 ]; do sleep 0.05; done; exec {asking}"
    with (
        started(taxi_local(folder, "sh", "-c", wait, "1")) as first,
        started(taxi_local(folder, "sh", "-c", f"touch {release}-in; {wait}", "2")) as two,
    ):
        until(lambda: Path(f"{release}-in").exists())
        Path(f"{release}-1").touch()
        assert first.wait(PATIENCE) == 0
        Path(f"{release}-2").touch()
        assert two.wait(PATIENCE) == 0


def test_other_settings_do_not_join(folder: Path, scratch: Path) -> None:
    release = scratch / "release"
    wait = f"while [ ! -e {release} ]; do sleep 0.05; done"
    with started(taxi_local(folder, "sh", "-c", wait)):
        until(lambda: content_of(folder / "stack.json"))
        other = run(folder, "true", rows="7")
        release.touch()
    assert other.returncode == 1
    assert "A stack with --rows 50000 runs in" in other.stderr
    assert "not one with --rows 7" in other.stderr


def test_a_folder_of_an_earlier_release_takes_no_months_of_another_publisher(
    scratch: Path,
) -> None:
    data = scratch / "data"
    assert run(data, "true").returncode == 0
    (data / "published").mkdir()
    (data / "publisher").write_text(
        ""
    )  # what a full disk would leave; an earlier release left none
    other = run(data, "true", publisher=str(scratch))
    assert other.returncode == 1
    assert "keeps generated months, among which months of a folder could not be" in other.stderr
    assert run(data, "true").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_command_and_stops_the_stack(
    folder: Path, scratch: Path, number: signal.Signals
) -> None:
    said = scratch / "said"
    trap = f"trap 'echo got > {said}; exit 5' {number.name[3:]}"
    command = f"{trap}; touch {said}; while :; do sleep 0.05; done"
    with started(taxi_local(folder, "bash", "-c", command)) as process:
        until(said.exists)
        process.send_signal(number)
        assert process.wait(PATIENCE) == 5
    assert said.read_text() == "got\n"
    assert not (folder / "stack.json").exists()


# A shell starts what a script puts into the background with SIGINT and SIGQUIT ignored.
_IN_BACKGROUND = ["sh", "-c", '"$@" & wait', "sh"]
_DISPOSITIONS = """
import signal
for name in ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP"):
    handler = signal.getsignal(getattr(signal, name))
    print(name, "ignored" if handler is signal.SIG_IGN else "heeded")
"""


def test_in_the_background_of_a_script_the_command_heeds_every_signal(folder: Path) -> None:
    words = taxi_local(folder, sys.executable, "-c", _DISPOSITIONS)
    done = run_with_family([*_IN_BACKGROUND, *words])
    said = done.stdout.splitlines()
    assert said == [f"{name} heeded" for name in ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP")]


def test_in_the_background_of_a_script_these_tests_heed_an_interrupt() -> None:
    words = [sys.executable, "-c", f"import taxi_pipeline_tests.conftest\n{_DISPOSITIONS}"]
    done = run_with_family([*_IN_BACKGROUND, *words])
    assert "SIGINT heeded" in done.stdout.splitlines(), done.stderr


def test_nohup_is_respected(folder: Path, scratch: Path) -> None:
    said = scratch / "said"
    command = f"touch {said}; while [ -e {said} ]; do sleep 0.05; done; exit 5"
    with started(["nohup", *taxi_local(folder, "sh", "-c", command)]) as process:
        until(said.exists)
        process.send_signal(signal.SIGHUP)
        # who joins and leaves has been served by a stack that goes on
        assert run(folder, "true").returncode == 0
        assert process.poll() is None
        said.unlink()
        assert process.wait(PATIENCE) == 5


def test_a_command_that_ignores_signals_is_ended_with_what_left_its_group(
    folder: Path, scratch: Path
) -> None:
    ready = scratch / "ready"
    program = f"""
import pathlib, signal, subprocess, sys, threading
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
waiting = [sys.executable, "-c", "import threading; threading.Event().wait()", {str(ready)!r}]
subprocess.Popen(waiting, start_new_session=True)
pathlib.Path({str(ready)!r}).touch()
threading.Event().wait()
"""
    with started(taxi_local(folder, sys.executable, "-c", program)) as process:
        until(ready.exists)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        assert process.wait(PATIENCE) == 128 + signal.SIGKILL
    assert not (folder / "stack.json").exists()


def start_in_terminal(command: list[str]) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command in a terminal of its own; return it and the end at which a person types."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(terminal)
    return process, controller


@contextmanager
def in_terminal(command: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a command in a terminal of its own, as `start_in_terminal`; read what it prints."""
    process, controller = start_in_terminal(command)
    drained = threading.Thread(target=_drain, args=[controller])
    drained.start()
    try:
        yield process, controller
    finally:
        process.kill()
        drained.join()
        os.close(controller)


def test_ctrl_c_in_a_terminal_reaches_the_command_once(folder: Path, scratch: Path) -> None:
    said = scratch / "said"
    command = f"trap 'echo got >> {said}' INT; touch {said}; read line; read line; exit 5"
    with in_terminal(taxi_local(folder, "bash", "-c", command)) as (process, keys):
        until(said.exists)
        os.write(keys, b"\x03")
        until(lambda: said.read_text() == "got\n")
        os.write(keys, b"one\ntwo\n")
        assert process.wait(PATIENCE) == 5
    assert said.read_text() == "got\n"


def test_a_terminal_that_is_closed_ends_all(folder: Path, scratch: Path) -> None:
    ready = scratch / "ready"
    words = taxi_local(folder, "sh", "-c", f"touch {ready}; sleep 600; : {folder}")
    process, controller = start_in_terminal(words)
    with process:
        until(ready.exists)
        os.close(controller)
        try:
            assert process.wait(PATIENCE) == 128 + signal.SIGHUP
        finally:
            process.kill()
    assert not (folder / "stack.json").exists()


def _drain(controller: int) -> None:
    try:
        while os.read(controller, 1024):
            pass
    except OSError:  # the other end is closed
        pass


def test_a_signal_while_the_stack_starts_leaves_nothing(scratch: Path) -> None:
    data = scratch / "data"
    data.with_name(small_stack.NOT_YET).touch()
    with started(taxi_local(data, "true")) as process:
        until(lambda: content_of(data / "stack.json"))
        process.terminate()
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert not (data / "stack.json").exists()
    assert killed_leftovers(scratch) == []


def test_a_killed_stack_is_noticed_and_cleared_away(folder: Path) -> None:
    with started(taxi_local(folder, "sleep", "600")) as process:
        state = json.loads(until(lambda: content_of(folder / "stack.json")))
        children = until(
            lambda: [c for c in psutil.Process(process.pid).children() if c.name() == "sleep"]
        )
        process.kill()
    for child in children:
        child.kill()
    alive = [server for server in state["servers"] if psutil.pid_exists(server["pid"])]
    assert alive
    again = run(folder, "true")
    assert again.returncode == 0
    assert "The last stack in" in again.stderr
    assert "was killed" in again.stderr


def test_a_damaged_state_file_is_noticed(folder: Path) -> None:
    assert run(folder, "true").returncode == 0
    (folder / "stack.json").write_text("")
    again = run(folder, "true")
    assert again.returncode == 0, again.stderr
    assert "stack.json is damaged" in again.stderr


def test_a_server_that_died_is_noticed(folder: Path) -> None:
    with started(taxi_local(folder, "sleep", "600")) as process:
        until(lambda: [c for c in psutil.Process(process.pid).children() if c.name() == "sleep"])
        state = json.loads((folder / "stack.json").read_text())
        died, lives = (psutil.Process(server["pid"]) for server in state["servers"])
        died.kill()
        until(lambda: died.status() == psutil.STATUS_ZOMBIE)
        again = run(folder, "true")
        assert lives.status() == psutil.STATUS_ZOMBIE
        process.terminate()
    assert again.returncode == 0, again.stderr
    assert "The last stack in" in again.stderr


def test_a_folder_with_other_things_in_it_is_refused(scratch: Path) -> None:
    thesis = scratch / "thesis.txt"
    thesis.write_text("years of work")
    done = run(scratch, "true")
    assert done.returncode == 1
    assert "holds files that are not the embedded stack's" in done.stderr
    assert "--data-dir" in done.stderr
    assert list(scratch.iterdir()) == [thesis]


def test_a_dotenv_that_would_win_over_the_stack_is_refused(folder: Path, scratch: Path) -> None:
    (scratch / ".env").write_text("TAXI_ZONES_URL=https://u:p@production/zones.csv\n")
    done = run_with_family(taxi_local(folder, "true"), cwd=scratch)
    assert done.returncode == 1
    assert ".env sets TAXI_ZONES_URL" in done.stderr
    assert "production" not in done.stderr


def test_addresses_stay_the_same_from_one_stack_to_the_next(folder: Path) -> None:
    words = [sys.executable, "-c", "import os; print(os.environ['TAXI_ZONES_URL'])"]
    assert run(folder, *words).stdout == run(folder, *words).stdout != ""


def test_an_end_while_the_database_is_first_made_leaves_nothing_half_made(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVERS", "postgres")
    data = scratch / "data"
    with started(taxi_local(data, "true")) as process:
        until((data / "postgres.unfinished" / "base").exists)
        process.terminate()
    assert not (data / "postgres").exists()
    connect = "import os, psycopg; psycopg.connect(os.environ['TAXI_POSTGRES_URL']).close()"
    done = run(data, sys.executable, "-c", connect)
    assert done.returncode == 0, done.stderr


def test_the_servers_end_when_somebody_deletes_the_folder(scratch: Path) -> None:
    release = scratch / "release"
    data = scratch / "data"
    wait = f"while [ ! -e {release} ]; do sleep 0.05; done"
    with started(taxi_local(data, "sh", "-c", wait)) as process:
        until(lambda: psutil.Process(process.pid).children()[2:])
        shutil.rmtree(data, ignore_errors=True)
        release.touch()
        assert process.wait(PATIENCE) == 0


def test_ctrl_z_gives_the_shell_its_terminal_back(folder: Path, scratch: Path) -> None:
    said = scratch / "said"
    taxi = shlex.join(taxi_local(folder, "sh", "-c", f"echo up >> {said}; sleep 600"))
    with in_terminal(["bash", "--norc", "-i"]) as (shell, keys):
        os.write(keys, f"{taxi}\n".encode())
        until(lambda: content_of(said) == "up\n")
        (sleep,) = until(lambda: descendants(shell.pid, "sleep"))
        os.write(keys, b"\x1a")
        until(lambda: sleep.status() == psutil.STATUS_STOPPED)
        os.write(keys, f"echo stopped >> {said}\n".encode())
        until(lambda: content_of(said) == "up\nstopped\n")
        os.write(keys, b"fg\n")
        until(lambda: sleep.status() != psutil.STATUS_STOPPED)
        os.write(keys, b"\x03")
        until(lambda: not sleep.is_running())
        os.write(keys, f"echo $? >> {said}; exit\n".encode())
        until(lambda: content_of(said).endswith("130\n"))
        assert shell.wait(PATIENCE) == 0


def test_a_folder_that_is_a_file_is_refused(scratch: Path) -> None:
    (scratch / "file").touch()
    done = run(scratch / "file", "true")
    assert done.returncode == 2
    assert "is a file" in done.stderr


def test_a_publisher_that_is_no_folder_is_refused(folder: Path) -> None:
    done = run(folder, "true", publisher="/nowhere")
    assert done.returncode == 2
    assert "'/nowhere' does not exist" in done.stderr
