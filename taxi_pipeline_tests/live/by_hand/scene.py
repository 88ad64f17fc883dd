"""The platform of these stories: its publisher, what lies before BigQuery, and marked secrets.

Who acts on it adds answers and points of its own, for a service of its own.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from threading import Event
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

from taxi_pipeline.settings import Resources
from taxi_pipeline_tests.support.dagster_dev import OF_A_SCRIPT, WARM
from taxi_pipeline_tests.support.http import Answer, receiving, serving
from taxi_pipeline_tests.support.live_platform import LivePlatform, live_platform
from taxi_pipeline_tests.support.marked import INSTANCE_PASSWORD, KEY, PASSWORD, TOKEN
from taxi_pipeline_tests.support.relays import Exchange, Point, http_relay

# What is held waits for the test, however slow a machine is.
_TIMEOUTS = ("TAXI_BIGQUERY_TIMEOUT", "TAXI_POSTGRES_LOCK_TIMEOUT", "TAXI_PUBLISHER_READ_TIMEOUT")

ENCODED_KEY = base64.b64encode(json.dumps(KEY).encode()).decode()


@dataclass(frozen=True)
class Scene:
    """The platform and the variables that Dagster has; what its publisher and its relay do.

    The publisher is `asked` for paths, and has `answers` by path; for what it does not have, runs
    ask the stack's own. The relay before BigQuery has `points`. Of what is held, all goes on when
    it is `over`. `messages` are what people are told.
    """

    live: LivePlatform
    settings: Mapping[str, str]
    publisher: str
    answers: dict[str, list[Answer]]
    asked: list[str]
    points: list[Point[Exchange]]
    messages: list[dict[str, str]]
    over: Event

    @property
    def key(self) -> Path:
        """The file of Google's key."""
        return Path(self.settings["GOOGLE_APPLICATION_CREDENTIALS"])

    @property
    def scratch(self) -> Path:
        """Where Dagster's processes keep what they have on disk for a while."""
        return Path(self.settings["TMPDIR"])

    def hold(self, _: object) -> None:
        """Keep a request waiting, as an answer or at a point."""
        self.over.wait()

    def in_this_process(self) -> AbstractContextManager[Resources]:
        """Let this process be on the platform too, but not by way of the relay."""
        urls = self.settings["TAXI_PUBLISHER_URLS"]
        return self.live.in_this_process(TAXI_PUBLISHER_URLS=urls)


@contextmanager
def playing() -> Iterator[Scene]:
    """Start the stack, and let Dagster start; wait for nothing but the former."""
    answers: dict[str, list[Answer]] = {}
    points: list[Point[Exchange]] = []
    over = Event()
    with (
        serving(answers) as (publisher, asked),
        receiving() as (told_at, messages),
        live_platform(OF_A_SCRIPT, SIGTERM) as live,
        http_relay(live.variables["BIGQUERY_EMULATOR_HOST"], points) as bigquery,
    ):
        key, scratch = live.folder / "key.json", live.folder / "scratch"
        key.write_text(json.dumps(KEY))
        scratch.mkdir()
        ours = f"{publisher}/{{service}}_tripdata_{{month}}.csv.gz"
        settings = {
            **WARM,
            **dict.fromkeys(_TIMEOUTS, "3600"),
            "BIGQUERY_EMULATOR_HOST": bigquery,
            "DAGSTER_POSTGRES_URL": _role(live, "dagster", INSTANCE_PASSWORD, "dagster"),
            "GCP_CREDENTIALS": ENCODED_KEY,
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            "TAXI_NOTIFY_URL": told_at.replace("//", f"//user:{TOKEN}@") + TOKEN,
            "TAXI_POSTGRES_URL": _role(live, "us er", PASSWORD, "postgres"),
            "TAXI_PUBLISHER_URLS": f"{ours},{live.variables['TAXI_PUBLISHER_URLS']}",
            "TMPDIR": str(scratch),
        }
        # all runs go on at once, and Dagster's memory is where it is in production
        in_postgres = {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}
        yaml = live.dagster_yaml.read_text()
        yaml = re.sub("(max_concurrent_runs|default_limit): 2", r"\1: 20", yaml)
        live.dagster_yaml.write_text(f"{yaml}\nstorage: {json.dumps(in_postgres)}\n")
        live.start_dagster(settings)
        try:
            yield Scene(live, settings, publisher, answers, asked, points, messages, over)
        finally:
            over.set()
            live.end()  # before what it has before BigQuery


def _role(live: LivePlatform, name: str, password: str, database: str) -> str:
    """Make a role with a database of that name; return the URL by which it connects."""
    url = live.variables["TAXI_POSTGRES_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        its = {"role": sql.Identifier(name), "password": sql.Literal(password)}
        connection.execute(
            sql.SQL("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD {password}").format(**its)
        )
        if database != "postgres":
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    user = f"{quote(name)}:{quote(password, safe='')}"
    return f"postgresql://{user}@127.0.0.1:{urlsplit(url).port}/{database}?sslmode=disable"
