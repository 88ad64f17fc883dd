"""The verbs `taxi export …`: documents for other tools."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taxi_pipeline.cli.output import errors_shown, say
from taxi_pipeline.tlc.text import printable

if TYPE_CHECKING:
    from taxi_pipeline.sink import Sink


def _sink(name: str) -> "type[Sink]":
    from taxi_pipeline.resources import SINKS

    sinks = {sink.name: sink for sink in SINKS}
    if name not in sinks:
        raise click.BadParameter(
            f"'{printable(name, 40)}' is not a store: write one of {', '.join(sinks)}."
        )
    return sinks[name]


def _complete_store(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from taxi_pipeline.resources import SINKS

    return [sink.name for sink in SINKS if sink.name.startswith(incomplete)]


_of_store = click.option(
    "--store",
    "sink",
    type=_sink,
    shell_complete=_complete_store,
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


@click.group(short_help="Write dbt's sources, or a data contract.")
def export() -> None:
    """Write what is declared for other tools: dbt's sources, a data contract.

    Asks no server, and needs no setting.

    \b
    taxi export dbt --store postgres --output models/sources.yml
    taxi export odcs --store bigquery --output taxi.odcs.yaml
    """  # noqa: D301 - click's \\b must be the character


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
    with errors_shown():
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
    with errors_shown():
        from taxi_pipeline.export import data_contract

        place = _place(sink)
        if not place:
            say(f"The contract names no server: the variables of {sink.title} are not set.")
        _write(data_contract(sink, place), output)


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
