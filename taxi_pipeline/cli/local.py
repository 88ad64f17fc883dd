"""The verb `taxi local`: a command inside the embedded stack."""

import signal
import sys
from pathlib import Path

import click

from taxi_pipeline.cli.output import errors_shown, say
from taxi_pipeline.cli.signals import exit_by_signal


@click.command(
    name="local",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".taxi"),
    show_default=True,
    help="Where the servers keep their data and logs.",
)
@click.option(
    "--publisher",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="Serve published files from this folder instead of generating them. It holds "
    "trip-data/SERVICE_tripdata_MONTH.parquet, releases/SERVICE/SERVICE_tripdata_MONTH.csv.gz, "
    "misc/taxi_zone_lookup.csv and misc/taxi_zones.zip.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=50_000,
    show_default=True,
    help="Rows in each generated file.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def local(data_dir: Path, publisher: str | None, rows: int, command: tuple[str, ...]) -> None:
    """Run COMMAND inside the embedded stack: PostgreSQL, GCS, BigQuery and a publisher.

    The servers listen on free ports of 127.0.0.1; COMMAND finds them by environment variables,
    and its exit code is ours. A second call with the same folder joins the running stack; the
    last to leave stops it, and the data stays.

    \b
    taxi local dagster dev -w workspace.yaml
    taxi local dagster job execute -m taxi_pipeline.definitions -j yellow_trips \\
        --tags '{"dagster/partition": "2021-01"}'
    taxi local taxi ledger
    taxi local bash
    """  # noqa: D301 - click's \\b must be the character
    try:
        from taxi_pipeline.local.command import run
        from taxi_pipeline.local.stack import PublisherOptions, running
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"The embedded stack is not installed here ({error.name} is missing): pip install "
            "'taxi-pipeline[local]'."
        ) from error

    # A shell ignores these two in what a script puts into the background, and what is ignored is
    # inherited: `dagster dev` could not end its processes. What is caught is not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, exit_by_signal)
    # an end by signal must stop the servers too; nohup's wish to ignore one is kept
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, exit_by_signal)
    with (
        errors_shown(),
        running(
            data_dir, PublisherOptions(publisher, 0 if publisher else rows), say
        ) as environment,
    ):
        code = run(command, environment)
    sys.exit(code)
