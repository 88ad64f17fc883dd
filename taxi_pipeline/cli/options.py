"""What the verbs' options take: services, months. A wrong one is refused by its name."""

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


of_services = click.option(
    "--service",
    "services",
    type=parse_service,
    metavar="SERVICE",
    multiple=True,
    help="Only this service, such as yellow. Can be repeated.",
)
