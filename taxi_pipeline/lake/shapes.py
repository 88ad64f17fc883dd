"""The zones' shapes, read from the lake to be drawn."""

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.io.scratch import scratch
from taxi_pipeline.lake.paths import ZONE_SHAPES_PATHS
from taxi_pipeline.resources.gcs import Lake
from taxi_pipeline.tlc.services import TAXI_ZONE_SHAPES
from taxi_pipeline.tlc.shapes import ZoneShape, read_zone_shapes


def find_zone_shapes(lake: Lake) -> list[ZoneShape]:
    """Return the shapes of the lake's zones, simplified to draw all of them small.

    Args:
        lake: The lake.

    Raises:
        PermanentError: The lake has no shapes, or they cannot be read.
        TransientError: The lake is away, or the shapes are replaced at this moment.
    """
    stored = lake.get(ZONE_SHAPES_PATHS.cleaned)
    if stored is None:
        raise PermanentError(
            f"{lake.uri(ZONE_SHAPES_PATHS.cleaned)} is not in the lake: run the job "
            f"{TAXI_ZONE_SHAPES.name} first."
        )
    with scratch() as folder:
        return read_zone_shapes(lake.download(stored, folder))
