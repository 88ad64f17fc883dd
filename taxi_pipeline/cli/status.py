"""The verb `taxi status`: every month in a word, and what to do next."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taxi_pipeline.cli.options import ensure_order, of_months, of_services
from taxi_pipeline.cli.output import errors_shown, say
from taxi_pipeline.tlc.month import Month

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taxi_pipeline.status import Facts, Status
    from taxi_pipeline.tlc.services import Service


def _check_page(
    _context: click.Context, _parameter: click.Parameter, page: Path | None
) -> Path | None:
    """Refuse a page that cannot be written, before any store is asked."""
    if page is None:
        return None
    if str(page) == "-":
        raise click.BadParameter(
            "the page goes into a file: write a file's name; --json prints for programs."
        )
    folder = page.resolve().parent
    if not folder.is_dir():
        raise click.BadParameter(f"there is no folder '{folder}': make it, or write another file.")
    return page


@click.command(short_help="Show which months are there, and what to do next.")
@of_services
@of_months
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print an object with months, totals and what to do next.",
)
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_check_page,
    metavar="FILE",
    help="Also write a web page into this file, which needs no other, and replace one that is "
    "there.",
)
def status(
    services: tuple["Service", ...],
    first: Month | None,
    last: Month | None,
    as_json: bool,
    page: Path | None,
) -> None:
    """Show which months are as loaded, and which are not, and what to do next.

    A month does not add up, was rewritten by TLC since, failed, is being run, is missing, or is
    not published yet. Asks the stores that the environment names for what they noted, and Dagster
    (DAGSTER_HOME) for its runs: `taxi local taxi status` those of the embedded stack. Counts no
    row again, as `taxi ledger` does.

    Exits with 1 if a month failed or does not add up, or a store could not be asked, or if no
    month was chosen; with 0 if months are missing, too.

    \b
    taxi status --service yellow --from 2020-01
    taxi status --html status.html
    """  # noqa: D301 - click's \\b must be the character
    ensure_order(first, last)
    with errors_shown():
        from taxi_pipeline import settings
        from taxi_pipeline.status import read_status
        from taxi_pipeline.status.view import show, to_json
        from taxi_pipeline.tlc.services import SERVICES

        stores = settings.load_resources()
        chosen = [service for service in SERVICES.values() if not services or service in services]
        current = read_status(stores.lake, stores.sinks.values(), _facts(), chosen, first, last)
        if as_json:
            click.echo(to_json(current))
        elif current.months:
            show(current)
        if not current.months:
            say(_no_month(chosen, current))
        elif page:
            _write_page(current, page)
    if not current.months or not current.is_good:
        sys.exit(1)


def _no_month(services: "Sequence[Service]", current: "Status") -> str:
    months = ", ".join(f"{service.name} begins with {service.first_month}" for service in services)
    last = f"the last that is shown is {current.as_of.year}-12"
    return f"No month was chosen: {months}, and {last}. Write other months in --from and --to."


def _write_page(current: "Status", path: Path) -> None:
    from taxi_pipeline.export import write_document
    from taxi_pipeline.status.page import to_html

    write_document(to_html(current), path)
    say(f"The page is in {path}.")


def _facts() -> "Facts":
    """Return what Dagster knows; nothing, and why, where it has no instance or cannot be asked."""
    import dagster as dg
    from dagster_postgres.utils import DagsterPostgresException
    from sqlalchemy.exc import SQLAlchemyError
    from yaml import YAMLError

    from taxi_pipeline import settings
    from taxi_pipeline.errors import PermanentError
    from taxi_pipeline.io.classification import message_of
    from taxi_pipeline.status import Facts

    unknown = "Dagster was not asked which months failed or are being run, nor which were rewritten"
    try:
        with settings.dagster_instance() as instance:
            from taxi_pipeline.automation.facts import read_facts
            from taxi_pipeline.definitions import defs

            return read_facts(instance, defs.get_repository_def().get_all_jobs())
    except PermanentError as error:
        return Facts(unknown=(f"{unknown}: {error}",))
    except YAMLError as error:
        # its own words may quote the file, and a password in it
        mark = getattr(error, "problem_mark", None)
        where = f": see line {mark.line + 1}" if mark else ""
        return Facts(unknown=(f"{unknown}: DAGSTER_HOME's dagster.yaml is no YAML{where}.",))
    except (dg.DagsterError, OSError) as error:
        return Facts(unknown=(f"{unknown}: {message_of(error)}",))
    except (DagsterPostgresException, SQLAlchemyError) as error:
        words = message_of(error).partition(" (Background on")[0]
        return Facts(unknown=(f"{unknown}: its storage cannot be read: {words}",))
