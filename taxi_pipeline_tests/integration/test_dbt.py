"""dbt itself, on the sources that are exported for it: the project of `examples/dbt`."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest

from taxi_pipeline.assets.keys import asset_key
from taxi_pipeline.definitions import defs
from taxi_pipeline.export import dbt_sources
from taxi_pipeline.export.stores import stored_tables
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES, TAXI_ZONES
from taxi_pipeline_tests.conftest import Platform
from taxi_pipeline_tests.support import dbt_commands

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-dbt" / "bin" / "python"

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="dbt is not installed: make .venv-dbt/.ready"
)

NEWEST = Month.newest_published(datetime.now(ZoneInfo("America/New_York")).date()).key
MONTHS = {"yellow": "2021-01", "green": NEWEST, "fhv": "2025-01", "fhvhv": "2025-01"}
UNDECLARED = 77


@dataclass(frozen=True)
class Project:
    """A dbt project whose commands have run."""

    folder: Path
    said: str

    def artifact(self, name: str, project: str = "project") -> Any:
        """Return what dbt has written for programs."""
        target = self.folder.with_name(project) / "target"
        return json.loads((target / f"{name}.json").read_text())

    def results(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the results of an artifact by the names of what they are of."""
        results = self.artifact(name)["results"]
        return {each["unique_id"].split(".", 2)[2]: each for each in results}


@pytest.fixture(scope="module")
def project(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return the example's project, built on four months, one of which is the newest due.

    Beside it lies `bigquery`, a project of BigQuery's sources that dbt has parsed.
    """
    for service, month in MONTHS.items():
        platform.load(service, month)
    assert platform.run(TAXI_ZONES.name).success
    platform.execute(
        platform.resources.postgres,
        f"UPDATE tlc.yellow_trips SET payment_type = {UNDECLARED} WHERE payment_type = 3",
    )
    folder, home = (tmp_path_factory.mktemp("dbt") / name for name in ("project", "home"))
    home.mkdir()
    of_others = shutil.ignore_patterns("logs", "target")
    shutil.copytree(REPOSITORY / "examples" / "dbt", folder, ignore=of_others)
    of_bigquery = folder.with_name("bigquery")
    shutil.copytree(folder, of_bigquery)
    (of_bigquery / "models" / "sources.yml").write_text(dbt_sources(BigQuery, {}))
    commands = [["build"], ["source", "freshness"], ["parse", "--project-dir", str(of_bigquery)]]
    done = subprocess.run(
        [PYTHON, "-P", dbt_commands.__file__, json.dumps(commands)],
        cwd=folder,
        env={**os.environ, "DO_NOT_TRACK": "1", "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Project(folder, done.stdout + done.stderr)


def test_the_model_has_every_trip_under_the_name_of_its_zone(
    platform: Platform, project: Project
) -> None:
    assert project.artifact("dagster")["succeeded"][0], project.said
    assert project.results("run_results")["trips_by_zone"]["status"] == "success"
    by_zone = "SELECT service, sum(trips)::int FROM analytics.trips_by_zone GROUP BY service"
    assert dict(platform.postgres(by_zone)) == {
        service: platform.postgres(f"SELECT count(*) FROM tlc.{service}_trips")[0][0]
        for service in SERVICES
    }
    named = "SELECT DISTINCT zone FROM analytics.trips_by_zone WHERE pickup_location_id = 132"
    assert platform.postgres(named) == [("JFK Airport",)]


def test_a_code_that_is_not_declared_warns_and_stops_nothing(project: Project) -> None:
    statuses = {
        name: result["status"]
        for name, result in project.results("run_results").items()
        if name.startswith("source_accepted_values")
    }
    columns = [column for stored in stored_tables(Postgres) for column in stored.table.columns]
    assert len(statuses) == sum(bool(column.codes) for column in columns)
    assert {*statuses.values()} == {"pass", "warn"}
    assert {status for name, status in statuses.items() if "yellow_trips_payment_type" in name} == {
        "warn"
    }


def test_a_table_is_fresh_as_long_as_its_newest_month_is_not_overdue(project: Project) -> None:
    found = {
        name: (result["status"], result["max_loaded_at"])
        for name, result in project.results("sources").items()
    }
    due = {f"tlc.{service}_trips": due_in_utc(month) for service, month in MONTHS.items()}
    assert {name: datetime.fromisoformat(loaded) for name, (_, loaded) in found.items()} == due
    assert {name for name, (status, _) in found.items() if status == "pass"} == {"tlc.green_trips"}
    assert {status for status, _ in found.values()} == {"pass", "error"}


def test_bigquery_says_by_the_exported_query_when_its_newest_month_was_due(
    platform: Platform, project: Project
) -> None:
    manifest = project.artifact("manifest", "bigquery")
    sources = {source["name"]: source for source in manifest["sources"].values()}
    warehouse = platform.resources.bigquery
    for service, month in MONTHS.items():
        source = sources[f"{service}_trips"]
        assert (source["database"], source["schema"]) == (warehouse.project, warehouse.dataset)
        query = source["loaded_at_query"]
        for part in ("database", "schema", "identifier"):
            query = query.replace(f"{{{{ this.{part} }}}}", source[part])
        assert platform.bigquery(query) == [(due_in_utc(month),)]


def test_dagster_joins_the_model_to_the_tables_that_it_reads(project: Project) -> None:
    dependencies = project.artifact("dagster")["dependencies"]["trips_by_zone"]
    assert sorted(dependencies) == sorted(
        asset_key(table.name, Postgres.name).to_user_string()
        for table in (*(service.trips for service in SERVICES.values()), TAXI_ZONES)
    )
    ours = {spec.key.to_user_string() for spec in defs.resolve_all_asset_specs()}
    assert {*dependencies} <= ours


def test_dbt_writes_into_its_project_alone_and_no_password(
    platform: Platform, project: Project
) -> None:
    written = [path for path in project.folder.parent.rglob("*") if path.is_file()]
    assert {path.relative_to(project.folder.parent).parts[0] for path in written} == {
        project.folder.name,
        "bigquery",
    }
    password = urlsplit(platform.resources.postgres.url).password
    assert password
    assert password not in project.said
    assert [path for path in written if password.encode() in path.read_bytes()] == []


def due_in_utc(month: str) -> datetime:
    """Return when a month was due: at the end of the second month after it, in New York."""
    start = Month.parse(month)
    for _ in range(3):
        start = start.next
    return start.start.replace(tzinfo=ZoneInfo("America/New_York")).astimezone(UTC)
