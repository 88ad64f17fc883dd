"""Where a fault happens: a month in two versions, a relay to each server, and a run to be broken.

All stores hold the old version; the new one is published; the run that is to load it is a process
of its own. What breaks it is placed at `Point`s, and what is left of it is found here. Which faults
there are is said in `faults`.
"""

import gzip
import hashlib
import json
import os
import signal
import sys
import tempfile
import threading
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch
from urllib.parse import urlsplit

import dagster as dg
import psutil

from taxi_pipeline.assets.keys import LAYERS
from taxi_pipeline.lake.paths import ObjectPaths, object_paths
from taxi_pipeline.ledger import read_ledger
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import YELLOW
from taxi_pipeline_tests.conftest import Platform, with_publisher
from taxi_pipeline_tests.support.forkserver import Forked
from taxi_pipeline_tests.support.http import Answer, body, serving
from taxi_pipeline_tests.support.processes import PATIENCE, until
from taxi_pipeline_tests.support.relays import (
    Exchange,
    Message,
    Point,
    http_relay,
    postgres_relay,
)
from taxi_pipeline_tests.support.source_files import TRIP, YELLOW_HEADER

STORES = LAYERS
ROWS = 2_000  # so many have a middle: PostgreSQL gets them in several messages


# For each column of the published file: the table's column, and what makes its value of a text.
_CANONICAL: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "VendorID": ("vendor_id", int),
    "tpep_pickup_datetime": ("pickup_datetime", datetime.fromisoformat),
    "tpep_dropoff_datetime": ("dropoff_datetime", datetime.fromisoformat),
    "passenger_count": ("passenger_count", int),
    "trip_distance": ("trip_distance", float),
    "RatecodeID": ("ratecode_id", int),
    "store_and_fwd_flag": ("store_and_fwd_flag", str),
    "PULocationID": ("pickup_location_id", int),
    "DOLocationID": ("dropoff_location_id", int),
    "payment_type": ("payment_type", int),
    "fare_amount": ("fare_amount", float),
    "extra": ("extra", float),
    "mta_tax": ("mta_tax", float),
    "tip_amount": ("tip_amount", float),
    "tolls_amount": ("tolls_amount", float),
    "improvement_surcharge": ("improvement_surcharge", float),
    "total_amount": ("total_amount", float),
    "congestion_surcharge": ("congestion_surcharge", float),
}
_COLUMNS = tuple(column.name for column in YELLOW.trips.columns)

type Rows = Counter[str]  # each row with all its cells, in whatever order
type Held = tuple[Rows | str, ...]


@dataclass(frozen=True)
class Version:
    """A published file: so many trips of an amount in cents each, and so many rejected rows.

    `mark` is in cells of every row: so two versions may have as many rows, of the same total, and
    no row in common.
    """

    month: Month
    kept: int
    rejected: int
    cents: int
    mark: int

    @cached_property
    def file(self) -> bytes:
        """The file, whose gzip is not compressed: it has a middle."""
        lines = [YELLOW_HEADER, *(",".join(row.values()) for row in self._published)]
        return gzip.compress("".join(f"{line}\n" for line in lines).encode(), 0, mtime=0)

    @cached_property
    def sha256(self) -> str:
        """The file's SHA-256."""
        return hashlib.sha256(self.file).hexdigest()

    @property
    def etag(self) -> str:
        """The ETag that it is served with."""
        return f'"{self.sha256[:16]}"'

    @cached_property
    def trips(self) -> Rows:
        """The trips that are kept of it."""
        rows: Rows = Counter()
        for row in self._published[: self.kept]:
            value = {name: make(row[cell]) for cell, (name, make) in _CANONICAL.items()}
            rows[repr(tuple(value.get(name) for name in _COLUMNS))] += 1
        return rows

    @cached_property
    def rejects(self) -> Rows:
        """The rows of it that are rejected."""
        rows: Rows = Counter()
        for number, row in enumerate(self._published[self.kept :], self.kept + 2):
            why = {"number": number, "rejected_because": "no_passengers"}
            rows[_cells({**row, "line": None, "problem": None, **why})] += 1
        return rows

    def held_by(self, store: str) -> Held:
        """Return what a store has of it, once it is loaded: all cells of all rows."""
        match store:
            case "raw":
                return (self.sha256,)
            case "cleaned":
                return (self.trips, self.rejects)
            case _:
                return (self.trips,)

    @property
    def answer(self) -> Answer:
        """The answer of a publisher that works."""
        return body(self.file, self.etag)

    @cached_property
    def _published(self) -> list[dict[str, str]]:
        """The cells of each row by published name; the rejected rows come last."""
        first = datetime.fromisoformat(f"{self.month}-15")
        every = dict(zip(YELLOW_HEADER.split(","), TRIP.split(","), strict=True))
        rows = []
        for index in range(self.kept + self.rejected):
            pickup = first + timedelta(seconds=index)
            cells = {
                "VendorID": f"{1 + self.mark % 2}",
                "tpep_pickup_datetime": f"{pickup}",
                "tpep_dropoff_datetime": f"{pickup + timedelta(minutes=self.mark)}",
                "passenger_count": "0" if index >= self.kept else "1",
                "store_and_fwd_flag": "NY"[self.mark % 2],
                "PULocationID": f"{1 + (index + self.mark) % 263}",
                "tip_amount": f"{self.mark}.{index % 100:02}",
                "total_amount": f"{self.cents / 100:.2f}",
            }
            rows.append(every | cells)
        return rows


def _cells(row: Mapping[str, object]) -> str:
    """Return the cells of a row that has columns of its own."""
    return repr(sorted(row.items()))


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
        settings = {**os.environ, **environment}
        try:
            with (
                output.open("wb") as log,
                Forked(
                    command, stdout=log.fileno(), stderr=log.fileno(), env=settings
                ) as self._process,
            ):
                self._started.set()
                return self._process.wait(PATIENCE)
        finally:
            self.ended.set()

    def tell(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        assert self._started.wait(PATIENCE)
        self._process.send_signal(number)

    def end(self, number: signal.Signals) -> None:
        """Send its process a signal, and hold on until it has ended."""
        self.tell(number)
        assert self.ended.wait(PATIENCE), f"{number.name} did not end it"

    def survivors(self) -> list[str]:
        """Return the commands of its processes that still run."""
        found = []
        for pid in psutil.pids():
            with suppress(psutil.Error, ProcessLookupError):
                if os.getsid(pid) == self._process.pid:
                    found.append(psutil.Process(pid).name())
        return found


@dataclass(frozen=True)
class Look:
    """Which version of the month each store holds, or what it holds where it is none of them.

    `adds_up` is what the ledger says of the month; `neighbour_is_whole` whether every store holds
    the neighbour's version, and that adds up.
    """

    held: Mapping[str, str]
    adds_up: bool
    neighbour_is_whole: bool


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
    last_look: Look | None = None

    @property
    def month(self) -> Month:
        """The month that the run replaces."""
        return self.new.month

    @property
    def place(self) -> ObjectPaths:
        """Where the month lies in the lake."""
        return object_paths(YELLOW, self.month)

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
        with dg.DagsterInstance.get() as instance:
            instance.get_runs_count()  # its storage is there: two first runs would both make it
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

    def look(self) -> Look:
        """Read all stores, when no load job of the month is under way any more."""
        until(lambda: not self.load_jobs("PENDING", "RUNNING"))
        contents = self._contents()
        ledger = read_ledger(YELLOW, self.platform.resources, self.month, self.month.next)
        adds_up = {entry.month: entry.adds_up for entry in ledger}
        versions = {"old": self.old, "new": self.new, "other": self.other}

        def named(store: str, found: Held) -> str:
            for name, version in versions.items():
                if version.held_by(store) == found:
                    return name
            return _mixture(found, {name: its.held_by(store) for name, its in versions.items()})

        self.last_look = Look(
            {store: named(store, found) for store, found in contents[self.month].items()},
            adds_up[self.month],
            adds_up[self.month.next]
            and all(
                self.neighbour.held_by(store) == found
                for store, found in contents[self.month.next].items()
            ),
        )
        return self.last_look

    @property
    def other(self) -> Version:
        """A third version of the month."""
        return replace(self.new, mark=3)

    @property
    def password(self) -> str:
        """PostgreSQL's, which nobody may see."""
        return urlsplit(self.platform.resources.postgres.url).password or ""

    def left(self) -> frozenset[str]:
        """Return what is there that belongs to no finished month, by name."""
        # the server sees that its client is gone, Dagster's helpers that the run is, in a moment
        until(lambda: not self.run.survivors() and not self._connections())
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
        warehouse = self.platform.resources.bigquery
        url = (
            f"{os.environ['BIGQUERY_EMULATOR_HOST']}/bigquery/v2/projects/{warehouse.project}/jobs"
        )
        with urllib.request.urlopen(f"{url}?maxResults=10000", timeout=PATIENCE) as response:
            jobs = json.load(response)["jobs"]
        partition = f"yellow_trips${self.month.key.replace('-', '')}"
        return [
            job["id"]
            for job in jobs
            if "load" in job["configuration"]
            and job["configuration"]["load"]["destinationTable"]["tableId"] == partition
            and (not states or job["status"]["state"] in states)
        ]

    def _contents(self) -> dict[Month, dict[str, Held]]:
        """Return what each store has of the month and the one after it, as `Version.held_by`."""
        months = (self.month, self.month.next)
        # a text for each row, since Google's client takes its time over each cell
        texts = self.platform.bigquery(
            "SELECT TO_JSON_STRING(trips) FROM yellow_trips AS trips "
            f"WHERE FORMAT_DATETIME('%Y-%m', pickup_datetime) IN {tuple(map(str, months))}"
        )
        bigquery = _by_month(_of_json(text) for (text,) in texts)
        postgres = _by_month(
            self.platform.postgres(
                f"SELECT {', '.join(_COLUMNS)} FROM tlc.yellow_trips "
                f"WHERE pickup_datetime >= '{self.month}-01' "
                f"AND pickup_datetime < '{self.month.next.next}-01'"
            )
        )
        return {
            month: {
                **self._in_lake(month),
                "bigquery": (bigquery[str(month)],),
                "postgres": (postgres[str(month)],),
            }
            for month in months
        }

    def _in_lake(self, month: Month) -> dict[str, Held]:
        """Return the raw file's SHA-256, and the cleaned and rejected rows."""
        import pyarrow.parquet as pq

        lake, place = self.platform.resources.lake, object_paths(YELLOW, month)
        with TemporaryDirectory() as name:
            folder = Path(name)
            (raw, *_) = lake.find(place.raw)
            sha256 = hashlib.sha256(lake.download(raw, folder).read_bytes()).hexdigest()
            (trips,) = lake.find(place.cleaned)
            cleaned = pq.read_table(lake.download(trips, folder), columns=list(_COLUMNS))
            (beside,) = lake.find(trips.metadata["rejected_rows"])
            rejected = pq.read_table(lake.download(beside, folder))
        return {
            "raw": (sha256,),
            "cleaned": (
                Counter(repr(tuple(row.values())) for row in cleaned.to_pylist()),
                Counter(map(_cells, rejected.to_pylist())),
            ),
        }

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


def _of_json(text: str) -> tuple[object, ...]:
    """Return the cells of a row that is written as a JSON object."""
    cells = json.loads(text)
    for name in ("pickup_datetime", "dropoff_datetime"):
        cells[name] = datetime.fromisoformat(cells[name])
    return tuple(cells[name] for name in _COLUMNS)


def _by_month(rows: Iterable[tuple[object, ...]]) -> Mapping[str, Rows]:
    """Return the rows by the month of their pickup."""
    pickup = _COLUMNS.index("pickup_datetime")
    found: defaultdict[str, Rows] = defaultdict(Counter)
    for row in rows:
        found[f"{row[pickup]:%Y-%m}"][repr(row)] += 1
    return found


def _mixture(found: tuple[Rows | str, ...], versions: Mapping[str, tuple[Rows | str, ...]]) -> str:
    """Say how many rows of each version there are where it is none of them."""
    said = []
    for number, part in enumerate(found):
        if isinstance(part, str):
            return part
        of_versions = []
        for name, held in versions.items():
            rows = held[number]
            assert not isinstance(rows, str)
            of_versions.append(f"{(part & rows).total()} of {name}")
        said.append(f"{part.total()} rows: {', '.join(of_versions)}")
    return "; ".join(said)


class Months:
    """The months of a platform that scenes take in turn: two for each number of rows.

    A scene begins with what the scene before it has left, if that saw the new version in all stores
    at last. After any other scene, such as that of a failed test, both months are loaded anew.
    """

    def __init__(self, platform: Platform, stack: Path) -> None:
        self._platform, self._stack = platform, stack
        self._months: dict[int, Month] = {}
        self._whole: dict[int, tuple[Version, Version]] = {}

    @contextmanager
    def scene(self, rows: int = ROWS) -> Iterator[Scene]:
        """Have a month of so many rows in all stores; then publish other trips of it.

        The other trips are as many and of the same total, so only their cells tell them from the
        old.
        """
        number = len(self._months)
        month = self._months.setdefault(rows, Month(2009 + number // 6, number % 6 * 2 + 1))
        whole = self._whole.pop(rows, None)
        old, neighbour = whole or (
            Version(month, rows, 7, 2350, mark=1),
            Version(month.next, 200, 3, 990, mark=4),
        )
        new = replace(old, mark=2 if old.mark == 1 else 1)
        published: dict[str, list[Answer]] = {}
        with (
            serving(published) as (base, _),
            # not pytest's folder, which is closed to the users that servers run as
            TemporaryDirectory(prefix="fault-") as folder,
            ExitStack() as undo,
        ):
            scratch = Path(folder) / "scratch"
            scratch.mkdir()
            ours = with_publisher(self._platform, base)
            run = Run(month)
            placed = Scene(
                ours, self._stack, old, new, neighbour, scratch, run, published, undo=undo
            )
            for version in () if whole else (old, neighbour):
                placed.publish(version)
                loaded = ours.run("yellow_trips", version.month.key)
                assert loaded.success, "nothing was broken yet"
            placed.publish(new)
            yield placed
        if placed.last_look == Look(dict.fromkeys(STORES, "new"), True, True):
            self._whole[rows] = (new, placed.neighbour)
