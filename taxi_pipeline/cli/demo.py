"""The verb `taxi demo`: a few months through the real jobs."""

import click

from taxi_pipeline.cli.ledger import show_ledger
from taxi_pipeline.cli.output import errors_shown, say


@click.command(short_help="Run a few months, and show the ledger.")
def demo() -> None:
    """Materialize a few months of all four services and the zones, and show the ledger.

    Runs where the environment points: `taxi local taxi demo` in the embedded stack. Where the
    publisher is TLC, it first says how large the months are, and takes none of fhvhv.

    Exits with 1 if a run fails, or the ledger does not add up.

    \b
    taxi local taxi demo
    taxi local --publisher tlc taxi demo
    """  # noqa: D301 - click's \\b must be the character
    from taxi_pipeline.demo import materialize

    with errors_shown():
        materialize(say)
        show_ledger()
