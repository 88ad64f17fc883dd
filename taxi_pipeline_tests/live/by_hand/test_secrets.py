"""No secret shows: each is marked; what the platform writes and its UI answers is searched."""

from collections.abc import Mapping
from pathlib import Path

from .written import SECRETS, shown_secrets


def test_no_secret_is_in_anything_that_was_written(written: Mapping[str, bytes]) -> None:
    shown = {where: shown_secrets(text) for where, text in written.items() if SECRETS.search(text)}
    assert shown == {}


def test_what_was_searched_has_what_the_runs_said(written: Mapping[str, bytes]) -> None:
    def places(sentence: bytes) -> set[str]:
        return {Path(where).suffix or where for where, text in written.items() if sentence in text}

    assert places(b"answered 418") >= {
        "UI, runs",
        "Dagster's PostgreSQL, event_logs",
        ".err",
        ".log",
    }
    assert places(b"password authentication failed") >= {
        "dagster job execute",
        "taxi ledger, refused",
        ".db",
        ".err",
    }
    assert places(b"TAXI_POSTGRES_URL") >= {"UI, resources", "UI, variables"}
    assert b"cleaned/green" in written["lake"]
    assert b'"adds_up": true' in written["taxi ledger"]
