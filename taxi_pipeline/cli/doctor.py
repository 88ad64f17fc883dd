"""The verb `taxi doctor`: words for people. What is checked is imported when it runs."""

import json
import sys

import click

from taxi_pipeline.cli.signals import undone_by_signals


@click.command(short_help="Check all that the platform needs.")
@click.option("--json", "as_json", is_flag=True, help="Print a list with one object per check.")
@click.option(
    "--write",
    is_flag=True,
    help="Also write: an object into the bucket (doctor/…), and a table without rows into the "
    "dataset (taxi_doctor_…); both are deleted again.",
)
@click.option("--notify", is_flag=True, help="Also send a message to TAXI_NOTIFY_URL.")
def doctor(as_json: bool, write: bool, notify: bool) -> None:
    """Check whether all is there that the platform needs: a line a check, ok or what to do.

    Asks the systems that the environment names: `taxi local taxi doctor` those of the embedded
    stack. Writes nothing to them without --write. It takes seconds, and waits for no answer for
    longer than half a minute, for a load job a minute.

    Exits with 1 if a check has failed. What is skipped says why.

    \b
    taxi doctor --write
    docker compose exec code entrypoint.sh taxi doctor
    """  # noqa: D301 - click's \\b must be the character
    from taxi_pipeline.doctor.checks import NOTIFYING, READING, WRITING
    from taxi_pipeline.doctor.context import Context
    from taxi_pipeline.doctor.finding import Status, examine
    from taxi_pipeline.doctor.view import as_object, show

    checks = (*READING, *(WRITING if write else ()), *(NOTIFYING if notify else ()))
    findings = {}
    # what is written is deleted, too, where a closed terminal or a timeout ends it
    with undone_by_signals(), Context().closed() as context:
        for name, finding in examine(checks, context):
            findings[name] = finding
            if not as_json:
                show(name, finding)
    if as_json:
        objects = [as_object(name, finding) for name, finding in findings.items()]
        click.echo(json.dumps(objects, indent=2))
    if any(finding.status is Status.FAILED for finding in findings.values()):
        sys.exit(1)
