"""The data contract: it is one by the standard's own schema, and says what is declared."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft201909Validator

from taxi_pipeline.cli import main
from taxi_pipeline.export import data_contract
from taxi_pipeline.export.stores import stored_tables
from taxi_pipeline.marts import MARTS
from taxi_pipeline.resources import SINKS
from taxi_pipeline.resources.bigquery import BigQuery
from taxi_pipeline.resources.postgres import Postgres
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.month import PUBLICATION_LAG_MONTHS
from taxi_pipeline.tlc.rules import RULES
from taxi_pipeline.tlc.services import SERVICES

PLACES: dict[type[Sink], dict[str, str | int]] = {
    BigQuery: {"project": "a-project", "dataset": "a_dataset"},
    Postgres: {"host": "db.example.org", "port": 5432, "database": "trips", "schema": "tlc"},
}
# the package's schema is the standard's of the package's version
SCHEMA = json.loads((files("open_data_contract_standard") / "schema.json").read_text())


@cache
def written(sink: type[Sink]) -> str:
    return data_contract(sink, PLACES[sink])


def contract_of(sink: type[Sink]) -> Any:
    return read(written(sink))


def read(document: str) -> Any:
    return yaml.load(document, yaml.CSafeLoader)  # Python's own takes seconds


def violations(contract: Any) -> list[str]:
    return [error.message for error in Draft201909Validator(SCHEMA).iter_errors(contract)]


@pytest.mark.parametrize("sink", SINKS)
def test_it_is_a_contract_by_the_standards_schema(sink: type[Sink]) -> None:
    contract = contract_of(sink)
    assert contract["apiVersion"] == SCHEMA["properties"]["apiVersion"]["default"] == "v3.1.0"
    assert violations(contract) == []
    without_server = read(data_contract(sink, {}))
    assert without_server == {key: each for key, each in contract.items() if key != "servers"}
    first_table = contract["schema"][:1]  # the standard's schema takes seconds for all of them
    assert violations(without_server | {"schema": first_table}) == []
    contract["schema"] = first_table
    contract["schema"][0]["properties"][0]["logicalType"] = "whatever"
    del contract["servers"][0]["type"]
    assert len(violations(contract)) >= 2


@pytest.mark.parametrize("sink", SINKS)
def test_every_declared_column_is_there_as_the_store_spells_it(sink: type[Sink]) -> None:
    described = {
        each["name"]: (
            each["description"],
            [(c["name"], c["description"], c["physicalType"]) for c in each["properties"]],
        )
        for each in contract_of(sink)["schema"]
    }
    assert described == {
        table.name: (
            table.description,
            [(c.name, c.description, sink.types[c.type]) for c in table.columns],
        )
        for table in (stored.table for stored in stored_tables(sink))
    }


def test_units_types_and_limits_are_the_declared_ones() -> None:
    fares = column("yellow_trips", "fare_amount")
    assert fares["logicalType"] == "number"
    assert fares["logicalTypeOptions"] == {"exclusiveMinimum": -1e7, "exclusiveMaximum": 1e7}
    assert {"property": "unit", "value": "US dollars"} in fares["customProperties"]
    pickup = column("yellow_trips", "pickup_datetime")
    assert pickup["logicalType"] == "timestamp"
    assert pickup["logicalTypeOptions"]["defaultTimezone"] == "America/New_York"
    assert column("taxi_zones", "location_id")["logicalType"] == "integer"
    assert column("taxi_zones", "zone")["logicalType"] == "string"
    assert column("daily_trips", "day")["logicalType"] == "date"
    assert "logicalTypeOptions" not in column("daily_trips", "revenue")


def test_only_the_time_that_gives_a_row_its_month_is_never_null() -> None:
    required = {
        each["name"]: [c["name"] for c in each["properties"] if c["required"]]
        for each in contract_of(BigQuery)["schema"]
    }
    assert required == {
        stored.table.name: [name] if (name := stored.table.partitioned_by) else []
        for stored in stored_tables(BigQuery)
    }


def test_a_column_says_whether_every_published_file_has_it() -> None:
    always = {
        each["value"]
        for name in ("vendor_id", "fare_amount")
        for each in column("yellow_trips", name)["customProperties"]
        if each["property"] == "inEveryPublishedFile"
    }
    assert always == {True}
    # coordinates make up for a zone, and the surcharge is of 2019
    for name in ("pickup_location_id", "congestion_surcharge"):
        assert {"property": "inEveryPublishedFile", "value": False} in column("yellow_trips", name)[
            "customProperties"
        ]


@pytest.mark.parametrize("sink", SINKS)
def test_the_rules_are_what_cleaning_rejects_and_what_dagster_checks(sink: type[Sink]) -> None:
    rules = {each["name"]: each["quality"] for each in contract_of(sink)["schema"]}
    for stored in stored_tables(sink):
        found = rules[stored.table.name]
        checks = {
            (rule["implementation"]["assetKey"], rule["name"])
            for rule in found
            if rule["type"] == "custom"
        }
        assert checks == {(c.asset_key.to_user_string(), c.name) for c in stored.checks}
        assert bool(checks) == (stored.table.name != "trips")  # the view, whose tables are checked
    rejecting = {rule.name for rule in RULES if rule.action.rejects}
    texts = {rule["name"] for rule in rules["yellow_trips"] if rule["type"] == "text"}
    assert texts == rejecting
    assert [rule for rule in rules["taxi_zones"] if rule["type"] == "text"] == []


def test_a_code_that_is_not_declared_is_a_warning() -> None:
    (rule,) = column("yellow_trips", "payment_type")["quality"]
    assert (rule["metric"], rule["mustBe"], rule["severity"]) == ("invalidValues", 0, "warning")
    assert rule["arguments"]["validValues"] == [*SERVICES["yellow"].trips["payment_type"].codes]
    assert "quality" not in column("yellow_trips", "fare_amount")


def test_a_mart_has_one_row_for_each_of_its_grain() -> None:
    grains = {
        each["name"]: rule["arguments"]["properties"]
        for each in contract_of(BigQuery)["schema"]
        for rule in each["quality"]
        if rule.get("metric") == "duplicateValues"
    }
    assert grains == {mart.name: [*mart.grain] for mart in MARTS}


def test_a_month_is_due_after_the_publishers_lag() -> None:
    latency, frequency = contract_of(Postgres)["slaProperties"]
    assert (latency["property"], latency["value"], latency["unit"]) == (
        "latency",
        PUBLICATION_LAG_MONTHS,
        "months",
    )
    assert latency["element"].split(", ") == [
        f"{service.trips.name}.pickup_datetime" for service in SERVICES.values()
    ]
    assert (frequency["property"], frequency["value"]) == ("frequency", 1)


@pytest.mark.parametrize(
    ("variables", "server"),
    [
        (
            {"TAXI_POSTGRES_URL": "postgresql://somebody:s3cr3t@db.example.org:6543/trips"},
            {"host": "db.example.org", "port": 6543, "database": "trips", "schema": "tlc"},
        ),
        (
            {"TAXI_POSTGRES_URL": "postgresql://somebody:s3cr3t@one:1111,two:2222/trips"},
            {"host": "one", "port": 1111, "database": "trips", "schema": "tlc"},
        ),
        (
            {"TAXI_POSTGRES_URL": "postgresql://somebody:s3cr3t@one,two:2222/trips"},
            {"host": "one", "port": 5432, "database": "trips", "schema": "tlc"},
        ),
        (
            {"TAXI_POSTGRES_URL": "postgresql://somebody:s3cr3t@db.example.org"},
            {"host": "db.example.org", "port": 5432, "database": "somebody", "schema": "tlc"},
        ),
        (
            {"TAXI_GCP_PROJECT": "a-project", "TAXI_DATASET": ""},
            {"project": "a-project", "dataset": "trips_data_all"},
        ),
    ],
)
def test_the_server_is_the_one_that_is_set_without_its_password(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], server: dict[str, object]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    store = "postgres" if "TAXI_POSTGRES_URL" in variables else "bigquery"
    shown = CliRunner().invoke(main, ["export", "odcs", "--store", store])
    assert (shown.exit_code, shown.stderr) == (0, "")
    (found,) = yaml.safe_load(shown.stdout)["servers"]
    assert {name: found[name] for name in ("server", "type")} == {"server": store, "type": store}
    assert {name: found[name] for name in server} == server
    assert "s3cr3t" not in shown.stdout


def test_where_no_server_is_set_the_contract_has_none_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TAXI_POSTGRES_URL", raising=False)
    shown = CliRunner().invoke(main, ["export", "odcs", "--store", "postgres"])
    assert shown.exit_code == 0
    assert shown.stderr == "The contract names no server: the variables of Postgres are not set.\n"
    assert "servers" not in yaml.safe_load(shown.stdout)


def column(table: str, name: str) -> Any:
    schema = {each["name"]: each["properties"] for each in contract_of(BigQuery)["schema"]}
    return next(each for each in schema[table] if each["name"] == name)
