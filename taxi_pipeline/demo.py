"""The demo: a few months through the real jobs, for a newcomer to watch.

What it runs and what it says belong here; the ledger that follows is the command line's.
"""

from collections.abc import Callable, Sequence
from time import monotonic

import dagster as dg

from taxi_pipeline import settings
from taxi_pipeline.definitions import defs
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.publisher import Publisher, RemoteFile
from taxi_pipeline.tlc.addresses import ADDRESSES
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES

RUNS: Sequence[tuple[str, str | None]] = (
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
# Where the publisher is TLC. No month of fhvhv: each has 0.3 GB and more.
RUNS_OF_TLC: Sequence[tuple[str, str | None]] = (
    ("taxi_zones", None),
    ("taxi_zone_shapes", None),
    ("green_trips", "2021-01"),
    ("green_trips", "2021-02"),
    ("yellow_trips", "2021-01"),
    ("fhv_trips", "2021-01"),
    ("daily_trips", "2021-01"),
    ("daily_trips", "2021-02"),
    ("monthly_zone_revenue", "2021-01"),
    ("trips", None),
)
_QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}


def materialize(say: Callable[[str], None]) -> None:
    """Run the jobs of the demo; `say` gets the progress.

    Raises:
        PermanentError: A job fails, or TLC does not have a month.
        TransientError: TLC cannot be asked.
    """
    publisher = settings.load_resources().publisher  # or it names what is not set
    runs = RUNS
    if publisher.urls == ADDRESSES["TAXI_PUBLISHER_URLS"]:
        runs = RUNS_OF_TLC
        _announce(publisher, say)
    with dg.DagsterInstance.get() as instance:
        for number, (job, month) in enumerate(runs, start=1):
            what = f"{job} {month}" if month else job
            say(f"[{number}/{len(runs)}] Materializing {what} …")
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


def _announce(publisher: Publisher, say: Callable[[str], None]) -> None:
    """Say what will be fetched from TLC, with its bytes, before anything is."""
    say("Asking TLC and the mirror of its CSVs for the demo's months …")
    trips = {service.trips.name: service for service in SERVICES.values()}
    total = 0
    for job, month in RUNS_OF_TLC:
        if month is None or job not in trips:
            continue
        service = trips[job]
        try:
            remote = publisher.look(service, Month.parse(month))
        except TransientError as error:
            raise TransientError(
                f"TLC's months cannot be fetched from here: {error} Where this machine has no "
                "way into the internet, HTTPS_PROXY may name a proxy; make demo needs neither."
            ) from error
        if not isinstance(remote, RemoteFile):
            raise PermanentError(
                f"{service.name} {month} is not at any of {', '.join(publisher.urls.split(','))}."
            )
        total += remote.size or 0
        size = "of unknown size" if remote.size is None else f"{remote.size / 1e6:,.1f} MB"
        say(f"      {service.name} {month}: {size}, {remote.url}")
    say(f"      {total / 1e6:,.1f} MB in all, to be fetched once")
