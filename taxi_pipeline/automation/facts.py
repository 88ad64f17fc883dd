"""What Dagster's instance knows of the months, for their status.

The sensor `published_months` asks the publisher for every month within a day, so the publisher is
not asked again here: what it answered lies in the sensor's cursor.
"""

from collections.abc import Iterable, Iterator

import dagster as dg

from taxi_pipeline.automation import publisher_sensor
from taxi_pipeline.automation.failures import FailedPartition, failed_partitions
from taxi_pipeline.automation.unfinished import unfinished_partitions
from taxi_pipeline.status.facts import Facts, MonthKey
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES

_NOT_ASKED = (
    "The sensor published_months has not asked the publisher yet: which months were rewritten "
    "since, and which are late, is not known. Turn it on under Automation, or set "
    "TAXI_AUTOMATION=on."
)
_SERVICES = {service.trips.name: service.name for service in SERVICES.values()}


def read_facts(instance: dg.DagsterInstance, jobs: Iterable[dg.JobDefinition]) -> Facts:
    """Return what the instance knows of the months.

    Args:
        instance: Dagster's memory.
        jobs: The jobs of the code location.
    """
    ours = [job for job in jobs if job.name in _SERVICES]
    cursor = _cursor(instance)
    asked = publisher_sensor.Cursor.read(cursor)
    return Facts(
        failed={
            (_SERVICES[failed.job], Month.parse(failed.key)): _sentence(failed)
            for failed in failed_partitions(instance, ours)
        },
        running={
            (_SERVICES[table], Month.parse(key))
            for table, key in unfinished_partitions(instance)
            if table in _SERVICES and Month.is_key(key)
        },
        rewritten={
            month: version for key, version in asked.rewritten.items() for month in _months([key])
        },
        unpublished=set(_months(asked.unpublished)),
        unknown=() if cursor else (_NOT_ASKED,),
    )


def _sentence(failed: FailedPartition) -> str:
    first, *_ = failed.failures  # those after it were not begun, or failed by themselves, too
    return f"Its last run failed in {first.to_user_string()}; the run's page in Dagster says why."


def _cursor(instance: dg.DagsterInstance) -> str | None:
    """Return what the sensor has left to its next tick; None where it has not ticked yet."""
    if instance.schedule_storage is None:  # an instance of one process alone
        return None
    for state in instance.all_instigator_state():
        if state.instigator_name == publisher_sensor.NAME and state.sensor_instigator_data:
            return state.sensor_instigator_data.cursor
    return None


def _months(keys: Iterable[str]) -> Iterator[MonthKey]:
    """Yield the months of keys as the sensor writes them; what is none is left out."""
    for key in keys:
        service, _, month = key.partition("/")
        if service in SERVICES and Month.is_key(month):
            yield service, Month.parse(month)
