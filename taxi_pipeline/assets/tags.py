"""The run tags by which a person asks for what a run does not do by itself.

Dagster's UI takes them where a run or a backfill is launched, `dagster job execute` by `--tags`.
"""

import dagster as dg

from taxi_pipeline.errors import PermanentError

REPLACE_RAW = "taxi/replace_raw"


def is_set(run: dg.DagsterRun, tag: str) -> bool:
    """Return whether a run has the tag with the value `true`.

    Raises `PermanentError` where the value is neither `true` nor `false`.
    """
    value = run.tags.get(tag, "false")
    if value not in ("true", "false"):
        raise PermanentError(f"The run's tag {tag} is '{value}': write true, or leave it out.")
    return value == "true"
