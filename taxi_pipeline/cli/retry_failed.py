"""The verb `taxi retry-failed`: the failed months, again."""

import json
from typing import TYPE_CHECKING, Any

import click

from taxi_pipeline.cli.options import of_services
from taxi_pipeline.cli.output import errors_shown

if TYPE_CHECKING:
    from taxi_pipeline.automation.failures import FailedPartition
    from taxi_pipeline.tlc.services import Service


@click.command()
@of_services
@click.option("--dry-run", is_flag=True, help="Say what would run, and launch nothing.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print a list with one object per failed month."
)
def retry_failed(services: tuple["Service", ...], dry_run: bool, as_json: bool) -> None:
    """Run the failed months again.

    What has failed is what Dagster's UI shows as failed, as its memory in DAGSTER_HOME has it; a
    month that is being run again already is left alone. The runs go into Dagster's queue, through
    the webserver at TAXI_DAGSTER_API_URL (not set: at TAXI_DAGSTER_URL). They make all of a month's
    assets again, but do not fetch a published file that lies in the lake.

    \b
    taxi local taxi retry-failed --dry-run
    taxi retry-failed --service green
    taxi retry-failed --json
    """  # noqa: D301 - click's \\b must be the character
    with errors_shown():
        from taxi_pipeline.automation.failures import failed_partitions
        from taxi_pipeline.definitions import defs
        from taxi_pipeline.settings import dagster_instance

        names = {service.trips.name for service in services}
        jobs = defs.get_repository_def().get_all_jobs()
        with dagster_instance() as instance:
            chosen = [job for job in jobs if not names or job.name in names]
            failed = failed_partitions(instance, chosen)
        retried = []
        try:
            for partition in failed:
                entry = _describe(partition) if dry_run else _launch(partition)
                retried.append(entry)
                if not as_json:
                    then = entry["url"] or f"would run {', '.join(entry['assets'])}"
                    click.echo(f"{partition}: {then}")
        finally:
            # what was launched before one was not is said, too
            if as_json:
                click.echo(json.dumps(retried, indent=2))
        if not (failed or as_json):
            click.echo("No month has failed.")


def _describe(
    partition: "FailedPartition", run: str | None = None, url: str | None = None
) -> dict[str, Any]:
    return {
        "job": partition.job,
        "month": partition.key,
        "assets": [asset.to_user_string() for asset in partition.assets],
        "run": run,
        "url": url,
    }


def _launch(partition: "FailedPartition") -> dict[str, Any]:
    from taxi_pipeline.automation.failures import run_again
    from taxi_pipeline.settings import dagster_api_url, dagster_url

    page, run = dagster_url(), run_again(partition, dagster_api_url())
    return _describe(partition, run, f"{page}/runs/{run}")
