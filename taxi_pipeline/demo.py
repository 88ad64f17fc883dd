"""The demo: a few months through the real jobs, for a newcomer to watch.

What it runs and what it says belong here; the ledger that follows is the command line's.
"""

from collections.abc import Callable
from time import monotonic

import dagster as dg

from taxi_pipeline import settings
from taxi_pipeline.definitions import defs
from taxi_pipeline.errors import PermanentError

RUNS = (
    ("taxi_zones", None),
    ("taxi_zone_shapes", None),
    ("yellow_trips", "2021-01"),
    ("yellow_trips", "2021-02"),
    ("green_trips", "2021-01"),
    ("green_trips", "2021-02"),
    ("fhv_trips", "2025-01"),
    ("fhvhv_trips", "2025-01"),
    ("daily_trips", "2021-01"),
    ("daily_trips", "2021-02"),
    ("monthly_zone_revenue", "2021-01"),
    ("trips", None),
)
_QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}


def materialize(say: Callable[[str], None]) -> None:
    """Run the jobs of the demo; raise `PermanentError` if one fails. `say` gets the progress."""
    settings.load_resources()  # or it names what is not set
    with dg.DagsterInstance.get() as instance:
        for number, (job, month) in enumerate(RUNS, start=1):
            what = f"{job} {month}" if month else job
            say(f"[{number}/{len(RUNS)}] Materializing {what} …")
            began = monotonic()
            result = defs.resolve_job_def(job).execute_in_process(
                run_config=_QUIET, partition_key=month, instance=instance, raise_on_error=False
            )
            if not result.success:
                raise PermanentError(f"{what} failed; the errors above say why.")
            steps = ", ".join(
                event.asset_key.to_user_string()
                for event in result.get_asset_materialization_events()
                if event.asset_key
            )
            say(f"      {steps} in {monotonic() - began:.1f} s")
