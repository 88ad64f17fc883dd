"""The verb `taxi backfill`: many months of some services, at once."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from taxi_pipeline.cli.options import complete_month, complete_service, parse_month, parse_service
from taxi_pipeline.cli.output import errors_shown, say
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.month import Month

if TYPE_CHECKING:
    from taxi_pipeline.backfill.estimate import Estimate
    from taxi_pipeline.backfill.launch import Launched
    from taxi_pipeline.ledger import Entry
    from taxi_pipeline.tlc.services import Service


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
@click.option(
    "--from",
    "first",
    type=parse_month,
    shell_complete=complete_month,
    metavar="MONTH",
    help="From this month on.",
)
@click.option(
    "--to",
    "last",
    type=parse_month,
    shell_complete=complete_month,
    metavar="MONTH",
    help="Up to this month.",
)
@click.option("--missing", is_flag=True, help="Leave out the months that every store has already.")
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

    Exits with 0 if each month has succeeded and adds up, with 1 if not.

    \b
    taxi local taxi backfill yellow --from 2021-01 --to 2021-03
    taxi backfill green fhv --month 2020-04 --month 2021-04 --dry-run
    """  # noqa: D301 - click's \\b must be the character
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
        _show(estimate, as_json)
        wanted = not dry_run and _is_wanted(estimate, yes)
        result = _run(estimate, detach, as_json) if wanted else _result([], "not launched")
        if as_json:
            _print_object(estimate, result)
    is_well = dry_run or result["outcome"] in ("launched", "succeeded")
    sys.exit(0 if is_well or (missing and not estimate.runs) else 1)


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
    if first and last and last < first:
        raise click.UsageError(
            f"--from {first} is after --to {last}: write the earlier month in --from."
        )
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
    from taxi_pipeline.backfill.view import watching
    from taxi_pipeline.settings import dagster_api_url, load_resources

    stores, webserver = load_resources(), Webserver(dagster_api_url())
    queue, past = UNKNOWN, list[PastRun]()
    try:
        queue = read_queue(webserver)
        past = past_runs(webserver, services)
        queue.ensure_alive()
    except PermanentError as error:
        if not dry_run:
            raise
        say(f"It could not be launched now. {error}")
    surveys = []
    for service in services:
        with watching(f"Asking for {service.name}", len(months), say) as show:
            surveys.append(survey(service, months, stores, show, missing_only=missing))
    return estimate(surveys, past, queue.at_once, queue.cores)


def _show(estimate: "Estimate", as_json: bool) -> None:
    """Say what the months will take; on the standard error where programs read the output."""
    from taxi_pipeline.backfill.view import sentences

    for sentence in sentences(estimate):
        click.echo(sentence, err=as_json)


def _is_asked() -> bool:
    """Return whether there is a person to ask."""
    return sys.stdin is not None and sys.stdin.isatty()  # None where the shell has closed it


def _is_wanted(estimate: "Estimate", yes: bool) -> bool:
    """Return whether it is to be launched: there is something to run, and a person wants it."""
    runs = "1 run" if estimate.runs == 1 else f"{estimate.runs} runs"
    wanted = bool(estimate.runs) and (yes or click.confirm(f"Launch {runs}?", err=True))
    if not wanted:
        say("Nothing is launched.")
    return wanted


def _run(estimate: "Estimate", detach: bool, as_json: bool) -> dict[str, Any]:
    """Launch the backfills, and follow them; return what is told to programs."""
    from taxi_pipeline.automation.webserver import Webserver
    from taxi_pipeline.backfill.launch import follow, launch
    from taxi_pipeline.backfill.view import outcome, running, watching
    from taxi_pipeline.settings import dagster_api_url, dagster_url

    webserver = Webserver(dagster_api_url())
    launched: list[Launched] = []
    try:
        for survey in estimate.surveys:
            if survey.months:
                launched.append(launch(webserver, survey.service, survey.months))
                page = f"{dagster_url()}/runs/b/{launched[-1].id}"
                click.echo(f"Launched {survey.service.name}: {page}", err=as_json)
        if detach:
            return _result(launched, "launched")
        with watching("Months", estimate.runs, say) as show:
            states = follow(webserver, launched, lambda states: show(*running(states)))
    except KeyboardInterrupt:
        _say_how_to_cancel(launched)
        sys.exit(130)
    for sentence in outcome(launched, states):
        click.echo(sentence, err=as_json)
    entries = _ledger(launched, as_json)
    if not all(state.succeeded for state in states.values()):
        return _result(launched, "failed", entries)
    adds_up = len(entries) == estimate.runs and all(entry.adds_up for entry in entries)
    return _result(launched, "succeeded" if adds_up else "does not add up", entries)


def _say_how_to_cancel(launched: Sequence["Launched"]) -> None:
    from taxi_pipeline.settings import dagster_url

    if not launched:
        say("Nothing is launched.")
    for one in launched:
        say(
            f"The backfill {one.id} of {one.service.name} goes on. To cancel it: taxi backfill "
            f"--cancel {one.id}, or on its page: {dagster_url()}/runs/b/{one.id}"
        )


def _ledger(launched: Iterable["Launched"], as_json: bool) -> list["Entry"]:
    """Return the ledger of the backfills' months, and show it to people."""
    from taxi_pipeline.backfill.ledger import read_loaded
    from taxi_pipeline.ledger.view import problems, show
    from taxi_pipeline.settings import load_resources

    entries = read_loaded(launched, load_resources())
    if as_json:
        for sentence in problems(entries):
            say(sentence)
    elif entries:
        show(entries)
    return entries


def _result(
    launched: Iterable["Launched"], outcome: str, entries: Iterable["Entry"] = ()
) -> dict[str, Any]:
    """Return what is told to programs of what became of it."""
    from taxi_pipeline.ledger.view import to_json

    return {
        "backfills": [{"service": one.service.name, "id": one.id} for one in launched],
        "outcome": outcome,
        "ledger": json.loads(to_json(entries)),
    }


def _print_object(estimate: "Estimate", result: dict[str, Any]) -> None:
    from taxi_pipeline.backfill.view import as_object

    click.echo(json.dumps({"estimate": as_object(estimate), **result}, indent=2))
