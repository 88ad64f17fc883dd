"""Whether the settings are complete and well-formed, each of them by itself.

What a setting must be like is said where it is read; which reader that is, is said here.
"""

import os
from collections.abc import Callable, Mapping
from functools import cache

from taxi_pipeline import settings
from taxi_pipeline.doctor.context import Context
from taxi_pipeline.doctor.finding import Finding, failed, ok
from taxi_pipeline.errors import PermanentError
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.gcs import check_bucket_name
from taxi_pipeline.resources.heartbeat import Heartbeat
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.resources.publisher.urls import check_file_url, url_templates


def check_settings(_: Context) -> Finding:
    """Check that every required setting is there, and that none is malformed."""
    fields = settings.variables()
    missing = [name for name in fields if fields[name].is_required() and not os.environ.get(name)]
    texts = (problem_of(name) for name in _names() if name not in missing)
    problems = list(dict.fromkeys(filter(None, texts)))  # one setting may be another's default
    if missing:
        names = ", ".join(sorted(missing))
        problem = (
            f"{names}: not set. Set what .env.example shows, or run it inside the embedded stack"
        )
        problems.insert(0, f"{problem}: taxi local taxi doctor.")
    if problems:
        return failed(" ".join(problems), blocking=False, problems=problems)
    count = sum(bool(os.environ.get(name)) for name in _names())
    return ok(f"{count} are set, the others have their defaults")


def problem_of(variable: str) -> str | None:
    """Return what is wrong with a setting, as a sentence; None for nothing."""
    try:
        _read(variable)
    except PermanentError as error:
        return str(error)
    return None


def _read(variable: str) -> None:
    """Raise `PermanentError` where a setting is missing or malformed."""
    if variable in _OWN:
        _OWN[variable]()
        return
    text, field = os.environ.get(variable), settings.variables()[variable]
    if not text and field.is_required():
        raise PermanentError(f"{variable}: not set.")
    if text and field.annotation is str:
        _TEXTS[variable](text)
    elif text:
        settings.read_number(variable, field)


def _check_schedule() -> None:
    import dagster as dg

    cron = settings.schedule_cron()
    try:
        dg.ScheduleDefinition(job_name="any", cron_schedule=cron)
    except dg.DagsterInvalidDefinitionError:
        raise PermanentError(
            f"TAXI_SCHEDULE: '{cron}' is not cron: write five fields, such as 0 6 25 * * for 6:00 "
            "on the 25th."
        ) from None


# Of the settings that are no resource's.
_OWN: Mapping[str, Callable[[], object]] = {
    "OPENLINEAGE_URL": settings.lineage_url,
    "TAXI_AUTOMATION": settings.automation_is_on,
    "TAXI_CHECK_DEPTH": settings.check_depth,
    "TAXI_DAGSTER_API_URL": settings.dagster_api_url,
    "TAXI_DAGSTER_URL": settings.dagster_url,
    "TAXI_FEWER_ROWS_SHARE": settings.fewer_rows_share,
    "TAXI_HEARTBEAT_EVERY_SECONDS": settings.heartbeat_every_seconds,
    "TAXI_PUBLISHED_EVERY_SECONDS": settings.published_every_seconds,
    "TAXI_RECOUNT_DAYS": settings.recount_days,
    "TAXI_REJECTED_SHARE": settings.rejected_share,
    "TAXI_RETRIES": settings.retries,
    "TAXI_RETRY_SECONDS": settings.retry_seconds,
    "TAXI_SCHEDULE": _check_schedule,
}

# Of the resources' texts; their other fields are numbers.
_TEXTS: Mapping[str, Callable[[str], object]] = {
    "TAXI_BUCKET": check_bucket_name,
    "TAXI_DATASET": lambda text: BigQuery(project="project", dataset=text).place(),
    "TAXI_GCP_PROJECT": lambda text: BigQuery(project=text).place(),
    "TAXI_HEARTBEAT_URL": lambda text: Heartbeat(url=text).check(),
    "TAXI_NOTIFY_URL": lambda text: Notifier(url=text).services(),
    "TAXI_POSTGRES_URL": lambda text: Postgres(url=text).place(),
    "TAXI_PUBLISHER_URLS": url_templates,
    "TAXI_ZONES_URL": lambda text: check_file_url(text, "TAXI_ZONES_URL"),
    "TAXI_ZONE_SHAPES_URL": lambda text: check_file_url(text, "TAXI_ZONE_SHAPES_URL"),
}


@cache
def _names() -> list[str]:
    return sorted({*settings.variables(), *_OWN})
