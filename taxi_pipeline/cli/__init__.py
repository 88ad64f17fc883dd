"""The command line, `taxi`: words for people, and the calls that do the work, a module a verb.

Thin: what a verb does lives in the room it calls, which is imported when the verb runs, so that
`--help` answers at once.
"""

import os
import signal
import sys
from typing import Any

import click

from taxi_pipeline.cli.backfill import backfill
from taxi_pipeline.cli.demo import demo
from taxi_pipeline.cli.doctor import doctor
from taxi_pipeline.cli.export import export
from taxi_pipeline.cli.ledger import ledger
from taxi_pipeline.cli.local import local
from taxi_pipeline.cli.output import say
from taxi_pipeline.cli.retry_failed import retry_failed
from taxi_pipeline.cli.status import status


class _Taxi(click.Group):
    """The verbs, in the order of the list below: that in which people need them.

    Where the standard output takes no more, one sentence says so.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs as they were declared, and not by the alphabet."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; after Ctrl-C the exit code is a shell's."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("Interrupted.")
            ctx.exit(128 + signal.SIGINT)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line as click does, which itself ends quietly when a pipe closes."""
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if _stdout_works():
                raise
            # else what is left in the buffer would fail once more as Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            say(f"Error: The standard output cannot be written: {error.strerror}.")
            sys.exit(1)


def _stdout_works() -> bool:
    try:
        click.echo()
    except OSError:
        return False
    return True


@click.group(
    cls=_Taxi,
    commands=[local, demo, doctor, status, ledger, backfill, retry_failed, export],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="taxi-pipeline")
def main() -> None:
    """NYC's taxi trips, month by month, in a GCS lake, BigQuery and PostgreSQL.

    Dagster runs the work: `taxi local dagster dev` opens its UI on an embedded stack that needs
    nothing but Python. In production the same variables point at the real systems.

    \b
    taxi local taxi demo
    taxi local taxi ledger --service green
    taxi doctor
    """  # noqa: D301 - click's \\b must be the character
