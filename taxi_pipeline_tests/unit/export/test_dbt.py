"""dbt's sources: what is in them. dbt itself reads them in `integration/test_dbt`."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from taxi_pipeline.assets.published import STALE_ERROR, STALE_WARNING
from taxi_pipeline.cli import main
from taxi_pipeline.export import dbt_sources
from taxi_pipeline.export.stores import stored_tables
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.sink import Sink

EXAMPLE = Path(__file__).parents[3] / "examples" / "dbt" / "models" / "sources.yml"


def source_of(sink: type[Sink]) -> Any:
    (source,) = yaml.safe_load(dbt_sources(sink, {}))["sources"]
    return source


@pytest.mark.parametrize("sink", SINKS)
def test_every_declared_column_is_there_as_the_store_spells_it(sink: type[Sink]) -> None:
    described = {
        table["name"]: (
            table["description"],
            [(c["name"], c["description"], c["data_type"]) for c in table["columns"]],
        )
        for table in source_of(sink)["tables"]
    }
    assert described == {
        table.name: (
            table.description,
            [(c.name, c.description, sink.types[c.type]) for c in table.columns],
        )
        for table in (stored.table for stored in stored_tables(sink))
    }


@pytest.mark.parametrize("sink", SINKS)
def test_the_declared_codes_are_those_accepted_and_others_warn(sink: type[Sink]) -> None:
    tests = {
        (table["name"], column["name"]): column["data_tests"]
        for table in source_of(sink)["tables"]
        for column in table["columns"]
        if "data_tests" in column
    }
    declared = {
        (stored.table.name, column.name): [*column.codes]
        for stored in stored_tables(sink)
        for column in stored.table.columns
        if column.codes
    }
    assert tests.keys() == declared.keys()
    for where, (test,) in tests.items():
        accepted = test["accepted_values"]
        assert accepted["arguments"]["values"] == declared[where]
        # of an integer the codes would be compared with texts
        assert accepted["arguments"]["quote"] == isinstance(declared[where][0], str)
        assert accepted["config"] == {"severity": "warn"}


@pytest.mark.parametrize("sink", SINKS)
def test_the_tables_with_a_freshness_policy_have_its_windows(sink: type[Sink]) -> None:
    fresh = {
        table["name"]: table["config"]["freshness"]
        for table in source_of(sink)["tables"]
        if "freshness" in table["config"]
    }
    windows = {
        "warn_after": {"count": STALE_WARNING.days, "period": "day"},
        "error_after": {"count": STALE_ERROR.days, "period": "day"},
    }
    assert fresh == {
        stored.table.name: windows
        for stored in stored_tables(sink)
        if stored.asset.freshness_policy
    }
    assert "yellow_trips" in fresh
    assert "taxi_zones" not in fresh


@pytest.mark.parametrize("sink", SINKS)
def test_a_table_names_its_asset_as_dagster_dbt_reads_it(sink: type[Sink]) -> None:
    keys = {t["name"]: t["config"]["meta"]["dagster"] for t in source_of(sink)["tables"]}
    assert keys == {
        stored.table.name: {"asset_key": [*stored.asset.key.path]} for stored in stored_tables(sink)
    }


def test_bigquerys_names_are_those_that_are_set_or_read_by_dbt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TAXI_GCP_PROJECT", raising=False)
    monkeypatch.delenv("TAXI_DATASET", raising=False)
    unset = exported("bigquery")
    assert unset["database"] == "{{ env_var('TAXI_GCP_PROJECT') }}"
    assert unset["schema"] == "{{ env_var('TAXI_DATASET', 'trips_data_all') }}"
    monkeypatch.setenv("TAXI_GCP_PROJECT", "a-project")
    monkeypatch.setenv("TAXI_DATASET", "a_dataset")
    assert (exported("bigquery")["database"], exported("bigquery")["schema"]) == (
        "a-project",
        "a_dataset",
    )


def test_postgres_needs_no_name_but_its_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXI_POSTGRES_URL", "postgresql://somebody:s3cr3t@db.example.org/trips")
    source = exported("postgres")
    assert source["schema"] == "tlc"
    assert "database" not in source
    assert source == source_of(Postgres)


def test_a_name_that_bigquery_cannot_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAXI_GCP_PROJECT", "{{ 1 + 1 }}")
    shown = CliRunner().invoke(main, ["export", "dbt", "--store", BigQuery.name])
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "TAXI_GCP_PROJECT: '{{ 1 + 1 }}' is not a project's id." in shown.stderr


def test_the_examples_sources_are_those_that_are_exported() -> None:
    assert EXAMPLE.read_text() == dbt_sources(Postgres, {}), "Run: make docs"


def exported(store: str) -> Any:
    shown = CliRunner().invoke(main, ["export", "dbt", "--store", store])
    assert (shown.exit_code, shown.stderr) == (0, "")
    (source,) = yaml.safe_load(shown.stdout)["sources"]
    return source
