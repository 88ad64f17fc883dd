"""The course of the stories: each fixture does what comes next, so that their waiting overlaps.

A test looks at what came of it, and so may run alone, or in any order.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psutil
import pytest

from taxi_pipeline_tests.support.processes import killed_leftovers
from taxi_pipeline_tests.support.webserver import Run

from .commands import Commands, Done, say_only, type_commands
from .scene import Scene, playing
from .termination import PHASES, Runs, Terminated, months_loaded
from .written import GOOD, JOB, REFUSED, files, publish, while_it_runs

BACKFILLED = [GOOD, "2021-02"]  # the latter is the stack's own publisher's


@dataclass(frozen=True)
class Launched:
    """The backfill, the run that the publisher refuses, and those that are to be terminated.

    And the backfills that a person has launched from a shell.
    """

    backfill: str
    refused: str
    to_terminate: Runs
    commands: Commands


@dataclass(frozen=True)
class Typed:
    """How the commands ended, and the run of the interrupted one; what one more would take."""

    watched: Done
    interrupted: Done
    statuses: Sequence[str]
    said: Done


@dataclass(frozen=True)
class Ended:
    """What was there before the platform's end: all its runs, and how many processes.

    And what was after it: the ledger, by a new stack on the same folder, and what that left.
    """

    runs: Sequence[Run]
    processes: int
    ledger: subprocess.CompletedProcess[str]
    left: list[psutil.Process]

    def months(self, *services: str) -> list[str]:
        """Return the months that the ledger has of some services."""
        entries = json.loads(self.ledger.stdout)
        return [entry["month"] for entry in entries if entry["service"] in services]


@pytest.fixture(scope="package")
def scene() -> Iterator[Scene]:
    with playing() as scene:
        yield scene


@pytest.fixture(scope="package")
def launched(scene: Scene) -> Iterator[Launched]:
    """Launch all runs: Dagster looks for backfills every 30 seconds, and for others at once."""
    dev = scene.live.dev
    publish(scene)
    with months_loaded(scene) as runs:
        dev.await_answer()
        backfill = dev.backfill(JOB, BACKFILLED)
        commands = type_commands(scene)
        runs.launch()
        yield Launched(backfill, dev.launch(JOB, REFUSED), runs, commands)


@pytest.fixture(scope="package")
def terminated(scene: Scene, launched: Launched) -> Mapping[str, Terminated]:
    """Terminate the phases' runs, one after the other."""
    runs = launched.to_terminate
    with scene.in_this_process() as resources:
        return {phase.name: runs.terminate(phase, resources) for phase in PHASES}


@pytest.fixture(scope="package")
def backfilled(
    scene: Scene, launched: Launched, terminated: Mapping[str, Terminated]
) -> Sequence[str]:
    """Wait for the backfill; return how its runs ended."""
    return scene.live.dev.await_backfill(launched.backfill, len(BACKFILLED))


@pytest.fixture(scope="package")
def typed(scene: Scene, launched: Launched, backfilled: Sequence[str]) -> Typed:
    """Wait for the backfills that were launched from a shell; ask what one more would take."""
    watched = launched.commands.end()
    statuses = scene.live.dev.await_backfill(launched.commands.goes_on, 1)
    return Typed(watched, launched.commands.interrupted, statuses, say_only(scene))


@pytest.fixture(scope="package")
def answered(scene: Scene, launched: Launched, typed: Typed) -> Mapping[str, bytes]:
    """Wait for the run that is left; return what was written and cannot be asked for later."""
    scene.live.dev.await_ended(launched.refused)
    return while_it_runs(scene)


@pytest.fixture(scope="package")
def ended(scene: Scene, answered: Mapping[str, bytes]) -> Ended:
    """End the platform; start its stack once more for the ledger."""
    dev = scene.live.dev
    runs, processes = dev.runs(), len(dev.process.children(recursive=True))
    scene.live.end()
    url = f"TAXI_POSTGRES_URL={scene.settings['TAXI_POSTGRES_URL']}"
    ledger = dev.ledger("--json", wrapper=["env", url])
    return Ended(runs, processes, ledger, killed_leftovers(scene.live.folder))


@pytest.fixture(scope="package")
def written(scene: Scene, answered: Mapping[str, bytes], ended: Ended) -> Mapping[str, bytes]:
    """Return all that was written, by where."""
    ledger = ended.ledger.stdout + ended.ledger.stderr
    # telling needs no other look: a message has no secret but that it arrives
    messages = json.dumps(scene.messages)
    return {
        **answered,
        **files(scene),
        "taxi ledger": ledger.encode(),
        "messages": messages.encode(),
    }
