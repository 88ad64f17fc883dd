"""The notebook of examples/, executed from its first cell to its last."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from taxi_pipeline_tests.conftest import Platform

NOTEBOOK = Path(__file__).parents[2] / "examples" / "explore.ipynb"


@pytest.fixture(scope="module")
def executed(
    platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[nbformat.NotebookNode]:
    """Return the notebook with its outputs, run by a kernel of its own beside the stack."""
    for job in ("taxi_zones", "taxi_zone_shapes"):
        assert platform.run(job).success
    for service in ("yellow", "green"):
        platform.load(service, "2021-01")
    home = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for variable in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
            monkeypatch.setenv(variable, str(home))
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        NotebookClient(notebook, timeout=100, kernel_name="python3").execute()
        yield notebook


def test_the_notebook_runs_and_draws_hours_a_map_and_tips(
    executed: nbformat.NotebookNode,
) -> None:
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    kinds = Counter(output.output_type for output in outputs)
    assert "error" not in kinds
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 3
    assert all(len(picture.data["image/png"]) > 10_000 for picture in pictures)


def test_its_figures_are_the_months(executed: nbformat.NotebookNode, platform: Platform) -> None:
    (table,) = (
        output.data["text/plain"]
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if "count" in output.get("data", {}).get("text/plain", "")
    )
    counts = {
        line.split()[0]: float(line.split()[1])
        for line in table.splitlines()
        if line.startswith(("yellow", "green"))
    }
    for service in ("yellow", "green"):
        kept = platform.entry(service, "2021-01").lake.kept
        assert kept
        assert counts[service] == kept.rows


def test_the_notebook_is_committed_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
