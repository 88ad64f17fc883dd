"""What the verbs' options take: services, months. A wrong one is refused by its name.

A shell completes them by `complete_service` and `complete_month`.
"""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

import click

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.text import printable

if TYPE_CHECKING:
    from taxi_pipeline.tlc.services import Service


def parse_service(name: str) -> "Service":
    """Return a service by its name."""
    from taxi_pipeline.tlc.services import SERVICES

    if name not in SERVICES:
        raise click.BadParameter(
            f"'{printable(name, 40)}' is not a service: write one of {', '.join(SERVICES)}."
        )
    return SERVICES[name]


def parse_month(key: str) -> Month:
    """Return a month by its key."""
    try:
        return Month.parse(key)
    except PermanentError as error:
        raise click.BadParameter(str(error)) from error


def complete_service(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the services that begin so."""
    from taxi_pipeline.tlc.services import SERVICES

    return [name for name in SERVICES if name.startswith(incomplete)]


def complete_month(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the months that begin so, newest first, of the services that are chosen or of all."""
    from taxi_pipeline.tlc.services import SERVICES

    services = context.params.get("services") or SERVICES.values()
    first = min(service.first_month for service in services)
    month = Month.newest_published(date.today())  # noqa: DTZ011 - a day more or less is no matter
    months = []
    while month >= first:
        months.append(month.key)
        month = month.previous
    return [key for key in months if key.startswith(incomplete)]


of_services = click.option(
    "--service",
    "services",
    type=parse_service,
    shell_complete=complete_service,
    metavar="SERVICE",
    multiple=True,
    help="Only this service, such as yellow. Can be repeated.",
)
_from_month = click.option(
    "--from",
    "first",
    type=parse_month,
    shell_complete=complete_month,
    metavar="MONTH",
    help="Only from this month on.",
)
_to_month = click.option(
    "--to",
    "last",
    type=parse_month,
    shell_complete=complete_month,
    metavar="MONTH",
    help="Only up to this month.",
)


def of_months[F: Callable[..., object]](command: F) -> F:
    """Give a command the options --from and --to, as `first` and `last`."""
    return _from_month(_to_month(command))


def ensure_order(first: Month | None, last: Month | None) -> None:
    """Raise `UsageError` where --from is after --to."""
    if first and last and last < first:
        raise click.UsageError(
            f"--from {first} is after --to {last}: write the earlier month in --from."
        )
