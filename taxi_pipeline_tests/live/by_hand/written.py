"""Months whose runs meet secrets, and all that the platform writes and its UI answers, by where.

What is searched for, and what must have been written, is said by the tests.
"""

import gzip
import json
import os
import re
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from psycopg import sql

from taxi_pipeline.local.generator import write_csv_gz
from taxi_pipeline.tlc.month import Month
from taxi_pipeline.tlc.services import GREEN
from taxi_pipeline_tests.support.dagster_dev import TAXI
from taxi_pipeline_tests.support.http import body, status
from taxi_pipeline_tests.support.marked import MARK, SIGNATURE
from taxi_pipeline_tests.support.processes import PATIENCE
from taxi_pipeline_tests.support.webserver import REPOSITORY, Webserver

from .scene import ENCODED_KEY, Scene

# any part of it, as the mark inside is not to be seen
_PARTS = [ENCODED_KEY[start : start + 24] for start in range(0, len(ENCODED_KEY) - 24, 24)]
SECRETS = re.compile("|".join([MARK, *map(re.escape, _PARTS)]).encode())

_DAGSTER = str(Path(sys.executable).with_name("dagster"))
_METADATA = """
label description
... on TextMetadataEntry { text }
... on UrlMetadataEntry { url }
... on PathMetadataEntry { path }
... on JsonMetadataEntry { jsonString }
... on MarkdownMetadataEntry { mdStr }
... on TableMetadataEntry { table { records } }
"""
_ERROR = "{ message stack errorChain { error { message stack } } }"
# what the UI's pages show that settings or errors may reach
_PAGES = {
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
                  ... on ErrorEvent {{ error {_ERROR} }}
                  ... on DisplayableEvent {{ metadataEntries {{ {_METADATA} }} }}
                  ... on ExecutionStepFailureEvent {{
                    failureMetadata {{ metadataEntries {{ {_METADATA} }} }}
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
          metadataEntries {{ {_METADATA} }}
          assetMaterializations {{ metadataEntries {{ {_METADATA} }} }}
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


JOB, GOOD, REFUSED = GREEN.trips.name, "2021-01", "2021-03"


def publish(scene: Scene) -> None:
    """Publish two months at signed addresses, one of which the publisher refuses."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "month.csv.gz"
        write_csv_gz(GREEN, Month.parse(GOOD), 500, path)
        good = body(path.read_bytes(), '"1"')
    for month, name, answer in ((GOOD, "signed.csv.gz", good), (REFUSED, "refused", status(418))):
        signed = f"/{name}?X-Signature={SIGNATURE}"
        moved = status(302, Location=f"{scene.publisher}{signed}")
        scene.answers[f"/{GREEN.name}_tripdata_{month}.csv.gz"] = [moved]
        scene.answers[signed] = [answer]


def while_it_runs(scene: Scene) -> dict[str, bytes]:
    """Return what the UI answers, and what lies in the stores that end with the platform.

    Commands that have a wrong password write some more before.
    """
    dev = scene.live.dev
    variables = {**scene.live.variables, **scene.settings}
    variables["TAXI_POSTGRES_URL"] = variables["TAXI_POSTGRES_URL"].replace("-end@", "-wrong@")
    found = {
        "dagster job execute": _job_execute(scene.live.folder, variables),
        "taxi ledger, refused": _output([*TAXI, "ledger"], variables),
    }
    for name, page in _PAGES.items():
        found[f"UI, {name}"] = _answer(dev, page)
    for run in dev.runs():
        with urllib.request.urlopen(
            f"{dev.url}/download_debug/{run.id}", timeout=PATIENCE
        ) as answer:
            found[f"UI, debug file of {run.id}"] = gzip.decompress(answer.read())
    with scene.in_this_process() as resources:
        found["lake"] = json.dumps([vars(one) for one in resources.lake.find("")]).encode()
    for name, rows in _tables_of(scene.settings["DAGSTER_POSTGRES_URL"]):
        found[f"Dagster's PostgreSQL, {name}"] = rows
    return found


def files(scene: Scene) -> dict[str, bytes]:
    """Return what lies in files; what PostgreSQL keeps in its own is asked of it."""
    return {
        str(path): _dump(path) if path.suffix == ".db" else path.read_bytes()
        for path in scene.live.folder.rglob("*")
        if path.is_file() and path != scene.key
        if "postgres" not in path.relative_to(scene.live.folder).parts
    }


def shown_secrets(text: bytes) -> list[bytes]:
    """Return where secrets are, with what is around them."""
    return [text[max(0, hit.start() - 80) : hit.end() + 40] for hit in SECRETS.finditer(text)][:3]


def _answer(webserver: Webserver, page: str) -> bytes:
    """Return what a page of the UI is answered."""
    selectors = {"repository": REPOSITORY, "job": {**REPOSITORY, "pipelineName": JOB}}
    variables = {name: value for name, value in selectors.items() if f"${name}:" in page}
    answer = webserver.graphql(page, **variables)
    assert answer, page
    return json.dumps(answer).encode()


def _job_execute(folder: Path, variables: Mapping[str, str]) -> bytes:
    """Run a month with an instance in SQLite; return what it prints."""
    home = folder / "alone"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    command = [_DAGSTER, "job", "execute", "-m", "taxi_pipeline.definitions", "-j", JOB]
    command += ["--tags", json.dumps({"dagster/partition": GOOD})]
    return _output(command, {**variables, "DAGSTER_HOME": str(home)})


def _output(command: list[str], variables: Mapping[str, str]) -> bytes:
    return subprocess.run(
        command,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
    ).stdout


def _tables_of(url: str) -> Iterator[tuple[str, bytes]]:
    """Yield the tables of a database as texts, by name."""
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (name,) in names.fetchall():
            with connection.cursor().copy(
                sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(name))
            ) as rows:
                yield name, b"".join(bytes(row) for row in rows)


def _dump(path: Path) -> bytes:
    """Return a SQLite file as text: in the file itself long values are cut up."""
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join(connection.iterdump()).encode()
