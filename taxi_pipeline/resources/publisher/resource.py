"""The Dagster resource for the publisher: whichever mirror has the month, asked over HTTP."""

from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import ClassVar
from urllib.parse import urljoin

import dagster as dg
from pydantic import Field

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.resources.publisher.answers import (
    Download,
    FileVersion,
    Limit,
    NotModified,
    RemoteFile,
    ask,
    ask_for_headers,
    refuse_to_change,
    remote_file,
    save,
)
from taxi_pipeline.resources.publisher.urls import check_file_url, url_templates
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import Service

_ZONE_SHAPES = "taxi_zones.zip"  # TLC's own name
_LATER_MONTHS = 3  # that are asked for where a month is missing


def _ignore_progress(size: int) -> None:
    """Report nothing."""


class Publisher(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where published files come from, in order of preference: the first that has a month wins."""

    variables: ClassVar = {
        "urls": "TAXI_PUBLISHER_URLS",
        "zones_url": "TAXI_ZONES_URL",
        "zone_shapes_url": "TAXI_ZONE_SHAPES_URL",
        "connect_timeout": "TAXI_PUBLISHER_CONNECT_TIMEOUT",
        "read_timeout": "TAXI_PUBLISHER_READ_TIMEOUT",
        "download_timeout": "TAXI_PUBLISHER_DOWNLOAD_TIMEOUT",
        "look_timeout": "TAXI_PUBLISHER_LOOK_TIMEOUT",
    }

    urls: str = Field(
        description="URL templates with {service} and {month}, separated by commas "
        "(TAXI_PUBLISHER_URLS)."
    )
    zones_url: str = Field(description="URL of the taxi zones, a CSV (TAXI_ZONES_URL).")
    zone_shapes_url: str = Field(
        default="",
        description="URL of the zones' shapes, a zipped shapefile (TAXI_ZONE_SHAPES_URL); where it "
        "is not set, that of taxi_zones.zip beside the zones.",
    )
    connect_timeout: int = Field(
        default=10, description="Seconds to wait for a connection (TAXI_PUBLISHER_CONNECT_TIMEOUT)."
    )
    read_timeout: int = Field(
        default=300,
        description="Seconds to wait for the server's next bytes (TAXI_PUBLISHER_READ_TIMEOUT).",
    )
    download_timeout: int = Field(
        default=3600,
        description="Seconds that a whole download may take (TAXI_PUBLISHER_DOWNLOAD_TIMEOUT).",
    )
    look_timeout: int = Field(
        default=5,
        description="Seconds to wait for an answer where nothing is downloaded "
        "(TAXI_PUBLISHER_LOOK_TIMEOUT).",
    )

    def fetch_month(
        self,
        service: Service,
        month: Month,
        folder: Path,
        known_version: FileVersion | None = None,
        on_progress: Callable[[int], None] = _ignore_progress,
    ) -> Download | NotModified:
        """Download the published file of a month, unless it is still of the known version.

        Args:
            service: The service.
            month: The month.
            folder: The folder that gets the file.
            known_version: The version that is there already.
            on_progress: Is called with the number of bytes received since the previous call.

        Raises:
            PermanentError: No URL has the month, an answer is one that asking again cannot change,
                or TAXI_PUBLISHER_URLS is malformed.
            TransientError: A publisher could not be asked: another URL is no way out then. Or the
                month is missing where the known version came from, or although one of the three
                after it is published: publishers do not withdraw months, but may fail to find them.
        """
        urls = self._urls(service, month)
        for url in urls:
            answer = self._fetch(url, folder, known_version, on_progress)
            if answer is not None:
                return answer
            refuse_to_change(url, known_version)
        tried = f"{' and '.join(urls)} do not have it"
        if later := self._later(service, month):
            raise TransientError(
                f"{service.name} {month} is missing: {tried}, although {later} is published. If it "
                "stays so, see whether they refuse us, or have withdrawn it."
            )
        raise PermanentError(
            f"{service.name} {month} is not published: {tried}. TLC publishes a month about two "
            "months after its end."
        )

    def look(
        self, service: Service, month: Month, known_version: FileVersion | None = None
    ) -> RemoteFile | NotModified | None:
        """Ask what `fetch_month` would find, without downloading.

        Args:
            service: The service.
            month: The month.
            known_version: The version that is there already.

        Returns:
            What the first URL that has the month says of it; None where none has it.

        Raises:
            PermanentError: An answer is one that asking again cannot change, or TAXI_PUBLISHER_URLS
                is malformed.
            TransientError: A publisher could not be asked, or no longer has the known version's
                file.
        """
        limit = Limit(self.look_timeout, "TAXI_PUBLISHER_LOOK_TIMEOUT")
        for url in self._urls(service, month):
            answer = ask_for_headers(url, known_version, limit, partial(remote_file, url))
            if answer is not None:
                return answer
            refuse_to_change(url, known_version)
        return None

    def fetch_zones(
        self,
        folder: Path,
        known_version: FileVersion | None = None,
        on_progress: Callable[[int], None] = _ignore_progress,
    ) -> Download | NotModified:
        """Download the taxi zones, unless they are still of the known version.

        Args:
            folder: The folder that gets the file.
            known_version: The version that is there already.
            on_progress: Is called with the number of bytes received since the previous call.

        Raises:
            PermanentError: The URL does not have them or is malformed, or its answer is one that
                asking again cannot change.
            TransientError: The publisher could not be asked.
        """
        return self._fetch_file(
            self.zones_url, "TAXI_ZONES_URL", "The taxi zones", folder, known_version, on_progress
        )

    def fetch_zone_shapes(
        self,
        folder: Path,
        known_version: FileVersion | None = None,
        on_progress: Callable[[int], None] = _ignore_progress,
    ) -> Download | NotModified:
        """Download the zones' shapes as `fetch_zones` does the zones."""
        url = self.zone_shapes_url or urljoin(self.zones_url, _ZONE_SHAPES)
        return self._fetch_file(
            url, "TAXI_ZONE_SHAPES_URL", "The zones' shapes", folder, known_version, on_progress
        )

    def _fetch_file(
        self,
        url: str,
        variable: str,
        content: str,
        folder: Path,
        known_version: FileVersion | None,
        on_progress: Callable[[int], None],
    ) -> Download | NotModified:
        """Fetch a file that has one URL, which a variable sets; `content` begins a sentence."""
        check_file_url(url, variable)
        answer = self._fetch(url, folder, known_version, on_progress)
        if answer is None:
            raise PermanentError(f"{content} are not at {url}. Set {variable} to where they are.")
        return answer

    def _later(self, service: Service, month: Month) -> Month | None:
        """Return a later month that is published, of the next few that are due."""
        newest = Month.newest_published(date.today())  # noqa: DTZ011 - a day more or less is no matter
        for _ in range(_LATER_MONTHS):
            month = month.next
            if month > newest:
                break
            if self.look(service, month):
                return month
        return None

    def _urls(self, service: Service, month: Month) -> list[str]:
        return [
            template.format(service=service.name, month=month.key)
            for template in url_templates(self.urls)
        ]

    def _fetch(
        self,
        url: str,
        folder: Path,
        known_version: FileVersion | None,
        on_progress: Callable[[int], None],
    ) -> Download | NotModified | None:
        """Fetch one URL; None where it is not published."""
        timeouts = (self.connect_timeout, self.read_timeout)
        limit = Limit(self.download_timeout, "TAXI_PUBLISHER_DOWNLOAD_TIMEOUT")
        return ask(
            "GET", url, known_version, timeouts, limit, partial(save, url, folder, on_progress)
        )
