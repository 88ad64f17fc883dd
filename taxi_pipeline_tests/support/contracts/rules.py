"""What Google's documentation demands of a request in words alone: names, labels, sizes, SQL.

Each rule names the page that it stands on, or the field of the discovery document whose description
it is. What that document declares as a type is no matter of this module.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from taxi_pipeline_tests.support.contracts.calls import Call
from taxi_pipeline_tests.support.contracts.sql import sql_fault

# cloud.google.com/storage/quotas: "Maximum total size of custom metadata per object"
METADATA_BYTES = 8 * 1024
# cloud.google.com/storage/docs/objects#naming
_OBJECT_NAME_BYTES = 1024
# cloud.google.com/bigquery/docs/labels-intro#requirements
_LABELS = 64
_LABEL_CHARACTERS = 63
# TableReference.tableId: letters, marks, numbers, connectors, dashes and spaces
_TABLE_CATEGORIES = {"L", "M", "N", "Pc", "Pd", "Zs"}
_NAMES = {
    # cloud.google.com/storage/docs/buckets#naming
    "bucket": re.compile(r"(?!goog|\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"),
    # cloud.google.com/resource-manager/docs/creating-managing-projects
    "projectId": re.compile(r"([a-z][a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]"),
    # DatasetReference.datasetId; a hidden dataset begins with _
    "datasetId": re.compile("[A-Za-z0-9_]{1,1024}"),
    # JobReference.jobId
    "jobId": re.compile("[A-Za-z0-9_-]{1,1024}"),
}
_DECORATOR = re.compile(r"\d{4}|\d{6}|\d{8}|\d{10}|__NULL__|__UNPARTITIONED__")
# The description of each field, where it lists the values.
_VALUES = {
    "writeDisposition": {"WRITE_TRUNCATE", "WRITE_TRUNCATE_DATA", "WRITE_APPEND", "WRITE_EMPTY"},
    "createDisposition": {"CREATE_IF_NEEDED", "CREATE_NEVER"},
    "sourceFormat": {
        *("CSV", "DATASTORE_BACKUP", "NEWLINE_DELIMITED_JSON", "AVRO", "PARQUET", "ORC"),
    },
    "mode": {"NULLABLE", "REQUIRED", "REPEATED"},
}
# TableFieldSchema.type; a parameter's type has ARRAY and INTERVAL beside.
_TYPES = {
    *("STRING", "BYTES", "INTEGER", "INT64", "FLOAT", "FLOAT64", "NUMERIC", "BIGNUMERIC"),
    *("BOOLEAN", "BOOL", "TIMESTAMP", "DATE", "TIME", "DATETIME", "GEOGRAPHY", "JSON"),
    *("RECORD", "STRUCT", "RANGE", "ARRAY", "INTERVAL"),
}
_PARTITIONING_TYPES = {"HOUR", "DAY", "MONTH", "YEAR"}


def faults(call: Call) -> Iterator[str]:
    """Say what is wrong with a request by Google's documentation."""
    yield from _faults_of_names(call.names)
    if call.method.id.startswith("storage."):
        yield from _faults_of_object(call.body)
    else:
        yield from _faults_of_resource(call.body, "body")


def _faults_of_names(names: Mapping[str, Any]) -> Iterator[str]:
    for name, value in names.items():
        if name == "object" or name == "tableId":
            fault = _object_fault(value) if name == "object" else _table_fault(value)
            if fault:
                yield fault
        elif name in _NAMES and not _NAMES[name].fullmatch(value):
            yield f"{value!r} is no legal {name}"


def _table_fault(name: str) -> str | None:
    table, dollar, decorator = name.partition("$")
    categories = (unicodedata.category(character) for character in table)
    is_legal = all(each in _TABLE_CATEGORIES or each[0] in _TABLE_CATEGORIES for each in categories)
    if not is_legal or not 1 <= len(table.encode()) <= 1024:
        return f"{name!r} is no legal tableId"
    if dollar and not _DECORATOR.fullmatch(decorator):
        return f"{name!r} names no partition: {decorator!r}"
    return None


def _object_fault(name: str) -> str | None:
    is_legal = not re.search("[\r\n]", name) and name not in (".", "..")
    if not is_legal or not 1 <= len(name.encode()) <= _OBJECT_NAME_BYTES:
        return f"{name!r} is no legal object's name"
    return None


def _faults_of_object(body: Any) -> Iterator[str]:
    if not isinstance(body, dict):
        return
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        size = sum(len(f"{name}{value or ''}".encode()) for name, value in metadata.items())
        if size > METADATA_BYTES:
            yield f"the custom metadata has {size} bytes, and may have {METADATA_BYTES}"
    if isinstance(body.get("name"), str) and (fault := _object_fault(body["name"])):
        yield fault


def _faults_of_resource(value: Any, where: str) -> Iterator[str]:
    """Say what is wrong with a resource of BigQuery's, or with a part of one."""
    if isinstance(value, list):
        for each in value:
            yield from _faults_of_resource(each, f"{where}[]")
    if not isinstance(value, dict):
        return
    texts = {name: each for name, each in value.items() if isinstance(each, str)}
    yield from _faults_of_names(texts)
    for name, text in texts.items():
        if name in _VALUES and text not in _VALUES[name]:
            yield f"{where}.{name} is '{text}', and may be {', '.join(sorted(_VALUES[name]))}"
    if "type" in texts:
        allowed = _PARTITIONING_TYPES if where.endswith("timePartitioning") else _TYPES
        if texts["type"] not in allowed:
            yield f"{where}.type is '{texts['type']}', which BigQuery has not"
    if "query" in texts and (fault := _sql_fault(value)):
        yield f"{where}.query is not BigQuery's SQL: {fault}"
    for name, each in value.items():
        if name == "labels" and isinstance(each, dict):
            yield from _faults_of_labels(each)
        else:
            yield from _faults_of_resource(each, f"{where}.{name}")


def _sql_fault(query: Mapping[str, Any]) -> str | None:
    if query.get("useLegacySql", True):
        return "useLegacySql is not set to false"
    return sql_fault(query["query"])


def _faults_of_labels(labels: Mapping[str, Any]) -> Iterator[str]:
    if len(labels) > _LABELS:
        yield f"there are {len(labels)} labels, and may be {_LABELS}"
    for name, value in labels.items():
        if not name[:1].isalpha() or not _is_label(name):
            yield f"the label's key '{name}' is illegal"
        if value and not _is_label(str(value)):
            yield f"the label {name} has the illegal value '{value}'"


def _is_label(text: str) -> bool:
    return len(text) <= _LABEL_CHARACTERS and all(
        character in "_-" or (character.isalnum() and character == character.lower())
        for character in text
    )
