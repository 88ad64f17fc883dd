"""The verb `taxi demo`: a few months through the real jobs."""

import click

from taxi_pipeline.cli.ledger import show_ledger
from taxi_pipeline.cli.output import errors_shown, say


@click.command()
def demo() -> None:
    """Materialize a few months of all four services and the zones, and show the ledger.

    Runs where the environment points: `taxi local taxi demo` in the embedded stack.
    """
    from taxi_pipeline.demo import materialize

    with errors_shown():
        materialize(say)
        show_ledger()
