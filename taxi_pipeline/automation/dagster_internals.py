"""What we take from Dagster that is not in its public names, each with the reason.

`dagster==1.13.27` is pinned, so no release of Dagster's changes these unseen. The module takes a
tenth of a second to import, so it is imported where something of it is needed.
"""

# A backfill that has ended: Dagster has sensors of runs, and none of backfills.
# A job of all assets, which Dagster adds to each code location, is none of ours.
from dagster._core.definitions.assets.job.asset_job import is_reserved_asset_job_name

# What `dg.define_asset_job` returns, for the annotations of what is given a job.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# Why a run or a step failed: the event log has it in these types.
from dagster._core.events import JobFailureData
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
    PartitionBackfill,
)
from dagster._core.execution.plan.objects import StepFailureData, UserFailureData

# Tags that Dagster sets on runs.
from dagster._core.storage.tags import BACKFILL_ID_TAG, PARTITION_NAME_TAG, WILL_RETRY_TAG

__all__ = [
    "BACKFILL_ID_TAG",
    "BULK_ACTION_TERMINAL_STATUSES",
    "PARTITION_NAME_TAG",
    "WILL_RETRY_TAG",
    "BulkActionStatus",
    "BulkActionsFilter",
    "JobFailureData",
    "PartitionBackfill",
    "StepFailureData",
    "UnresolvedAssetJobDefinition",
    "UserFailureData",
    "is_reserved_asset_job_name",
]
