"""The command line, `taxi`: words for people, and the calls that do the work.

Thin: what a verb does lives in the room it calls, which is imported when the verb runs, so that
`--help` answers at once.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Never

import click

from taxi_pipeline.errors import PermanentError, TransientError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="taxi-pipeline")
def main() -> None:
    """NYC's taxi trips, month by month, in a GCS lake, BigQuery and PostgreSQL.

    Dagster runs the work: `taxi local dagster dev` opens its UI on an embedded stack that needs
    nothing but Python. In production the same variables point at the real systems.
    """


@main.command(
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
    "trip-data/SERVICE_tripdata_MONTH.parquet, releases/SERVICE/SERVICE_tripdata_MONTH.csv.gz "
    "and misc/taxi_zone_lookup.csv.",
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
    from taxi_pipeline.local.command import run
    from taxi_pipeline.local.stack import Settings, running

    # an end by signal must stop the servers too; nohup's wish to ignore one is kept
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit_by_signal)
    with (
        _errors_shown(),
        running(data_dir, Settings(publisher, 0 if publisher else rows), _progress) as environment,
    ):
        code = run(command, environment)
    sys.exit(code)


@main.command()
def ledger() -> None:
    """Count each month's rows in every store, and see whether they add up.

    Reads the stores that the environment names: `taxi local taxi ledger` those of the embedded
    stack. Exits with 1 if a month does not add up.
    """
    with _errors_shown():
        _show_ledger()


@main.command()
def demo() -> None:
    """Materialize two months of yellow and green and the taxi zones, and show the ledger.

    Runs where the environment points: `taxi local taxi demo` in the embedded stack.
    """
    from taxi_pipeline.demo import materialize

    with _errors_shown():
        materialize(_progress)
        _show_ledger()


def _show_ledger() -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from taxi_pipeline.ledger import read_ledger
    from taxi_pipeline.resources import environment
    from taxi_pipeline.tlc.services import SERVICES

    table = Table("service", "month", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("published", "kept", "rejected", "BigQuery", "Postgres"):
        table.add_column(name, justify="right")
    table.add_column("adds up")
    stores = environment.ready()
    entries = [entry for service in SERVICES.values() for entry in read_ledger(service, stores)]
    if not entries:
        _progress("There is no month yet in any store.")
        return
    for entry in entries:
        lake = entry.lake
        numbers = (
            lake.published,
            lake.kept and lake.kept.rows,
            None if lake.rejected is None else lake.rejected.total(),
            entry.bigquery and entry.bigquery.rows,
            entry.postgres and entry.postgres.rows,
        )
        shown = ("-" if number is None else f"{number:,}" for number in numbers)
        verdict = "yes" if entry.adds_up else "[bold red]NO[/]"
        table.add_row(entry.service, entry.month.key, *shown, verdict)
    Console().print(table)
    if not all(entry.adds_up for entry in entries):
        sys.exit(1)


def _progress(sentence: str) -> None:
    click.echo(sentence, err=True)


def _exit_by_signal(number: int, _: FrameType | None) -> Never:
    sys.exit(128 + number)


@contextmanager
def _errors_shown() -> Iterator[None]:
    """Show our own errors as one sentence; all others are faults and keep their traceback."""
    try:
        yield
    except (PermanentError, TransientError) as error:
        raise click.ClickException(str(error)) from error
