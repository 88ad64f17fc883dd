"""The publisher: TLC's published files over HTTP, whichever mirror has the month.

Knows URLs and what a publisher answers. What is in a file is for `tlc.reading` to find out.
"""

from taxi_pipeline.resources.publisher.answers import (
    Download,
    FileVersion,
    NotModified,
    RemoteFile,
)
from taxi_pipeline.resources.publisher.resource import Publisher

__all__ = ["Download", "FileVersion", "NotModified", "Publisher", "RemoteFile"]
