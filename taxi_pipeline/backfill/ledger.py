"""The ledger of the months that backfills have loaded. How it is shown is the ledger's own."""

from collections.abc import Iterable
from dataclasses import replace

from taxi_pipeline.backfill.launch import Launched
from taxi_pipeline.backfill.months import spans
from taxi_pipeline.ledger import Entry, read_ledger
from taxi_pipeline.settings import Resources


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
        for first, last in spans(one.months)
        for entry in read_ledger(one.service, stores, first, last)
    ]
