"""A data contract of a store's tables, by the Open Data Contract Standard 3.1.

https://bitol-io.github.io/open-data-contract-standard/v3.1.0/ has the standard. A rule of quality
is here only if the project keeps it: what cleaning rejects, and what Dagster checks.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import dagster as dg
import pyarrow as pa

from taxi_pipeline.export.document import to_yaml
from taxi_pipeline.export.stores import StoredTable, stored_tables
from taxi_pipeline.sink import Sink
from taxi_pipeline.tlc.month import PUBLICATION_LAG_MONTHS
from taxi_pipeline.tlc.rules import rules_for
from taxi_pipeline.tlc.services import Column

_ZONE = "America/New_York"
_DOCUMENTATION = "https://www.nyc.gov/site/tlc/about/tlc-trip-record-data.page"
_DESCRIPTION: Mapping[str, Any] = {
    "purpose": "New York's taxi trips for analysis, one table for each of TLC's services, with "
    "one schema for all years.",
    "usage": "Each month is replaced whole and at once: a query sees the old month or the new one.",
    "limitations": "TLC does not correct what vendors and bases send. What is odd but possible is "
    "kept, codes that TLC declares nowhere included.",
}


def data_contract(sink: type[Sink], place: Mapping[str, str | int]) -> str:
    """Return the contract for a store.

    Args:
        sink: The store.
        place: Where its tables lie, as `Sink.place` says it; where it is empty, the contract names
            no server.
    """
    tables = stored_tables(sink)
    described = {
        **_DESCRIPTION,
        "authoritativeDefinitions": [{"type": "businessDefinition", "url": _DOCUMENTATION}],
    }
    server = {"server": sink.name, "type": sink.name, **place}
    contract = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"nyc-taxi-trips-{sink.name}",
        "name": "nyc_taxi_trips",
        "version": version("taxi-pipeline"),
        "status": "active",
        "description": described,
        **({"servers": [server]} if place else {}),
        "schema": [_object(sink, stored) for stored in tables],
        "slaProperties": _agreements(tables),
    }
    return to_yaml(contract, f"taxi export odcs --store {sink.name}")


def _object(sink: type[Sink], stored: StoredTable) -> dict[str, Any]:
    table = stored.table
    grain = f"One row for each {' and '.join(stored.grain)}."
    return {
        "name": table.name,
        "physicalName": table.name,
        "logicalType": "object",
        "physicalType": "view" if "view" in stored.asset.kinds else "table",
        "description": table.description,
        **({"dataGranularityDescription": grain} if stored.grain else {}),
        "customProperties": [_custom("dagsterAssetKey", stored.asset.key.to_user_string())],
        "properties": [_property(sink, stored, column) for column in table.columns],
        "quality": [*_rejections(stored), *_uniqueness(stored), *map(_check, stored.checks)],
    }


def _property(sink: type[Sink], stored: StoredTable, column: Column) -> dict[str, Any]:
    is_partition = column.name == stored.table.partitioned_by
    options = _options(column, stored.is_published)
    always_published = column.required and not column.required_unless
    custom = [
        *([_custom("unit", column.unit)] if column.unit else []),
        *([_custom("inEveryPublishedFile", always_published)] if stored.is_published else []),
    ]
    return {
        "name": column.name,
        "logicalType": _logical_type(column.type),
        **({"logicalTypeOptions": options} if options else {}),
        "physicalType": sink.types[column.type],
        "description": column.description,
        # a row that belongs to no month is in no partition; all else may be null
        "required": is_partition,
        **({"partitioned": True, "partitionKeyPosition": 1} if is_partition else {}),
        **({"customProperties": custom} if custom else {}),
        **({"quality": [_codes(column)]} if column.codes else {}),
    }


def _logical_type(type_: pa.DataType) -> str:
    kinds = {
        "integer": pa.types.is_integer,
        "number": pa.types.is_floating,
        "timestamp": pa.types.is_timestamp,
        "date": pa.types.is_date,
        "boolean": pa.types.is_boolean,
    }
    return next((name for name, holds in kinds.items() if holds(type_)), "string")


def _options(column: Column, is_published: bool) -> dict[str, Any]:
    """Return what bounds a column's values beside its type."""
    if pa.types.is_timestamp(column.type):
        return {"timezone": False, "defaultTimezone": _ZONE}
    if pa.types.is_floating(column.type) and is_published:  # cleaning holds no mart
        return {"exclusiveMinimum": -column.limit, "exclusiveMaximum": column.limit}
    return {}


def _codes(column: Column) -> dict[str, Any]:
    return {
        "name": "declared_codes",
        "description": "A code that is not declared is kept, and a check warns of it.",
        "type": "library",
        "metric": "invalidValues",
        "arguments": {"validValues": list(column.codes)},
        "mustBe": 0,
        "unit": "rows",
        "dimension": "conformity",
        "severity": "warning",
    }


def _rejections(stored: StoredTable) -> Iterator[dict[str, Any]]:
    """Yield why a published row is not in the table."""
    rules = rules_for(stored.table) if stored.is_published else ()
    for rule in rules:
        if rule.action.rejects:
            yield {
                "name": rule.name,
                "description": f"No row is such, for cleaning rejects it: {rule.description}",
                "type": "text",
                "dimension": "conformity",
                "severity": "error",
            }


def _uniqueness(stored: StoredTable) -> Iterator[dict[str, Any]]:
    if stored.grain:
        yield {
            "name": "one_row_each",
            "type": "library",
            "metric": "duplicateValues",
            "arguments": {"properties": list(stored.grain)},
            "mustBe": 0,
            "unit": "rows",
            "dimension": "uniqueness",
            "severity": "error",
        }


def _check(check: dg.AssetCheckSpec) -> dict[str, Any]:
    """Return an asset check as a rule, which Dagster evaluates after each load."""
    implementation = {
        "assetKey": check.asset_key.to_user_string(),
        "assetCheck": check.name,
        "blocking": check.blocking,
    }
    return {
        "name": check.name,
        "description": check.description,
        "type": "custom",
        "engine": "dagster",
        "implementation": implementation,
    }


def _agreements(tables: Sequence[StoredTable]) -> list[dict[str, Any]]:
    """Return when a month of the published tables is there."""
    elements = ", ".join(
        f"{stored.table.name}.{stored.table.partitioned_by}"
        for stored in tables
        if stored.is_published and stored.table.partitioned_by
    )
    return [
        {
            "property": "latency",
            "value": PUBLICATION_LAG_MONTHS,
            "unit": "months",
            "element": elements,
            "description": "TLC publishes a month about 50 days after its end. So a month is due "
            f"{PUBLICATION_LAG_MONTHS} months later. TLC may be late.",
        },
        {"property": "frequency", "value": 1, "unit": "months", "element": elements},
    ]


def _custom(name: str, value: object) -> dict[str, Any]:
    return {"property": name, "value": value}
