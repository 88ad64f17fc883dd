"""The publisher's stand-in: an HTTP server over a folder of published files, or over the generator.

Answers as the two real ones do: ETag, Last-Modified, Range and HEAD for a file that is there,
Amazon S3's 403 for a month that TLC has not published and 404 for one that the mirror does not
have. It runs as a process of its own: `python -m taxi_pipeline.local.publisher --help`.

What brings numpy and Arrow is imported when a file is asked for: who starts the stack needs none of
it, and their threads would take signals from it.
"""

import os
import re
import threading
from collections.abc import Callable, MutableMapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from taxi_pipeline.tlc.month import Month

if TYPE_CHECKING:
    from taxi_pipeline.tlc.services import Service

ZONES = "misc/taxi_zone_lookup.csv"
ZONE_SHAPES = "misc/taxi_zones.zip"
_TLC = re.compile(r"trip-data/(?P<service>[a-z]+)_tripdata_(?P<month>[0-9-]+)\.parquet")
_MIRROR = re.compile(
    r"releases/(?P<service>[a-z]+)/(?P=service)_tripdata_(?P<month>[0-9-]+)\.csv\.gz"
)

# The first and the last month that the mirror holds, of each service that it has.
_MIRRORED = {
    "yellow": (Month(2019, 1), Month(2021, 7)),
    "green": (Month(2019, 1), Month(2021, 7)),
    "fhv": (Month(2019, 1), Month(2019, 12)),
    "fhvhv": (Month(2021, 1), Month(2021, 6)),
}


def url_templates(base: str) -> str:
    """Return TAXI_PUBLISHER_URLS for a publisher at `base`: the mirror first, then TLC."""
    return (
        f"{base}/releases/{{service}}/{{service}}_tripdata_{{month}}.csv.gz,"
        f"{base}/trip-data/{{service}}_tripdata_{{month}}.parquet"
    )


def application(folder: Path, rows: int | None) -> Starlette:
    """Return the server's application: it serves `folder`.

    With `rows`, a published file that is not yet in the folder is generated there when it is first
    asked for, with that many rows.
    """
    files = _PublishedFiles(folder) if rows is None else _GeneratedFiles(folder, rows)
    return Starlette(routes=[Mount("/", files)])


class _PublishedFiles(StaticFiles):
    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder)

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code == 404 and path.startswith("trip-data/"):
                return _missing_in_s3()
            raise


def _missing_in_s3() -> Response:
    """Return S3's answer for a key that is not there, to whom may not list the bucket."""
    return Response(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
        status_code=403,
        headers={"x-amz-request-id": "0000000000000000", "Server": "AmazonS3"},
        media_type="application/xml",
    )


class _GeneratedFiles(_PublishedFiles):
    def __init__(self, folder: Path, rows: int) -> None:
        super().__init__(folder)
        self._folder = folder
        self._rows = rows
        self._generating = threading.Lock()

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        await run_in_threadpool(self._generate, path)
        return await super().get_response(path, scope)

    def _generate(self, path: str) -> None:
        write = self._writer(path)
        if write is None:
            return
        target = self._folder / path
        with self._generating:
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                unfinished = target.with_name(f"unfinished_{target.name}")
                write(unfinished)
                os.replace(unfinished, target)

    def _writer(self, path: str) -> Callable[[Path], None] | None:
        """Return what writes the file of this path; None if no such file is published."""
        from taxi_pipeline.local import generator

        if path == ZONES:
            return generator.write_zones
        if path == ZONE_SHAPES:
            return generator.write_zone_shapes
        if file := _file(_MIRROR, path):
            service, month = file
            if _is_mirrored(service, month):
                return partial(generator.write_csv_gz, service, month, self._rows)
        elif file := _file(_TLC, path):
            service, month = file
            if generator.first_parquet(service) <= month <= _newest():
                return partial(generator.write_parquet, service, month, self._rows)
        return None


def _is_mirrored(service: "Service", month: Month) -> bool:
    months = _MIRRORED.get(service.name)
    return months is not None and months[0] <= month <= months[1]


def _file(pattern: re.Pattern[str], path: str) -> "tuple[Service, Month] | None":
    """Return whose file it is and of which month, if the path can be one's."""
    from taxi_pipeline.tlc.services import SERVICES

    match = pattern.fullmatch(path)
    if match is None or match["service"] not in SERVICES or not Month.is_key(match["month"]):
        return None
    return SERVICES[match["service"]], Month.parse(match["month"])


def _newest() -> Month:
    return Month.newest_published(date.today())  # noqa: DTZ011 - a day more or less is no matter


@click.command()
@click.option("--port", type=int, required=True, help="Port to listen on, on 127.0.0.1.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    required=True,
    help="Folder to serve, laid out as the publisher's.",
)
@click.option("--rows", type=int, help="Generate what is not there, with so many rows a file.")
def main(port: int, folder: Path, rows: int | None) -> None:
    """Serve published files over HTTP until told to stop."""
    import uvicorn

    # the application names the server where it is to be one of the real ones
    uvicorn.run(application(folder, rows), host="127.0.0.1", port=port, server_header=False)


if __name__ == "__main__":
    main()
