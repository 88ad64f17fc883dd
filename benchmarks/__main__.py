"""`python -m benchmarks`: measure all of it in turn, and write the table and the plots.

Ways that are compared take turns, and each round goes through them the other way round, so that a
machine which gets slower or faster favours nobody. What is quoted are medians.
"""

import os
import signal
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
from benchmarks.backfill import measure_backfill
from benchmarks.inputs import Published
from benchmarks.processes import peers_versions, run_process, run_way
from benchmarks.report import Comparison, Cost, Measured, Size
from benchmarks.steps import ANY_ROWS, IN_STACK, LOOKS, OF_FILES, ONCE, PROCESSES, Step, job
from taxi_pipeline.local.stack import PublisherOptions, running

_HERE = Path(__file__).parent
_BACKFILL = "a backfill of 12 months"
_SIZES = "sizes"
_LARGEST_JOB = 5_000_000  # rows of the largest whole job, among all steps

type _Costs = dict[str, Measured]  # by way


@click.command()
@click.option("--rounds", default=3, show_default=True, help="Times that each way is measured.")
@click.option("--only", multiple=True, help="Only these steps, as the table calls them.")
@click.option(
    "--most-rows", default=20_000_000, show_default=True, help="Leave out published files of more."
)
@click.option(
    "--into", type=click.Path(path_type=Path), default=_HERE, help="Folder of the results."
)
def main(rounds: int, only: tuple[str, ...], most_rows: int, into: Path) -> None:
    """Measure the project beside other ways; all steps take less than 30 minutes, and 15 GB."""

    def wanted(step: str) -> bool:
        return not only or step in only

    # as a shell's background job we ignore Ctrl-C, and so would Dagster's servers, which it ends
    signal.signal(signal.SIGINT, signal.default_int_handler)
    versions = peers_versions()
    of_files = [step for step in OF_FILES if wanted(step.name)]
    in_stack = [step for step in IN_STACK if wanted(step.name)]
    backfill = inputs.BACKFILL if wanted(_BACKFILL) else []
    # the largest job alone takes minutes, so it is run where it is asked for
    largest = most_rows if _SIZES in only else min(most_rows, _LARGEST_JOB)
    sizes = [file for file in inputs.SIZES if file.rows <= largest] if wanted(_SIZES) else []
    measured_on = {
        file: [step for step in of_files if file in step.files]
        for file in (*inputs.CSVS, *inputs.PARQUETS)
        if file.rows <= most_rows and any(file in step.files for step in of_files)
    }
    began = time.monotonic()
    compared: list[Comparison] = []
    with TemporaryDirectory(prefix="taxi-benchmark-") as name:
        os.chmod(name, 0o755)  # noqa: S103 - PostgreSQL's user must reach its data
        inputs.set_folder(Path(name))
        rows = _generate({*measured_on, *backfill, *sizes, inputs.MEASURED})
        for file, steps in measured_on.items():
            compared += _compare_on(file, steps, rounds)
            if file not in (inputs.MEASURED, *sizes):
                file.path.unlink()  # the largest take half a gigabyte each
        costs: _Costs = {}
        if in_stack or sizes:
            with _stack(Path(name, "stack")):
                for step in in_stack:
                    unknown = [way for way in step.ways if way not in costs]
                    costs |= _in_turns(unknown, rounds, rows)
                    compared += _comparisons(step, costs)
                measured = [_size(file) for file in sizes]
        else:
            measured = []
        if backfill:
            bare = costs.get("month_bare") or _bare_month(Path(name, "stack"), rows)
            compared += _compare_backfill(Path(name, "dev"), bare.median)
    report.write(into, compared, measured, versions)
    click.echo((into / "results.md").read_text())
    _say(f"Done in {(time.monotonic() - began) / 60:.0f} minutes.")


def _generate(files: set[Published]) -> int:
    """Write the published files, and the forms of the one that most is measured on; count those.

    Other processes do it: what this one has at its peak would count for all that it starts.
    """
    _say("Generating the published files ...")
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        largest_first = sorted(files, key=lambda file: (file.suffix, file.rows), reverse=True)
        for generated in [pool.submit(file.generate) for file in largest_first]:
            generated.result()
        rows = pool.submit(inputs.prepare).result()
    for path in inputs.folder().rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return rows


@contextmanager
def _stack(folder: Path) -> Iterator[None]:
    """Run the embedded stack on the generated files, and let what we start find it."""
    before = dict(os.environ)
    with running(folder, PublisherOptions(str(inputs.published()), 0), _say) as variables:
        os.environ.update(variables)
        yield
    os.environ.clear()
    os.environ.update(before)


def _compare_on(file: Published, steps: Sequence[Step], rounds: int) -> list[Comparison]:
    """Measure the ways of all steps that a published file has, in turn with each other."""
    _say(f"{file.name}, {file.rows:,} rows:")
    ways = dict.fromkeys(way for step in steps for way in step.ways)
    costs = _in_turns([*ways], rounds, None, file)
    return [one for step in steps for one in _comparisons(step, costs, file)]


def _comparisons(step: Step, costs: _Costs, file: Published | None = None) -> list[Comparison]:
    return [
        Comparison(step.name, step.ours, costs[step.ours], other, costs[other], file)
        for other in step.others
    ]


def _in_turns(
    names: Sequence[str], rounds: int, rows: int | None, file: Published | None = None
) -> _Costs:
    """Measure each way so many times, there and back in turn; raise where trips are lacking.

    Args:
        names: The ways.
        rounds: How many times.
        rows: How many trips each must end with; None where it is as many as the first.
        file: The published file, for ways of one.
    """
    found: defaultdict[str, list[Cost]] = defaultdict(list)
    for round_ in range(rounds):
        for name in names if round_ % 2 == 0 else reversed(names):
            if found[name] and round_ >= _rounds_at_most(name, found[name][0].seconds, rounds):
                continue
            if process := PROCESSES.get(name):
                took = {name: [run_process(process)]}
            else:
                ended_with, took = run_way(name, file, rounds if name in LOOKS else 1)
                if name not in ANY_ROWS:
                    rows = rows or ended_with
                    if ended_with != rows:
                        raise click.ClickException(f"{name}: {ended_with} trips, not {rows}.")
            for way, costs in took.items():
                found[way] += costs
                for cost in costs:
                    _say(f"{way}: {cost}")
    return {name: Measured(costs) for name, costs in found.items()}


def _rounds_at_most(name: str, seconds: float, rounds: int) -> int:
    """Return how many times a way is measured that took so long."""
    if name in LOOKS or name in ONCE or seconds > (5 if name in ANY_ROWS else 120):
        return 1
    return min(rounds, 2) if seconds > 40 else rounds


def _size(file: Published) -> Size:
    """Run the whole job for a month of fhvhv."""
    cost = run_process(job("taxi_pipeline.definitions", "fhvhv_trips", file.month))
    _say(f"{file.rows:,} rows: {cost.seconds:.1f} s, {cost.peak / 1e6:,.0f} MB")
    return Size(file.rows, cost)


def _bare_month(stack: Path, rows: int) -> Measured:
    with _stack(stack):
        return _in_turns(["month_bare"], 1, rows)["month_bare"]


def _compare_backfill(folder: Path, bare: Cost) -> list[Comparison]:
    """Compare a backfill with as many months by our steps alone, and with what was estimated."""
    months = len(inputs.BACKFILL)
    alone = Cost(months * bare.seconds, months * bare.cpu, bare.peak)
    took, estimated = measure_backfill(folder)

    def comparison(since: str, other: str, cost: Cost) -> Comparison:
        return Comparison(_BACKFILL, since, Measured([took[since]]), other, Measured([cost]))

    return [
        *(comparison(since, f"{months} x month_bare", alone) for since in took),
        *(comparison("from its launch", *of) for of in estimated.items()),
    ]


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


if __name__ == "__main__":
    main()
