"""The verb `taxi local`: a command inside the embedded stack."""

import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import click

from taxi_pipeline.cli.output import errors_shown, say
from taxi_pipeline.cli.signals import exit_by_signal
from taxi_pipeline.tlc.addresses import TLC


class _Publisher(click.Path):
    """A folder, or the word for TLC itself."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the word, or the folder's absolute path."""
        return value if value == TLC else super().convert(value, param, ctx)


@click.command(
    name="local",
    short_help="Run a command inside the embedded stack.",
    context_settings={"allow_interspersed_args": False},
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where the servers keep their data and logs.  [default: .taxi, and .taxi-tlc with "
    "--publisher tlc]",
)
@click.option(
    "--publisher",
    type=_Publisher(exists=True, file_okay=False, resolve_path=True),
    metavar="tlc|FOLDER",
    help="Where published files come from, if they are not to be generated. tlc: from TLC and the "
    "mirror of its CSVs, over the internet (a folder of this name is ./tlc). FOLDER: it holds "
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
@click.pass_context
def local(
    context: click.Context,
    data_dir: Path | None,
    publisher: str | None,
    rows: int,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND inside the embedded stack: PostgreSQL, GCS, BigQuery and a publisher.

    The servers listen on free ports of 127.0.0.1; COMMAND finds them by environment variables,
    and its exit code is ours. A second call with the same folder joins the running stack; the
    last to leave stops it, and the data stays. A folder keeps the months of one sort of publisher.

    \b
    taxi local dagster dev -w workspace.yaml
    taxi local dagster job execute -m taxi_pipeline.definitions -j yellow_trips \\
        --tags '{"dagster/partition": "2021-01"}'
    taxi local taxi ledger
    taxi local --publisher tlc dagster dev -w workspace.yaml
    taxi local bash
    """  # noqa: D301 - click's \\b must be the character
    try:
        from taxi_pipeline.local.command import run, search_path
        from taxi_pipeline.local.stack import PublisherOptions, running
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"The embedded stack is not installed here ({error.name} is missing): pip install "
            "'taxi-pipeline[local]'."
        ) from error

    word, taxi = command[0], context.find_root().command
    is_verb = isinstance(taxi, click.Group) and word in taxi.commands
    if is_verb and not shutil.which(word, path=search_path()):
        raise click.UsageError(f"'{word}' is a verb of taxi: write taxi local taxi {word}.")
    folder = data_dir or Path(".taxi-tlc" if publisher == TLC else ".taxi")

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
        running(folder, PublisherOptions(publisher, 0 if publisher else rows), say) as environment,
    ):
        code = run(command, environment)
    sys.exit(code)
