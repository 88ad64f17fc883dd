"""A request to Google, read as Google reads it: its method, its parameters and its JSON.

What is wrong with one is for `discovery` and `rules` to say.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from taxi_pipeline_tests.support.contracts.discovery import DOCUMENTS, Method, apis
from taxi_pipeline_tests.support.contracts.sql import statement_kind

_PATH = re.compile(
    rf"/(?P<form>upload/|resumable/upload/|download/)?(?P<api>{'|'.join(DOCUMENTS)})(?P<rest>.*)"
)
_RANGE = re.compile(r"bytes (\*|(?P<first>\d+)-(?P<last>\d+))/(?P<total>\*|\d+)")
# What each part of a resumable upload but the last is a multiple of.
_PART_BYTES = 256 * 1024


class NotUnderstoodError(Exception):
    """A request that Google would not know what to do with."""


@dataclass(frozen=True)
class Call:
    """A request to Google.

    Attributes:
        method: What it calls.
        names: The parameters in its path.
        query: The parameters after the path.
        body: Its JSON; None where there is none.
        upload: How it brings an object's bytes: multipart, resumable or media; or not, "".
    """

    method: Method
    names: Mapping[str, str]
    query: Sequence[tuple[str, str]]
    body: Any = None
    upload: str = ""

    @cached_property
    def kind(self) -> str:
        """The method's id, and what of it needs other permissions or takes another body."""
        of_method = {
            "storage.objects.insert": self.upload,
            "storage.objects.get": "bytes" if ("alt", "media") in self.query else "",
            "bigquery.jobs.insert": self._kind_of_job,
            "bigquery.tables.insert": self._kind_of_table,
            "bigquery.tables.patch": self._kind_of_table,
        }
        detail = of_method.get(self.method.id, "")
        return f"{self.method.id}, {detail}" if detail else self.method.id

    @property
    def _kind_of_table(self) -> str:
        return "a view" if "view" in (self.body or {}) else "a table"

    @property
    def _kind_of_job(self) -> str:
        configuration = (self.body or {}).get("configuration", {})
        query = configuration.get("query")
        if query is None:
            return ", ".join(sorted(configuration.keys() - {"labels", "jobTimeoutMs", "dryRun"}))
        statement = statement_kind(query.get("query", ""))
        return f"{statement} into a table" if "destinationTable" in query else statement


def read_call(
    verb: str, url: str, headers: Mapping[str, str | bytes], body: bytes | str | None
) -> Call | None:
    """Read a request.

    Args:
        verb: The HTTP method.
        url: The whole URL.
        headers: The headers, by their names in any case.
        body: The body, if it is no stream.

    Returns:
        The call; None for a part of a resumable upload, whose address Google itself has given.

    Raises:
        NotUnderstoodError: No method of Google's has that address, or the body is no JSON.
    """
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    sent = {name.lower(): _text(value) for name, value in headers.items()}
    if verb == "PUT" and ("content-range" in sent or "upload_id" in dict(query)):
        _check_part(sent, body)
        return None
    address = _PATH.fullmatch(parts.path)
    known = address and apis()[address["api"]].method(verb, address["rest"])
    if parts.path.startswith("/batch/"):
        raise NotUnderstoodError("a batch is not looked into: send each request by itself")
    if not address or not known:
        raise NotUnderstoodError("no method of Google's has this address")
    upload = dict(query).get("uploadType", "")
    is_upload = (address["form"] or "").endswith("upload/")
    if is_upload != bool(upload):
        raise NotUnderstoodError("the address is an upload's, or uploadType is there, without both")
    method, names = known
    return Call(method, names, query, _json(sent, body, upload), upload)


def _check_part(headers: Mapping[str, str], body: bytes | str | None) -> None:
    given = headers.get("content-range", "")
    sent_range = _RANGE.fullmatch(given)
    if sent_range is None:
        raise NotUnderstoodError(f"the part's Content-Range is '{given}'")
    if sent_range["first"] is None:
        return
    size = int(sent_range["last"]) - int(sent_range["first"]) + 1
    is_last = sent_range["total"] != "*" and int(sent_range["last"]) + 1 == int(sent_range["total"])
    if size % _PART_BYTES and not is_last:
        raise NotUnderstoodError(f"the part has {size} bytes, which is no multiple of 256 KiB")
    if isinstance(body, bytes) and len(body) != size:
        raise NotUnderstoodError(f"the part has {len(body)} bytes, and Content-Range says {size}")


def _json(headers: Mapping[str, str], body: bytes | str | None, upload: str) -> Any:
    """Return the JSON of a body: of one in several parts the first, an upload's resource."""
    content_type = headers.get("content-type", "")
    if not body or upload == "media":
        return None
    content = body.encode() if isinstance(body, str) else body
    if upload == "multipart":
        boundary = re.search('boundary="?([^";]+)', content_type)
        if not boundary:
            raise NotUnderstoodError("the body in several parts has no boundary")
        # only the first part: the other is the object
        first = content.split(b"--" + boundary[1].encode(), 2)[1].lstrip(b"\r\n")
        part = message_from_bytes(first)
        content, content_type = part.get_payload(decode=True), part.get_content_type()  # type: ignore[assignment]
    if "json" not in content_type:
        raise NotUnderstoodError(f"the body is {content_type or 'of no type'}, and no JSON")
    try:
        return json.loads(content)
    except ValueError as error:
        raise NotUnderstoodError(f"the body is no JSON: {error}") from None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
