"""The emulators' container: Google's two services, and TLC behind a gate, for the others in it.

It runs in the image of the stand-ins, by `python -m taxi_pipeline_tests.containers.emulators`.
"""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from taxi_pipeline.local import servers
from taxi_pipeline.local.publisher import application
from taxi_pipeline_tests.containers.gate import Gate, control

HOST = "emulators"
GCS, BIGQUERY, PUBLISHER = 9001, 9002, 9003
ROWS = 2_000
READY = Path("/ready/yes")  # in memory, so that no restart finds it

_DATA = Path("/data")


def main() -> None:
    """Serve until SIGTERM, or until one of the emulators ends."""
    published = _DATA / "published"
    published.mkdir(parents=True, exist_ok=True)
    gcs, _ = servers.gcs(_DATA / "gcs", GCS, HOST)
    bigquery, _ = servers.bigquery(_DATA / "bigquery", _DATA / "gcs", BIGQUERY, HOST)
    gate = Gate(application(published, ROWS))
    routes = [Mount("/gate", control(gate)), Mount("/", gate)]
    processes = [subprocess.Popen(server.command) for server in (gcs, bigquery)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        serving = threading.Thread(
            target=uvicorn.run,
            args=(Starlette(routes=routes),),
            # a container's own network is all that reaches it, and a port of loopback
            kwargs={"host": "0.0.0.0", "port": PUBLISHER, "log_level": "warning"},
            daemon=True,
        )
        serving.start()
        for server in (gcs, bigquery):
            while not server.answers():
                threading.Event().wait(0.1)
            server.prepare()
        READY.touch()
        for process in processes:
            process.wait()
    finally:
        gate.open()
        for process in processes:
            process.terminate()


if __name__ == "__main__":
    main()
