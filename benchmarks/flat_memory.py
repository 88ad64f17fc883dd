"""Peak memory of a month's run against the month's rows: fhvhv at 2 and at 20 million.

Runs the whole job by `dagster job execute` in an embedded stack of its own, from TLC's Parquet and
from the mirror's CSV, and prints the peak of the run's process as a table in Markdown. The servers,
which are no part of a run, are not counted. With both sizes it takes some 20 minutes and 15 GB.

    python benchmarks/flat_memory.py
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click

MONTHS = {"Parquet, 24 columns": "2024-01", "CSV, 7 columns": "2021-01"}
MEBIBYTE = 1 << 20


@click.group(invoke_without_command=True)
@click.option("--rows", type=int, multiple=True, default=(2_000_000, 20_000_000), show_default=True)
@click.pass_context
def main(context: click.Context, rows: tuple[int, ...]) -> None:
    """Measure a run of each size and format, side by side."""
    if context.invoked_subcommand:
        return
    click.echo("| fhvhv, published as | rows | peak memory, MiB | seconds |\n|---|---|---|---|")
    for form, month in MONTHS.items():
        for size in rows:
            seconds, peak = _measured(month, size)
            click.echo(f"| {form} | {size:,} | {peak / MEBIBYTE:,.0f} | {seconds:,.0f} |")


def _measured(month: str, rows: int) -> tuple[float, int]:
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - PostgreSQL's user must reach its data
        stack = ["taxi", "local", "--data-dir", str(Path(folder, "stack")), "--rows", str(rows)]
        this = [sys.executable, __file__, "run", month]
        ran = subprocess.run([*stack, "--", *this], check=True, stdout=subprocess.PIPE)  # noqa: S603
        seconds, peak = json.loads(ran.stdout.splitlines()[-1])
    return seconds, peak


@main.command()
@click.argument("month")
def run(month: str) -> None:
    """Run the job for a month inside a stack; print its seconds and its peak memory in bytes."""
    job = [
        "dagster",
        "job",
        "execute",
        "-m",
        "taxi_pipeline.definitions",
        "-j",
        "fhvhv_trips",
        "--tags",
    ]
    # the file is generated when it is first asked for: not a part of what is measured
    import requests

    templates = os.environ["TAXI_PUBLISHER_URLS"].split(",")
    for url in (template.format(service="fhvhv", month=month) for template in templates):
        requests.get(url, headers={"Range": "bytes=0-0"}, timeout=600)
    began = time.monotonic()
    tags = json.dumps({"dagster/partition": month})
    subprocess.run([*job, tags], check=True, stdout=sys.stderr)  # noqa: S603
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # Linux counts in KiB
    click.echo(json.dumps([seconds, peak]))


if __name__ == "__main__":
    main()
