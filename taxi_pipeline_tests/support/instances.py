"""Instances of Dagster in SQLite: to make their tables takes longer than most tests do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg


@contextmanager
def sqlite_instance(settings: Mapping[str, Any] | None = None) -> Iterator[dg.DagsterInstance]:
    """Yield an instance of its own, whose storage is in files, as development's is."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        copy_tables(Path(folder))
        with dg.instance_for_test(settings, temp_dir=folder) as instance:
            yield instance


def copy_tables(home: Path) -> None:
    """Put the tables of an instance that has seen nothing into a folder that has none."""
    copytree(_template().name, home, dirs_exist_ok=True)


@cache
def _template() -> TemporaryDirectory[str]:
    folder = TemporaryDirectory(ignore_cleanup_errors=True)  # which goes when the process ends
    with dg.instance_for_test(temp_dir=folder.name) as instance:
        assert instance.schedule_storage
        instance.schedule_storage.all_instigator_state()  # it makes its tables when it is asked
    (Path(folder.name) / "dagster.yaml").unlink()
    return folder
