"""The verb `taxi retry-failed`: the failed months, again."""

from typing import TYPE_CHECKING

import click

from taxi_pipeline.cli.options import of_services
from taxi_pipeline.cli.output import errors_shown

if TYPE_CHECKING:
    from taxi_pipeline.tlc.services import Service


@click.command()
@of_services
@click.option("--dry-run", is_flag=True, help="Say what would run, and launch nothing.")
def retry_failed(services: tuple["Service", ...], dry_run: bool) -> None:
    """Run the failed months again.

    What has failed is what Dagster's UI shows as failed, as its memory in DAGSTER_HOME has it; a
    month that is being run again already is left alone. The runs go into Dagster's queue, through
    the webserver at TAXI_DAGSTER_API_URL (not set: at TAXI_DAGSTER_URL). They make all of a month's
    assets again, but do not fetch a published file that lies in the lake.

    \b
    taxi local taxi retry-failed --dry-run
    taxi retry-failed --service green
    """  # noqa: D301 - click's \\b must be the character
    with errors_shown():
        from taxi_pipeline.automation.failures import failed_partitions, run_again
        from taxi_pipeline.definitions import defs
        from taxi_pipeline.settings import dagster_api_url, dagster_instance, dagster_url

        names = {service.trips.name for service in services}
        jobs = defs.get_repository_def().get_all_jobs()
        with dagster_instance() as instance:
            chosen = [job for job in jobs if not names or job.name in names]
            failed = failed_partitions(instance, chosen)
        if not failed:
            click.echo("No month has failed.")
        for partition in failed:
            if dry_run:
                assets = ", ".join(asset.to_user_string() for asset in partition.assets)
                click.echo(f"{partition}: would run {assets}")
            else:
                page, run = dagster_url(), run_again(partition, dagster_api_url())
                click.echo(f"{partition}: {page}/runs/{run}")
