"""No secret shows: each is marked, and all that runs write and the UI answers is searched for it."""

import base64
import gzip
import json
import os
import re
import sqlite3
import subprocess
import sys
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.local.stack import Settings, running
from taxi_pipeline.resources import environment
from taxi_pipeline.resources.database import Database
from taxi_pipeline.resources.google import CloudStorage
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN, YELLOW
from taxi_pipeline_tests.support.dagster_dev import DagsterDev, dagster_dev
from taxi_pipeline_tests.support.http import Answer, body, receiving, serving, status
from taxi_pipeline_tests.support.processes import until
from taxi_pipeline_tests.support.published import TRIP, YELLOW_HEADER

STACK = Settings(None, rows=500)
MARK = "s3cr3t"
ODD = "@/:?#%&=+ '\"\\,é{"

PASSWORD = f"{MARK}-postgres{ODD}{MARK}-postgres-end"
INSTANCE_PASSWORD = f"{MARK}-instance"
TOKEN = f"{MARK}-token"
SIGNATURE = f"{MARK}-signature"
KEY = {
    "type": "service_account",
    "project_id": "taxi-local",
    "private_key_id": f"{MARK}-key-id",
    "private_key": f"-----BEGIN PRIVATE KEY-----\n{MARK}-private-key\n-----END PRIVATE KEY-----\n",
    "client_email": "loader@taxi-local.iam.gserviceaccount.com",
    "token_uri": "http://127.0.0.1:1/token",
}
ENCODED_KEY = base64.b64encode(json.dumps(KEY).encode()).decode()
# any part of it, as the mark inside is not to be seen
PARTS = [ENCODED_KEY[start : start + 24] for start in range(0, len(ENCODED_KEY) - 24, 24)]
SECRETS = re.compile("|".join([MARK, *map(re.escape, PARTS)]).encode())

GOOD, REFUSED = "2021-01", "2021-02"
DAGSTER = str(Path(sys.executable).with_name("dagster"))
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}

LAUNCH = """
mutation ($month: String!) {
  launchRun(executionParams: {
    mode: "default"
    executionMetadata: {tags: [{key: "dagster/partition", value: $month}]}
    selector: {
      repositoryLocationName: "taxi_pipeline"
      repositoryName: "__repository__"
      jobName: "yellow_trips"
    }
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
REPOSITORY = {"repositoryLocationName": "taxi_pipeline", "repositoryName": "__repository__"}
METADATA = """
label description
... on TextMetadataEntry { text }
... on UrlMetadataEntry { url }
... on PathMetadataEntry { path }
... on JsonMetadataEntry { jsonString }
... on MarkdownMetadataEntry { mdStr }
... on TableMetadataEntry { table { records } }
"""
ERROR = "{ message stack errorChain { error { message stack } } }"
# what the UI's pages show that settings or errors may reach
PAGES = {
    "resources": """
      query ($repository: RepositorySelector!) {
        allTopLevelResourceDetailsOrError(repositorySelector: $repository) {
          ... on ResourceDetailsList {
            results {
              name description resourceType
              configFields { name description defaultValueAsJson }
              configuredValues { key value type }
            }
          }
        }
      }""",
    "configuration of the job": """
      query ($job: PipelineSelector!) {
        runConfigSchemaOrError(selector: $job) {
          ... on RunConfigSchema {
            rootDefaultYaml
            allConfigTypes {
              key description
              ... on CompositeConfigType { fields { name description defaultValueAsJson } }
            }
          }
        }
      }""",
    "deployment": """
      query {
        instance {
          info
          daemonHealth { allDaemonStatuses { daemonType lastHeartbeatErrors { message stack } } }
        }
        workspaceOrError {
          ... on Workspace {
            locationEntries { name displayMetadata { key value } }
          }
        }
      }""",
    "variables": """
      query ($repository: RepositorySelector!) {
        utilizedEnvVarsOrError(repositorySelector: $repository) {
          ... on EnvVarWithConsumersList { results { envVarName } }
        }
      }""",
    "runs": """
      query {
        runsOrError {
          ... on Runs {
            results {
              runId status runConfigYaml tags { key value }
              eventConnection {
                events {
                  ... on MessageEvent { message }
                  ... on ErrorEvent { error %s }
                  ... on DisplayableEvent { metadataEntries { %s } }
                  ... on ExecutionStepFailureEvent { failureMetadata { metadataEntries { %s } } }
                }
              }
            }
          }
        }
      }"""
    % (ERROR, METADATA, METADATA),
    "assets": """
      query {
        assetNodes {
          assetKey { path }
          metadataEntries { %s }
          assetMaterializations { metadataEntries { %s } }
        }
      }"""
    % (METADATA, METADATA),
    "sensors": """
      query ($repository: RepositorySelector!) {
        sensorsOrError(repositorySelector: $repository) {
          ... on Sensors {
            results {
              name description
              sensorState { ticks(limit: 5) { status skipReason error { message stack } } }
            }
          }
        }
      }""",
}


@pytest.fixture(scope="module")
def written() -> Iterator[Mapping[str, bytes]]:
    """Run good and bad months with marked secrets; return all that was written, by where."""
    answers: dict[str, list[Answer]] = {}
    with ExitStack() as ends, ExitStack() as starting:
        # pytest's own folders are closed to other users, and root's PostgreSQL runs as another
        folder = Path(ends.enter_context(TemporaryDirectory(prefix="taxi-")))
        publisher, _ = ends.enter_context(serving(answers))
        messages, told = ends.enter_context(receiving())
        stack = starting.enter_context(running(folder / "data", STACK))
        answers |= {
            f"/yellow_tripdata_{GOOD}.csv.gz": [
                status(302, Location=f"{publisher}/signed.csv.gz?X-Signature={SIGNATURE}")
            ],
            f"/signed.csv.gz?X-Signature={SIGNATURE}": [body(trips(), '"1"')],
            f"/yellow_tripdata_{REFUSED}.csv.gz": [
                status(302, Location=f"{publisher}/refused?X-Signature={SIGNATURE}")
            ],
            f"/refused?X-Signature={SIGNATURE}": [status(418)],
        }
        key = folder / "key.json"
        key.write_text(json.dumps(KEY))
        settings = {
            "DAGSTER_POSTGRES_URL": role(stack, "dagster", INSTANCE_PASSWORD, "dagster"),
            "GCP_CREDENTIALS": ENCODED_KEY,
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            "TAXI_NOTIFY_URL": messages.replace("//", f"//user:{TOKEN}@") + TOKEN,
            "TAXI_POSTGRES_URL": role(stack, "us er", PASSWORD, "postgres"),
            "TAXI_PUBLISHER_URLS": f"{publisher}/{{service}}_tripdata_{{month}}.csv.gz",
        }
        home = folder / "data" / "dagster"
        development = (home / "dagster.yaml").read_text()
        in_postgres = {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}
        (home / "dagster.yaml").write_text(f"{development}\nstorage: {json.dumps(in_postgres)}\n")
        output = folder / "dev.log"
        wrapper = ["env", *(f"{name}={value}" for name, value in settings.items())]
        wrapper += ["sh", "-c", f'exec "$@" >{output} 2>&1', "sh"]
        dev = ends.enter_context(dagster_dev(folder, *wrapper))
        starting.close()  # the stack ends with who joined it

        found: dict[str, bytes] = {}
        launched = [launch(dev, month) for month in (GOOD, REFUSED)]
        alone = job_execute(folder, stack | settings)
        until(lambda: all(ended(dev, run) for run in launched), 100)
        found["dagster job execute"] = alone.stdout + alone.stderr
        for name, page in PAGES.items():
            found[f"UI, {name}"] = asked(dev, page)
        for run in launched:
            with urllib.request.urlopen(f"{dev.url}/download_debug/{run}", timeout=30) as answer:
                found[f"UI, debug file of {run}"] = gzip.decompress(answer.read())
        with patch.dict(os.environ, stack | settings):
            found["lake"] = json.dumps(
                [vars(one) for one in environment.ready().lake.find("")]
            ).encode()
        found["taxi ledger"] = taxi(stack | settings, "ledger", "--json")
        found["taxi ledger, refused"] = taxi(
            stack | settings | {"TAXI_POSTGRES_URL": wrong(settings["TAXI_POSTGRES_URL"])}, "ledger"
        )
        for table, rows in tables_of(settings["DAGSTER_POSTGRES_URL"]):
            found[f"Dagster's PostgreSQL, {table}"] = rows
        # telling needs no other look: a message has no secret but that it arrives
        found["messages"] = json.dumps(told).encode()
        for path in folder.rglob("*"):
            kept = (
                path.is_file() and path != key and "postgres" not in path.relative_to(folder).parts
            )
            if kept and path.suffix == ".db":
                found[str(path)] = dump(path)
            elif kept:
                found[str(path)] = path.read_bytes()
        yield found


def trips() -> bytes:
    return gzip.compress("".join(f"{line}\r\n" for line in (YELLOW_HEADER, TRIP)).encode())


def role(stack: Mapping[str, str], name: str, password: str, database: str) -> str:
    """Make a role with a database of that name; return the URL by which it connects."""
    url = stack["TAXI_POSTGRES_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        its = {"role": sql.Identifier(name), "password": sql.Literal(password)}
        connection.execute(
            sql.SQL("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD {password}").format(**its)
        )
        if database != "postgres":
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    user = f"{quote(name)}:{quote(password, safe='')}"
    return f"postgresql://{user}@127.0.0.1:{urlsplit(url).port}/{database}?sslmode=disable"


def wrong(url: str) -> str:
    """Return the URL with a password that is a secret too, but not the role's."""
    return url.replace("-end@", "-wrong@")


def launch(dev: DagsterDev, month: str) -> str:
    launched = dev.graphql(LAUNCH, month=month)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run: str = launched["run"]["runId"]
    return run


def ended(dev: DagsterDev, run: str) -> bool:
    query = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
    return dev.graphql(query, run=run)["runOrError"]["status"] in ENDED


def asked(dev: DagsterDev, page: str) -> bytes:
    """Return what a page of the UI is answered."""
    its = {"repository": REPOSITORY, "job": {**REPOSITORY, "pipelineName": "yellow_trips"}}
    variables = {name: value for name, value in its.items() if f"${name}:" in page}
    answer = dev.graphql(page, **variables)
    assert answer, page
    return json.dumps(answer).encode()


def job_execute(folder: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a month whose password is wrong, with an instance in SQLite."""
    home = folder / "alone"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    its = {"DAGSTER_HOME": str(home), "TAXI_POSTGRES_URL": wrong(variables["TAXI_POSTGRES_URL"])}
    month = json.dumps({"dagster/partition": GOOD})
    return subprocess.run(
        [
            *(DAGSTER, "job", "execute", "-m", "taxi_pipeline.definitions"),
            *("-j", "yellow_trips", "--tags", month),
        ],
        env={**os.environ, **variables, **its},
        capture_output=True,
        timeout=200,
    )


def taxi(variables: Mapping[str, str], *arguments: str) -> bytes:
    """Return what the command line prints."""
    done = subprocess.run(
        [sys.executable, "-m", "taxi_pipeline", *arguments],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=100,
    )
    return done.stdout


def tables_of(url: str) -> Iterator[tuple[str, bytes]]:
    """Yield the tables of a database as texts, by name."""
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (name,) in names.fetchall():
            with connection.cursor().copy(
                sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(name))
            ) as rows:
                yield name, b"".join(bytes(row) for row in rows)


def dump(path: Path) -> bytes:
    """Return a SQLite file as text: in the file itself long values are cut up."""
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()).encode()


@pytest.mark.timeout(300)
def test_no_secret_is_in_anything_that_was_written(written: Mapping[str, bytes]) -> None:
    shown = {where: said(text) for where, text in written.items() if SECRETS.search(text)}
    assert shown == {}


def said(text: bytes) -> list[bytes]:
    """Return where the secrets are, with what is around them."""
    return [text[max(0, hit.start() - 80) : hit.end() + 40] for hit in SECRETS.finditer(text)][:3]


def test_what_was_searched_has_what_the_runs_said(written: Mapping[str, bytes]) -> None:
    refused, wrong_password = b"answered 418", b"password authentication failed"
    has = lambda what: {where for where, text in written.items() if what in text}  # noqa: E731
    print({k: len(v) for k, v in written.items()})
    print(has(refused))
    print(has(wrong_password))
