"""No secret shows: each is marked, and all that runs write and the UI answers is searched."""

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
from contextlib import ExitStack, closing, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from psycopg import sql

from taxi_pipeline.errors import PermanentError, TransientError
from taxi_pipeline.local.stack import Settings, running
from taxi_pipeline.resources import environment
from taxi_pipeline.resources.database import Database
from taxi_pipeline.resources.lake import Lake
from taxi_pipeline.resources.notifier import Notifier
from taxi_pipeline.resources.publisher import Publisher
from taxi_pipeline.resources.warehouse import Warehouse
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import TAXI_ZONES, YELLOW
from taxi_pipeline_tests.conftest import Platform
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
    "runs": f"""
      query {{
        runsOrError {{
          ... on Runs {{
            results {{
              runId status runConfigYaml tags {{ key value }}
              eventConnection {{
                events {{
                  ... on MessageEvent {{ message }}
                  ... on ErrorEvent {{ error {ERROR} }}
                  ... on DisplayableEvent {{ metadataEntries {{ {METADATA} }} }}
                  ... on ExecutionStepFailureEvent {{
                    failureMetadata {{ metadataEntries {{ {METADATA} }} }}
                  }}
                }}
              }}
            }}
          }}
        }}
      }}""",
    "assets": f"""
      query {{
        assetNodes {{
          assetKey {{ path }}
          metadataEntries {{ {METADATA} }}
          assetMaterializations {{ metadataEntries {{ {METADATA} }} }}
        }}
      }}""",
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


def service_account_key() -> dict[str, str]:
    """Return a key as Google's console gives it."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KEY | {"private_key": private.decode()}


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
    assert b"cleaned/yellow" in written["lake"]
    assert b'"adds_up": true' in written["taxi ledger"]


def wrong_password(platform: Platform) -> object:
    url = platform.resources.database.url
    return tallies(f"postgresql://taxi:{quote(PASSWORD, safe='')}@{url.partition('@')[2]}")


def server_away(*_: object) -> object:
    return tallies(f"postgresql://taxi:{quote(PASSWORD, safe='')}@127.0.0.1:1/postgres")


def statement_that_fails(platform: Platform) -> None:
    with psycopg.connect(platform.resources.database.url, autocommit=True) as connection:
        its = {"role": sql.Identifier("powerless"), "password": sql.Literal(PASSWORD)}
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {role}").format(**its))
        connection.execute(sql.SQL("CREATE ROLE {role} LOGIN PASSWORD {password}").format(**its))
        connection.execute("CREATE SCHEMA IF NOT EXISTS tlc")
    url = platform.resources.database.url
    user = f"powerless:{quote(PASSWORD, safe='')}"
    database = Database(url=f"postgresql://{user}@{url.partition('@')[2]}")
    database.replace(TAXI_ZONES, [], 0)


def tallies(url: str) -> object:
    return Database(url=url).tallies(YELLOW.trips, YELLOW.total)


MALFORMED = [
    f"{MARK}",
    f"mysql://u:{MARK}@h/d",
    f"postgresql://u:a/{MARK}@h/d",
    f"postgresql://u:{MARK}/d",
    f"postgresql://u:{MARK}@h:5432/d?x",
]
WITH_SECRETS = [
    f"https://u:{MARK}@h/{{service}}_{{month}}.parquet",
    f"https://u:{MARK}@h/{{service}}.parquet",
    f"https://u:{MARK},{MARK}@h/{{service}}_{{month}}.parquet",
    f"https://u:{MARK}/{MARK}@h/{{service}}_{{month}}.parquet",
    f"https://u:{MARK}@[h/{{service}}_{{month}}.parquet",
    f"https://u:{MARK}{{@h/{{service}}_{{month}}.parquet",
    f"https://h/{{service}}_{{month}}.parquet?sig={MARK}",
    f"https://h/{{service}}_{{month}}.parquet#{MARK}",
]


@pytest.mark.parametrize("fails", [wrong_password, server_away, statement_that_fails])
def test_no_error_of_postgres_shows_a_password(
    platform: Platform, fails: Callable[[Platform], object]
) -> None:
    with pytest.raises((PermanentError, TransientError)) as caught:
        fails(platform)
    assert not shows(caught.value)


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_database_is_not_shown(platform: Platform, url: str) -> None:
    with pytest.raises(PermanentError, match="TAXI_POSTGRES_URL") as caught:
        tallies(url)
    assert not shows(caught.value)


@pytest.mark.parametrize("url", WITH_SECRETS)
def test_a_url_of_the_publisher_may_hold_no_secret_and_is_not_shown(
    url: str, tmp_path: Path
) -> None:
    publisher = Publisher(urls=url, zones_url=url.replace(".parquet", ".csv"))
    for ask, variable in (
        (partial(publisher.fetch_month, YELLOW, Month(2021, 1), tmp_path), "TAXI_PUBLISHER_URLS"),
        (partial(publisher.look, YELLOW, Month(2021, 1)), "TAXI_PUBLISHER_URLS"),
        (partial(publisher.fetch_zones, tmp_path), "TAXI_ZONES_URL"),
    ):
        with pytest.raises(PermanentError, match=variable) as caught:
            ask()
        assert not shows(caught.value)


@pytest.mark.parametrize("store", ["lake", "warehouse"])
def test_a_key_that_google_refuses_is_not_shown(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    key = service_account_key()
    with serving({"/token": [status(400)]}) as (base, asked):
        encoded = base64.b64encode(json.dumps(key | {"token_uri": f"{base}/token"}).encode())
        monkeypatch.setenv("GCP_CREDENTIALS", encoded.decode())
        for variable in ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"):
            monkeypatch.delenv(variable)
        lake, warehouse = (
            Lake(bucket="taxi", project="taxi"),
            Warehouse(project="taxi", dataset="t"),
        )
        with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind
            lake.find("") if store == "lake" else warehouse.tallies(YELLOW.trips, YELLOW.total)
    assert {*asked} == {"/token"}
    told = "".join(traceback.format_exception(caught.value))
    assert [line for line in key["private_key"].splitlines()[1:-1] if line in told] == []
    assert encoded.decode()[:40] not in told


@pytest.mark.parametrize("code", [200, 403])
def test_a_service_that_takes_or_refuses_a_message_is_logged_without_its_token(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], code: int
) -> None:
    with receiving(code) as (url, _):
        notifier = Notifier(url=url.replace("//", f"//u:{TOKEN}@") + TOKEN)
        with nullcontext() if code == 200 else pytest.raises(TransientError) as caught:
            notifier.send("title", "body")
    assert caught is None or not shows(caught.value)
    assert MARK not in caplog.text + "".join(capfd.readouterr())


def test_no_resource_shows_its_secret() -> None:
    for resource in (
        Database(url=f"postgresql://u:{MARK}@h/d"),
        Notifier(url=f"slack://{MARK}"),
    ):
        assert MARK not in f"{resource!r} {resource} {resource.model_dump()}"


def shows(error: BaseException) -> bool:
    """Whether a secret is in an error, as a log shows it with all its causes."""
    return MARK in "".join(traceback.format_exception(error))
