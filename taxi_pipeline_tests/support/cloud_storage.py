"""Cloud Storage where the emulator is not like it, in memory: what objects are and go through.

Preconditions hold for every method, also at the end of an upload in parts. A change of metadata
leaves the generation and counts the metageneration. The checksum that is promised and the size of
the metadata are looked at. What is stored with `Content-Encoding: gzip` is decompressed for whoever
does not take gzip. A list comes in pages. Buckets, and what the platform does not use, are missing.
"""

import base64
import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from typing import Any

import google_crc32c
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from taxi_pipeline_tests.support.contracts.rules import METADATA_BYTES

_PAGE = 2  # objects
_OBJECT = "/storage/v1/b/{bucket}/o/{name:path}"


@dataclass
class Stored:
    """An object: its bytes, and what is said of it."""

    name: str
    content: bytes
    resource: dict[str, Any]
    generation: int
    metageneration: int = 1
    created: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}")

    def described(self, request: Request) -> dict[str, Any]:
        """Return the object's resource."""
        quoted = self.name.replace("/", "%2F")
        bucket = request.path_params["bucket"]
        link = f"{request.base_url}download/storage/v1/b/{bucket}/o/{quoted}?alt=media"
        return self.resource | {
            "name": self.name,
            "size": str(len(self.content)),
            "crc32c": _crc32c(self.content),
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "timeCreated": self.created,
            "mediaLink": f"{link}&generation={self.generation}",
        }


class RefusedError(Exception):
    """What Cloud Storage does not do, with the status that says so."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass
class CloudStorage:
    """A bucket's objects by name, and the uploads that are under way by number."""

    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, tuple[dict[str, Any], Mapping[str, str], bytearray]] = field(
        default_factory=dict
    )
    newest: int = 1_700_000_000_000_000

    def put(self, name: str, content: bytes, **resource: Any) -> Stored:
        """Put an object there as anybody does."""
        self.newest += 1
        self.objects[name] = Stored(name, content, resource, self.newest)
        return self.objects[name]

    @property
    def application(self) -> Starlette:
        """The server."""
        upload, listing = "/upload/storage/v1/b/{bucket}/o", "/storage/v1/b/{bucket}/o"
        routes = [
            Route(upload, self._begin, methods=["POST"]),
            Route(upload, self._continue, methods=["PUT"]),
            Route(listing, self._list, methods=["GET"]),
            Route(f"/download{_OBJECT}", self._get, methods=["GET"]),
            Route(_OBJECT, self._get, methods=["GET"]),
            Route(_OBJECT, self._patch, methods=["PATCH"]),
            Route(_OBJECT, self._delete, methods=["DELETE"]),
        ]
        return Starlette(routes=routes, exception_handlers={RefusedError: _refused})

    async def _begin(self, request: Request) -> Response:
        body, query = await request.body(), request.query_params
        if query["uploadType"] == "multipart":
            resource, content = _parts(request.headers["content-type"], body)
            return self._store(request, query, resource, content)
        resource = json.loads(body)
        self._check(query, resource["name"])
        number = str(len(self.uploads) + 1)
        self.uploads[number] = (resource, dict(query), bytearray())
        location = f"{request.url}&upload_id={number}"
        return Response(status_code=200, headers={"Location": location})

    async def _continue(self, request: Request) -> Response:
        resource, query, content = self.uploads[request.query_params["upload_id"]]
        content += await request.body()
        if request.headers["content-range"].endswith("/*") or len(content) < _total(request):
            return Response(status_code=308, headers={"Range": f"bytes=0-{len(content) - 1}"})
        return self._store(request, query, resource, bytes(content))

    def _store(
        self,
        request: Request,
        query: Mapping[str, str],
        resource: dict[str, Any],
        content: bytes,
    ) -> Response:
        name = resource.pop("name")
        self._check(query, name)
        promised = resource.pop("crc32c", _crc32c(content))
        if promised != (arrived := _crc32c(content)):
            words = f'Provided CRC32C "{promised}" doesn\'t match calculated CRC32C "{arrived}".'
            raise RefusedError(400, words)
        _check_metadata(resource)
        return JSONResponse(self.put(name, content, **resource).described(request))

    async def _get(self, request: Request) -> Response:
        stored = self._check(request.query_params, request.path_params["name"], there=True)
        if request.query_params.get("alt") != "media":
            return JSONResponse(stored.described(request))
        content, headers = stored.content, {"X-Goog-Hash": f"crc32c={_crc32c(stored.content)}"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if stored.resource.get("contentEncoding") == "gzip":
            if "gzip" not in request.headers.get("accept-encoding", ""):
                return Response(gzip.decompress(content), headers=headers)  # of no range
            headers["Content-Encoding"] = "gzip"
        if not asked:
            return Response(content, headers=headers)
        first, last = int(asked[1]), int(asked[2] or len(content) - 1)
        if first >= len(content):
            raise RefusedError(416, "Request range not satisfiable")
        headers["Content-Range"] = f"bytes {first}-{min(last, len(content) - 1)}/{len(content)}"
        return Response(content[first : last + 1], 206, headers)

    async def _patch(self, request: Request) -> Response:
        stored = self._check(request.query_params, request.path_params["name"], there=True)
        changes = await request.json()
        metadata = stored.resource.get("metadata", {}) | changes.get("metadata", {})
        kept = {name: value for name, value in metadata.items() if value is not None}
        _check_metadata({"metadata": kept})
        stored.resource["metadata"] = kept
        stored.metageneration += 1
        return JSONResponse(stored.described(request))

    async def _delete(self, request: Request) -> Response:
        name = request.path_params["name"]
        self._check(request.query_params, name, there=True)
        del self.objects[name]
        return Response(status_code=204)

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        begin, after = query.get("prefix", ""), query.get("pageToken", "")
        names = sorted(name for name in self.objects if name.startswith(begin) and name > after)
        items = [self.objects[name].described(request) for name in names[:_PAGE]]
        more = {"nextPageToken": names[_PAGE - 1]} if len(names) > _PAGE else {}
        return JSONResponse({"items": items} | more)

    def _check(self, query: Mapping[str, str], name: str, *, there: bool = False) -> Stored:
        """Return the object that a request is about; raise where it is not the one that is meant.

        Unless it has to be `there`, one without bytes stands for none.
        """
        stored = self.objects.get(name)
        generation = stored.generation if stored else 0
        meant = query.get("generation", str(generation))
        if there and (stored is None or meant != str(generation)):
            raise RefusedError(404, f"No such object: {name}")
        stored = stored or Stored(name, b"", {}, 0, 0)
        for parameter, number in (
            ("ifGenerationMatch", generation),
            ("ifMetagenerationMatch", stored.metageneration),
        ):
            if query.get(parameter, str(number)) != str(number):
                raise RefusedError(412, "At least one of the pre-conditions did not hold.")
        return stored


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    described = {"code": error.status, "message": str(error)}
    return JSONResponse({"error": described}, error.status)


def _parts(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    whole = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    boundary = b"--" + str(whole.get_boundary()).encode()
    resource, content = (part.split(b"\r\n\r\n", 1)[1] for part in body.split(boundary)[1:3])
    return json.loads(resource), content.removesuffix(b"\r\n")


def _check_metadata(resource: Mapping[str, Any]) -> None:
    size = sum(len(f"{key}{text}".encode()) for key, text in resource.get("metadata", {}).items())
    if size > METADATA_BYTES:
        raise RefusedError(400, f"The metadata has {size} bytes.")


def _total(request: Request) -> int:
    return int(request.headers["content-range"].rpartition("/")[2])


def _crc32c(content: bytes) -> str:
    return base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()
