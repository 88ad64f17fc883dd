"""docs/requests.md: the requests that the platform sends to Google, as a page and read from it.

What a request needs is in `permissions`, and which are recorded in `flows`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from taxi_pipeline_tests.support.contracts.calls import Call
from taxi_pipeline_tests.support.contracts.discovery import Api, Method, field_of, kind
from taxi_pipeline_tests.support.contracts.permissions import permissions_of

PAGE = Path(__file__).parents[3] / "docs" / "requests.md"
_HEADING = re.compile("### (.+)")
_ROW = re.compile(r"\| (?P<place>query|body) \| `(?P<name>[^`]+)` \| [^|]* \|")

_SERVICES = {
    "storage": "Cloud Storage",
    "bigquery": "BigQuery",
    "cloudresourcemanager": "Resource Manager",
}

_INTRODUCTION = """\
# Requests to Google

Every kind of request that the platform sends to Cloud Storage and BigQuery, with the parameters and
the fields that it may have, and the permissions that it needs. This page is generated: `make docs`
runs the platform on an embedded stack and writes down what it sends. A test fails where the page is
another than what is sent, and so does any test that sends what is not on it.

An address is that of Google's discovery documents; the object's bytes go to
`/upload/storage/v1/…` and come from `/download/storage/v1/…`. In a name, `[]` stands for the items
of a list, and `*` for keys that are the platform's own. The types are Google's: an `int64` may be
written as a text. Values are left out.

The permissions are those on a bucket with uniform access, which [the Terraform
code](../deploy/terraform/README.md#what-the-platform-may-do) makes; there `projection=full` needs
none for access lists. An upload needs `storage.objects.delete` for the object that it replaces, and
a job that the account itself has started no more than `bigquery.jobs.create`. What `taxi doctor`
alone asks is here, too."""


@dataclass
class Shape:
    """What a kind of request may have: its parameters and the fields of its body, with types."""

    method: Method
    query: dict[str, str] = field(default_factory=dict)
    body: dict[str, str] = field(default_factory=dict)

    def add(self, call: Call) -> None:
        """Add what a request has."""
        self.query |= query_of(call)
        body = self.body | body_of(call)
        self.body = {name: type_ for name, type_ in body.items() if not _has_inner(name, body)}


def query_of(call: Call) -> dict[str, str]:
    """Return the types of a request's parameters, by name."""
    return {name: _type(call.method.parameters.get(name)) for name, _ in call.query}


def body_of(call: Call) -> dict[str, str]:
    """Return the types of the fields of a request's body, by their paths."""
    if call.body is None or call.method.body_schema is None:
        return {}
    return dict(_fields(call.method.api, call.method.body_schema, call.body, ""))


def shapes(calls: Iterable[Call]) -> dict[str, Shape]:
    """Return the shapes of requests, by their kind."""
    shapes: dict[str, Shape] = {}
    for call in calls:
        shapes.setdefault(call.kind, Shape(call.method)).add(call)
    return shapes


def page_of(shapes: Mapping[str, Shape]) -> str:
    """Return the page."""
    parts = [_INTRODUCTION]
    for service, title in _SERVICES.items():
        parts.append(f"## {title}")
        parts += [
            _section(name, shape)
            for name, shape in sorted(shapes.items())
            if shape.method.id.startswith(f"{service}.")
        ]
    return "\n\n".join(parts) + "\n"


def page_fault(call: Call) -> str | None:
    """Say what of a request of the platform's is not on the page; None where all of it is."""
    known = known_shapes().get(call.kind)
    if known is None:
        return f"docs/requests.md has no '{call.kind}': run `make docs`"
    sent = {f"query {name}" for name in query_of(call)} | {f"body {name}" for name in body_of(call)}
    if more := sorted(name for name in sent - known if not _has_inner(name, known)):
        return f"docs/requests.md has no {', '.join(more)} of '{call.kind}': run `make docs`"
    return None


@cache
def known_shapes() -> Mapping[str, Set[str]]:
    """Return what the page has of each kind of request: its parameters and fields."""
    known: dict[str, set[str]] = {}
    names: set[str] = set()
    for line in PAGE.read_text().splitlines():
        if heading := _HEADING.fullmatch(line):
            names = known.setdefault(heading[1], set())
        elif row := _ROW.fullmatch(line):
            names.add(f"{row['place']} {row['name']}")
    return known


def _has_inner(name: str, names: Iterable[str]) -> bool:
    """Whether there are fields within a field, which may be empty, too."""
    return any(other.startswith((f"{name}.", f"{name}[]")) for other in names)


def _section(name: str, shape: Shape) -> str:
    needed = permissions_of(name)
    lines = [
        f"### {name}",
        "",
        f"`{shape.method.verb} {shape.method.template}`",
        "",
        f"Needs {', '.join(f'`{each}`' for each in needed)}." if needed else "Needs nothing.",
    ]
    rows = [
        f"| {place} | `{name}` | {type_} |"
        for place, types in (("query", shape.query), ("body", shape.body))
        for name, type_ in sorted(types.items())
    ]
    if rows:
        lines += ["", "| in | name | type |", "|---|---|---|", *rows]
    return "\n".join(lines)


def _fields(
    api: Api, schema: Mapping[str, Any], value: object, path: str
) -> Iterator[tuple[str, str]]:
    schema = api.resolved(schema)
    if isinstance(value, list) and value:
        for each in value:
            yield from _fields(api, schema["items"], each, f"{path}[]")
    elif isinstance(value, dict) and value:
        for name, each in value.items():
            own = name if name in schema.get("properties", {}) else "*"
            inner = field_of(schema, name)
            if inner is not None:
                yield from _fields(api, inner, each, f"{path}.{own}" if path else own)
    elif path:
        yield path, _type(schema)


def _type(schema: Mapping[str, Any] | None) -> str:
    return "string" if schema is None else kind(schema)
