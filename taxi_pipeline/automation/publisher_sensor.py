"""The sensor `published_months`: asks the publisher for months that are new, or were rewritten.

What the lake has is asked of the lake, month by month; a month is requested when a run of it would
download something. Fetching it is the run's business.
"""

import logging
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile
from operator import attrgetter, itemgetter, not_
from typing import TYPE_CHECKING, TypedDict

import dagster as dg
from pydantic import Field

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.automation.cursor import SensorCursor
from taxi_pipeline.automation.priorities import FILLING, FRESH
from taxi_pipeline.automation.unfinished import unfinished_partitions
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.lake.metadata import RawMetadata
from taxi_pipeline.lake.paths import month_of_object
from taxi_pipeline.lake.raw import is_fetched
from taxi_pipeline.resources.gcs import Lake, LakeObject
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.resources.publisher import FileVersion, NotModified, Publisher, RemoteFile
from taxi_pipeline.settings import automation_is_on, published_every_seconds
from taxi_pipeline.tlc.concurrency import ordered_parallel_map
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, Service

if TYPE_CHECKING:
    from taxi_pipeline.automation.dagster_internals import UnresolvedAssetJobDefinition

NAME = "published_months"
RECENT = 3  # the newest months of each service: asked for at every tick
IN_TURN = 24  # of all other months, those that a tick asks for
AT_ONCE = 2  # requests to a publisher that is not ours
FAILURES = 3  # in a row after which it is not asked for more months
MOST_NAMED = 20  # months in a line of the log
SECONDS = 30.0  # for asking, and what is under way then may take 20; Dagster gives up after 60

type Answer = RemoteFile | NotModified | PermanentError | TransientError | None


def published_months(jobs: "Mapping[str, UnresolvedAssetJobDefinition]") -> dg.SensorDefinition:
    """Return the sensor that runs the services' jobs, each of the same name as its table."""

    @dg.sensor(
        name=NAME,
        jobs=[jobs[service.trips.name] for service in SERVICES.values()],
        minimum_interval_seconds=published_every_seconds(),
        default_status=(
            dg.DefaultSensorStatus.RUNNING if automation_is_on() else dg.DefaultSensorStatus.STOPPED
        ),
        description=f"Asks the publisher for the {RECENT} newest months of each service and, in "
        f"turn, for {IN_TURN} others; runs the job of those that the lake does not have as they "
        "are published (TAXI_PUBLISHED_EVERY_SECONDS).",
    )
    def sensor(
        context: dg.SensorEvaluationContext, publisher: Publisher, lake: Lake, notifier: Notifier
    ) -> dg.SensorResult:
        cursor = Cursor.read(context.cursor)
        fetched = _due_and_fetched(context, lake)
        older = [month for month in fetched if not month.is_recent]
        in_turn = _after(cursor.after, older)[:IN_TURN]
        to_ask = _by_turns(in_turn, [month for month in fetched if month.is_recent])
        answers = _ask(publisher, to_ask)
        poll = _Poll(to_ask, answers, _missing(fetched, list(zip(to_ask, answers, strict=False))))
        _warn(context.log, poll)
        requests = [
            month.request(answer, context.instance)
            for month, answer in poll.answered
            if isinstance(answer, RemoteFile) and month.differs_from(answer)
        ]
        # a month that failed has had its turn, or the others would wait for it for ever
        had = {month.key for month, _ in poll.answered}
        *_, after = (cursor.after, *takewhile(had.__contains__, (month.key for month in in_turn)))
        summary = f"{poll}, {len(requests) or 'none'} new"
        if poll.is_down:
            reason = str(poll.failures[-1]).partition("\n")[0]
            message = f"{summary}; then the publisher could not be asked: {reason}"
            notified = cursor.unreachable or _notify(notifier, reason, context.log)
        else:
            message = f"{summary}; next from {next(iter(_after(after, older)), 'the first')} on."
            notified = False
        if requests:
            context.log.info(message)
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason(message),
            cursor=Cursor(
                after=after, unreachable=notified, **_remembered(cursor, poll)
            ).model_dump_json(),
        )

    return sensor


class Cursor(SensorCursor):
    """What a tick leaves to the next, and to whoever asks for the months' status.

    Attributes:
        after: The last month in turn, as SERVICE/MONTH.
        unreachable: Whether asking failed. It counts as failed once people were told.
        rewritten: The months of which the publisher had another file than the lake when it was
            asked last, each with the version that the lake had then.
        unpublished: The recent months that it did not have, nor any later one.
    """

    after: str = ""
    unreachable: bool = False
    rewritten: dict[str, str] = Field(default={}, exclude_if=not_)
    unpublished: list[str] = Field(default=[], exclude_if=not_)


@dataclass(frozen=True)
class _Poll:
    """The months that were to be asked for, and what the publisher answered, in their order.

    Asking may have ended before the last month. `missing` are months that are not published
    although a later one is.
    """

    months: "Sequence[_DueMonth]"
    answers: Sequence[Answer]
    missing: Sequence[str]

    @property
    def answered(self) -> "list[tuple[_DueMonth, Answer]]":
        return list(zip(self.months, self.answers, strict=False))

    @property
    def refusals(self) -> list[PermanentError]:
        return [answer for answer in self.answers if isinstance(answer, PermanentError)]

    @property
    def failures(self) -> list[TransientError]:
        return [answer for answer in self.answers if isinstance(answer, TransientError)]

    @property
    def is_down(self) -> bool:
        """Whether the publisher cannot be asked: one month's failure may be its own."""
        failures, answers = len(self.failures), len(self.answers)
        return bool(failures) and (answers < len(self.months) or failures == answers)

    def __str__(self) -> str:
        failures, missing = len(self.failures), len(self.missing)
        parts = [
            f"{len(self.answers) - failures} months asked",
            f"{self.answers.count(None) - missing} of them not published yet",
            f"{missing} missing before a later one" if missing else "",
            f"{failures} without an answer" if failures else "",
        ]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class _DueMonth:
    """A month that is due, with the raw object that the lake has of it."""

    service: Service
    month: Month
    raw: LakeObject | None
    is_recent: bool

    @property
    def table(self) -> str:
        return self.service.trips.name

    @property
    def key(self) -> str:
        return f"{self.service.name}/{self.month}"

    @property
    def is_foreign(self) -> bool:
        """Whether the raw object was put there by somebody else."""
        return self.raw is not None and not is_fetched(self.raw)

    @property
    def noted(self) -> RawMetadata:
        """What the raw object says of the published file."""
        return RawMetadata.parse(self.raw.metadata if self.raw else {})

    @property
    def fetched_version(self) -> FileVersion | None:
        """The published file that the raw object was fetched from."""
        if self.raw is None:
            return None
        return FileVersion(self.noted.source_url or "", self.noted.etag or "")

    def differs_from(self, published: RemoteFile) -> bool:
        """Whether a run would find another file than the lake has.

        So it does where a preferred publisher has the month now; the run makes it the lake's, too.
        """
        if self.raw is None or published.url != self.noted.source_url:
            return True
        if published.etag:
            return published.etag != self.noted.etag
        return published.last_modified != (self.noted.last_modified or "")

    def request(self, published: RemoteFile, instance: dg.DagsterInstance) -> dg.RunRequest:
        """Return the request for a run; Dagster grants one of the same key but once.

        So a file that failed is not fetched again and again. What the run replaces is in the key,
        because a file may become again what it was, and an object be deleted.
        """
        replaced = self.raw.generation if self.raw else self._stored(instance)
        return dg.RunRequest(
            run_key=f"{self.key}/{published.etag or published.last_modified}/{replaced}",
            job_name=self.table,
            partition_key=self.month.key,
            # a lake that fills, or a round of old months, keeps no new month waiting
            tags={"service": self.service.name, **(FRESH if self.is_recent else FILLING)},
        )

    def _stored(self, instance: dg.DagsterInstance) -> int:
        """Return the number of the month's last materialization of raw, 0 before the first."""
        raw = dg.AssetRecordsFilter(asset_key(self.table, "raw"), [self.month.key])
        records = instance.fetch_materializations(raw, limit=1).records
        return records[0].storage_id if records else 0

    def __str__(self) -> str:
        return f"{self.service.name} {self.month}"


def _due(lake: Lake) -> Iterator[_DueMonth]:
    for service in SERVICES.values():
        raw: dict[Month, LakeObject] = {}
        for item in lake.find(f"raw/{service.name}/"):
            if named := month_of_object(item.name):
                _, month = named
                raw.setdefault(month, item)  # the newest comes first
        months = [Month.parse(key) for key in months_of(service).get_partition_keys()]
        for month in months:
            yield _DueMonth(service, month, raw.get(month), month in months[-RECENT:])


def _due_and_fetched(context: dg.SensorEvaluationContext, lake: Lake) -> "list[_DueMonth]":
    """Return the months that are due, without those of runs that go on and those of others."""
    # before the lake: what ends meanwhile is seen
    running = set(unfinished_partitions(context.instance))
    months = [month for month in _due(lake) if (month.table, month.month.key) not in running]
    if foreign := [str(month) for month in months if month.is_foreign]:
        context.log.info(f"Put into the lake by others and left alone: {', '.join(foreign)}.")
    return [month for month in months if not month.is_foreign]


def _warn(log: logging.Logger, poll: _Poll) -> None:
    """Write what failed and what is missing into the log; raise what every month was refused for.

    That is no month's fault, but a setting's.
    """
    if poll.refusals and len(poll.refusals) == len(poll.months):
        raise poll.refusals[0]
    for error in (*poll.refusals, *poll.failures):
        log.warning(str(error))
    if poll.missing:
        more = len(poll.missing) - MOST_NAMED
        log.warning(
            "Not to be had from the publisher, which has a later month: "
            f"{', '.join(poll.missing[:MOST_NAMED])}" + (f" and {more} more." if more > 0 else ".")
        )


def _notify(notifier: Notifier, reason: str, log: logging.Logger) -> bool:
    """Tell people that the publisher cannot be asked; return whether they were told."""
    try:
        notifier.send(
            "The publisher of TLC's trips cannot be asked",
            f"{reason}\nIt is asked again every {published_every_seconds()} seconds, and "
            "this is told again only after it has answered.",
        )
    except (PermanentError, TransientError) as error:  # costs nobody what was found
        log.warning(str(error))
        return False
    return True


def _after(key: str, months: Iterable[_DueMonth]) -> list[_DueMonth]:
    """Return the months in the order of their turns, from the one after `key` on."""
    ordered = sorted(months, key=attrgetter("key"))
    first = bisect_right(ordered, key, key=attrgetter("key"))
    return ordered[first:] + ordered[:first]


def _by_turns(in_turn: Sequence[_DueMonth], recent: Sequence[_DueMonth]) -> list[_DueMonth]:
    """Return all months, a service's by turns with another's, and its recent ones with its others.

    So no service of which every month fails ends the asking before the others' recent months were
    asked for. The first in turn is the first of all.
    """
    return _alternately(
        _alternately(
            [month for month in months if month.table == table] for months in (in_turn, recent)
        )
        for table in dict.fromkeys(month.table for month in (*in_turn, *recent))
    )


def _alternately[T](sequences: Iterable[Sequence[T]]) -> list[T]:
    """Return the first of each sequence, then the second of each, and so on."""
    ranked = [(rank, item) for sequence in sequences for rank, item in enumerate(sequence)]
    return [item for _, item in sorted(ranked, key=itemgetter(0))]


def _ask(publisher: Publisher, months: Sequence[_DueMonth]) -> list[Answer]:
    """Ask for each month, until the publisher fails several times in a row or time is up.

    Returns the answers, in the months' order; the last one is an error where asking has ended
    before the last month.
    """

    def answer(month: _DueMonth) -> Answer:
        try:
            return publisher.look(month.service, month.month, month.fetched_version)
        except (PermanentError, TransientError) as error:  # the others may have an answer
            return error

    answers: list[Answer] = []
    in_a_row = 0
    try:
        with closing(ordered_parallel_map(answer, months, AT_ONCE, SECONDS)) as received:
            for each in received:
                answers.append(each)
                in_a_row = in_a_row + 1 if isinstance(each, TransientError) else 0
                if in_a_row == FAILURES:
                    break
    except TimeoutError:
        slow = f"{len(answers)} of {len(months)} months were answered within {SECONDS:.0f} s."
        answers.append(TransientError(slow))
    return answers


class _Remembered(TypedDict):
    rewritten: dict[str, str]
    unpublished: list[str]


def _remembered(before: Cursor, poll: _Poll) -> _Remembered:
    """Return what is known of the months now: of those that answered anew, of others as before."""
    answered = [
        (month, answer) for month, answer in poll.answered if not isinstance(answer, Exception)
    ]
    had = {month.key for month, _ in answered}
    rewritten = {key: raw for key, raw in before.rewritten.items() if key not in had}
    rewritten |= {
        month.key: month.noted.version
        for month, answer in answered
        if month.raw and isinstance(answer, RemoteFile) and month.differs_from(answer)
    }
    unpublished = {key for key in before.unpublished if key not in had}
    unpublished |= {
        month.key
        for month, answer in answered
        if answer is None and month.is_recent and str(month) not in poll.missing
    }
    return {"rewritten": rewritten, "unpublished": sorted(unpublished)}


def _missing(
    months: Iterable[_DueMonth], answered: Sequence[tuple[_DueMonth, Answer]]
) -> list[str]:
    """Return the months that are not published although a later one of the service is.

    It is if the lake has it from the publisher, or if the publisher has just said so.
    """
    published = [month for month in months if month.raw]
    published += [
        month for month, answer in answered if isinstance(answer, RemoteFile | NotModified)
    ]
    newest: dict[str, Month] = {}
    for due in published:
        newest[due.table] = max(due.month, newest.get(due.table, due.month))
    return [
        str(due)
        for due, answer in answered
        if answer is None and due.month < newest.get(due.table, due.month)
    ]
