"""The months that somebody chooses of a service, and how they are written shortly."""

from collections.abc import Iterator, Sequence

from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service


def months_between(first: Month, last: Month) -> list[Month]:
    """Return the months from the first to the last, both included."""
    months = []
    while first <= last:
        months.append(first)
        first = first.next
    return months


def ensure_of_service(service: Service, months: Sequence[Month]) -> None:
    """Raise `PermanentError` where a month is before the service's first, or is not due yet.

    Args:
        service: The service.
        months: The months, in their order.
    """
    partitions = months_of(service)
    newest = Month.parse(partitions.get_last_partition_key() or service.first_month.key)
    wrong = [month for month in months if not service.first_month <= month <= newest]
    if wrong:
        raise PermanentError(
            f"{service.name} has no {as_spans(wrong)}: its months are {service.first_month} to "
            f"{newest}, the newest that TLC should have published by now."
        )


def spans(months: Sequence[Month]) -> Iterator[tuple[Month, Month]]:
    """Yield the first and the last of each row of months without a gap; they are in their order."""
    first = previous = None
    for month in months:
        if first is None or previous is None or month != previous.next:
            if first and previous:
                yield first, previous
            first = month
        previous = month
    if first and previous:
        yield first, previous


def as_spans(months: Sequence[Month]) -> str:
    """Return months as people write them: `2021-01 to 2021-03, 2021-06`."""
    return ", ".join(
        f"{first}" if first == last else f"{first} to {last}" for first, last in spans(months)
    )
