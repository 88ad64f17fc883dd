"""`python -m benchmarks`: measure all of it in turn, and write the table and the plot.

Ways that are compared take turns, and each round goes through them the other way round, so that a
machine which gets slower or faster favours nobody. What is quoted are medians.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks import inputs, report
from benchmarks.report import Comparison, Cost, Size
from taxi_pipeline.local.stack import PublisherOptions, running
from taxi_pipeline.tlc.month import Month
from taxi_pipeline_tests.support.dagster_dev import TAXI, DagsterDev, dagster_dev
from taxi_pipeline_tests.support.processes import until

_HERE = Path(__file__).parent
_DAGSTER = str(Path(sys.executable).with_name("dagster"))

# ours, and what it is measured against; a month first: its old flow measures `postgres_pandas` too
_STEPS = {
    "a month": ("month_dagster", ("month_old", "month_bare")),
    "csv.gz to the lake": (
        "clean_ours",
        ("clean_pandas", "clean_duckdb", "clean_polars", "parse_alone", "encode_alone"),
    ),
    "Parquet to PostgreSQL": (
        "postgres_ours",
        (
            "postgres_pandas",
            "postgres_psql",
            "postgres_dlt",
            "postgres_adbc",
            "postgres_server",
            "postgres_server_new",
        ),
    ),
    "PostgreSQL's index": ("postgres_ours", ("postgres_no_index",)),
    "a day in PostgreSQL": ("postgres_day", ("postgres_day_scan",)),
    "Parquet to BigQuery": ("bigquery_ours", ("bigquery_dataframe", "bigquery_load_job")),
    "counting cells, lake": ("lake_columns", ("lake_read", "lake_fingerprint")),
    "counting cells, PostgreSQL": ("postgres_columns", ("postgres_rows", "postgres_fingerprint")),
    "counting cells, BigQuery": ("bigquery_columns", ("bigquery_rows", "bigquery_fingerprint")),
}
_ANY_ROWS = {"parse_alone"}  # which rejects nothing
_DAEMON_SECONDS = 30  # between two looks of Dagster's daemon for backfills; it has no setting
_LOOKED = """
query {
  instance { daemonHealth { daemonStatus(daemonType: "BACKFILL") { lastHeartbeatTime } } }
}
"""
_CREATED = "query { runsOrError { ... on Runs { results { creationTime } } } }"


def _job(module: str, job: str, month: object = None) -> list[str]:
    tags = ["--tags", json.dumps({"dagster/partition": str(month)})] if month else []
    return [_DAGSTER, "job", "execute", "-m", module, "-j", job, *tags]


# whole processes, from their start to their end
_PROCESSES = {
    "month_dagster": _job("taxi_pipeline.definitions", "yellow_trips", inputs.MONTH),
    "load_ours": [sys.executable, "-c", "import taxi_pipeline.definitions"],
    "load_dagster": [sys.executable, "-c", "import dagster"],
    "empty_ours": _job("benchmarks.empty_job_of_ours", "empty"),
    "empty_alone": _job("benchmarks.empty_job", "empty"),
}
_STARTS = {
    "loading the code location": ("load_ours", ("load_dagster",)),
    "a job of one empty asset": ("empty_ours", ("empty_alone",)),
}


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Times that each way is measured.")
@click.option("--only", multiple=True, help="Only these steps, as the table calls them.")
@click.option(
    "--into", type=click.Path(path_type=Path), default=_HERE, help="Folder of the results."
)
def main(rounds: int, only: tuple[str, ...], into: Path) -> None:
    """Measure the project beside other ways; all steps take some 25 minutes and 15 GB."""

    def wanted(step: str) -> bool:
        return not only or step in only

    # as a shell's background job we ignore Ctrl-C, and so would Dagster's servers, which it ends
    signal.signal(signal.SIGINT, signal.default_int_handler)
    backfill = wanted("a backfill of 12 months")
    sizes = list(inputs.SIZES) if wanted("sizes") else []
    began = time.monotonic()
    compared: list[Comparison] = []
    costs: dict[str, Cost] = {}
    with TemporaryDirectory(prefix="taxi-benchmark-") as name:
        os.chmod(name, 0o755)  # noqa: S103 - PostgreSQL's user must reach its data
        inputs.set_folder(Path(name))
        _say("Generating the published files ...")
        # by other processes: what this one has at its peak would count for all that it starts
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            months = [inputs.MONTH, *(inputs.BACKFILL if backfill else [])]
            generating = [pool.submit(inputs.generate_yellow, month) for month in months]
            generating += [pool.submit(inputs.generate_fhvhv, month) for month in sizes]
            for generated in generating:
                generated.result()
            rows = pool.submit(inputs.prepare).result()
        for path in Path(name).rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        with _stack(Path(name, "stack")):
            for step, (ours, others) in (_STEPS | _STARTS).items():
                if wanted(step):
                    unknown = [way for way in (ours, *others) if way not in costs]
                    costs |= _in_turns(unknown, rounds, rows)
                    compared += [
                        Comparison(step, ours, costs[ours], other, costs[other]) for other in others
                    ]
            measured = [_size(month) for month in sizes]
        if backfill:
            bare = costs.get("month_bare") or _bare_month(Path(name, "stack"), rows)
            twelve = Cost(12 * bare.seconds, 12 * bare.cpu, bare.peak)
            took, estimated = _backfill(Path(name, "dev"))
            compared += [
                Comparison("a backfill of 12 months", since, of, "12 x month_bare", twelve)
                for since, of in took.items()
            ]
            compared += [
                Comparison(
                    "a backfill of 12 months", "from its launch", took["from its launch"], *of
                )
                for of in estimated.items()
            ]
    report.write(into, compared, measured)
    click.echo((into / "results.md").read_text())
    _say(f"Done in {(time.monotonic() - began) / 60:.0f} minutes.")


@contextmanager
def _stack(folder: Path) -> Iterator[None]:
    """Run the embedded stack on the generated files, and let what we start find it."""
    before = dict(os.environ)
    with running(folder, PublisherOptions(str(inputs.published()), 0), _say) as variables:
        os.environ.update(variables)
        yield
    os.environ.clear()
    os.environ.update(before)


def _in_turns(names: Sequence[str], rounds: int, rows: int) -> dict[str, Cost]:
    """Measure each way so many times, there and back in turn; return the medians.

    One that takes longer than 25 seconds is measured twice, than two minutes once.
    """
    found: dict[str, list[Cost]] = defaultdict(list)
    for round_ in range(rounds):
        for name in names if round_ % 2 == 0 else reversed(names):
            if found[name] and round_ >= _rounds_at_most(found[name][0].seconds, rounds):
                continue
            process = _PROCESSES.get(name)
            for way, cost in ({name: _process(process)} if process else _way(name, rows)).items():
                _say(f"{way}: {cost.seconds:.2f} s, CPU {cost.cpu:.2f}, {cost.peak / 1e6:,.0f} MB")
                found[way].append(cost)
    return {name: _median(costs) for name, costs in found.items()}


def _rounds_at_most(seconds: float, rounds: int) -> int:
    return 1 if seconds > 120 else min(rounds, 2) if seconds > 25 else rounds


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(*(statistics.median(of) for of in zip(*map(_figures, costs), strict=True)))


def _figures(cost: Cost) -> tuple[float, float, float]:
    return cost.seconds, cost.cpu, cost.peak


def _way(name: str, rows: int) -> dict[str, Cost]:
    """Run a way in a process of its own; return its cost, and those of ways that it has in it.

    Raises where it ended with other trips than all do.
    """
    command = [sys.executable, "-m", "benchmarks.ways", name]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    if found["rows"] != rows and name not in _ANY_ROWS:
        raise click.ClickException(f"{name} ended with {found['rows']} trips instead of {rows}.")
    return {way: Cost(**cost) for way, cost in found["took"].items()}


def _process(command: Sequence[str]) -> Cost:
    """Run a command; return what it took from start to end, without what it leaves running."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr  # noqa: S101
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(said.decode()[-2000:])
    seconds = time.perf_counter() - began
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def _size(month: Month) -> Size:
    """Run the whole job for a month of fhvhv of some size."""
    cost = _process(_job("taxi_pipeline.definitions", "fhvhv_trips", month))
    _say(f"{inputs.SIZES[month]:,} rows: {cost.seconds:.1f} s, {cost.peak / 1e6:,.0f} MB")
    return Size(inputs.SIZES[month], cost)


def _bare_month(stack: Path, rows: int) -> Cost:
    with _stack(stack):
        return _way("month_bare", rows)["month_bare"]


def _backfill(folder: Path) -> tuple[dict[str, Cost], dict[str, Cost]]:
    """Launch a backfill as the UI does, on webserver and daemon of its own; wait for its end.

    Also returned are the seconds that `taxi backfill` says before it, and then by its months.

    The time is wall clock, once from the launch and once from when Dagster's daemon made the first
    run; CPU and memory are not measured. The launch is half-way between two of the daemon's looks
    for backfills: a person's click comes at any time, and waits so long in the mean.
    """
    months = [month.key for month in inputs.BACKFILL]
    folder.mkdir()
    folder.chmod(0o755)
    with dagster_dev(folder, settings=("--publisher", str(inputs.published()))) as dev:
        before = _estimated(dev, months)
        looked = until(lambda: dev.graphql(_LOOKED)["instance"]["daemonHealth"]["daemonStatus"])
        time.sleep(max(0, looked["lastHeartbeatTime"] + _DAEMON_SECONDS / 2 - time.time()))
        launched = time.time()
        backfill = dev.backfill("yellow_trips", months)
        statuses = dev.await_backfill(backfill, len(months), 1200)
        ended = time.time()
        runs = dev.graphql(_CREATED)["runsOrError"]["results"]
        after = _estimated(dev, months)
    if {*statuses} != {"SUCCESS"}:
        raise click.ClickException(f"The backfill ended with {statuses}.")
    first = min(run["creationTime"] for run in runs)
    took = {
        "from its launch": Cost(ended - launched, 0, 0),
        "from its first run": Cost(ended - first, 0, 0),
    }
    return took, {"estimated": before, "estimated by past months": after}


def _estimated(dev: DagsterDev, months: Sequence[str]) -> Cost:
    """Return the seconds that `taxi backfill` says that months will take."""
    chosen = [word for month in months for word in ("--month", month)]
    command = [*dev.stack, *TAXI, "backfill", "yellow", *chosen, "--dry-run", "--json"]
    environment = os.environ | {"TAXI_DAGSTER_API_URL": dev.url}
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout
    return Cost(json.loads(said)["estimate"]["seconds"], 0, 0)


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


if __name__ == "__main__":
    main()
