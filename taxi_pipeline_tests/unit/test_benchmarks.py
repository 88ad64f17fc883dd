"""What `make bench` compares: peers that know nothing of the project, and keep the same trips."""

import ast
import sys
from pathlib import Path

import pytest

from benchmarks import inputs, measuring, peers
from benchmarks.cleaning import clean_ours
from benchmarks.inputs import Published
from benchmarks.peers import PEERS
from benchmarks.processes import peers_task
from benchmarks.report import Comparison, Cost, Measured
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import FHVHV, YELLOW

ROWS = 2_000
FILES = (
    Published(YELLOW, Month(2021, 1), ROWS, ".csv.gz"),
    Published(YELLOW, Month(2024, 2), ROWS),
    Published(FHVHV, Month(2024, 2), ROWS),
)


@pytest.mark.parametrize("module", [peers, measuring])
def test_peers_import_nothing_of_the_project(module: object) -> None:
    path = Path(getattr(module, "__file__", ""))
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _names(node)
    }
    assert imported <= {*sys.stdlib_module_names, "benchmarks", "duckdb", "polars"}


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        if (node.module or "").startswith("benchmarks"):
            assert node.module == "benchmarks.measuring"
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_all_keep_the_same_trips(
    file: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXI_BENCHMARK_FOLDER", str(tmp_path))
    file.generate()
    inputs.written("").mkdir()
    kept = clean_ours(file)()
    assert 0 < kept < ROWS
    task = peers_task(file)
    assert {name: way(task)() for name, way in PEERS.items()} == dict.fromkeys(PEERS, kept)


def test_of_rounds_the_median_and_the_spread_count() -> None:
    ours = Measured([Cost(2, 3, 100), Cost(9, 1, 300), Cost(1, 2, 200)])
    assert (ours.median, ours.fastest, ours.slowest) == (Cost(2, 2, 200), 1, 9)
    other = Measured([Cost(3, 0, 0), Cost(5, 0, 0)])
    assert Comparison("a step", "ours", ours, "other", other).ratio == 2
