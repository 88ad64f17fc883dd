"""The form of the documents: YAML that people can read, and a file that is whole or not there."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from taxi_pipeline.errors import PermanentError

_WIDTH = 100


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and lists within what they belong to."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else ">" if len(text) > _WIDTH * 3 // 4 else None
    # to YAML 1.1 these words are booleans, which PyYAML does not know
    style = "'" if text.lower() in ("y", "n") else style
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.SequenceNode:
    is_short = all(isinstance(item, int | str) and len(str(item)) < _WIDTH // 4 for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=is_short)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def to_yaml(document: Mapping[str, Any], command: str) -> str:
    """Return a document as YAML, below a comment that names the command that writes it."""
    written = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return (
        f"# Written by `{command}` from the declared tables: do not change it by hand.\n{written}"
    )


def write_document(text: str, path: Path) -> None:
    """Write a text into a file; one that is there is replaced whole, or stays as it is.

    Args:
        text: The text, in UTF-8.
        path: The file. A link leads to the file that is replaced; what is no file, such as a pipe,
            is written into.

    Raises:
        PermanentError: It cannot be written.
    """
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            target.write_text(text, "utf-8")
            return
        unfinished = target.with_name(f".{target.name}.{uuid4().hex}")
        try:
            with unfinished.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, unfinished)
            unfinished.replace(target)
        finally:
            with suppress(FileNotFoundError):
                unfinished.unlink()
    except OSError as error:
        raise PermanentError(f"{path} cannot be written: {error.strerror}.") from error
