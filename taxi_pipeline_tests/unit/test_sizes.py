"""How long a file and a function of the package may be, so that each can be read at a glance."""

import ast
from pathlib import Path

import pytest

import taxi_pipeline

PACKAGE = Path(taxi_pipeline.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
FILE_LINES = 400
FUNCTION_LINES = 60


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(PACKAGE)) for file in FILES])
def test_a_file_and_its_functions_are_short(file: Path) -> None:
    source = file.read_text()
    assert len(source.splitlines()) <= FILE_LINES
    lengths = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES} == {}
