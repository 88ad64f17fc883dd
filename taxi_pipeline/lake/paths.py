"""The names of the lake's objects."""

import re
from dataclasses import dataclass

from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, TAXI_ZONE_SHAPES, TAXI_ZONES, Service

# How the names of raw objects with rows of text or Parquet end, and of the files of a publisher.
RAW_ENDINGS = ("csv", "csv.gz", "parquet")

_OF_MONTH = re.compile(
    r"(?:raw|cleaned|rejected)/(?P<service>[a-z]+)/(?P=service)_tripdata_(?P<month>[0-9-]+)\..+"
)
_REJECTED_ENDING = re.compile(r"[0-9a-f]{16}\.parquet", re.ASCII)


@dataclass(frozen=True)
class ObjectPaths:
    """Where the objects that come of one published file lie.

    Attributes:
        folder: The folder, under `raw/`, `cleaned/` and `rejected/`.
        stem: TLC's own name for the file, without its ending.
        endings: How the name of the raw object can end.
    """

    folder: str
    stem: str
    endings: tuple[str, ...] = RAW_ENDINGS

    @property
    def raw(self) -> str:
        """The name of the raw object up to its ending, which is the published file's."""
        return f"raw/{self.folder}/{self.stem}."

    @property
    def raw_names(self) -> tuple[str, ...]:
        """The names that the raw object can have."""
        return tuple(f"{self.raw}{ending}" for ending in self.endings)

    @property
    def cleaned(self) -> str:
        """The name of the object that holds the cleaned rows."""
        return f"cleaned/{self.folder}/{self.stem}.parquet"

    @property
    def rejected(self) -> str:
        """What the names of objects with rejected rows begin with; one is the cleaned object's."""
        return f"rejected/{self.folder}/{self.stem}."

    def rejected_name(self, sha256: str) -> str:
        """Return the name of the object with rejected rows of that SHA-256."""
        return f"{self.rejected}{sha256[:16]}.parquet"

    def is_rejected(self, name: str) -> bool:
        """Whether an object's name is one of those that objects with rejected rows get."""
        ending = name.removeprefix(self.rejected)
        return ending != name and _REJECTED_ENDING.fullmatch(ending) is not None

    def holds(self, name: str) -> bool:
        """Whether a name is that of one of these objects."""
        return name in (*self.raw_names, self.cleaned) or self.is_rejected(name)


ZONES_PATHS = ObjectPaths("taxi_zones", "taxi_zone_lookup")
ZONE_SHAPES_PATHS = ObjectPaths("taxi_zone_shapes", "taxi_zones", ("zip",))

# The paths of the tables without months, by the table's name.
UNPARTITIONED_PATHS = {TAXI_ZONES.name: ZONES_PATHS, TAXI_ZONE_SHAPES.name: ZONE_SHAPES_PATHS}


def object_paths(service: Service, month: Month) -> ObjectPaths:
    """Return where a month of a service lies."""
    return ObjectPaths(service.name, f"{service.name}_tripdata_{month}")


def month_of_object(name: str) -> tuple[Service, Month] | None:
    """Return the service and the month of an object by its name; None for one of no month."""
    match = _OF_MONTH.fullmatch(name)
    if match is None or match["service"] not in SERVICES or not Month.is_key(match["month"]):
        return None
    service, month = SERVICES[match["service"]], Month.parse(match["month"])
    paths = object_paths(service, month)
    return (service, month) if paths.holds(name) else None
