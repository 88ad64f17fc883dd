"""All of TLC's history through the real queue on the embedded stack, and what N workers make of it.

Generates every month of the four services at a hundredth of its rows, the newest of each larger,
launches a backfill of each service in `dagster dev`, one run at a time, waits for the end, and
writes `history.md`: what it took, whether `taxi ledger` adds up, and by `simulation` what more
workers would make of it, and of the months in their true sizes.

    python -m benchmarks.history
    python -m benchmarks.history --every 24 --newest 0.1 --into /tmp/history
"""

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import dagster as dg
import yaml

from benchmarks import history_report, inputs
from benchmarks.footprint import Footprint
from benchmarks.history_months import published_files
from benchmarks.history_report import POOLS, History, MonthRun
from benchmarks.inputs import Published
from taxi_pipeline.assets.keys import table_of
from taxi_pipeline.local.stack import PublisherOptions, running
from taxi_pipeline_tests.support.dagster_dev import TAXI, DagsterDev, dagster_dev
from taxi_pipeline_tests.support.webserver import ENDED

_HERE = Path(__file__).parent
_LOOK_SECONDS = 10
_IDLE_LOOKS = 6
_STATUSES = "query { runsOrError { ... on Runs { results { status } } } }"
_RUNS = """
query ($cursor: String) {
  runsOrError(limit: 100, cursor: $cursor) {
    ... on Runs {
      results {
        runId status
        tags { key value }
        assetSelection { path }
        stats { ... on RunStatsSnapshot { launchTime endTime } }
        stepStats { stepKey startTime endTime }
      }
    }
  }
}
"""


@click.command()
@click.option("--every", default=1, show_default=True, help="Only every so-manieth month.")
@click.option("--share", default=0.01, show_default=True, help="The rows of a month.")
@click.option("--newest", default=0.5, show_default=True, help="The same of the newest months.")
@click.option("--hours", default=6.0, show_default=True, help="Give up after so long.")
@click.option(
    "--into", type=click.Path(path_type=Path), default=_HERE, help="Folder of the results."
)
def main(every: int, share: float, newest: float, hours: float, into: Path) -> None:
    """Run months of all the history, and measure what it takes.

    All of it takes an hour or two on two cores, and 20 GB.
    """
    # as a shell's background job we ignore Ctrl-C, and so would Dagster's servers, which it ends
    signal.signal(signal.SIGINT, signal.default_int_handler)
    files = published_files(every, share, newest)
    with TemporaryDirectory(prefix="taxi-history-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        inputs.set_folder(folder)
        _say(f"Generating {len(files)} months ...")
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            for generated in [pool.submit(file.generate) for file in files]:
                generated.result()
        history = _run(folder, files, hours * 3600)
    history_report.write(into, history, every, share, newest)
    click.echo((into / "history.md").read_text())


def _run(folder: Path, files: Sequence[Published], seconds: float) -> History:
    """Run the months, one at a time, and return what it took."""
    data = folder / "data"
    with running(data, PublisherOptions(str(inputs.published()), 0)):
        pass  # now there is what is changed below
    _limit_runs(data / "dagster/dagster.yaml")
    settings = ("--publisher", str(inputs.published()))
    quietly = ("sh", "-c", 'exec "$@" > "$0" 2>&1', f"{folder}/dagster.log")
    with dagster_dev(folder, *quietly, settings=settings) as dev:
        footprint = Footprint(dev.process, data)
        with footprint.watched():
            launched = time.time()
            for table, months in _by_table(files).items():
                dev.backfill(table, months)
            failed = _await_end(dev, len(files), seconds)
        runs = _month_runs(dev, {(file.service.name, file.month.key): file.rows for file in files})
        stored = history_report.stored_bytes(data, inputs.published())
        ledger = _ledger(dev, sum(file.rows for file in files))
    return History(launched, runs, footprint, stored, ledger, failed)


def _limit_runs(settings: Path) -> None:
    """Let one run go on at a time, as one worker would have it."""
    instance = yaml.safe_load(settings.read_text())
    instance["concurrency"]["runs"]["max_concurrent_runs"] = 1
    settings.write_text(yaml.safe_dump(instance))


def _by_table(files: Sequence[Published]) -> dict[str, list[str]]:
    """Return the keys of the months to run, by the table of their service."""
    tables = {file.service.trips.name: file.service for file in files}
    return {
        table: [file.month.key for file in files if file.service is service]
        for table, service in tables.items()
    }


def _await_end(dev: DagsterDev, months: int, seconds: float) -> int:
    """Wait until so many runs have succeeded; return how many others there were, which failed.

    Raises where none is left that may succeed.
    """
    deadline = time.monotonic() + seconds
    said = idle = 0
    counts: Counter[str] = Counter()
    while counts["SUCCESS"] < months:
        time.sleep(_LOOK_SECONDS)
        with suppress(OSError, ValueError):  # the webserver may be too busy to answer
            runs = dev.graphql(_STATUSES)["runsOrError"]["results"]
            counts = Counter(run["status"] for run in runs)
        if counts["SUCCESS"] >= said + 10:
            said = counts["SUCCESS"]
            _say(f"{said} of {months} have run.")
        # the daemon takes some seconds to try a failed run again
        idle = idle + 1 if counts.total() >= months and not {*counts} - ENDED else 0
        if idle > _IDLE_LOOKS or time.monotonic() > deadline:
            raise click.ClickException(f"Of {months} months, the runs are {dict(counts)}.")
    return counts.total() - months


def _month_runs(dev: DagsterDev, rows: Mapping[tuple[str, str], int]) -> list[MonthRun]:
    """Return the runs that succeeded, in their order, with the rows of their months."""
    found: list[MonthRun] = []
    cursor = None
    while page := dev.graphql(_RUNS, cursor=cursor)["runsOrError"]["results"]:
        cursor = page[-1]["runId"]
        for run in page:
            if run["status"] != "SUCCESS":  # it was tried again
                continue
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            service = table_of(dg.AssetKey(run["assetSelection"][0]["path"])).removesuffix("_trips")
            month = tags["dagster/partition"]
            pools = dict.fromkeys(POOLS.values(), 0.0)
            for step in run["stepStats"]:
                if pool := POOLS.get(step["stepKey"].removeprefix(f"{service}_")):
                    pools[pool] += step["endTime"] - step["startTime"]
            began, ended = run["stats"]["launchTime"], run["stats"]["endTime"]
            found.append(MonthRun(service, month, rows[service, month], began, ended, pools))
    return sorted(found, key=lambda run: run.began)


def _ledger(dev: DagsterDev, rows: int) -> list[dict[str, Any]]:
    """Return the lines of `taxi ledger`; raise where they do not add up to the published rows."""
    command = [*dev.stack, *TAXI, "ledger", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        raise click.ClickException(f"The ledger does not add up: {ran.stderr[-2000:]}")
    lines: list[dict[str, Any]] = json.loads(ran.stdout)
    if (counted := sum(line["published"] for line in lines)) != rows:
        raise click.ClickException(f"The ledger has {counted:,} rows of {rows:,}.")
    return lines


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


if __name__ == "__main__":
    main()
