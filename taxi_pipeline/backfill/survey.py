"""What there is of the chosen months: at the publisher, asked by HEAD, and loaded already."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median

from taxi_pipeline.backfill.prices import ROW_BYTES
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.lake.metadata import RawMetadata
from taxi_pipeline.lake.paths import month_of_object, object_paths
from taxi_pipeline.lake.raw import is_fetched
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.resources.publisher import NotModified, Publisher, RemoteFile
from taxi_pipeline.settings import Resources
from taxi_pipeline.tlc.concurrency import ordered_parallel_map
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service

AT_ONCE = 2  # requests to a publisher that is not ours
FAILURES = 3  # in a row after which it is not asked for more months

type Answer = RemoteFile | NotModified | TransientError | PermanentError | None


@dataclass(frozen=True)
class Survey:
    """What there is of a service's months.

    Attributes:
        service: The service.
        sizes: The bytes of each month's published file, of those that there are, in their order.
        unpublished: The months that neither the publisher nor the lake has.
        unanswered: Those of `sizes` for which the publisher has not said the size, which is that of
            the others then.
        loaded: Those of `sizes` that every store has already.
        left_out: The months that every store has already, where those were not wanted.
        row_bytes: The bytes of a row of the published files.
        refused: Why the publisher refuses a month for good, of those that it does.
        under_way: The months that are being run already; those of `sizes` would be run again.
    """

    service: Service
    sizes: Mapping[Month, int]
    unpublished: Sequence[Month]
    unanswered: Sequence[Month]
    loaded: Sequence[Month]
    left_out: Sequence[Month]
    row_bytes: float
    refused: Mapping[Month, str] = field(default_factory=dict)
    under_way: Sequence[Month] = ()

    @property
    def months(self) -> list[Month]:
        """The months to run."""
        return [*self.sizes]

    def rows(self, month: Month) -> float:
        """Return how many rows a month may have, by its bytes."""
        return self.sizes[month] / self.row_bytes


def survey(
    service: Service,
    months: Sequence[Month],
    stores: Resources,
    on_progress: Callable[[int, str], None],
    *,
    missing_only: bool = False,
    unfinished: Collection[str] = (),
) -> Survey:
    """Return what there is of a service's months.

    Args:
        service: The service.
        months: The months, in their order.
        stores: All stores, and the publisher.
        on_progress: Is called with how many months are known.
        missing_only: Whether to leave out the months that every store has, or that are being run.
        unfinished: The keys of the months that are being run already.

    Raises:
        PermanentError: A store cannot be asked, or the publisher refuses each of the months, and
            asking again cannot change that.
        TransientError: A store is away, or the publisher had no answer several times in a row.
    """
    raw = _raw_by_month(stores.lake, service)
    loaded = _loaded(service, stores)
    left_out = [month for month in months if missing_only and month in loaded]
    under_way = [month for month in months if month.key in unfinished and month not in left_out]
    to_ask = [
        month
        for month in months
        if month not in left_out and not (missing_only and month in under_way)
    ]
    asked = _ask(stores.publisher, service, to_ask, raw, on_progress)
    answers = dict(zip(to_ask, asked, strict=True))
    refused = {
        month: str(answer)
        for month, answer in answers.items()
        if isinstance(answer, PermanentError)
    }
    published = [month for month in to_ask if answers[month] is not None and month not in refused]
    known = {month: size for month in published if (size := _size(answers[month], raw.get(month)))}
    usual = int(median(known.values())) if known else 0
    return Survey(
        service,
        {month: known.get(month, usual) for month in published},
        [month for month in to_ask if answers[month] is None],
        [month for month in published if month not in known],
        [month for month in published if month in loaded],
        left_out,
        _row_bytes(service, raw),
        refused,
        under_way,
    )


def _raw_by_month(lake: Lake, service: Service) -> dict[Month, LakeObject]:
    """Return the newest raw object of each month."""
    raw: dict[Month, LakeObject] = {}
    for item in lake.find(f"raw/{service.name}/"):
        if named := month_of_object(item.name):
            raw.setdefault(named[1], item)  # the newest comes first
    return raw


def _loaded(service: Service, stores: Resources) -> set[Month]:
    """Return the months that each sink has loaded from the cleaned object that the lake has."""
    stamps = [sink.stamps(service.trips) for sink in stores.sinks.values()]
    loaded = set()
    for item in stores.lake.find(f"cleaned/{service.name}/"):
        named = month_of_object(item.name)
        if (
            named
            and item.name == object_paths(*named).cleaned
            and all(of_sink.get(named[1]) == item.stamp for of_sink in stamps)
        ):
            loaded.add(named[1])
    return loaded


def _ask(
    publisher: Publisher,
    service: Service,
    months: Sequence[Month],
    raw: Mapping[Month, LakeObject],
    on_progress: Callable[[int, str], None],
) -> list[Answer]:
    """Ask for each month; a file that somebody put into the lake is the month's own answer."""

    def answer(month: Month) -> Answer:
        if month in raw and not is_fetched(raw[month]):
            return NotModified()
        try:
            return publisher.look(service, month)
        except (PermanentError, TransientError) as error:  # the others may have an answer
            return error

    answers: list[Answer] = []
    in_a_row = 0
    with closing(ordered_parallel_map(answer, months, AT_ONCE)) as received:
        for each in received:
            answers.append(each)
            on_progress(len(answers), "")
            in_a_row = in_a_row + 1 if isinstance(each, TransientError) else 0
            if isinstance(each, TransientError) and in_a_row >= min(FAILURES, len(months)):
                raise each
    refusals = [each for each in answers if isinstance(each, PermanentError)]
    if refusals and len(refusals) == len(answers):
        raise refusals[0]
    return answers


def _size(answer: Answer, raw: LakeObject | None) -> int | None:
    """Return a month's published bytes; of one that the lake has, if the publisher is silent."""
    if isinstance(answer, RemoteFile) and answer.size is not None:
        return answer.size
    return raw.size if raw else None


def _row_bytes(service: Service, raw: Mapping[Month, LakeObject]) -> float:
    """Return the bytes of a row of the published files: as the lake has them, else TLC's mean."""
    noted = [(item.size, RawMetadata.parse(item.metadata).rows) for item in raw.values()]
    rows = sum(counted for _, counted in noted if counted)
    if rows:
        return sum(size for size, counted in noted if counted) / rows
    return ROW_BYTES[service.name].published
