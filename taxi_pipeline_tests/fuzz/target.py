"""One attempt: a file of any bytes goes the whole way that a published file goes."""

import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import pyarrow.parquet as pq

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.cleaning import Summary, clean_trips
from taxi_pipeline.tlc.daily import trips_by_day
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.reading import examine, open_published
from taxi_pipeline.tlc.services import SERVICES, YELLOW, Service

MONTH = Month(2021, 1)
TRIPS, REJECTED = "trips.parquet", "rejected.parquet"
ENDINGS = (".csv", ".csv.gz", ".parquet")
_SERVICES = tuple(SERVICES.values())
_MOST_SERVICES = 16  # of a coded file's first byte, so that one more does not change the others'


@dataclass(frozen=True)
class Hostile:
    """A file's bytes, the service that it is taken for, and its ending."""

    service: Service
    ending: str
    content: bytes

    @classmethod
    def parse(cls, coded: bytes) -> Self:
        """Read what `bytes` wrote: a first byte for service and ending, then the content."""
        ending, service = divmod(coded[0] if coded else 0, _MOST_SERVICES)
        return cls(_SERVICES[service % len(_SERVICES)], ENDINGS[ending % len(ENDINGS)], coded[1:])

    def __bytes__(self) -> bytes:
        code = ENDINGS.index(self.ending) * _MOST_SERVICES + _SERVICES.index(self.service)
        return bytes([code]) + self.content

    def replace(self, content: bytes) -> "Hostile":
        """Return another content under the same name."""
        return Hostile(self.service, self.ending, content)


def attempt(hostile: Hostile) -> str | None:
    """Examine and clean the file; return what the error says, None where there is none.

    Any other error than `PermanentError` passes, and so does one for want of memory; an
    `AssertionError` is raised where what was read does not add up.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / f"{hostile.service.name}_tripdata_{MONTH}{hostile.ending}"
        path.write_bytes(hostile.content)
        try:
            _take_in(path, hostile.service, folder)
        except PermanentError as error:
            if isinstance(error.__cause__, MemoryError):
                raise error.__cause__ from error
            said = str(error)
            assert said.startswith(f"{path.name}: "), said
            assert len(said) < 5_000, said[:200]
            assert said.isprintable(), repr(said)
            return said
    return None


def attempt_within(memory: int, coded: bytes) -> str | None:
    """Attempt a file as coded, in a process that may have so many bytes of addresses (Linux)."""
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    return attempt(Hostile.parse(coded))


def attempt_measured(hostile: Hostile) -> tuple[str | None, int]:
    """Attempt a file; return also by how many bytes the process grew at its peak."""
    before = peak_bytes()
    return attempt(hostile), peak_bytes() - before


def clean_measured(before: Path, path: Path) -> tuple[Summary, int]:
    """Clean two files, into their folder; return what is said of the second, and its growth."""
    _cleaned(before, YELLOW, before.parent)
    peak = peak_bytes()
    return _cleaned(path, YELLOW, path.parent), peak_bytes() - peak


def _take_in(path: Path, service: Service, folder: Path) -> None:
    """Do with a file what the assets raw and cleaned do, without the lake."""
    summary = _cleaned(path, service, folder)
    trips, rejected = folder / TRIPS, folder / REJECTED
    assert pq.read_metadata(trips).num_rows == summary.kept
    assert pq.read_metadata(rejected).num_rows == summary.rejected.total()
    assert sum(trips_by_day(trips, MONTH)) == summary.kept


def _cleaned(path: Path, service: Service, folder: Path) -> Summary:
    examined = examine(path, 5)
    published = open_published(path, service.trips)
    summary = clean_trips(MONTH, published, folder / TRIPS, folder / REJECTED)
    assert examined.rows == summary.published == summary.kept + summary.rejected.total()
    return summary


def peak_bytes() -> int:
    """Return the most memory that this process has ever held, where the system tells (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10
