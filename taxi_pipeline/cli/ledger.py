"""The verb `taxi ledger`, and the ledger that `taxi demo` ends with."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from taxi_pipeline.cli.options import (
    complete_month,
    ensure_order,
    of_months,
    of_services,
    parse_month,
)
from taxi_pipeline.cli.output import errors_shown, say
from taxi_pipeline.tlc.month import Month

if TYPE_CHECKING:
    from taxi_pipeline.tlc.services import Service


@click.command(short_help="Count each month in every store.")
@of_services
@click.option(
    "--month",
    type=parse_month,
    shell_complete=complete_month,
    metavar="MONTH",
    help="Only this month, such as 2021-01.",
)
@of_months
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print a list with one object per service and month, "
    "and one each for the taxi zones and their shapes, whose month is null.",
)
@click.option(
    "--recount",
    is_flag=True,
    help="Read the files in the lake again too: count the published rows, and compare every cell "
    "of the trips in all stores. Takes as long as downloading the files.",
)
@click.option(
    "--columns",
    is_flag=True,
    help="Compare every column, and show its figures: nulls, sums, first and last times, codes.",
)
def ledger(
    services: tuple["Service", ...],
    month: Month | None,
    first: Month | None,
    last: Month | None,
    as_json: bool,
    recount: bool,
    columns: bool,
) -> None:
    """Count each month's rows and dollars in every store, and see whether they add up.

    Reads the stores that the environment names: `taxi local taxi ledger` those of the embedded
    stack. All months that any store has are shown, and the taxi zones and their shapes, unless
    options choose among the months; below it stands what does not add up (by --json, on stderr).

    Exits with 1 if a line does not add up, or if no store has anything of a service or of the
    months that were asked for.

    \b
    taxi ledger --service yellow --month 2021-01
    taxi ledger --from 2021-01 --to 2021-12 --json
    """  # noqa: D301 - click's \\b must be the character
    if month and (first or last):
        raise click.UsageError("Write either --month, or --from and --to, but not both.")
    ensure_order(first, last)
    with errors_shown():
        show_ledger(services, month or first, month or last, as_json, recount, columns)


def show_ledger(
    chosen: Iterable["Service"] = (),
    first: Month | None = None,
    last: Month | None = None,
    as_json: bool = False,
    recount: bool = False,
    columns: bool = False,
) -> None:
    """Print the ledger, and exit with 1 if it does not add up; the options are the verb's."""
    from taxi_pipeline import settings
    from taxi_pipeline.ledger import Depth, read_ledger, read_unpartitioned
    from taxi_pipeline.ledger.view import missing, problems, show, show_columns, to_json
    from taxi_pipeline.tlc.services import SERVICES, UNPARTITIONED

    stores = settings.load_resources()
    services = [service for service in SERVICES.values() if service in chosen]
    depth = Depth.PUBLISHED if recount else Depth.COLUMNS if columns else Depth.ROWS
    entries = [
        entry
        for service in services or SERVICES.values()
        for entry in read_ledger(service, stores, first, last, depth)
    ]
    if not (services or first or last):
        for table in UNPARTITIONED:
            entries += read_unpartitioned(table, stores, depth)
    if as_json:
        click.echo(to_json(entries))
        for sentence in problems(entries):
            say(sentence)
    elif entries:
        show(entries)
        if columns:
            show_columns(entries)
    absent = missing(entries, services, first, last)
    for sentence in absent:
        say(sentence)
    if not entries and not absent:
        say("There is no month yet in any store.")
    if absent or not all(entry.adds_up for entry in entries):
        sys.exit(1)
