"""The verb `taxi backfill`: many months of some services, at once."""

import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from taxi_pipeline.cli.interrupts import interrupts_held, interrupts_noted
from taxi_pipeline.cli.options import (
    complete_month,
    complete_service,
    ensure_order,
    of_months,
    parse_month,
    parse_service,
)
from taxi_pipeline.cli.output import errors_shown, say
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.tlc.month import Month

if TYPE_CHECKING:
    from taxi_pipeline.backfill.estimate import Estimate
    from taxi_pipeline.backfill.launch import Launched, State
    from taxi_pipeline.ledger import Entry
    from taxi_pipeline.tlc.services import Service


@dataclass
class _Progress:
    """What has become of it so far, which programs are told however it ends.

    Attributes:
        launched: The backfills.
        outcome: A word for it.
        entries: The ledger of their months.
    """

    launched: list["Launched"] = field(default_factory=list)
    outcome: str = "not launched"
    entries: list["Entry"] = field(default_factory=list)


@click.command(short_help="Run many months, and say before what they will take.")
@click.argument(
    "services",
    nargs=-1,
    type=parse_service,
    shell_complete=complete_service,
    metavar="SERVICE...",
)
@click.option(
    "--month",
    "months",
    type=parse_month,
    shell_complete=complete_month,
    metavar="MONTH",
    multiple=True,
    help="This month, such as 2021-01. Can be repeated.",
)
@of_months
@click.option(
    "--missing",
    is_flag=True,
    help="Leave out the months that every store has, or that are being run.",
)
@click.option("--yes", is_flag=True, help="Launch without asking.")
@click.option("--dry-run", is_flag=True, help="Say what it will take, and launch nothing.")
@click.option("--detach", is_flag=True, help="Launch, and do not wait for its end.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one object: the estimate, the backfills, the outcome and the ledger.",
)
@click.option("--cancel", metavar="ID", help="Cancel a backfill that goes on.")
def backfill(
    services: tuple["Service", ...],
    months: tuple[Month, ...],
    first: Month | None,
    last: Month | None,
    missing: bool,
    yes: bool,
    dry_run: bool,
    detach: bool,
    as_json: bool,
    cancel: str | None,
) -> None:
    """Run many months of SERVICE in Dagster's queue, behind whatever is new.

    Says what it will take: months, bytes, minutes, and what lies in each store afterwards. Then it
    asks, launches a backfill of each service through the webserver at TAXI_DAGSTER_API_URL (not
    set: at TAXI_DAGSTER_URL), waits for its end, and shows the ledger. Ctrl-C ends the
    waiting alone.

    Exits with 0 if each of the months is in all stores and adds up, those included that --missing
    has left out as loaded, and with 1 if not, such as for one that is not published. With --detach,
    with 0 if each that lacks is being run; with --dry-run, with 0.

    \b
    taxi local taxi backfill yellow --from 2021-01 --to 2021-03
    taxi backfill green fhv --month 2020-04 --month 2021-04 --dry-run
    """  # noqa: D301 - click's \\b must be the character
    from taxi_pipeline.backfill.view import sentences

    if cancel is not None:
        if any((services, months, first, last, missing, yes, dry_run, detach)):
            raise click.UsageError(
                "Write --cancel ID without a service and other options but --json."
            )
        _cancel(cancel, as_json)
        return
    if not services:
        raise click.UsageError("Write at least one service, such as yellow.")
    with errors_shown():
        chosen = _chosen(services, months, first, last)
        if not (yes or dry_run or _is_asked()):
            raise click.UsageError("There is nobody to ask: write --yes, or --dry-run.")
        estimate = _estimate({one.name: one for one in services}.values(), chosen, missing, dry_run)
        for sentence in sentences(estimate):
            _print(sentence, err=as_json)
        progress = _Progress()
        try:
            if not dry_run and _is_wanted(estimate, yes):
                _run(estimate, progress, detach, as_json)
            is_well = dry_run or _is_complete(estimate, progress, detach, as_json)
        finally:
            if as_json:
                _print_object(estimate, progress)
    sys.exit(0 if is_well else 1)


def _cancel(backfill: str, as_json: bool) -> None:
    from taxi_pipeline.automation.webserver import Webserver
    from taxi_pipeline.backfill.launch import cancel
    from taxi_pipeline.settings import dagster_api_url

    if not backfill.strip():
        raise click.UsageError("Write the id of a backfill after --cancel; its page has it.")
    with errors_shown():
        title = cancel(Webserver(dagster_api_url()), backfill)
    say(f"The backfill {backfill} is being canceled ({title}); what was loaded stays.")
    if as_json:
        click.echo(json.dumps({"id": backfill, "title": title, "outcome": "canceling"}, indent=2))


def _chosen(
    services: Iterable["Service"],
    months: Sequence[Month],
    first: Month | None,
    last: Month | None,
) -> list[Month]:
    """Return the months, in their order; raise `UsageError` where the choice makes no sense."""
    from taxi_pipeline.backfill.months import ensure_of_service, months_between

    if bool(months) == bool(first or last):
        raise click.UsageError("Write either --month, or --from and --to.")
    ensure_order(first, last)
    if first and last:
        chosen = months_between(first, last)
    elif months:
        chosen = sorted({*months})
    else:
        raise click.UsageError("Write both --from and --to.")
    try:
        for service in services:
            ensure_of_service(service, chosen)
    except PermanentError as error:
        raise click.UsageError(str(error)) from error
    return chosen


def _estimate(
    services: Iterable["Service"], months: Sequence[Month], missing: bool, dry_run: bool
) -> "Estimate":
    """Return what the months will take; refuse where nothing would take up a launch."""
    from taxi_pipeline.automation.webserver import Webserver
    from taxi_pipeline.backfill.estimate import estimate
    from taxi_pipeline.backfill.pace import PastRun
    from taxi_pipeline.backfill.queue import UNKNOWN, past_runs, read_queue
    from taxi_pipeline.backfill.survey import survey
    from taxi_pipeline.backfill.unfinished import unfinished_months
    from taxi_pipeline.backfill.view import watching
    from taxi_pipeline.settings import dagster_api_url, load_resources

    stores, webserver = load_resources(), Webserver(dagster_api_url())
    queue, past = UNKNOWN, list[PastRun]()
    unfinished: Mapping[str, Collection[str]] = {}
    try:
        queue = read_queue(webserver)
        past = past_runs(webserver, services)
        unfinished = unfinished_months(webserver, services)
        queue.ensure_alive()
    except PermanentError as error:
        if not dry_run:
            raise
        _say(f"It could not be launched now. {error}")
    surveys = []
    for service in services:
        with watching(f"Asking for {service.name}", len(months), _say) as show:
            running = unfinished.get(service.name, ())
            surveys.append(
                survey(service, months, stores, show, missing_only=missing, unfinished=running)
            )
    return estimate(surveys, past, queue.at_once, queue.cores)


def _print(sentence: str, *, err: bool) -> None:
    """Print a sentence; where its reader has gone, go on without: what is launched goes on, too."""
    try:
        click.echo(sentence, err=err)
    except BrokenPipeError:
        nowhere = open(os.devnull, "w")  # noqa: SIM115 - it takes what is printed up to the end
        if err:
            sys.stderr = nowhere
        else:
            sys.stdout = nowhere


def _say(sentence: str) -> None:
    _print(sentence, err=True)


def _is_asked() -> bool:
    """Return whether there is a person to ask."""
    return sys.stdin is not None and sys.stdin.isatty()  # None where the shell has closed it


def _is_wanted(estimate: "Estimate", yes: bool) -> bool:
    """Return whether it is to be launched: there is something to run, and a person wants it."""
    runs = "1 run" if estimate.runs == 1 else f"{estimate.runs} runs"
    wanted = bool(estimate.runs) and (yes or click.confirm(f"Launch {runs}?", err=True))
    if not wanted:
        _say("Nothing is launched.")
    return wanted


def _run(estimate: "Estimate", progress: _Progress, detach: bool, as_json: bool) -> None:
    """Launch the backfills, follow them, and read their ledger; note how far it has come."""
    from taxi_pipeline.backfill.view import outcome

    try:
        _launch(estimate, progress)
        for one in progress.launched:
            _print(f"Launched {one.service.name}: {_page(one)}", err=as_json)
        if detach:
            progress.outcome = "launched"
            return
        states = _follow(estimate, progress)
    except (PermanentError, TransientError):
        _say_how_to_cancel(progress)
        raise
    except KeyboardInterrupt:
        _say_how_to_cancel(progress)
        sys.exit(130)
    for sentence in outcome(progress.launched, states):
        _print(sentence, err=as_json)
    succeeded = all(state.succeeded for state in states.values())
    progress.outcome = "unknown" if succeeded else "failed"
    progress.entries = _ledger(progress.launched, as_json)
    if succeeded:
        adds_up = len(progress.entries) == estimate.runs and all(
            entry.adds_up for entry in progress.entries
        )
        progress.outcome = "succeeded" if adds_up else "does not add up"


def _launch(estimate: "Estimate", progress: _Progress) -> None:
    """Launch a backfill of each service, all of them before anything else."""
    from taxi_pipeline.automation.webserver import Webserver
    from taxi_pipeline.backfill.launch import LostLaunchError, launch
    from taxi_pipeline.settings import dagster_api_url

    webserver = Webserver(dagster_api_url())
    for survey in estimate.surveys:
        if survey.months:
            try:
                with interrupts_held():
                    progress.launched.append(launch(webserver, survey.service, survey.months))
            except LostLaunchError:
                progress.outcome = "unknown"
                raise
            finally:
                if progress.launched:
                    progress.outcome = "unknown"  # until more is known


def _follow(estimate: "Estimate", progress: _Progress) -> "Mapping[str, State]":
    """Wait for the end of the backfills, and show how far they are; return how each is."""
    from taxi_pipeline.automation.webserver import Webserver
    from taxi_pipeline.backfill.launch import follow
    from taxi_pipeline.backfill.view import running, watching
    from taxi_pipeline.settings import dagster_api_url

    with watching("Months", estimate.runs, _say) as show, interrupts_noted() as raise_lost:

        def on_look(states: "Mapping[str, State]") -> None:
            raise_lost()
            show(*running(states))

        return follow(
            Webserver(dagster_api_url()),
            progress.launched,
            on_look,
            lambda since: _say(
                f"Dagster's daemon does not run (it was heard of {since}): nothing more begins "
                "until it is started."
            ),
        )


def _say_how_to_cancel(progress: _Progress) -> None:
    if progress.outcome == "not launched":
        _say("Nothing is launched.")
    for one in progress.launched:
        _say(
            f"The backfill {one.id} of {one.service.name} goes on. To cancel it: taxi backfill "
            f"--cancel {one.id}, or on its page: {_page(one)}"
        )


def _page(backfill: "Launched") -> str:
    """Return where people see a backfill."""
    from taxi_pipeline.settings import dagster_url

    return f"{dagster_url()}/runs/b/{backfill.id}"


def _is_complete(estimate: "Estimate", progress: _Progress, detach: bool, as_json: bool) -> bool:
    """Return whether each month is in all stores, or is launched; say of which it is not so."""
    from taxi_pipeline.backfill.view import lacking

    sentences = [*lacking(estimate, launched_counts=detach)]
    for sentence in sentences:
        _print(sentence, err=as_json)
    if sentences and progress.outcome == "succeeded":
        progress.outcome = "incomplete"
    return not sentences and (not estimate.runs or progress.outcome in ("launched", "succeeded"))


def _ledger(launched: Iterable["Launched"], as_json: bool) -> list["Entry"]:
    """Return the ledger of the backfills' months, and show it to people."""
    from taxi_pipeline.backfill.ledger import read_loaded
    from taxi_pipeline.ledger.view import problems, show
    from taxi_pipeline.settings import load_resources

    entries = read_loaded(launched, load_resources())
    if as_json:
        for sentence in problems(entries):
            _say(sentence)
    elif entries:
        show(entries)
    return entries


def _print_object(estimate: "Estimate", progress: _Progress) -> None:
    """Print for programs what it takes, and what has become of it."""
    from taxi_pipeline.backfill.view import as_object
    from taxi_pipeline.ledger.view import to_json

    result = {
        "estimate": as_object(estimate),
        "backfills": [{"service": one.service.name, "id": one.id} for one in progress.launched],
        "outcome": progress.outcome,
        "ledger": json.loads(to_json(progress.entries)),
    }
    _print(json.dumps(result, indent=2), err=False)
