"""The run tags by which a person asks for what a run does not do by itself.

Dagster's UI takes them where a run or a backfill is launched, `dagster job execute` by `--tags`.
"""

import dagster as dg

from taxi_pipeline.errors import PermanentError
from taxi_pipeline.lake.raw import REPLACE_RAW
from taxi_pipeline.tlc.text import printable

# A month of which next to nothing is left is loaded all the same.
ACCEPT_FEWER_ROWS = "taxi/accept_fewer_rows"

HOW_TO_ACCEPT = (
    "Nothing is loaded. If the file is right, run the month again with the tag "
    f'"{ACCEPT_FEWER_ROWS}": "true".'
)

# Checks compare every cell, and count the files of the lake again.
RECOUNT = "taxi/recount"

TAGS = (REPLACE_RAW, ACCEPT_FEWER_ROWS, RECOUNT)


def is_set(run: dg.DagsterRun, tag: str) -> bool:
    """Return whether a run has the tag; raise `PermanentError` for another value than `true`."""
    value = run.tags.get(tag)
    if value not in (None, "true"):
        raise PermanentError(
            f"The tag {tag} has the value '{printable(value, 40)}': give it the value true, or "
            "leave it out."
        )
    return value == "true"
