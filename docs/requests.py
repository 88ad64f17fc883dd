"""docs/requests.md, written anew from what the platform sends: `make docs`.

It runs the platform on an embedded stack of its own, which takes a quarter of a minute. What is run
is said in `taxi_pipeline_tests.support.contracts.flows`, and the page's form beside it, in `page`.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from taxi_pipeline.local.stack import PublisherOptions, running
from taxi_pipeline.settings import load_resources
from taxi_pipeline_tests.conftest import ROWS, Platform, in_memory_instance
from taxi_pipeline_tests.support.contracts.flows import recorded
from taxi_pipeline_tests.support.contracts.page import PAGE, page_of, shapes


def main() -> None:
    """Write the page."""
    # not below a folder that is closed to other users: root's PostgreSQL runs as another
    with (
        TemporaryDirectory(prefix="taxi-") as stack,
        TemporaryDirectory() as folder,
        running(Path(stack), PublisherOptions(None, ROWS)) as variables,
        patch.dict(os.environ, variables),
        in_memory_instance(Path(stack)) as instance,
    ):
        calls = recorded(Platform(load_resources(), instance), Path(folder))
    PAGE.write_text(page_of(shapes(calls)))


if __name__ == "__main__":
    main()
