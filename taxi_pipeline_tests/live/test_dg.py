"""Dagster's other command line, dg, on the platform: what it lists, and what it launches."""

import json
import os
import sys
from pathlib import Path

import pytest

from taxi_pipeline.definitions import defs
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support.forkserver import run

DG = str(Path(sys.executable).with_name("dg"))
REPOSITORY = Path(__file__).parents[2]


# what Dagster's tools make where they know of no instance
_LEFT = (".dagster", ".dg", ".tmp_dagster_home", "history", "schedules", "storage")


@pytest.fixture
def home(tmp_path: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home of a user who is in the repository, where the stack's variables are set."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(REPOSITORY)
    return tmp_path


def left_behind(home: Path) -> list[Path]:
    """Return what Dagster has left outside of its instance, and telemetry wherever it is."""
    paths = [path for folder in (home, REPOSITORY) for path in folder.iterdir()]
    telemetry = Path(os.environ["DAGSTER_HOME"]).glob(".telemetry")
    return [*(path for path in paths if path.name.startswith(_LEFT)), *telemetry]


def test_dg_lists_all_assets_and_jobs(home: Path) -> None:
    listed = run([DG, "list", "defs", "--json"])
    assert (listed.returncode, listed.stderr) == (0, "")
    shown = json.loads(listed.stdout)
    keys = defs.resolve_asset_graph().get_all_asset_keys()
    assert {asset["asset_key"] for asset in shown["assets"]} >= {
        key.to_user_string() for key in keys
    }
    assert {"green_trips", "yellow_trips", "daily_trips"} <= {job["name"] for job in shown["jobs"]}
    assert left_behind(home) == []


def test_what_make_lint_runs_sends_no_telemetry(home: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    environment["DG_CLI_CONFIG"] = ".ci/dg.toml"
    assert environment["DG_CLI_CONFIG"] in Path("Makefile").read_text()
    checked = run([DG, "check", "toml"], env=environment)
    assert checked.returncode == 0, checked.stderr
    assert left_behind(home) == []


def test_dg_launches_a_month(platform: Platform, home: Path) -> None:
    launched = run([DG, "launch", "--assets", "green_raw", "--partition", "2021-03"])
    assert launched.returncode == 0, launched.stderr
    assert "RUN_SUCCESS" in launched.stderr
    assert platform.resources.lake.find("raw/green/green_tripdata_2021-03")
    assert left_behind(home) == []
