"""What the verbs print beside their results: progress, and errors in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from taxi_pipeline.errors import PermanentError, TransientError


def say(sentence: str) -> None:
    """Print a sentence on the standard error."""
    click.echo(sentence, err=True)


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show our own errors as one sentence; all others are faults and keep their traceback."""
    try:
        yield
    except (PermanentError, TransientError) as error:
        raise click.ClickException(str(error)) from error
