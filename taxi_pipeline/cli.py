"""The command line, `taxi`: words for people, and the calls that do the work.

Thin: what a verb does lives in the room it calls, which is imported when the verb runs, so that
`--help` answers at once.
"""

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Never

import click

from taxi_pipeline.doctor.command import doctor
from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.text import printable

if TYPE_CHECKING:
    from taxi_pipeline.sink import Sink
    from taxi_pipeline.tlc.services import Service


class _Taxi(click.Group):
    """The commands; where the standard output takes no more, one sentence says so."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line as click does, which itself ends quietly when a pipe closes."""
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if _stdout_works():
                raise
            # else what is left in the buffer would fail once more as Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            _progress(f"Error: The standard output cannot be written: {error.strerror}.")
            sys.exit(1)


@click.group(cls=_Taxi, commands=[doctor], context_settings={"help_option_names": ["-h", "--help"]})
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
    from taxi_pipeline.local.command import run
    from taxi_pipeline.local.stack import PublisherOptions, running

    # A shell ignores these two in what a script puts into the background, and what is ignored is
    # inherited: `dagster dev` could not end its processes. What is caught is not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, _exit_by_signal)
    # an end by signal must stop the servers too; nohup's wish to ignore one is kept
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit_by_signal)
    with (
        _errors_shown(),
        running(
            data_dir, PublisherOptions(publisher, 0 if publisher else rows), _progress
        ) as environment,
    ):
        code = run(command, environment)
    sys.exit(code)


def _service(name: str) -> "Service":
    from taxi_pipeline.tlc.services import SERVICES

    if name not in SERVICES:
        raise click.BadParameter(
            f"'{printable(name, 40)}' is not a service: write one of {', '.join(SERVICES)}."
        )
    return SERVICES[name]


def _month(key: str) -> Month:
    try:
        return Month.parse(key)
    except PermanentError as error:
        raise click.BadParameter(str(error)) from error


_of_services = click.option(
    "--service",
    "services",
    type=_service,
    metavar="SERVICE",
    multiple=True,
    help="Only this service, such as yellow. Can be repeated.",
)


@main.command()
@_of_services
@click.option("--month", type=_month, metavar="MONTH", help="Only this month, such as 2021-01.")
@click.option("--from", "first", type=_month, metavar="MONTH", help="Only from this month on.")
@click.option("--to", "last", type=_month, metavar="MONTH", help="Only up to this month.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print a list with one object per service and month, "
    "and one each for the taxi zones and their shapes, whose month is null.",
)
@click.option(
    "--recount",
    is_flag=True,
    help="Read the files in the lake again too: count the published rows, and compare every cell "
    "of the trips in all stores. Takes as long as downloading the files.",
)
@click.option(
    "--columns",
    is_flag=True,
    help="Compare every column, and show its figures: nulls, sums, first and last times, codes.",
)
def ledger(
    services: tuple["Service", ...],
    month: Month | None,
    first: Month | None,
    last: Month | None,
    as_json: bool,
    recount: bool,
    columns: bool,
) -> None:
    """Count each month's rows and dollars in every store, and see whether they add up.

    Reads the stores that the environment names: `taxi local taxi ledger` those of the embedded
    stack. All months that any store has are shown, and the taxi zones and their shapes, unless
    options choose among the months; below it stands what does not add up (by --json, on stderr).

    Exits with 1 if a line does not add up, or if no store has anything of a service or of the
    months that were asked for.

    \b
    taxi ledger --service yellow --month 2021-01
    taxi ledger --from 2021-01 --to 2021-12 --json
    """  # noqa: D301 - click's \\b must be the character
    if month and (first or last):
        raise click.UsageError("Write either --month, or --from and --to, but not both.")
    if first and last and last < first:
        raise click.UsageError(
            f"--from {first} is after --to {last}: write the earlier month in --from."
        )
    with _errors_shown():
        _show_ledger(services, month or first, month or last, as_json, recount, columns)


@main.command()
@_of_services
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
    with _errors_shown():
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


def _sink(name: str) -> "type[Sink]":
    from taxi_pipeline.resources import SINKS

    sinks = {sink.name: sink for sink in SINKS}
    if name not in sinks:
        raise click.BadParameter(
            f"'{printable(name, 40)}' is not a store: write one of {', '.join(sinks)}."
        )
    return sinks[name]


_of_store = click.option(
    "--store",
    "sink",
    type=_sink,
    metavar="STORE",
    required=True,
    help="The store that has the tables: bigquery or postgres.",
)
_to_file = click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Write into this file, and replace one that is there, not to the standard output.",
)


@main.group()
def export() -> None:
    """Write what is declared for other tools: dbt's sources, a data contract.

    Asks no server, and needs no setting.
    """


@export.command(name="dbt")
@_of_store
@_to_file
def export_dbt(sink: "type[Sink]", output: Path | None) -> None:
    """Write dbt's sources.yml: all tables of a store, with columns, tests and freshness.

    BigQuery's project and dataset are those of TAXI_GCP_PROJECT and TAXI_DATASET; where the first
    is not set, dbt reads both when it runs. PostgreSQL's database is that of dbt's profile.

    \b
    taxi export dbt --store postgres --output models/sources.yml
    """  # noqa: D301 - click's \\b must be the character
    with _errors_shown():
        from taxi_pipeline.export import dbt_sources

        _write(dbt_sources(sink, _place(sink)), output)


@export.command(name="odcs")
@_of_store
@_to_file
def export_odcs(sink: "type[Sink]", output: Path | None) -> None:
    """Write a data contract by the Open Data Contract Standard 3.1, as YAML.

    The server is the one that TAXI_POSTGRES_URL, or TAXI_GCP_PROJECT and TAXI_DATASET, name,
    without user and password; where that is not set, the contract names none.

    \b
    taxi export odcs --store bigquery --output taxi.odcs.yaml
    """  # noqa: D301 - click's \\b must be the character
    with _errors_shown():
        from taxi_pipeline.export import data_contract

        place = _place(sink)
        if not place:
            _progress(f"The contract names no server: the variables of {sink.title} are not set.")
        _write(data_contract(sink, place), output)


@main.command()
def demo() -> None:
    """Materialize a few months of all four services and the zones, and show the ledger.

    Runs where the environment points: `taxi local taxi demo` in the embedded stack.
    """
    from taxi_pipeline.demo import materialize

    with _errors_shown():
        materialize(_progress)
        _show_ledger()


def _show_ledger(
    chosen: Iterable["Service"] = (),
    first: Month | None = None,
    last: Month | None = None,
    as_json: bool = False,
    recount: bool = False,
    columns: bool = False,
) -> None:
    from taxi_pipeline import settings
    from taxi_pipeline.ledger import Depth, read_ledger, read_unpartitioned
    from taxi_pipeline.ledger.view import missing, problems, show, show_columns, to_json
    from taxi_pipeline.tlc.services import SERVICES, UNPARTITIONED

    stores = settings.load_resources()
    services = [service for service in SERVICES.values() if service in chosen]
    depth = Depth.PUBLISHED if recount else Depth.COLUMNS if columns else Depth.ROWS
    entries = [
        entry
        for service in services or SERVICES.values()
        for entry in read_ledger(service, stores, first, last, depth)
    ]
    if not (services or first or last):
        for table in UNPARTITIONED:
            entries += read_unpartitioned(table, stores, depth)
    if as_json:
        click.echo(to_json(entries))
        for sentence in problems(entries):
            _progress(sentence)
    elif entries:
        show(entries)
        if columns:
            show_columns(entries)
    absent = missing(entries, services, first, last)
    for sentence in absent:
        _progress(sentence)
    if not entries and not absent:
        _progress("There is no month yet in any store.")
    if absent or not all(entry.adds_up for entry in entries):
        sys.exit(1)


def _place(sink: "type[Sink]") -> Mapping[str, str | int]:
    """Return where a store's tables lie; nothing where its variables are not set."""
    from taxi_pipeline.settings import find_sink

    store = find_sink(sink)
    return store.place() if store else {}


def _write(document: str, path: Path | None) -> None:
    from taxi_pipeline.export import write_document

    if path and str(path) != "-":
        write_document(document, path)
    else:
        click.echo(document, nl=False)


def _progress(sentence: str) -> None:
    click.echo(sentence, err=True)


def _stdout_works() -> bool:
    try:
        click.echo()
    except OSError:
        return False
    return True


def _exit_by_signal(number: int, _: FrameType | None) -> Never:
    sys.exit(128 + number)


@contextmanager
def _errors_shown() -> Iterator[None]:
    """Show our own errors as one sentence; all others are faults and keep their traceback."""
    try:
        yield
    except (PermanentError, TransientError) as error:
        raise click.ClickException(str(error)) from error
