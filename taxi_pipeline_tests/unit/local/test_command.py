"""Where `taxi local` looks for commands."""

import os
import sysconfig

import pytest

from taxi_pipeline.local.command import search_path

OURS = sysconfig.get_path("scripts")


def test_the_environments_commands_come_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert search_path() == f"{OURS}:/usr/bin:/bin"
    monkeypatch.delenv("PATH")
    assert search_path() == f"{OURS}:{os.defpath}"


def test_what_somebody_has_put_before_them_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"/home/me/bin:{OURS}:/usr/bin")
    assert search_path() == f"/home/me/bin:{OURS}:/usr/bin"
