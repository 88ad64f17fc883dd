"""Google's side: who we are, what is there and where, what we may do, what a query reads."""

import base64
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import compute_engine
from google.auth.credentials import AnonymousCredentials, Credentials
from google.oauth2.credentials import Credentials as UserCredentials

from taxi_pipeline.doctor import bigquery, storage
from taxi_pipeline.doctor.checks import READING, WRITING
from taxi_pipeline.doctor.context import Context
from taxi_pipeline.doctor.finding import Finding, Status, examine
from taxi_pipeline.doctor.google import (
    check_credentials,
    check_project_permissions,
    identity_of,
)
from taxi_pipeline.io.permissions import (
    BUCKET_PERMISSIONS,
    DATASET_PERMISSIONS,
    PROJECT_PERMISSIONS,
)
from taxi_pipeline.tlc.services import GREEN, YELLOW
from taxi_pipeline_tests.support.google import (
    BUCKET,
    DATASET,
    PROJECT,
    STORAGE,
    TABLES,
    FakeGoogle,
    Request,
    error,
)
from taxi_pipeline_tests.support.marked import KEY, MARK

RESOURCE_MANAGER = f"POST /v1/projects/{PROJECT}:testIamPermissions"
JOBS = f"/bigquery/v2/projects/{PROJECT}/jobs"


def dataset(location: str = "us-east4") -> dict[str, Any]:
    return {
        "datasetReference": {"projectId": PROJECT, "datasetId": DATASET},
        "location": location,
    }


def findings(context: Context, *names: str) -> dict[str, Finding]:
    """Make the checks of these names, and return what they find."""
    chosen = [check for check in (*READING, *WRITING) if check.name in names]
    assert len(chosen) == len(names)
    return dict(examine(chosen, context))


# --- who we are ---


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch, _google: tuple[FakeGoogle, str]) -> FakeGoogle:
    """Put a service account's key into the settings; return the server that gives its tokens."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    fake, url = _google
    fake.answers.clear()
    written = json.dumps(KEY | {"private_key": private.decode(), "token_uri": f"{url}/token"})
    monkeypatch.setenv("GCP_CREDENTIALS", base64.b64encode(written.encode()).decode())
    for variable in ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"):
        monkeypatch.delenv(variable, raising=False)
    return fake


def test_a_service_account_is_named_once_google_gives_it_a_token(key: FakeGoogle) -> None:
    key["POST /token"] = {"access_token": MARK, "expires_in": 3600, "token_type": "Bearer"}
    finding = check_credentials(Context())
    assert (finding.status, finding.message) == (Status.OK, KEY["client_email"])


def test_a_key_that_was_disabled_fails_and_blocks_what_needs_it(key: FakeGoogle) -> None:
    key["POST /token"] = lambda _: (400, {"error": "invalid_grant", "error_description": "no key"})
    by_name = findings(Context(), "credentials", "bucket", "dataset", "location")
    assert by_name["credentials"].status is Status.FAILED
    assert "invalid_grant" in by_name["credentials"].message
    for name in ("bucket", "dataset"):
        assert (by_name[name].status, by_name[name].message) == (
            Status.SKIPPED,
            "needs credentials",
        )
    assert by_name["location"].message == "needs bucket"
    assert MARK not in str(by_name)


def test_no_credentials_say_how_to_get_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for variable in ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"):
        monkeypatch.delenv(variable, raising=False)
    finding = findings(Context(), "credentials")["credentials"]
    assert finding.status is Status.FAILED
    assert "gcloud auth application-default login" in finding.message


def test_one_emulator_beside_google_itself_is_refused(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST")
    finding = check_credentials(context)
    assert finding.status is Status.FAILED
    assert finding.message.startswith("STORAGE_EMULATOR_HOST is set, and BIGQUERY_EMULATOR_HOST is")


@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        (AnonymousCredentials(), "anonymous: an emulator"),
        (UserCredentials("token", account="me@example.org"), "user credentials of me@example.org"),
        (UserCredentials("token"), "user credentials"),
        (
            compute_engine.Credentials(service_account_email="taxi@p.iam.gserviceaccount.com"),
            "taxi@p.iam.gserviceaccount.com, by the metadata server",
        ),
    ],
)
def test_an_identity_is_said_for_people(credentials: Any, message: str) -> None:
    assert identity_of(credentials) == message


def test_other_credentials_are_named_by_their_type() -> None:
    class Federated(Credentials):
        def refresh(self, request: object) -> None:
            pass

    federated: Any = Federated
    assert identity_of(federated()) == "credentials of the type Federated"


# --- what is there, and where ---


def test_bucket_and_dataset_in_one_region_are_right(context: Context, fake: FakeGoogle) -> None:
    fake[f"GET {STORAGE}"] = {"name": BUCKET, "location": "US-EAST4"}
    fake[f"GET {TABLES}"] = dataset()
    by_name = findings(context, "credentials", "bucket", "dataset", "location")
    assert {finding.status for finding in by_name.values()} == {Status.OK}
    assert by_name["bucket"].message == f"gs://{BUCKET} in US-EAST4"
    assert by_name["dataset"].message == f"{PROJECT}.{DATASET} in us-east4"


@pytest.mark.parametrize(
    ("bucket", "location"),
    [("US-EAST4", "US"), ("NAM4", "US"), ("EUROPE-WEST1", "EU"), ("EUR4", "EU")],
)
def test_a_bucket_within_the_datasets_multi_region_is_right(
    context: Context, fake: FakeGoogle, bucket: str, location: str
) -> None:
    fake[f"GET {STORAGE}"] = {"name": BUCKET, "location": bucket}
    fake[f"GET {TABLES}"] = dataset(location)
    by_name = findings(context, "credentials", "bucket", "dataset", "location")
    assert by_name["location"].status is Status.OK
    assert by_name["location"].message == f"the bucket in {bucket}, within the dataset's {location}"


@pytest.mark.parametrize(
    ("bucket", "location"),
    [("US", "us-east4"), ("US-EAST1", "us-east4"), ("EUROPE-WEST2", "EU"), ("US-EAST4", "EU")],
)
def test_a_bucket_in_another_region_than_the_dataset_fails(
    context: Context, fake: FakeGoogle, bucket: str, location: str
) -> None:
    fake[f"GET {STORAGE}"] = {"name": BUCKET, "location": bucket}
    fake[f"GET {TABLES}"] = dataset(location)
    by_name = findings(context, "credentials", "bucket", "dataset", "location")
    assert by_name["location"].status is Status.FAILED
    words = f"the bucket is in {bucket}, the dataset in {location}"
    assert by_name["location"].message.startswith(words)


def test_a_bucket_that_is_missing_fails_and_what_needs_it_is_skipped(
    context: Context, fake: FakeGoogle
) -> None:
    fake[f"GET {TABLES}"] = dataset()
    names = ("credentials", "bucket", "bucket permissions", "dataset", "location")
    by_name = findings(context, *names, "write an object", "load a table")
    assert by_name["bucket"].status is Status.FAILED
    assert by_name["bucket"].message.endswith("Make the bucket, or check TAXI_BUCKET.")
    for name in ("bucket permissions", "location", "write an object", "load a table"):
        assert (by_name[name].status, by_name[name].message) == (Status.SKIPPED, "needs bucket")
    assert by_name["dataset"].status is Status.OK


def test_a_dataset_that_is_missing_fails(context: Context) -> None:
    by_name = findings(context, "credentials", "dataset", "partitions", "location", "bucket")
    assert by_name["dataset"].status is Status.FAILED
    assert "Check TAXI_GCP_PROJECT and TAXI_DATASET" in by_name["dataset"].message
    assert by_name["partitions"].message == "needs dataset"


# --- what we may do ---


def granting(*permissions: str) -> dict[str, Any]:
    return {"permissions": [*permissions]}


def test_rights_that_are_all_there_are_asked_for_exactly(
    context: Context, fake: FakeGoogle
) -> None:
    asked: list[Collection[str]] = []

    def by_query(request: Request) -> tuple[int, Any]:
        asked.append(request.query["permissions"])
        return 200, granting(*request.query["permissions"])

    def by_body(request: Request) -> tuple[int, Any]:
        asked.append(request.body["permissions"])
        return 200, granting(*request.body["permissions"])

    fake[f"GET {STORAGE}"] = {"name": BUCKET, "location": "US"}
    fake[f"GET {STORAGE}/iam/testPermissions"] = by_query
    fake[RESOURCE_MANAGER] = by_body
    fake[f"POST {TABLES}/tables/{YELLOW.trips.name}:testIamPermissions"] = by_body
    names = ("bucket permissions", "project permissions", "dataset permissions")
    by_name = findings(context, "credentials", "bucket", *names)
    assert [by_name[name].status for name in names] == [Status.OK] * 3
    wanted = [[*BUCKET_PERMISSIONS], [*PROJECT_PERMISSIONS], [*DATASET_PERMISSIONS]]
    assert asked == wanted


def test_a_right_that_is_missing_is_named_with_its_role(context: Context, fake: FakeGoogle) -> None:
    # without storage.buckets.get the bucket itself does not show
    fake.refuse(f"GET {STORAGE}", 403)
    fake[f"GET {STORAGE}/iam/testPermissions"] = granting(*BUCKET_PERMISSIONS[1:-1])
    fake[RESOURCE_MANAGER] = {}
    lacking = granting(*(name for name in DATASET_PERMISSIONS if "update" not in name))
    fake[f"POST {TABLES}/tables/{GREEN.trips.name}:testIamPermissions"] = lacking
    names = ("bucket permissions", "project permissions", "dataset permissions")
    by_name = findings(context, "credentials", "bucket", *names)
    assert by_name["bucket"].status is Status.FAILED
    assert "see the check bucket permissions" in by_name["bucket"].message
    assert [by_name[name].status for name in names] == [Status.FAILED] * 3
    assert by_name["bucket permissions"].message == (
        f"storage.buckets.get, storage.objects.update not granted on gs://{BUCKET}: grant "
        "roles/storage.legacyBucketReader on the bucket and roles/storage.objectUser on the bucket."
    )
    assert by_name["project permissions"].details["missing"] == ["bigquery.jobs.create"]
    assert by_name["project permissions"].details["roles"] == [
        "roles/bigquery.jobUser on the project"
    ]
    missing = by_name["dataset permissions"].details["missing"]
    assert missing == ["bigquery.tables.update", "bigquery.tables.updateData"]


def test_a_permission_that_is_none_of_a_table_does_not_hide_the_others(
    context: Context, fake: FakeGoogle
) -> None:
    def answer(request: Request) -> tuple[int, Any]:
        permissions = request.body["permissions"]
        if "bigquery.tables.create" in permissions:
            return error(400, "invalid")
        return 200, granting(*(name for name in permissions if name != "bigquery.tables.getData"))

    fake[f"POST {TABLES}/tables/{YELLOW.trips.name}:testIamPermissions"] = answer
    finding = bigquery.check_dataset_permissions(context)
    assert finding.status is Status.FAILED
    assert finding.details["missing"] == ["bigquery.tables.getData"]


def test_what_cannot_be_asked_is_skipped(context: Context, fake: FakeGoogle) -> None:
    no_table = bigquery.check_dataset_permissions(context)
    assert no_table.status is Status.SKIPPED
    assert no_table.message.startswith("not asked: no table yet")
    fake.refuse(RESOURCE_MANAGER, 403, "SERVICE_DISABLED")
    disabled = check_project_permissions(context)
    assert disabled.status is Status.SKIPPED
    assert "gcloud services enable cloudresourcemanager.googleapis.com" in disabled.message
    emulated = Context(emulated=True)
    for check in (
        storage.check_bucket_permissions,
        check_project_permissions,
        bigquery.check_dataset_permissions,
    ):
        finding = check(emulated)
        assert finding.status is Status.SKIPPED
        assert finding.message.startswith("an emulator")


def test_a_project_that_does_not_let_us_ask_fails(context: Context, fake: FakeGoogle) -> None:
    fake.refuse(RESOURCE_MANAGER, 403, "PERMISSION_DENIED")
    by_name = findings(context, "credentials", "project permissions")
    assert by_name["project permissions"].status is Status.FAILED
    assert by_name["project permissions"].message.endswith("Check TAXI_GCP_PROJECT.")


# --- what a query reads ---

TABLE = f"{TABLES}/tables/{YELLOW.trips.name}"


def counting(fake: FakeGoogle, of_a_month: int, of_none: int, partitioned: bool = True) -> None:
    """Let a table have rows, and dry runs read so many bytes; all of it has 3,000."""
    fake[f"GET {TABLE}"] = {
        "tableReference": {
            "projectId": PROJECT,
            "datasetId": DATASET,
            "tableId": YELLOW.trips.name,
        },
        "numRows": "100",
        "numBytes": "3000",
        **({"timePartitioning": {"type": "MONTH"}} if partitioned else {}),
    }

    def dry_run(request: Request) -> tuple[int, Any]:
        configuration = request.body["configuration"]
        assert configuration["dryRun"] is True
        bounds = {
            each["name"]: each["parameterValue"]["value"]
            for each in configuration["query"].get("queryParameters", [])
        }
        months = {"2021-01-01": of_a_month, "": 3_000}
        read = months.get(bounds.get("first", "")[:10], of_none)
        return 200, {
            "jobReference": request.body.get("jobReference") or {"projectId": PROJECT},
            "configuration": configuration,
            "status": {"state": "DONE"},
            "statistics": {"query": {"totalBytesProcessed": str(read)}},
        }

    fake[f"POST {JOBS}"] = dry_run


def test_a_query_of_a_month_that_reads_its_partition_alone_is_right(
    context: Context, fake: FakeGoogle
) -> None:
    counting(fake, of_a_month=30, of_none=0)
    finding = bigquery.check_pruning(context)
    assert finding.status is Status.OK
    assert finding.message == "the tally of yellow 2021-01 would read 30 bytes of 3,000"
    assert finding.details["month_bytes"] == 30


def test_a_table_that_has_one_month_alone_is_right(context: Context, fake: FakeGoogle) -> None:
    counting(fake, of_a_month=3_000, of_none=0)
    assert bigquery.check_pruning(context).status is Status.OK


@pytest.mark.parametrize(
    ("partitioned", "message"),
    [(True, "BigQuery leaves out no partition"), (False, "the table is not partitioned")],
)
def test_a_query_of_a_month_that_reads_all_of_them_fails(
    context: Context, fake: FakeGoogle, partitioned: bool, message: str
) -> None:
    counting(fake, of_a_month=3_000, of_none=3_000, partitioned=partitioned)
    finding = bigquery.check_pruning(context)
    assert finding.status is Status.FAILED
    assert "would read 3,000 bytes even where" in finding.message
    assert message in finding.message


def test_where_no_table_has_rows_no_query_is_tried(context: Context) -> None:
    finding = bigquery.check_pruning(context)
    assert (finding.status, finding.message) == (
        Status.SKIPPED,
        "no table of trips has rows yet",
    )
