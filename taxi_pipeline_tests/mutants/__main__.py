"""Draw mutants of each module of the heart by chance, run its tests on each, and list survivors.

The same seed draws the same mutants of the same code. Each worker has a copy of the project, so the
checkout is never changed.
"""

import argparse
import ast
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from cosmic_ray.testing import TestOutcome, run_tests

REPOSITORY = Path(__file__).parents[2]

# The modules of the heart, and the tests that are to kill their mutants.
UNIT, INTEGRATION = "taxi_pipeline_tests/unit", "taxi_pipeline_tests/integration"
TESTS = {
    **dict.fromkeys(
        ("tlc/cleaning.py", "tlc/rules.py"),
        (
            f"{UNIT}/tlc/test_cleaning.py",
            f"{UNIT}/tlc/test_properties.py",
            f"{UNIT}/tlc/test_bad_input.py",
        ),
    ),
    "tlc/values.py": (
        f"{UNIT}/tlc/test_values.py",
        f"{UNIT}/tlc/test_reading.py",
        f"{UNIT}/tlc/test_properties.py",
        f"{UNIT}/tlc/test_bad_input.py",
    ),
    **dict.fromkeys(
        ("tlc/reading/source.py", "tlc/reading/csv.py", "tlc/reading/parquet.py"),
        (
            f"{UNIT}/tlc/test_reading.py",
            f"{UNIT}/tlc/test_header.py",
            f"{UNIT}/tlc/test_properties.py",
            f"{UNIT}/tlc/test_bad_input.py",
        ),
    ),
    **dict.fromkeys(
        ("ledger/entry.py", "ledger/lake.py", "ledger/stores.py"),
        (
            f"{UNIT}/ledger",
            f"{INTEGRATION}/test_ledger.py",
            f"{INTEGRATION}/test_tallies.py",
            f"{INTEGRATION}/test_cells.py",
        ),
    ),
    **dict.fromkeys(
        ("tlc/column_tallies.py", "tlc/fingerprint.py", "tlc/cells.py", "io/sql.py"),
        (
            f"{UNIT}/tlc/test_column_tallies.py",
            f"{UNIT}/tlc/test_cells.py",
            f"{INTEGRATION}/test_sinks.py",
            f"{INTEGRATION}/test_cells.py",
        ),
    ),
    **dict.fromkeys(
        ("lake/raw.py", "lake/cleaned.py", "lake/metadata.py"),
        (
            f"{UNIT}/lake",
            f"{INTEGRATION}/test_lake_steps.py",
            f"{INTEGRATION}/test_restore.py",
            f"{INTEGRATION}/test_jobs.py",
        ),
    ),
    "resources/gcs.py": (
        f"{INTEGRATION}/test_lake.py",
        f"{INTEGRATION}/test_lake_steps.py",
    ),
    **dict.fromkeys(
        (
            "resources/postgres/sink.py",
            "resources/postgres/rows.py",
            "resources/postgres/swap.py",
            "resources/postgres/catalog.py",
            "resources/postgres/locks.py",
            "resources/postgres/stamps.py",
        ),
        (
            f"{UNIT}/test_reliability.py",  # which holds the defaults of settings
            f"{INTEGRATION}/test_sinks.py",
            f"{INTEGRATION}/test_postgres.py",
        ),
    ),
    **dict.fromkeys(
        (
            "resources/bigquery/sink.py",
            "resources/bigquery/jobs.py",
            "resources/bigquery/tables.py",
            "resources/bigquery/cells.py",
            "resources/bigquery/loads.py",
        ),
        (
            f"{UNIT}/test_reliability.py",
            f"{INTEGRATION}/test_sinks.py",
            f"{INTEGRATION}/test_bigquery.py",
            f"{INTEGRATION}/test_daily_trips.py",
        ),
    ),
    "automation/publisher_sensor.py": (f"{INTEGRATION}/test_published_months.py",),
}

# `X | None` in an annotation fails on import with any other operator, which proves nothing.
LEFT_OUT = "core/ReplaceBinaryOperator_BitOr_"


@dataclass(frozen=True)
class Mutant:
    """One change of a module: a Cosmic Ray operator at its n-th place."""

    module: str
    line: int
    operator: str
    occurrence: int

    @property
    def kind(self) -> str:
        """What is replaced, whatever it is replaced by."""
        return self.operator.split("_")[0]

    def __str__(self) -> str:
        name = self.operator.removeprefix("core/")
        return f"taxi_pipeline/{self.module}:{self.line} {name}"

    def mutated(self) -> str:
        """Return the module's code with the change."""
        code: str = mutate_code(source(self.module), get_operator(self.operator)(), self.occurrence)
        return code


@dataclass(frozen=True)
class Result:
    """What became of a mutant, and in how many seconds."""

    mutant: Mutant
    survived: bool
    seconds: float


def source(module: str) -> str:
    """Return the code of a module of the package."""
    return (REPOSITORY / "taxi_pipeline" / module).read_text()


def drawn(module: str, number: int, seed: int) -> list[Mutant]:
    """Draw mutants of a module by chance, one of a kind a line, and none of no effect."""
    nodes = list(ast_nodes(get_ast(source(module))))
    unmutated = ast.dump(ast.parse(source(module)))
    mutants = []
    for name in sorted(operator_names()):
        operator = get_operator(name)
        if operator.arguments() or name.startswith(LEFT_OUT):
            continue
        lines = [line for node in nodes for (line, _), _ in operator().mutation_positions(node)]
        mutants += [Mutant(module, line, name, index) for index, line in enumerate(lines)]
    random.Random(f"{seed} {module}").shuffle(mutants)
    one_a_line = {(mutant.line, mutant.kind): mutant for mutant in mutants}.values()
    return list(islice((mutant for mutant in one_a_line if changes(mutant, unmutated)), number))


def changes(mutant: Mutant, unmutated: str) -> bool:
    """Return whether a mutant is a program, and another one than the `unmutated` syntax tree."""
    try:
        return ast.dump(ast.parse(mutant.mutated())) != unmutated
    except (AttributeError, SyntaxError):  # Cosmic Ray replaces no exception with a dot in its name
        return False


@contextmanager
def copies(number: int) -> Iterator[Queue[Path]]:
    """Copy the project so many times; yield the copies' folders, in a queue to take them from."""
    folders: Queue[Path] = Queue()
    with TemporaryDirectory(prefix="taxi-mutants-") as name:
        Path(name).chmod(0o755)
        for index in range(number):
            folder = Path(name, str(index))
            folder.mkdir()
            scratch = folder / "tmp"
            scratch.mkdir()
            scratch.chmod(0o1777)
            for part in ("taxi_pipeline", "taxi_pipeline_tests", "deploy", "docs"):
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(REPOSITORY / part, folder / part, ignore=ignored)
            for file in filter(Path.is_file, REPOSITORY.iterdir()):
                shutil.copy(file, folder)
            folders.put(folder)
        yield folders


@dataclass(frozen=True)
class Run:
    """A run of a module's tests: if they passed, in how many seconds, and what they printed."""

    passed: bool
    seconds: float
    output: str


def run(folder: Path, module: str, code: str, limit: float) -> Run:
    """Run a module's tests on other code of it, in a copy."""
    path = folder / "taxi_pipeline" / module
    path.write_text(code)
    words = [
        *("env", f"PYTHONPATH={folder}", f"TMPDIR={folder / 'tmp'}"),
        *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"),
        *(f"--rootdir={folder}", f"--confcutdir={folder}", "-c", str(folder / "pyproject.toml")),
        *(str(folder / test) for test in TESTS[module]),
    ]
    started = time.monotonic()
    outcome, output = run_tests(" ".join(words), limit)
    path.write_text(source(module))
    return Run(outcome is TestOutcome.SURVIVED, time.monotonic() - started, output)


def main() -> int:
    """Print each module's score and all survivors; return 1 if the tests fail without a mutant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=8, help="mutants a module")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("modules", nargs="*", default=list(TESTS), metavar="MODULE")
    args = parser.parse_args()
    with copies(args.workers) as folders, ThreadPoolExecutor(args.workers) as workers:

        def in_a_copy(module: str, code: str, limit: float) -> Run:
            folder = folders.get()
            try:
                return run(folder, module, code, limit)
            finally:
                folders.put(folder)

        limits = {}
        modules = {TESTS[module]: module for module in args.modules}  # one for each list of tests
        for tests, unmutated in zip(
            modules,
            workers.map(lambda name: in_a_copy(name, source(name), 600), modules.values()),
            strict=True,
        ):
            if not unmutated.passed:
                print(unmutated.output, file=sys.stderr)
                print(f"The tests of {modules[tests]} fail without a mutant.", file=sys.stderr)
                workers.shutdown(cancel_futures=True)
                return 1
            limits[tests] = 3 * unmutated.seconds + 30

        def test(mutant: Mutant) -> Result:
            done = in_a_copy(mutant.module, mutant.mutated(), limits[TESTS[mutant.module]])
            result = Result(mutant, done.passed, done.seconds)
            word = "survived" if result.survived else "killed"
            print(f"{word:8} {result.seconds:5.0f} s  {mutant}", flush=True)
            return result

        mutants = [
            mutant for module in args.modules for mutant in drawn(module, args.each, args.seed)
        ]
        results = list(workers.map(test, mutants))
    print(report(results))
    return 0


def report(results: list[Result]) -> str:
    """Return a table of killed mutants by module, and in all."""
    rows = []
    for module in dict.fromkeys(result.mutant.module for result in results):
        ours = [result for result in results if result.mutant.module == module]
        rows.append((module, sum(not result.survived for result in ours), len(ours)))
    rows.append(("in all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    return "\n".join(
        f"{module:24} {killed:3} of {number:3} killed, {100 * killed / number:3.0f} %"
        for module, killed, number in rows
    )


if __name__ == "__main__":
    sys.exit(main())
