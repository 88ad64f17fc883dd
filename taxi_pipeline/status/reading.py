"""The status read from all stores: one listing a folder of the lake, and one query a table.

A sink that is away costs what it alone knows, and a sentence says so; without the lake there is
nothing to say.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.lake.objects import FileObjects
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.lake.raw import is_fetched
from taxi_pipeline.ledger import objects_by_month
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.sink import Sink, Stamp
from taxi_pipeline.status.facts import Facts, MonthKey
from taxi_pipeline.status.months import MonthStatus, State, StoredMonth, status_of
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, Service, Table

_NEW_YORK = ZoneInfo("America/New_York")
_LATE_MONTHS = 3  # by which TLC may be late; what is said of an older month is out of date
_AT_ONCE = 8  # requests; fewer than the connections that Google's client keeps


@dataclass(frozen=True)
class Status:
    """The months of some services, at one moment.

    Attributes:
        as_of: When the stores were asked, in UTC.
        lake: The bucket's URI.
        months: The months: service by service, the oldest first.
        unknown: What could not be asked, in sentences.
        unasked: The titles of the sinks that could not be asked, of one table or more.
        is_chosen: Whether somebody has chosen among the services or the months.
    """

    as_of: datetime
    lake: str
    months: Sequence[MonthStatus]
    unknown: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()
    is_chosen: bool = False

    @property
    def services(self) -> dict[str, list[MonthStatus]]:
        """The months by service."""
        by_service: dict[str, list[MonthStatus]] = {}
        for month in self.months:
            by_service.setdefault(month.service, []).append(month)
        return by_service

    def of_state(self, state: State) -> list[MonthStatus]:
        """Return the months of one state."""
        return [month for month in self.months if month.state is state]

    @property
    def is_good(self) -> bool:
        """Whether no month failed, every month adds up, and every store could be asked."""
        return self.is_complete and not any(month.state.is_bad for month in self.months)

    @property
    def is_complete(self) -> bool:
        """Whether every store could be asked."""
        return not self.unasked


def read_status(
    lake: Lake,
    sinks: Iterable[Sink],
    facts: Facts,
    services: Sequence[Service] = tuple(SERVICES.values()),
    first: Month | None = None,
    last: Month | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Status:
    """Return the status of some services' months.

    Args:
        lake: The lake.
        sinks: The stores that keep tables.
        facts: What Dagster knows.
        services: The services.
        first: The first month; None for January of each service's first year.
        last: The last month; None for December of this year.
        now: The clock.

    Raises:
        PermanentError: The lake cannot be asked, and asking again cannot change that.
        TransientError: The lake is away.
    """
    as_of = now().astimezone(UTC).replace(microsecond=0)
    today = as_of.astimezone(_NEW_YORK).date()
    sinks = list(sinks)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        listed = [pool.submit(objects_by_month, lake, service) for service in services]
        tables = [service.trips for service in services]
        stamped = {
            (type(sink), table.name): pool.submit(_stamps, sink, table)
            for sink in sinks
            for table in tables
        }
        objects = [listing.result() for listing in listed]
        stamps = {key: answer.result() for key, answer in stamped.items()}
    months = [
        month
        for service, in_lake in zip(services, objects, strict=True)
        for month in _months(
            service,
            in_lake,
            {type(sink): stamps[type(sink), service.trips.name] for sink in sinks},
            facts,
            today,
            (first, last),
        )
    ]
    errors = {key: answer for key, answer in stamps.items() if isinstance(answer, str)}
    unasked = dict.fromkeys(sink.title for sink, _ in errors)
    unknown = (*facts.unknown, *dict.fromkeys(errors.values()))
    is_chosen = bool(first or last) or len(services) < len(SERVICES)
    return Status(as_of, lake.uri(""), months, unknown, tuple(unasked), is_chosen)


def _stamps(sink: Sink, table: Table) -> Mapping[Month | None, Stamp] | str:
    """Return what a sink says that it has loaded, or a sentence on why it could not be asked."""
    try:
        return sink.stamps(table)
    except (PermanentError, TransientError) as error:
        return f"{sink.title} could not be asked what it has: {error}"


def _months(
    service: Service,
    in_lake: Mapping[Month, Sequence[LakeObject]],
    answers: Mapping[type[Sink], Mapping[Month | None, Stamp] | str],
    facts: Facts,
    today: date,
    chosen: tuple[Month | None, Month | None],
) -> Iterator[MonthStatus]:
    """Yield the status of each month that was chosen."""
    facts = replace(facts, unpublished=_late(facts, service, in_lake, today))
    asked = {sink: answer for sink, answer in answers.items() if not isinstance(answer, str)}
    first, last = chosen
    month = first or Month(service.first_month.year, 1)
    last = last or Month(today.year, 12)
    while month <= last:
        objects = FileObjects.among(in_lake.get(month, ()), object_paths(service, month))
        stamps = {sink: stamps.get(month) for sink, stamps in asked.items()}
        yield status_of(service, month, StoredMonth(objects, stamps, list(answers)), facts, today)
        month = month.next


def _late(
    facts: Facts, service: Service, in_lake: Mapping[Month, Sequence[LakeObject]], today: date
) -> set[MonthKey]:
    """Return the months of the service that TLC is late with, of those that are said to be.

    TLC publishes a service's months in their order, so none is late before one that was fetched.
    """
    oldest = Month.newest_published(today)
    for _ in range(_LATE_MONTHS):
        oldest = oldest.previous
    fetched = (month for month, objects in in_lake.items() if any(map(is_fetched, objects)))
    newest = max(fetched, default=service.first_month)
    return {
        (name, month)
        for name, month in facts.unpublished
        if name == service.name and month >= max(oldest, newest)
    }
