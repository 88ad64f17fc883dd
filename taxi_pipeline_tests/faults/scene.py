"""Where a fault happens: a month in two versions, a relay to each server, and a run to be broken.

The old version is loaded; the new one is published; the run that is to load it is a process of its
own. What breaks it is placed at `Point`s, and what is left of it is found here. Which faults there
are is said in `faults`.
"""

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch
from urllib.parse import urlsplit

import dagster as dg
import psutil

from taxi_pipeline.resources.lake import Place, place_of
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline.tlc.tally import Tally
from taxi_pipeline_tests.conftest import Platform, with_publisher
from taxi_pipeline_tests.support.http import Answer, body, serving
from taxi_pipeline_tests.support.processes import until
from taxi_pipeline_tests.support.published import YELLOW_HEADER, trip
from taxi_pipeline_tests.support.relays import (
    Exchange,
    Message,
    Point,
    http_relay,
    postgres_relay,
)

STORES = ("raw", "cleaned", "bigquery", "postgres")
_RUN_SECONDS = 90


@dataclass(frozen=True)
class Version:
    """A published file: so many trips of an amount in cents each, and so many rejected rows."""

    month: Month
    kept: int
    rejected: int
    cents: int

    @cached_property
    def file(self) -> bytes:
        """The file, whose gzip is not compressed: it has a middle."""
        cells = {
            "tpep_pickup_datetime": f"{self.month}-15 00:30:10",
            "tpep_dropoff_datetime": f"{self.month}-15 00:36:12",
            "total_amount": f"{self.cents / 100:.2f}",
        }
        kept, rejected = trip(**cells), trip(**cells, passenger_count="0")
        lines = [YELLOW_HEADER, *[kept] * self.kept, *[rejected] * self.rejected]
        return gzip.compress("".join(f"{line}\n" for line in lines).encode(), 0, mtime=0)

    @property
    def sha256(self) -> str:
        """The file's SHA-256."""
        return hashlib.sha256(self.file).hexdigest()

    @property
    def etag(self) -> str:
        """The ETag that it is served with."""
        return f'"{self.sha256[:16]}"'

    @property
    def tally(self) -> Tally:
        """What each store has of it, once it is loaded."""
        return Tally(self.kept, self.kept * self.cents)

    @property
    def held(self) -> dict[str, object]:
        """What shows of each store that it holds this version, whole."""
        return {
            "raw": self.sha256,
            "cleaned": (self.tally, self.rejected),
            "bigquery": self.tally,
            "postgres": self.tally,
        }

    @property
    def answer(self) -> Answer:
        """The answer of a publisher that works."""
        return body(self.file, self.etag)


class Run:
    """The job as the command line runs it, in a session of processes of its own."""

    def __init__(self, month: Month) -> None:
        self._month = month
        self._started = threading.Event()
        self.ended = threading.Event()

    def complete(self, environment: Mapping[str, str], output: Path) -> int:
        """Run it to its end, whatever that is; return its exit code."""
        command = [
            *(str(Path(sys.executable).with_name("dagster")), "job", "execute"),
            *("-m", "taxi_pipeline.definitions", "-j", "yellow_trips"),
            *("--tags", json.dumps({"dagster/partition": self._month.key})),
        ]
        with (
            output.open("wb") as log,
            subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            ) as self._process,
        ):
            self._started.set()
            try:
                return self._process.wait(_RUN_SECONDS)
            finally:
                self._process.kill()
                self._process.wait()
                self.ended.set()

    def tell(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        assert self._started.wait(_RUN_SECONDS)
        self._process.send_signal(number)

    def end(self, number: signal.Signals) -> None:
        """Send its process a signal, and hold on until it has ended."""
        self.tell(number)
        assert self.ended.wait(_RUN_SECONDS), f"{number.name} did not end it"

    def survivors(self) -> list[str]:
        """Return the commands of its processes that still run."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == self._process.pid:
                    found.append(process.name())
        return found


@dataclass
class Scene:
    """A month of yellow trips, the run that will replace it, and the points where it is broken.

    `settings` are added to the run's environment; what is put into `checks` is called after it;
    `undo` is unwound before the month is run again.
    """

    platform: Platform
    stack: Path
    old: Version
    new: Version
    neighbour: Version
    scratch: Path
    run: Run
    published: dict[str, list[Answer]]
    publisher: list[Point[BaseHTTPRequestHandler]] = field(default_factory=list)
    lake: list[Point[Exchange]] = field(default_factory=list)
    warehouse: list[Point[Exchange]] = field(default_factory=list)
    database: list[Point[Message]] = field(default_factory=list)
    files: list[Point[Path]] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    checks: list[Callable[[], None]] = field(default_factory=list)
    undo: ExitStack = field(default_factory=ExitStack)

    @property
    def month(self) -> Month:
        """The month that the run replaces."""
        return self.new.month

    @property
    def place(self) -> Place:
        """Where the month lies in the lake."""
        return place_of(YELLOW, self.month)

    def publish(self, version: Version) -> None:
        """Let the publisher have a version of its month, until the next."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            for point in self.publisher:
                if point.takes(request):
                    point.happens(request)
                    return
            version.answer(request)

        self.published[f"/releases/yellow/yellow_tripdata_{version.month}.csv.gz"] = [answer]

    def break_run(self) -> tuple[int, str]:
        """Run the job through the relays; return its exit code and what it said."""
        (ended,) = self.at_once(self.run)
        return ended

    def at_once(self, *runs: Run) -> list[tuple[int, str]]:
        """Run jobs side by side through the relays; return their exit codes and what they said.

        A point that was not reached is an error: nothing was broken there.
        """
        points = (self.publisher, self.lake, self.warehouse, self.database, self.files)
        outputs = [self.scratch.with_name(f"{number}.log") for number, _ in enumerate(runs)]
        with (
            self._relayed() as environment,
            self._watched(),
            ThreadPoolExecutor(len(runs)) as pool,
        ):
            settings = {**environment, **self.settings}
            codes = list(pool.map(lambda run, log: run.complete(settings, log), runs, outputs))
        said = [output.read_text() for output in outputs]
        for text in said:
            print(text)  # noqa: T201 - for who reads of a failure
        missed = [point for some in points for point in some if point.missed]
        assert not missed, f"{len(missed)} points were not reached"
        return list(zip(codes, said, strict=True))

    def run_again(self) -> dg.ExecuteInProcessResult:
        """Run the job once more, with nothing in its way and the same folder for scratch."""
        self.publisher.clear()
        with patch.object(tempfile, "tempdir", str(self.scratch)):
            return self.platform.run("yellow_trips", self.month.key)

    def held(self) -> dict[str, str]:
        """Return which version each store holds, or what it holds where that is neither."""
        until(lambda: not self.load_jobs("PENDING", "RUNNING"))
        entry = self.platform.entry("yellow", self.month.key)
        rejected = None if entry.lake.rejected is None else entry.lake.rejected.total()
        found: dict[str, object] = {
            "raw": self._sha256_of_raw(),
            "cleaned": (entry.lake.kept, rejected),
            "bigquery": entry.bigquery,
            "postgres": entry.postgres,
        }
        versions = {"old": self.old.held, "new": self.new.held, "other": self.other.held}
        return {
            store: next((name for name, its in versions.items() if its[store] == what), str(what))
            for store, what in found.items()
        }

    @property
    def other(self) -> Version:
        """A third version of the month."""
        return replace(self.new, kept=self.new.kept + 11, cents=770)

    def neighbour_is_untouched(self) -> bool:
        """Whether the month after this one is what it was, and adds up."""
        entry = self.platform.entry("yellow", self.neighbour.month.key)
        return entry.adds_up and entry.postgres == self.neighbour.tally

    @property
    def password(self) -> str:
        """PostgreSQL's, which nobody may see."""
        return urlsplit(self.platform.resources.database.url).password or ""

    def left(self) -> frozenset[str]:
        """Return what is there that belongs to no finished month, by name."""
        # the server sees that its client is gone, Dagster's helpers that the run is, in a moment
        until(lambda: not self._connections() and not self.run.survivors())
        left = {"scratch" for _ in self.scratch.glob("*/*")}
        tables = self.platform.postgres(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'tlc' "
            "AND tablename LIKE '%\\_incoming'"
        )
        left |= {f"table {name}" for (name,) in tables}
        locks = self.platform.postgres("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
        left |= {f"advisory lock of {pid}" for (pid,) in locks}
        for kind, prefix in (
            ("raw", self.place.raw),
            ("cleaned", self.place.cleaned),
            ("rejected", f"rejected/yellow/yellow_tripdata_{self.month}."),
        ):
            left |= {kind for _ in self.platform.resources.lake.find(prefix)[1:]}
        return frozenset(left)

    def load_jobs(self, *states: str) -> list[str]:
        """Return the month's load jobs, of any state or of these."""
        warehouse = self.platform.resources.warehouse
        url = (
            f"{os.environ['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects/{warehouse.project}/jobs"
        )
        with urllib.request.urlopen(f"{url}?maxResults=10000", timeout=30) as response:
            jobs = json.load(response)["jobs"]
        partition = f"yellow_trips${self.month.key.replace('-', '')}"
        return [
            job["id"]
            for job in jobs
            if "load" in job["configuration"]
            and job["configuration"]["load"]["destinationTable"]["tableId"] == partition
            and (not states or job["status"]["state"] in states)
        ]

    def _sha256_of_raw(self) -> str:
        lake = self.platform.resources.lake
        (raw, *_) = lake.find(self.place.raw)
        with TemporaryDirectory() as folder:
            return hashlib.sha256(lake.download(raw, Path(folder)).read_bytes()).hexdigest()

    def _connections(self) -> list[tuple[int]]:
        return self.platform.postgres(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'taxi_pipeline' "
            "AND backend_type = 'client backend'"
        )

    @contextmanager
    def _relayed(self) -> Iterator[dict[str, str]]:
        """Yield the variables that lead a run through relays, and to a folder of its own."""
        postgres = urlsplit(os.environ["TAXI_POSTGRES_URL"])
        assert postgres.port
        with (
            http_relay(os.environ["STORAGE_EMULATOR_HOST"], self.lake) as lake,
            http_relay(os.environ["BIGQUERY_EMULATOR_HOST"], self.warehouse) as warehouse,
            postgres_relay(postgres.port, self.database) as port,
        ):
            through = postgres._replace(
                netloc=postgres.netloc.replace(f":{postgres.port}", f":{port}")
            )
            yield {
                "STORAGE_EMULATOR_HOST": lake,
                "BIGQUERY_EMULATOR_HOST": warehouse,
                "TAXI_POSTGRES_URL": through.geturl(),
                "TAXI_PUBLISHER_URLS": self.platform.resources.publisher.urls,
                "TAXI_RETRIES": "2",
                "TAXI_RETRY_SECONDS": "1",
                "TMPDIR": str(self.scratch),
            }

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Look for files of the run that a point waits for."""

        def watch() -> None:
            while any(point.missed for point in self.files) and not self.run.ended.wait(0.001):
                for path in self.scratch.rglob("*"):
                    for point in self.files:
                        if point.takes(path):
                            point.happens(path)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            watcher.join()


@contextmanager
def scene(platform: Platform, stack: Path, month: Month, rows: int) -> Iterator[Scene]:
    """Load a month and the one after it; then publish `rows` other trips of it."""
    old, new = Version(month, 300, 4, 1180), Version(month, rows, 7, 2350)
    neighbour = Version(month.next, 200, 3, 990)
    published: dict[str, list[Answer]] = {}
    with (
        serving(published) as (base, _),
        # not pytest's folder, which is closed to the users that servers run as
        TemporaryDirectory(prefix="fault-") as folder,
        ExitStack() as undo,
    ):
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        ours = with_publisher(platform, base)
        placed = Scene(ours, stack, old, new, neighbour, scratch, Run(month), published, undo=undo)
        for version in (old, neighbour):
            placed.publish(version)
            assert ours.run("yellow_trips", version.month.key).success, "nothing was broken yet"
        placed.publish(new)
        yield placed
