"""A backfill as people read it, before, meanwhile and afterwards, and as programs do."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from taxi_pipeline.backfill.estimate import Estimate
from taxi_pipeline.backfill.launch import Launched, State
from taxi_pipeline.backfill.months import as_spans
from taxi_pipeline.backfill.prices import LAKE, PRICED
from taxi_pipeline.backfill.survey import Survey
from taxi_pipeline.resources import SINKS

_SAY_SECONDS = 60  # between two sentences, where nobody watches a bar
_TITLES = {LAKE: "lake", **{sink.name: sink.title for sink in SINKS}}


def sentences(estimate: Estimate) -> Iterator[str]:
    """Say what a backfill will take."""
    for survey in estimate.surveys:
        yield from _of_service(survey)
    if estimate.runs:
        runs = f"{estimate.runs} runs, {estimate.at_once} at once" if estimate.runs > 1 else "1 run"
        yield f"{runs}: some {as_duration(estimate.seconds)}, by {estimate.source}."
        for store, stored in estimate.stores.items():
            title = _TITLES.get(store, store)
            price = "" if stored.dollars is None else f", ${stored.dollars:,.2f} a month"
            yield f"  {title:<10} {stored.size / 1e9:8,.2f} GB{price}"
        yield PRICED


def lacking(estimate: Estimate, *, launched_counts: bool) -> Iterator[str]:
    """Say which of the chosen months are not run though they may lack, and why.

    Args:
        estimate: What there is of the months.
        launched_counts: Whether it is enough that a month is being run.
    """
    for survey in estimate.surveys:
        running = [month for month in survey.under_way if month not in survey.sizes]
        for months, why in (
            ([] if launched_counts else running, "being run already, which is not waited for"),
            (survey.unpublished, "not published"),
            ([*survey.refused], "refused"),
        ):
            if months:
                yield f"{survey.service.name} {as_spans(months)}: not run, since {why}."


def as_object(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate for programs."""
    return {
        "services": [
            {
                "service": survey.service.name,
                "months": [month.key for month in survey.months],
                "not_published": [month.key for month in survey.unpublished],
                "loaded_already": [month.key for month in survey.loaded],
                "left_out": [month.key for month in survey.left_out],
                "under_way": [month.key for month in survey.under_way],
                "refused": {month.key: why for month, why in survey.refused.items()},
                "size_unknown": [month.key for month in survey.unanswered],
                "bytes": sum(survey.sizes.values()),
                "rows": round(sum(survey.rows(month) for month in survey.months)),
            }
            for survey in estimate.surveys
        ],
        "bytes": estimate.size,
        "runs": estimate.runs,
        "runs_at_once": estimate.at_once,
        "seconds": round(estimate.seconds),
        "seconds_by": estimate.source,
        "stores": {
            store: {
                "bytes": round(stored.size),
                "dollars_a_month": None if stored.dollars is None else round(stored.dollars, 4),
            }
            for store, stored in estimate.stores.items()
        },
        "prices": PRICED,
    }


def outcome(backfills: Iterable[Launched], states: Mapping[str, State]) -> Iterator[str]:
    """Say how backfills have ended."""
    for one in backfills:
        state = states[one.id]
        done, total = state.count("SUCCESS"), state.total
        name = f"{one.service.name} {as_spans(one.months)}"
        if state.succeeded:
            yield f"{name}: {'all ' if total > 1 else ''}{total} succeeded."
            continue
        failed = f"; not so {', '.join(state.failed)}" if state.failed else ""
        why = f". Dagster has given it up: {state.error}" if state.error else ""
        canceled = ", canceled" if state.status == "CANCELED" else ""
        yield f"{name}: {done} of {total} succeeded{canceled}{failed}{why}."


@contextmanager
def watching(
    doing: str, total: int, say: Callable[[str], None]
) -> Iterator[Callable[[int, str], None]]:
    """Yield what shows how far it is: a bar where a person watches, else a sentence a minute.

    Args:
        doing: What is done.
        total: How many there are to be done.
        say: Gets the sentences.
    """
    if sys.stderr is None or not sys.stderr.isatty():  # None where the shell has closed it
        yield _saying(doing, total, say)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[more]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=total, more="")
        yield lambda done, more: bar.update(task, completed=done, more=more)


def running(states: Mapping[str, State]) -> tuple[int, str]:
    """Return how many months have ended, and what is to be said of the others."""
    done = sum(state.count("SUCCESS", "FAILURE", "CANCELED") for state in states.values())
    failed = sum(state.count("FAILURE", "CANCELED") for state in states.values())
    goes_on = sum(state.count("STARTING", "STARTED", "CANCELING") for state in states.values())
    parts = [f"{goes_on} running" if goes_on else "", f"{failed} failed" if failed else ""]
    return done, ", ".join(filter(None, parts))


def as_duration(seconds: float) -> str:
    """Return how long something takes, as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _of_service(survey: Survey) -> Iterator[str]:
    name, months = survey.service.name, survey.months
    if survey.left_out:
        yield f"{name} {as_spans(survey.left_out)}: loaded already, left out."
    if running := [month for month in survey.under_way if month not in survey.sizes]:
        yield f"{name} {as_spans(running)}: being run already, left out."
    if survey.unpublished:
        yield f"{name} {as_spans(survey.unpublished)}: not published, left out."
    for month, why in survey.refused.items():
        yield f"{name} {month}: refused, left out: {why}"
    if not months:
        yield f"{name}: nothing to run."
        return
    number = f"{len(months)} months" if len(months) > 1 else "1 month"
    size = sum(survey.sizes.values()) / 1e6
    yield f"{name} {as_spans(months)}: {number}, {size:,.1f} MB published."
    again = "would be run again (--missing leaves them out)"
    if survey.loaded:
        yield f"  {_of(survey.loaded, months)} loaded already, and {again}."
    if running := [month for month in survey.under_way if month in survey.sizes]:
        yield f"  {_of(running, months)} being run already, and {again}."
    if survey.unanswered:
        yield f"  The publisher has not said the size of {as_spans(survey.unanswered)}."


def _of(some: Sequence[object], months: Sequence[object]) -> str:
    verb = "is" if len(some) == 1 else "are"
    return f"{len(some)} of {len(months)} {verb}" if len(months) > 1 else "It is"


def _saying(doing: str, total: int, say: Callable[[str], None]) -> Callable[[int, str], None]:
    said = monotonic()

    def show(done: int, more: str) -> None:
        nonlocal said
        if monotonic() - said >= _SAY_SECONDS:
            said = monotonic()
            say(f"{doing}: {done} of {total}{f', {more}' if more else ''}")

    return show
