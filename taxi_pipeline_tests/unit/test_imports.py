"""Who may import whom, and what importing costs."""

import subprocess
import sys

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports


def test_each_floor_imports_only_from_the_floors_below() -> None:
    assert lint_imports() == EXIT_STATUS_SUCCESS


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import taxi_pipeline.cli", {"dagster", "pyarrow", "numpy", "requests", "psutil"}),
        ("import taxi_pipeline.local.stack", {"dagster", "pyarrow", "numpy"}),
        (
            "import taxi_pipeline.definitions",
            {
                *("dagster_gcp", "google.cloud.bigquery", "google.cloud.storage"),
                *("apprise", "matplotlib", "pandas", "psycopg"),
                "dagster._core.execution.backfill",
            },
        ),
    ],
)
def test_what_costs_time_is_imported_when_it_is_used(statement: str, heavy: set[str]) -> None:
    assert modules_after(statement) & heavy == set()


def test_what_is_loaded_is_not_searched_for_garbage() -> None:
    code = (
        "import taxi_pipeline.definitions, atexit, gc\n"
        "print(gc.get_freeze_count() > 10 * len(gc.get_objects()))\n"
        "import pandas\n"
        "atexit._run_exitfuncs()\n"
        "print(gc.get_freeze_count() > 10 * len(gc.get_objects()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "True"]
