"""What we take from Dagster that is not in its public names, each with the reason.

`dagster==1.13.27` is pinned, so no release of Dagster's changes these unseen. Besides, the sensors
call methods of `DagsterInstance` that its documentation does not list: `get_backfills`,
`all_instigator_state`, `get_ticks` and `get_daemon_statuses`. GraphQL says the same, but by the
webserver, and who is to be told that a part of Dagster is down must not need another part.
"""

from typing import TYPE_CHECKING

import dagster as dg

# A job of all assets, which Dagster adds to each code location, is none of ours.
from dagster._core.definitions.assets.job.asset_job import is_reserved_asset_job_name

if TYPE_CHECKING:
    # What `dg.define_asset_job` returns, for the annotations of what is given a job.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

    # What `get_backfills` returns: Dagster has sensors of runs, and none of backfills.
    from dagster._core.execution.backfill import PartitionBackfill

    # What `all_instigator_state` and `get_ticks` return: since when a schedule or sensor runs, and
    # how its ticks have ended.
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick

__all__ = [
    "InstigatorState",
    "InstigatorTick",
    "PartitionBackfill",
    "UnresolvedAssetJobDefinition",
    "cursor_of_retries",
    "is_reserved_asset_job_name",
]


def cursor_of_retries(instance: dg.DagsterInstance) -> int | None:
    """Return the storage id of the last failure that Dagster's daemon has read, to run it again.

    None where it has never read any, as where no daemon has run yet, or `run_retries` is off.
    """
    from dagster._daemon.auto_run_reexecution.event_log_consumer import _create_cursor_key

    key = _create_cursor_key(dg.DagsterEventType.RUN_FAILURE)
    cursor = instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
    return int(cursor) if cursor else None
