"""Who may import whom, and what importing costs."""

import subprocess
import sys
from functools import cache

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports


def test_each_floor_imports_only_from_the_floors_below() -> None:
    assert lint_imports() == EXIT_STATUS_SUCCESS


DEFINITIONS = "import taxi_pipeline.definitions"


@cache
def said_after(statement: str) -> list[str]:
    """Return what a process of its own says: its modules, and twice whether its garbage is frozen.

    That is only of the definitions: at first, and when it has imported more and is about to end.
    """
    code = f"{statement}\nimport sys\nprint(*sys.modules)\n"
    if statement == DEFINITIONS:
        code += (
            "import atexit, gc\n"
            "print(gc.get_freeze_count() > 10 * len(gc.get_objects()))\n"
            "import pandas\n"
            "atexit._run_exitfuncs()\n"
            "print(gc.get_freeze_count() > 10 * len(gc.get_objects()))"
        )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import taxi_pipeline.cli", {"dagster", "pyarrow", "numpy", "requests", "psutil"}),
        ("import taxi_pipeline.local.stack", {"dagster", "pyarrow", "numpy"}),
        (
            DEFINITIONS,
            {
                *("dagster_gcp", "google.cloud.bigquery", "google.cloud.storage"),
                *("apprise", "matplotlib", "openlineage", "pandas", "psycopg"),
                "dagster._core.execution.backfill",
            },
        ),
    ],
)
def test_what_costs_time_is_imported_when_it_is_used(statement: str, heavy: set[str]) -> None:
    assert {*said_after(statement)[0].split()} & heavy == set()


def test_what_is_loaded_is_not_searched_for_garbage() -> None:
    assert said_after(DEFINITIONS)[1:] == ["True", "True"]


@pytest.mark.skipif(sys.platform != "linux", reason="Arrow has jemalloc on Linux alone")
@pytest.mark.parametrize(
    ("chosen", "allocator"),
    [({}, "jemalloc"), ({"ARROW_DEFAULT_MEMORY_POOL": "system"}, "system")],
)
@pytest.mark.parametrize("loaded_before", ["", "pyarrow, "])
def test_arrow_gives_back_what_threads_have_freed(
    loaded_before: str,
    chosen: dict[str, str],
    allocator: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    code = (
        f"import {loaded_before}taxi_pipeline.tlc.cleaning, pyarrow\n"
        "print(pyarrow.default_memory_pool().backend_name)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [allocator]
