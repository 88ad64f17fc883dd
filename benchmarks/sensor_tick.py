"""Seconds of a tick of the sensor `published_months`, with every month of TLC's in the lake.

Fills the lake of an embedded stack of its own, puts an HTTP server that knows all the months in the
publisher's place, and evaluates five ticks.

    python -m benchmarks.sensor_tick
"""

import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import click
import dagster as dg

from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.definitions import defs
from taxi_pipeline.lake.metadata import PENDING
from taxi_pipeline.lake.paths import object_paths
from taxi_pipeline.local.publisher import url_templates
from taxi_pipeline.local.stack import PublisherOptions, running
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.settings import load_resources
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(304 if self.headers["If-None-Match"] else 404)  # TLC, or the mirror
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def _measure(urls: str) -> None:
    stores = load_resources()
    resources = {**stores.by_name(), "publisher": Publisher(urls=urls, zones_url="")}
    months = [(of, key) for of in SERVICES.values() for key in months_of(of).get_partition_keys()]
    for service, key in months:
        url = urls.split(",")[1].format(service=service.name, month=key)
        name = f"{object_paths(service, Month.parse(key)).raw}parquet"
        stores.lake.upload(
            Path(__file__),
            name,
            {"source_url": url, "stored_at": PENDING, "etag": '"1"'},
            replaced=0,
        )
    instance, cursor = dg.DagsterInstance.get(), None
    for _ in range(5):
        context = dg.build_sensor_context(instance, cursor, definitions=defs, resources=resources)
        began = time.monotonic()
        with context:
            tick = defs.resolve_sensor_def("published_months").evaluate_tick(context)
        click.echo(f"{len(months)} months, {time.monotonic() - began:.1f} s: {tick.skip_message}")
        cursor = tick.cursor


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    with (
        TemporaryDirectory() as folder,
        running(Path(folder), PublisherOptions(None, 1)) as variables,
    ):
        os.environ.update(variables)
        _measure(url_templates(f"http://127.0.0.1:{server.server_port}"))
