"""Seconds of a tick of the sensor `published_months`, with every month of TLC's in the lake.

Fills the lake of an embedded stack of its own with raw objects of all services' months, puts an
HTTP server in the publisher's place that knows them all, and evaluates a few ticks.

    taxi local --data-dir $(mktemp -d) python benchmarks/sensor_tick.py
"""

import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import click
import dagster as dg

from taxi_pipeline.assets.trips import months_of
from taxi_pipeline.definitions import defs
from taxi_pipeline.local.publisher import url_templates
from taxi_pipeline.resources.environment import ready
from taxi_pipeline.resources.lake import place_of
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import SERVICES

ETAG = '"1"'


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        at_tlc = self.path.startswith("/trip-data/")
        self.send_response(304 if at_tlc and self.headers["If-None-Match"] == ETAG else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""


def main() -> None:
    """Measure five ticks, one after the other."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    urls, ours = url_templates(f"http://127.0.0.1:{server.server_port}"), vars(ready())
    months = [
        (its, key) for its in SERVICES.values() for key in months_of(its).get_partition_keys()
    ]
    for service, key in months:
        url = urls.split(",")[1].format(service=service.name, month=key)
        name = f"{place_of(service, Month.parse(key)).raw}parquet"
        ours["lake"].upload(Path(__file__), name, {"source_url": url, "etag": ETAG})
    resources = {**ours, "publisher": Publisher(urls=urls, zones_url="")}
    instance, cursor = dg.DagsterInstance.get(), None
    for _ in range(5):
        context = dg.build_sensor_context(instance, cursor, definitions=defs, resources=resources)
        began = time.monotonic()
        with context:
            tick = defs.resolve_sensor_def("published_months").evaluate_tick(context)
        click.echo(f"{time.monotonic() - began:.1f} s: {tick.skip_message}")
        cursor = tick.cursor
    click.echo(f"with {len(months)} months in the lake")


if __name__ == "__main__":
    main()
