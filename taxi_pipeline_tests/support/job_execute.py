"""A job run by `dagster job execute`, in a process of its own, on the platform of this one."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess

from .forkserver import Start, run


def job_execute(
    job: str, *arguments: str, variables: Mapping[str, str] | None = None, start: Start = run
) -> CompletedProcess[str]:
    """Run a job; a variable given as empty is unset."""
    settings = os.environ | (variables or {})
    environment = {name: value for name, value in settings.items() if value}
    command = [
        *(str(Path(sys.executable).with_name("dagster")), "job", "execute"),
        *("-m", "taxi_pipeline.definitions", "-j", job, *arguments),
    ]
    return start(command, env=environment)
