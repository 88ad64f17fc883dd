"""This machine: whether a run's files have room on its disk."""

import shutil
from tempfile import gettempdir

from taxi_pipeline.automation.pods import LARGEST
from taxi_pipeline.doctor.context import Context
from taxi_pipeline.doctor.finding import Finding, failed, ok, skipped


def check_scratch(context: Context) -> Finding:
    """Check that scratch files can be made, and that the largest month has room beside them."""
    from taxi_pipeline.io.scratch import scratch

    with scratch() as folder:
        free = shutil.disk_usage(folder).free
    where, needed = gettempdir(), LARGEST.disk << 30
    message = f"{free / (1 << 30):.1f} GiB free in {where}"
    if context.runs_elsewhere:
        return skipped(f"runs have disks of their own; here {message}", free_bytes=free)
    if free >= needed:
        return ok(message, free_bytes=free, needed_bytes=needed)
    largest = f"the largest month takes {LARGEST.disk} GiB"
    if free and context.emulated:
        return skipped(f"{message}; {largest}, but no generated one", free_bytes=free)
    return failed(
        f"{message}, where {largest}: make room, or set TMPDIR to a folder on a larger disk.",
        free_bytes=free,
        needed_bytes=needed,
    )
