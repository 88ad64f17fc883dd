"""Google's discovery documents: which methods there are, and what each of them takes.

They are those that google-api-python-client brings along. What they leave to a description in words
is in `rules`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

# By the beginning of an API's paths.
DOCUMENTS = {
    "storage/v1/": "storage.v1",
    "bigquery/v2/": "bigquery.v2",
    "": "cloudresourcemanager.v1",  # whose methods' paths have it all
}
_PARAMETER = re.compile(r"\{\+?(\w+)\}")
_INTEGER = re.compile(r"-?\d+")
# Google's clients write a boolean as Python does.
_BOOLEAN = re.compile("true|false", re.IGNORECASE)
# Of a resumable upload, beside what the documents have.
_OF_UPLOADS = {"uploadType", "upload_id"}
# What Google's own clients send, release after release, and Google takes, though not documented.
_OF_CLIENTS = {("bigquery.jobs.get", "projection"), ("bigquery.jobs.cancel", "projection")}


@dataclass(frozen=True)
class Method:
    """A method of one of Google's APIs."""

    api: "Api"
    described: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The name that Google gives it, such as `storage.objects.insert`."""
        return str(self.described["id"])

    @property
    def verb(self) -> str:
        """The HTTP method."""
        return str(self.described["httpMethod"])

    @property
    def template(self) -> str:
        """The path with its parameters in braces, without that of the API."""
        return str(self.described["path"]).replace("{+", "{")

    @property
    def description(self) -> str:
        """What it does, in Google's words; BigQuery's name the permissions, too."""
        return str(self.described["description"])

    @cached_property
    def parameters(self) -> Mapping[str, Any]:
        """Its parameters and those of every method, by name."""
        return {**self.api.document["parameters"], **self.described.get("parameters", {})}

    @property
    def body_schema(self) -> Mapping[str, Any] | None:
        """The schema of the body that it takes; None where it takes none."""
        request: Mapping[str, Any] | None = self.described.get("request")
        return request

    @cached_property
    def _path(self) -> re.Pattern[str]:
        parts = _PARAMETER.split(self.described["path"])
        pattern = "".join(
            f"(?P<{part}>{self._path_pattern(part)})" if number % 2 else re.escape(part)
            for number, part in enumerate(parts)
        )
        return re.compile(pattern)

    def _path_pattern(self, name: str) -> str:
        declared: str = self.parameters[name].get("pattern", "[^/]+")
        return declared.removeprefix("^").removesuffix("$")

    def names_in(self, path: str) -> dict[str, str] | None:
        """Return the parameters in a path as it is sent; None where it is another method's."""
        matched = self._path.fullmatch(path)
        if matched is None:
            return None
        return {name: unquote(value) for name, value in matched.groupdict().items()}

    def faults_of_query(self, query: Sequence[tuple[str, str]], upload: str) -> Iterator[str]:
        """Say what is wrong with the parameters after the path's question mark."""
        given = [name for name, _ in query]
        for name, value in query:
            declared = self.parameters.get(name)
            if declared is None or declared.get("location") != "query":
                if (self.id, name) not in _OF_CLIENTS and not (upload and name in _OF_UPLOADS):
                    yield f"the parameter '{name}' is unknown"
                continue
            if given.count(name) > 1 and not declared.get("repeated"):
                yield f"the parameter '{name}' is there twice"
            if not _is_written(value, declared):
                yield f"the parameter '{name}' is '{value}', and is declared as {kind(declared)}"
        for name, declared in self.parameters.items():
            is_due = declared.get("location") == "query" and declared.get("required")
            if is_due and name not in given:
                yield f"the parameter '{name}' is missing"

    def faults_of_body(self, body: object) -> Iterator[str]:
        """Say what is wrong with the fields of the body and their types."""
        if body is None:
            return
        if self.body_schema is None:
            yield "there is a body, and the method takes none"
        else:
            yield from self.api.faults_of_value(self.body_schema, body, "body")


@dataclass(frozen=True, eq=False)
class Api:
    """One of Google's APIs, as its discovery document describes it."""

    document: Mapping[str, Any]

    @cached_property
    def methods(self) -> Sequence[Method]:
        """All of its methods."""
        return [Method(self, described) for described in _methods_of(self.document)]

    @cached_property
    def _by_verb(self) -> Mapping[str, Sequence[Method]]:
        verbs = {method.verb for method in self.methods}
        return {verb: [each for each in self.methods if each.verb == verb] for verb in verbs}

    def method(self, verb: str, path: str) -> tuple[Method, dict[str, str]] | None:
        """Return the method of a request and the names in its path; None where there is none."""
        for method in self._by_verb.get(verb, ()):
            if (names := method.names_in(path)) is not None:
                return method, names
        return None

    def faults_of_value(
        self, schema: Mapping[str, Any], value: object, where: str
    ) -> Iterator[str]:
        """Say what of a JSON value does not fit its schema. null stands for what is not there."""
        schema = self.resolved(schema)
        if value is None or schema["type"] == "any":
            return
        # of a FLOAT64: Google's client writes a number, and Google takes it
        if where.endswith("parameterValue.value") and isinstance(value, float):
            return
        if schema["type"] == "array" and isinstance(value, list):
            for each in value:
                yield from self.faults_of_value(schema["items"], each, f"{where}[]")
        elif schema["type"] == "object" and isinstance(value, dict):
            for name, each in value.items():
                field = field_of(schema, name)
                if field is None:
                    yield f"the field '{where}.{name}' is unknown"
                else:
                    yield from self.faults_of_value(field, each, f"{where}.{name}")
        elif not _is_scalar(value, schema):
            yield f"the field '{where}' is {json.dumps(value)}, and is declared as {kind(schema)}"

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the schema that a reference names, or the schema itself."""
        if "$ref" in schema:
            named: Mapping[str, Any] = self.document["schemas"][schema["$ref"]]
            return named
        return schema


def field_of(schema: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Return the schema of an object's field; None where the object has none of that name."""
    field: Mapping[str, Any] | None = schema.get("properties", {}).get(
        name, schema.get("additionalProperties")
    )
    return field


def kind(schema: Mapping[str, Any]) -> str:
    """Return how a scalar is declared, for people."""
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    return str(schema.get("format", schema["type"]))


@cache
def apis() -> Mapping[str, Api]:
    """Return the APIs that the platform asks, by the beginning of their paths."""
    folder = files("googleapiclient") / "discovery_cache" / "documents"
    return {
        path: Api(json.loads((folder / f"{name}.json").read_text()))
        for path, name in DOCUMENTS.items()
    }


def _methods_of(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from _methods_of(inner)


def _is_written(text: str, schema: Mapping[str, Any]) -> bool:
    """Whether a parameter's text is a value of its type."""
    if "enum" in schema:
        return text in schema["enum"]
    if schema["type"] == "boolean":
        return bool(_BOOLEAN.fullmatch(text))
    if schema["type"] == "integer" or "int64" in schema.get("format", ""):
        return bool(_INTEGER.fullmatch(text))
    return True


def _is_scalar(value: object, schema: Mapping[str, Any]) -> bool:
    """Whether a JSON value is of a scalar's type. 64 bits may be written as a text or a number."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if "int64" in schema.get("format", "") or schema["type"] == "integer":
        return is_number or (isinstance(value, str) and bool(_INTEGER.fullmatch(value)))
    if schema["type"] == "boolean":
        return isinstance(value, bool)
    if schema["type"] == "number":
        return is_number or isinstance(value, float)
    if schema["type"] == "string":
        return isinstance(value, str) and value in schema.get("enum", [value])
    return False
