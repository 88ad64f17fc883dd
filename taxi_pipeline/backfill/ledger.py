"""The ledger of the months that backfills have loaded. How it is shown is the ledger's own."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from taxi_pipeline.backfill.launch import Launched
from taxi_pipeline.backfill.months import months_between, spans
from taxi_pipeline.ledger import Entry, read_ledger
from taxi_pipeline.settings import Resources
from taxi_pipeline.tlc.month import Month

_DENSE = 3  # months of a range for each that is wanted, up to which the range is read at once


def read_loaded(launched: Iterable[Launched], stores: Resources) -> list[Entry]:
    """Return the entries of the backfills' months, without the marts.

    A mart's month is computed anew by itself, some time after its tables.

    Args:
        launched: The backfills.
        stores: All stores.

    Raises:
        PermanentError: A store cannot be asked, and asking again cannot change that.
        TransientError: A store is away.
    """
    return [
        replace(entry, marts={})
        for one in launched
        for first, last in _ranges(one.months)
        for entry in read_ledger(one.service, stores, first, last)
        if entry.month in one.months
    ]


def _ranges(months: Sequence[Month]) -> list[tuple[Month, Month]]:
    """Return the ranges to read: one where the months lie close together, else each span.

    Each range asks all stores once, and each month counts its files.
    """
    if not months:
        return []
    first, last = months[0], months[-1]
    if len(months_between(first, last)) <= _DENSE * len(months):
        return [(first, last)]
    return [*spans(months)]
